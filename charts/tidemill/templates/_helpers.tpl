{{- define "tidemill.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimAll "-" }}
{{- end }}

{{/* A name that a Service may have, too: no dots, 53 characters, since other objects add a word of their own. */}}
{{- define "tidemill.fullname" -}}
{{- $name := include "tidemill.name" . }}
{{- $given := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- default $given .Values.fullnameOverride | replace "." "-" | trunc 53 | trimAll "-" }}
{{- end }}

{{/* By these the Deployment, the Services and the policies find the operator's pods. They never change in a release. */}}
{{- define "tidemill.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tidemill.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "tidemill.labels" -}}
{{ include "tidemill.commonLabels" . }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "tidemill.commonLabels" -}}
app.kubernetes.io/name: {{ include "tidemill.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
{{- end }}

{{- define "tidemill.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "tidemill.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "tidemill.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* A number as the operator reads it: Helm keeps whole ones as floats, and would write 1e+06. */}}
{{- define "tidemill.text" -}}
{{- if kindIs "slice" . }}{{ join "," . }}
{{- else if and (kindIs "float64" .) (eq (float64 (int64 .)) .) }}{{ int64 . }}
{{- else }}{{ toString . }}
{{- end }}
{{- end }}

{{/* What the operator is told. A priority class of ours is one that the settings do not name. */}}
{{- define "tidemill.environment" -}}
{{- $classes := dict }}
{{- if .Values.priorityClasses.create }}
{{- range list "realtime" "batch" }}
{{- $classes = set $classes (printf "%sPriorityClass" .) (printf "%s-%s" (include "tidemill.fullname" $) .) }}
{{- end }}
{{- end -}}
- name: TIDEMILL_NAMESPACES
  value: {{ join "," .Values.watchNamespaces | quote }}
{{- range $name, $value := .Values.settings }}
- name: TIDEMILL_{{ $name | snakecase | upper }}
  value: {{ include "tidemill.text" $value | default (get $classes $name) | quote }}
{{- end }}
- name: TIDEMILL_LEASE_NAME
  value: {{ include "tidemill.fullname" . | quote }}
- name: TIDEMILL_OPERATOR_SELECTOR
  value: {{ include "tidemill.selectorLabels" . | replace ": " "=" | replace "\n" "," | replace "\"" "" | quote }}
- name: TIDEMILL_OPERATOR_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: TIDEMILL_POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Who the operator's pods act as, and what they may do on their node: the restricted Pod Security Standard. */}}
{{- define "tidemill.podSecurity" -}}
serviceAccountName: {{ include "tidemill.serviceAccountName" . | quote }}
automountServiceAccountToken: true  # no other pod and no account of the chart has it mounted
enableServiceLinks: false
securityContext:
  runAsNonRoot: true  # as whom, the image says
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "tidemill.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* From where the image comes and on which nodes it runs. */}}
{{- define "tidemill.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Pods of these namespaces; of every namespace where none is named. */}}
{{- define "tidemill.peers" -}}
{{- if . -}}
- namespaceSelector:
    matchExpressions:
      - {key: kubernetes.io/metadata.name, operator: In, values: {{ toJson . }}}
{{- else -}}
- namespaceSelector: {}
{{- end }}
{{- end }}

{{/* What the operator may do in a namespace whose jobs it runs: see operator/tidemill_operator/cluster.py. */}}
{{- define "tidemill.rules" -}}
- apiGroups: [tidemill.dev]
  resources: [batchinferencejobs]
  verbs: [get, list, watch, delete{{ if .Values.settings.alertsPort }}, patch{{ end }}]  # delete: spec.ttlSecondsAfterFinished
- apiGroups: [tidemill.dev]
  resources: [batchinferencejobs/status]
  verbs: [patch]
- apiGroups: [tidemill.dev]
  resources: [realtimeendpoints]
  verbs: [get, list, watch{{ if .Values.settings.alertsPort }}, patch{{ end }}]  # patch: the boost that an alert asks for
- apiGroups: [tidemill.dev]
  resources: [realtimeendpoints/status]
  verbs: [patch]
- apiGroups: [ray.io]
  resources: [rayclusters]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]  # to read addresses and readiness; KubeRay makes and deletes them
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch, delete]  # each cluster's own token; no list: no other Secret can be looked for
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]  # one for each endpoint; it goes with its owner
{{- if .Values.settings.networkPolicies }}
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]  # one for each RayCluster
{{- end }}
- apiGroups: [""]
  resources: [events]
  verbs: [get, create, patch]
- apiGroups: [""]
  resources: [resourcequotas]
  verbs: [list]  # how many GPUs a namespace may have, to share them out before the API server refuses a pod
{{- end }}

{{/* What Kopf looks at in the whole cluster, without which it would not see a CRD that is installed later. */}}
{{- define "tidemill.discoveryRules" -}}
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  verbs: [get, list, watch]
{{- end }}
