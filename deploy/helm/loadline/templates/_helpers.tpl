{{- define "loadline.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "loadline.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "loadline.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* The selector labels of the pods. They are those of the prometheus-adapter chart, so that its releases can be upgraded. */}}
{{- define "loadline.selectorLabels" -}}
app.kubernetes.io/name: {{ include "loadline.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "loadline.labels" -}}
{{- $own := include "loadline.selectorLabels" . | fromYaml -}}
{{- $own = merge $own (.Values.customLabels | default dict) -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- $others := dict "app.kubernetes.io/component" "metrics" "app.kubernetes.io/part-of" (include "loadline.name" .) "app.kubernetes.io/managed-by" .Release.Service "app.kubernetes.io/version" .Chart.AppVersion -}}
{{- toYaml (merge $own $others) -}}
{{- end -}}

{{/* Labels and annotations of an object: (dict "root" $ "labels" (map, optional) "annotations" (list of maps, optional)) */}}
{{- define "loadline.metadata" -}}
labels:
  {{- toYaml (merge (include "loadline.labels" .root | fromYaml) (.labels | default dict)) | nindent 2 }}
{{- $annotations := dict -}}
{{- range prepend (.annotations | default list) .root.Values.customAnnotations -}}
{{- $annotations = merge $annotations (. | default dict) -}}
{{- end -}}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "loadline.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "loadline.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The image. A published chart has an annotation with its own image and its digest, which counts if the values name that image. */}}
{{- define "loadline.image" -}}
{{- $image := printf "%s:%v" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- $published := index (.Chart.Annotations | default dict) "loadline/image" | default "" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $image .Values.image.digest -}}
{{- else if hasPrefix (printf "%s@" $image) $published -}}
{{- $published -}}
{{- else -}}
{{- $image -}}
{{- end -}}
{{- end -}}

{{/* loadline's service account as the subject of a binding */}}
{{- define "loadline.subjects" -}}
subjects:
- kind: ServiceAccount
  name: {{ include "loadline.serviceAccountName" . }}
  namespace: {{ include "loadline.namespace" . | quote }}
{{- end -}}

{{/* The HorizontalPodAutoscaler controller as the subject of a binding */}}
{{- define "loadline.autoscaler" -}}
subjects:
- kind: ServiceAccount
  name: horizontal-pod-autoscaler
  namespace: kube-system
{{- end -}}

{{/* Whether the certificate comes from a mounted Secret */}}
{{- define "loadline.mountsCertificate" -}}
{{- if or .Values.tls.enable .Values.certManager.enabled }}true{{ end -}}
{{- end -}}

{{/* An APIService: (dict "root" $ "group" … "version" … "priority" …) */}}
{{- define "loadline.apiService" -}}
{{- $values := .root.Values -}}
{{- $annotations := dict -}}
{{- if $values.certManager.enabled -}}
{{- $authority := printf "%s/%s-root-cert" (include "loadline.namespace" .root) (include "loadline.fullname" .root) -}}
{{- $annotations = dict "cert-manager.io/inject-ca-from" $authority -}}
{{- end -}}
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata:
  name: {{ .version }}.{{ .group }}
  {{- include "loadline.metadata" (dict "root" .root "annotations" (list $annotations)) | nindent 2 }}
spec:
  group: {{ .group }}
  version: {{ .version }}
  groupPriorityMinimum: 100
  versionPriority: {{ .priority }}
  service:
    namespace: {{ include "loadline.namespace" .root | quote }}
    name: {{ include "loadline.fullname" .root }}
    port: {{ $values.service.port }}
  {{- if $values.tls.enable }}
  caBundle: {{ required "tls.enable needs tls.ca" $values.tls.ca | b64enc }}
  {{- else if not (or $values.certManager.enabled $values.tls.selfManaged) }}
  insecureSkipTLSVerify: true
  {{- end }}
{{- end -}}

{{/* The arguments of the server */}}
{{- define "loadline.args" -}}
- serve
- --secure-port={{ .Values.listenPort }}
{{- if include "loadline.mountsCertificate" . }}
- --tls-cert-file=/var/run/serving-cert/tls.crt
- --tls-private-key-file=/var/run/serving-cert/tls.key
{{- end }}
{{- if .Values.tls.selfManaged }}
- --tls-secret-name={{ include "loadline.fullname" . }}-serving
- --manage-apiservice
{{- end }}
- --service-name={{ include "loadline.fullname" . }}
- --service-namespace={{ include "loadline.namespace" . }}
- --prometheus-url={{ tpl .Values.prometheus.url . }}{{ with .Values.prometheus.port }}:{{ . }}{{ end }}{{ .Values.prometheus.path }}
{{- range .Values.prometheus.fallbackUrls }}
- {{ printf "--prometheus-fallback-url=%s" (tpl . $) | quote }}
{{- end }}
{{- with .Values.prometheus.auth }}
- {{ printf "--prometheus-auth=%s" (toJson .) | quote }}
{{- end }}
- --metrics-relist-interval={{ .Values.metricsRelistInterval }}
- --v={{ .Values.logLevel }}
- --config=/etc/adapter/config.yaml
- --backend-credentials-dir=/etc/loadline
{{- if .Values.teamRules.enabled }}
- --team-rules
{{- end }}
{{- with .Values.rulesFromConfigMaps }}
{{- if .selector }}
- {{ printf "--config-selector=%s" .selector | quote }}
{{- with .namespaces }}
- --config-namespaces={{ join "," . }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.extraArguments }}
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end -}}

{{/* The rules and the credentials of the server */}}
{{- define "loadline.volumeMounts" -}}
- name: config
  mountPath: /etc/adapter
  readOnly: true
# Writable for extraArguments such as --cert-dir
- name: tmp
  mountPath: /tmp
{{- if include "loadline.mountsCertificate" . }}
- name: volume-serving-cert
  mountPath: /var/run/serving-cert
  readOnly: true
{{- end }}
{{- range $index, $secret := .Values.backendCredentials }}
- name: backend-credentials-{{ $index }}
  mountPath: /etc/loadline/{{ $secret }}
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end -}}

{{- define "loadline.volumes" -}}
- name: config
  configMap:
    name: {{ .Values.rules.existing | default (include "loadline.fullname" .) }}
- name: tmp
  emptyDir: {}
{{- if include "loadline.mountsCertificate" . }}
- name: volume-serving-cert
  secret:
    secretName: {{ include "loadline.fullname" . }}
{{- end }}
{{- range $index, $secret := .Values.backendCredentials }}
- name: backend-credentials-{{ $index }}
  secret:
    secretName: {{ $secret }}
{{- end }}
{{- with .Values.extraVolumes }}
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end -}}

{{/* Invalid values */}}
{{- define "loadline.check" -}}
{{- if and .Values.tls.selfManaged (include "loadline.mountsCertificate" .) -}}
{{- fail "tls.selfManaged cannot be combined with tls.enable or certManager.enabled: choose one source of the certificate" -}}
{{- end -}}
{{- if and .Values.tls.enable .Values.certManager.enabled -}}
{{- fail "tls.enable and certManager.enabled cannot be combined: choose one source of the certificate" -}}
{{- end -}}
{{- if hasSuffix "prometheus-adapter/prometheus-adapter" .Values.image.repository -}}
{{- fail "image.repository is prometheus-adapter's image: set loadline's image, or remove the value" -}}
{{- end -}}
{{- end -}}
