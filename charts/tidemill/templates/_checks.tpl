{{/* What the schema cannot say: values that do not go together, each with what to do. */}}
{{- define "tidemill.checks" -}}
{{- $settings := .Values.settings }}
{{- $fullname := include "tidemill.fullname" . }}
{{- if not (or .Values.serviceAccount.create .Values.serviceAccount.name) }}
{{- fail "serviceAccount.name is needed where serviceAccount.create is false: the operator's rights are not for the account that every pod has" }}
{{- end }}
{{- if and $settings.alertsPort (not .Values.alertWebhook.credentialsSecret) }}
{{- fail "alertWebhook.credentialsSecret is needed with settings.alertsPort: a Secret with the token that Alertmanager sends" }}
{{- end }}
{{- range list "monitors" "rules" }}
{{- if and (get $.Values.monitoring .) (not $settings.metricsPort) }}
{{- fail (printf "monitoring.%s needs settings.metricsPort: the operator's figures are served there" .) }}
{{- end }}
{{- end }}
{{- if and .Values.monitoring.monitors $settings.networkPolicies (not $settings.metricsNamespaces) }}
{{- fail "monitoring.monitors needs settings.metricsNamespaces, the namespace of your Prometheus: the policies of settings.networkPolicies let nobody else read the figures of jobs and endpoints" }}
{{- end }}
{{- if and (or $settings.metricsPort $settings.alertsPort) (regexMatch "^[0-9]" $fullname) }}
{{- fail (printf "no Service may be called %s, since that begins with a digit: set fullnameOverride" $fullname) }}
{{- end }}
{{- $ports := dict }}
{{- range list "healthPort" "metricsPort" "alertsPort" }}
{{- $port := int (get $settings .) | toString }}
{{- if and (ne $port "0") (hasKey $ports $port) }}
{{- fail (printf "settings.%s and settings.%s are both %s: each needs a port of its own" (get $ports $port) . $port) }}
{{- end }}
{{- $ports = set $ports $port . }}
{{- end }}
{{- if gt (float64 $settings.backoffMinSeconds) (float64 $settings.backoffMaxSeconds) }}
{{- fail "settings.backoffMinSeconds must not be above settings.backoffMaxSeconds" }}
{{- end }}
{{- $set := list "TIDEMILL_NAMESPACES" "TIDEMILL_LEASE_NAME" "TIDEMILL_OPERATOR_SELECTOR" "TIDEMILL_OPERATOR_NAMESPACE" "TIDEMILL_POD_NAME" }}
{{- range $name, $_ := $settings }}
{{- $set = append $set (printf "TIDEMILL_%s" ($name | snakecase | upper)) }}
{{- end }}
{{- range .Values.extraEnv }}
{{- if has .name $set }}
{{- fail (printf "extraEnv names %s, which the chart sets itself: use settings (or watchNamespaces)" .name) }}
{{- end }}
{{- end }}
{{- $own := append (include "tidemill.labels" . | fromYaml | keys) "grafana_dashboard" }}
{{- range $path, $given := dict "podLabels" .Values.podLabels "monitoring.labels" .Values.monitoring.labels }}
{{- range $key, $_ := $given }}
{{- if has $key $own }}
{{- fail (printf "%s names %s, which the chart sets itself: take another label" $path $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- if .Values.priorityClasses.create }}
{{- if le (int .Values.priorityClasses.realtime) (int .Values.priorityClasses.batch) }}
{{- fail (printf "priorityClasses.realtime (%d) must be above priorityClasses.batch (%d): endpoints come first" (int .Values.priorityClasses.realtime) (int .Values.priorityClasses.batch)) }}
{{- end }}
{{- end }}
{{- end }}
