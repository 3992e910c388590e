//! The weaknesses that must be found out: each takes one protection away from a rendered overlay, and names who has to see it.

use serde_json::json;

use super::{
    edits::{append, config, drop_kind, remove, set},
    judges::Judge::{self, Checkov, Rules, Schema},
    manifests::{MONITORED, Manifests},
};

const POD: &str = "/spec/template/spec";
const DAEMON: &str = "/spec/template/spec/containers/0";
const SIDECAR: &str = "/spec/template/spec/initContainers/0";

/// One protection less.
pub struct Weakness {
    /// What it is.
    pub what: &'static str,
    /// What it is done to.
    pub overlay: &'static str,
    /// How.
    pub apply: Box<dyn Fn(&mut Manifests)>,
    /// Who must see it.
    pub by: Judge,
    /// Part of what is then said.
    pub saying: &'static str,
}

/// All of them.
pub fn table() -> Vec<Weakness> {
    let parts = [
        pod_security(),
        pod_reach(),
        probes_and_stop(),
        configuration(),
        limits_and_listener(),
        storage_and_owner(),
        around_the_pod(),
        monitoring(),
        schemas(),
    ];
    parts.into_iter().flatten().collect()
}

fn pod_security() -> Vec<Weakness> {
    let security = |key: &str| format!("{DAEMON}/securityContext/{key}");
    vec![
        stateless(
            "root",
            Checkov,
            "CKV_K8S_40",
            set("Deployment", format!("{POD}/securityContext/runAsUser"), json!(0)),
        ),
        stateless("root allowed", Checkov, "CKV_K8S_23", |all| {
            set("Deployment", format!("{POD}/securityContext/runAsUser"), json!(0))(all);
            set("Deployment", format!("{POD}/securityContext/runAsNonRoot"), json!(false))(all);
        }),
        stateless(
            "no seccomp",
            Checkov,
            "CKV_K8S_31",
            remove("Deployment", format!("{POD}/securityContext/seccompProfile")),
        ),
        stateless("privileged", Checkov, "CKV_K8S_16", set("Deployment", security("privileged"), json!(true))),
        stateless("escalation", Checkov, "CKV_K8S_20", remove("Deployment", security("allowPrivilegeEscalation"))),
        stateless("capabilities kept", Checkov, "CKV_K8S_37", remove("Deployment", security("capabilities"))),
        stateless("writable root", Checkov, "CKV_K8S_22", remove("Deployment", security("readOnlyRootFilesystem"))),
        sidecar(
            "writable root",
            Checkov,
            "CKV_K8S_22",
            remove("Deployment", format!("{SIDECAR}/securityContext/readOnlyRootFilesystem")),
        ),
        sidecar(
            "escalation",
            Checkov,
            "CKV_K8S_20",
            remove("Deployment", format!("{SIDECAR}/securityContext/allowPrivilegeEscalation")),
        ),
    ]
}

fn pod_reach() -> Vec<Weakness> {
    vec![
        stateless("host network", Checkov, "CKV_K8S_19", set("Deployment", format!("{POD}/hostNetwork"), json!(true))),
        stateless("host processes", Checkov, "CKV_K8S_17", set("Deployment", format!("{POD}/hostPID"), json!(true))),
        stateless(
            "account token",
            Checkov,
            "CKV_K8S_38",
            set("Deployment", format!("{POD}/automountServiceAccountToken"), json!(true)),
        ),
        stateless(
            "folder of the host",
            Rules,
            "is of a kind",
            append("Deployment", format!("{POD}/volumes"), json!({"name": "host", "hostPath": {"path": "/"}})),
        ),
        stateless(
            "open namespace",
            Rules,
            "does not enforce",
            set("Namespace", "/metadata/labels/pod-security.kubernetes.io~1enforce", json!("privileged")),
        ),
        stateless(
            "secret in the environment",
            Checkov,
            "CKV_K8S_35",
            set(
                "Deployment",
                format!("{DAEMON}/env"),
                json!([{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "wskeeper", "key": "admin-token"}}}]),
            ),
        ),
        stateless(
            "secret for everyone to read",
            Rules,
            "for everyone to read",
            remove("Deployment", format!("{POD}/volumes/1/secret/defaultMode")),
        ),
        stateless(
            "moving image",
            Checkov,
            "CKV_K8S_14",
            set("Deployment", format!("{DAEMON}/image"), json!("registry.example/wskeeper:latest")),
        ),
    ]
}

