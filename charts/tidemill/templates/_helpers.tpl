{{- define "tidemill.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* 53 characters, since roles and bindings add a word of their own. */}}
{{- define "tidemill.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" }}
{{- else if contains (include "tidemill.name" .) .Release.Name }}
{{- .Release.Name | trunc 53 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "tidemill.name" .) | trunc 53 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "tidemill.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tidemill.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "tidemill.labels" -}}
{{ include "tidemill.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "tidemill.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "tidemill.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "tidemill.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
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
  verbs: [get, list, watch]  # to read addresses and readiness; KubeRay makes and deletes them
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch, delete]  # each cluster's own token; no list: no other Secret can be looked for
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]  # one for each endpoint; it goes with its owner
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
