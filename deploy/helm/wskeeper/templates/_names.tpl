{{/* The names. All of them contain "wskeeper": the alerts find the job by that. */}}

{{- define "wskeeper.name" -}}
{{- if contains "wskeeper" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name | trunc 43 | trimSuffix "-" }}-wskeeper{{ end }}
{{- end }}

{{- define "wskeeper.secret" -}}
{{ .Values.secret.name | default (include "wskeeper.name" .) }}
{{- end }}

{{/* What selects the pod: two releases of a namespace do not find each other's. */}}
{{- define "wskeeper.selector" -}}
app.kubernetes.io/name: wskeeper
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* What stands behind the name of each object. */}}
{{- define "wskeeper.metadata" -}}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "wskeeper.selector" . | nindent 2 }}
  helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
  app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* The names that the Service can be asked by, as a list of TOML. */}}
{{- define "wskeeper.hosts" -}}
{{- $name := include "wskeeper.name" . }}{{ $inside := printf "%s.%s" $name .Release.Namespace -}}
"{{ $name }}", "{{ $inside }}", "{{ $inside }}.svc", "{{ $inside }}.svc.cluster.local"
{{- end }}