fn probes_and_stop() -> Vec<Weakness> {
    let probe = |name: &str| format!("{DAEMON}/{name}");
    vec![
        stateless("no liveness probe", Checkov, "CKV_K8S_8", remove("Deployment", probe("livenessProbe"))),
        stateless("no readiness probe", Checkov, "CKV_K8S_9", remove("Deployment", probe("readinessProbe"))),
        stateless(
            "no startup probe",
            Rules,
            "the startupProbe does not ask",
            remove("Deployment", probe("startupProbe")),
        ),
        stateless(
            "a liveness probe that asks for links",
            Rules,
            "the livenessProbe does not ask",
            set("Deployment", probe("livenessProbe/httpGet/path"), json!("/readyz?links")),
        ),
        stateless(
            "a readiness probe that asks for links",
            Rules,
            "the readinessProbe does not ask",
            set("Deployment", probe("readinessProbe/httpGet/path"), json!("/readyz?links")),
        ),
        sidecar(
            "no liveness probe",
            Rules,
            "the livenessProbe does not ask",
            remove("Deployment", format!("{SIDECAR}/livenessProbe")),
        ),
        stateless(
            "a readiness that asks for links",
            Rules,
            "fails with the remote",
            config("10-daemon.toml", "[api]\n", "[api]\nreadiness = \"links\"\n"),
        ),
        stateless(
            "a short grace period",
            Rules,
            "shorter than drain",
            set("Deployment", format!("{POD}/terminationGracePeriodSeconds"), json!(49)),
        ),
        durable(
            "the default grace period",
            Rules,
            "shorter than drain",
            remove("StatefulSet", format!("{POD}/terminationGracePeriodSeconds")),
        ),
        stateless(
            "a longer drain",
            Rules,
            "shorter than drain",
            config("10-daemon.toml", "drain = \"30s\"", "drain = \"50s\""),
        ),
        stateless(
            "a longer close",
            Rules,
            "shorter than drain",
            config("20-endpoints.toml", "url =", "close_timeout = \"40s\"\nurl ="),
        ),
    ]
}

fn configuration() -> Vec<Weakness> {
    let mount = format!("{DAEMON}/volumeMounts/0");
    vec![
        stateless(
            "an unknown key",
            Rules,
            "does not validate",
            config("10-daemon.toml", "[limits]\n", "[limits]\ndrian = \"1s\"\n"),
        ),
        stateless("no token", Rules, "does not validate", config("10-daemon.toml", "[[api.tokens]]", "[[log.tokens]]")),
        stateless(
            "no watch",
            Rules,
            "nobody tells the daemon",
            config("10-daemon.toml", "watch = true", "watch = false"),
        ),
        stateless(
            "a file by subPath",
            Rules,
            "a subPath mount does not follow",
            set("Deployment", format!("{mount}/subPath"), json!("10-daemon.toml")),
        ),
        stateless(
            "another folder",
            Rules,
            "does not read the ConfigMap's folder",
            set("Deployment", format!("{mount}/mountPath"), json!("/etc/other")),
        ),
        stateless(
            "another ConfigMap",
            Rules,
            "the ConfigMap is not mounted",
            set("Deployment", format!("{POD}/volumes/0/configMap/name"), json!("other")),
        ),
        stateless("a name that changes", Rules, "changes with its content", |all| {
            set("ConfigMap", "/metadata/name", json!("wskeeper-5t29hbk7gm"))(all);
            set("Deployment", format!("{POD}/volumes/0/configMap/name"), json!("wskeeper-5t29hbk7gm"))(all);
        }),
        stateless(
            "a secret that is nowhere",
            Rules,
            "is not in a mounted Secret",
            config("20-endpoints.toml", "/run/secrets/wskeeper/feed-token", "/run/secrets/feed-token"),
        ),
    ]
}

