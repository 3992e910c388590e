{{/* The one pod template, of the Deployment and of the StatefulSet. The same as deploy/kubernetes/base/deployment.yaml; a test compares them. */}}
{{- define "wskeeper.pod" -}}
metadata:
  labels:
    {{- include "wskeeper.selector" . | nindent 4 }}
    {{- with .Values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- with .Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "wskeeper.name" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    # Volumes belong to this group, so that secret files need not be readable by everyone.
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  {{- with .Values.pod }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  # Several wskeepers, each with endpoints of its own, keep off each other's node: the name alone, for all releases.
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          app.kubernetes.io/name: wskeeper
    {{- end }}
  containers:
    - name: wskeeper
      {{- with .Values.image }}
      image: {{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
      {{- end }}
      # The tag is fixed, and a restart at night must not need the registry.
      imagePullPolicy: IfNotPresent
      args: [run, --config, /etc/wskeeper]
      {{- with .Values.env }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - name: api
          containerPort: 7700
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      # None of these asks for a link: a remote outage must neither restart nor unready anything. A queue is useful exactly then.
      startupProbe:
        httpGet:
          path: /livez
          port: api
        periodSeconds: 2
        timeoutSeconds: 5
        failureThreshold: 60
      livenessProbe:
        httpGet:
          path: /livez
          port: api
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      readinessProbe:
        httpGet:
          path: /readyz
          port: api
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        # The whole folder, never subPath: a subPath mount does not follow the ConfigMap.
        - name: config
          mountPath: /etc/wskeeper
          readOnly: true
        - name: secrets
          mountPath: /run/secrets/wskeeper
          readOnly: true
        {{- if .Values.durable.enabled }}
        - name: store
          mountPath: /var/lib/wskeeper
        {{- end }}
        {{- with .Values.volumeMounts }}{{ toYaml . | nindent 8 }}{{ end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "wskeeper.name" . }}
    - name: secrets
      secret:
        secretName: {{ include "wskeeper.secret" . }}
        defaultMode: 0440
    {{- with .Values.volumes }}{{ toYaml . | nindent 4 }}{{ end }}
{{- end }}