fn limits_and_listener() -> Vec<Weakness> {
    vec![
        stateless(
            "little memory",
            Rules,
            "below limits.memory",
            set("Deployment", format!("{DAEMON}/resources/limits/memory"), json!("320Mi")),
        ),
        stateless(
            "no memory limit",
            Checkov,
            "CKV_K8S_13",
            remove("Deployment", format!("{DAEMON}/resources/limits/memory")),
        ),
        stateless("loopback", Rules, "is loopback", config("10-daemon.toml", "\"0.0.0.0:7700\"", "\"127.0.0.1:7700\"")),
        stateless(
            "another port",
            Rules,
            "the container's port is not",
            config("10-daemon.toml", "\"0.0.0.0:7700\"", "\"0.0.0.0:7701\""),
        ),
        stateless(
            "the Service's name is refused",
            Rules,
            "api.allowed_hosts lacks wskeeper.wskeeper.svc",
            config("10-daemon.toml", "\"wskeeper.wskeeper.svc\", ", ""),
        ),
    ]
}

fn storage_and_owner() -> Vec<Weakness> {
    vec![
        stateless(
            "durable without a volume",
            Rules,
            "no claimed volume is mounted",
            config("20-endpoints.toml", "url =", "durability = \"disk\"\nurl ="),
        ),
        durable(
            "nothing durable",
            Rules,
            "no endpoint is durable",
            config("30-durable.toml", "durability = \"disk\"", "durability = \"memory\""),
        ),
        durable(
            "a store beside its volume",
            Rules,
            "no claimed volume is mounted",
            config("30-durable.toml", "\"/var/lib/wskeeper\"", "\"/var/lib/other\""),
        ),
        durable(
            "a small volume",
            Rules,
            "is not above storage.max_bytes",
            set("StatefulSet", "/spec/volumeClaimTemplates/0/spec/resources/requests/storage", json!("1Gi")),
        ),
        durable("two owners", Rules, "more than one replica", set("StatefulSet", "/spec/replicas", json!(2))),
        stateless(
            "two owners for a while",
            Rules,
            "strategy Recreate",
            set("Deployment", "/spec/strategy", json!({"type": "RollingUpdate"})),
        ),
    ]
}

fn around_the_pod() -> Vec<Weakness> {
    vec![
        stateless(
            "a budget that holds up nodes",
            Rules,
            "hold up a node's draining",
            set(
                "PodDisruptionBudget",
                "/spec",
                json!({"minAvailable": 1, "selector": {"matchLabels": {"app.kubernetes.io/name": "wskeeper"}}}),
            ),
        ),
        stateless("no budget", Rules, "there is no PodDisruptionBudget", drop_kind("PodDisruptionBudget")),
        stateless(
            "a Service of another port",
            Rules,
            "the Service's port",
            set("Service", "/spec/ports/0/targetPort", json!(8080)),
        ),
        stateless(
            "a Service of nobody",
            Rules,
            "the Service \"wskeeper\" does not find the pod",
            set("Service", "/spec/selector", json!({"app": "keeper"})),
        ),
        stateless("no NetworkPolicy", Rules, "no NetworkPolicy governs", drop_kind("NetworkPolicy")),
        stateless(
            "a NetworkPolicy for nobody",
            Rules,
            "does not find the pod",
            set("NetworkPolicy", "/spec/podSelector/matchLabels", json!({"app": "keeper"})),
        ),
        stateless(
            "the peer's port is closed",
            Rules,
            "lets out trades, port Some(8443)",
            config("20-endpoints.toml", "wss://feed.example/v2", "wss://feed.example:8443/v2"),
        ),
        stateless("no DNS", Rules, "lets out DNS", remove("NetworkPolicy", "/spec/egress/0")),
        sidecar(
            "a policy that forgets the program",
            Rules,
            "no NetworkPolicy lets in the program's port 8080",
            set("NetworkPolicy", "/spec/ingress/0/ports/0/port", json!(7700)),
        ),
    ]
}

fn monitoring() -> Vec<Weakness> {
    let scrape = "/spec/podMetricsEndpoints/0";
    vec![
        monitored(
            "metrics without a token",
            Rules,
            "is none of api.tokens",
            remove("PodMonitor", format!("{scrape}/authorization")),
        ),
        monitored(
            "metrics with a token of nobody",
            Rules,
            "is none of api.tokens",
            set("PodMonitor", format!("{scrape}/authorization/credentials/key"), json!("token")),
        ),
        monitored(
            "metrics with the admin's token",
            Rules,
            "allows more than metrics",
            set("PodMonitor", format!("{scrape}/authorization/credentials/key"), json!("admin-token")),
        ),
        monitored(
            "a PodMonitor of nobody",
            Rules,
            "the PodMonitor \"wskeeper\" does not find the pod",
            set("PodMonitor", "/spec/selector/matchLabels", json!({"app": "keeper"})),
        ),
    ]
}

fn schemas() -> Vec<Weakness> {
    vec![
        stateless(
            "a misspelt key",
            Schema,
            "readOnlyRootFileSystem",
            set("Deployment", format!("{DAEMON}/securityContext/readOnlyRootFileSystem"), json!(true)),
        ),
        stateless("a number as text", Schema, "spec.replicas", set("Deployment", "/spec/replicas", json!("one"))),
        durable(
            "a misspelt key",
            Schema,
            "volumeClaimTemplate",
            set("StatefulSet", "/spec/volumeClaimTemplate", json!([])),
        ),
        monitored(
            "a misspelt key of the PodMonitor",
            Schema,
            "podMetricsEndpoints.0.intervall: unknown key",
            set("PodMonitor", "/spec/podMetricsEndpoints/0/intervall", json!("30s")),
        ),
        monitored(
            "a wrong duration of the PodMonitor",
            Schema,
            "podMetricsEndpoints.0.interval",
            set("PodMonitor", "/spec/podMetricsEndpoints/0/interval", json!("often")),
        ),
        monitored("an alert of nothing", Schema, "expr", remove("PrometheusRule", "/spec/groups/0/rules/0/expr")),
        monitored(
            "a misspelt key of an alert",
            Schema,
            "rules.0.labls: unknown key",
            set("PrometheusRule", "/spec/groups/0/rules/0/labls", json!({})),
        ),
        monitored("a PodMonitor without selector", Schema, "selector", remove("PodMonitor", "/spec/selector")),
    ]
}

type Edit = Box<dyn Fn(&mut Manifests)>;

fn weakness(overlay: &'static str, what: &'static str, by: Judge, saying: &'static str, apply: Edit) -> Weakness {
    Weakness { what, overlay, apply, by, saying }
}

fn stateless(
    what: &'static str,
    by: Judge,
    saying: &'static str,
    apply: impl Fn(&mut Manifests) + 'static,
) -> Weakness {
    weakness("stateless", what, by, saying, Box::new(apply))
}

fn monitored(
    what: &'static str,
    by: Judge,
    saying: &'static str,
    apply: impl Fn(&mut Manifests) + 'static,
) -> Weakness {
    weakness(MONITORED, what, by, saying, Box::new(apply))
}

fn durable(what: &'static str, by: Judge, saying: &'static str, apply: impl Fn(&mut Manifests) + 'static) -> Weakness {
    weakness("durable", what, by, saying, Box::new(apply))
}

fn sidecar(what: &'static str, by: Judge, saying: &'static str, apply: impl Fn(&mut Manifests) + 'static) -> Weakness {
    weakness("sidecar", what, by, saying, Box::new(apply))
}
