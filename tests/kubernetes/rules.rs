//! The project's own rules: that the pod, the objects around it and the configuration inside the `ConfigMap` fit each other.
//!
//! Each rule says what would happen at night without it. What a general tool knows (root, capabilities, limits) is left to that tool.

use std::{collections::BTreeMap, fmt::Display, time::Duration};

use regex_lite::Regex;
use serde_json::{Value, json};
use url::Url;
use wskeeper::config::{self, Config, Listen, Readiness, Scope};

use super::manifests::{Manifests, items};

/// What a pod needs beyond the drain and the closing handshakes: the store's last sync, the listener's end.
const SLACK: Duration = Duration::from_secs(15);
/// What the daemon needs beside the payload that it holds.
const BESIDE_PAYLOAD: u64 = 128 << 20;
/// Where volumes may come from by the restricted Pod Security Standard.
const VOLUMES: [&str; 8] =
    ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];

/// All that is wrong.
pub fn faults(manifests: &Manifests) -> Vec<String> {
    let folder = manifests.config_folder();
    let config = match config::load(folder.path(), &BTreeMap::new()) {
        Ok(loaded) => loaded.config,
        Err(faults) => return vec![format!("the configuration does not validate: {faults}")],
    };
    let mut review = Review { manifests, config: &config, faults: Vec::new() };
    review.stop();
    review.probes();
    review.port();
    review.reload();
    review.secrets();
    review.memory();
    review.storage();
    review.owner();
    review.selectors();
    review.scrape();
    review.network();
    review.admission();
    review.faults
}

struct Review<'a> {
    manifests: &'a Manifests,
    config: &'a Config,
    faults: Vec<String>,
}

impl Review<'_> {
    fn must(&mut self, is: bool, fault: impl Display) {
        if !is {
            self.faults.push(fault.to_string());
        }
    }

    /// The kubelet kills what has not ended by then, and what an outbox in memory still held is lost.
    fn stop(&mut self) {
        let close =
            self.config.endpoints.values().map(|endpoint| endpoint.link.close_timeout).max().unwrap_or_default();
        let needed = (self.config.limits.drain + close + SLACK).as_secs();
        let grace = self.manifests.pod()["terminationGracePeriodSeconds"].as_u64().unwrap_or(30);
        self.must(
            grace >= needed,
            format!("the grace period of {grace}s is shorter than drain, close and 15s: {needed}s"),
        );
    }

    /// A probe that asks for links restarts or unreadies every pod when the peer is down.
    fn probes(&mut self) {
        for (probe, path) in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
            let seen = &self.manifests.daemon()[probe];
            self.must(seen["httpGet"]["path"] == path, format!("the {probe} does not ask {path}: {seen}"));
            self.must(seen["httpGet"]["port"] == "api", format!("the {probe} does not ask the port `api`: {seen}"));
        }
        let is_own = self.config.api.readiness == Readiness::Process;
        self.must(is_own, "with api.readiness = \"links\" the readiness probe fails with the remote");
    }

    /// One number in five places.
    fn port(&mut self) {
        let Listen::Tcp(address) = self.config.api.listen else {
            return self.must(false, "api.listen is a unix socket, which no probe reaches");
        };
        self.must(!address.ip().is_loopback(), format!("{address} is loopback, which no probe reaches"));
        let port = json!(address.port());
        let api = items(&self.manifests.daemon()["ports"]).find(|port| port["name"] == "api");
        self.must(api.is_some_and(|api| api["containerPort"] == port), format!("the container's port is not {port}"));
        let others = self.manifests.ports_of_others();
        for service in self.manifests.of("Service") {
            let mut ports =
                items(&service["spec"]["ports"]).filter(|seen| !is_of(&others, &seen["targetPort"])).peekable();
            if ports.peek().is_none() {
                continue;
            }
            let is_it = ports.all(|seen| seen["port"] == port && seen["targetPort"] == "api");
            self.must(is_it, format!("the Service's port is not {port}, to `api`"));
            let (name, space) = (text(&service["metadata"]["name"]), text(&service["metadata"]["namespace"]));
            for host in [name.to_owned(), format!("{name}.{space}"), format!("{name}.{space}.svc")] {
                self.must(self.config.api.allowed_hosts.contains(&host), format!("api.allowed_hosts lacks {host}"));
            }
        }
        let policies = self.manifests.of("NetworkPolicy");
        for policy in &policies {
            let mut ports = items(&policy["spec"]["ingress"]).flat_map(|rule| items(&rule["ports"]));
            let is_it = ports.all(|seen| seen["port"] == port || is_of(&others, &seen["port"]));
            self.must(
                is_it,
                format!("the NetworkPolicy {} lets in another port than {port}", policy["metadata"]["name"]),
            );
        }
        // A policy holds for the pod, and so for the program beside the daemon.
        let is_let_in = |other: &Value| {
            let mut rules = policies.iter().flat_map(|policy| items(&policy["spec"]["ingress"]));
            rules.any(|rule| items(&rule["ports"]).any(|seen| is_of(&[other], &seen["port"])))
        };
        for other in others.iter().filter(|other| !is_let_in(other)) {
            self.must(false, format!("no NetworkPolicy lets in the program's port {}", other["containerPort"]));
        }
    }

    /// The daemon follows a mounted folder of a `ConfigMap` with a constant name, and nothing else.
    fn reload(&mut self) {
        self.must(self.config.watch, "without watch = true nobody tells the daemon that the ConfigMap has changed");
        let hash = Regex::new("-[a-z0-9]{10}$").unwrap();
        for map in self.manifests.of("ConfigMap") {
            let name = text(&map["metadata"]["name"]);
            self.must(
                !hash.is_match(name),
                format!("the name {name} changes with its content: the running pod never sees the new one"),
            );
        }
        let name =
            self.manifests.of("ConfigMap").first().map(|map| map["metadata"]["name"].clone()).unwrap_or_default();
        let Some(mount) = self.mount(|volume| volume["configMap"]["name"] == name) else {
            return self.must(false, "the ConfigMap is not mounted");
        };
        self.must(mount["subPath"].is_null(), "a subPath mount does not follow the ConfigMap");
        let args: Vec<&str> = items(&self.manifests.daemon()["args"]).map(text).collect();
        let folder = text(&mount["mountPath"]);
        self.must(
            args == ["run", "--config", folder],
            format!("{args:?} does not read the ConfigMap's folder {folder}"),
        );
    }

    /// A reference to a file that no Secret brings fails each attempt, or each call of the API.
    fn secrets(&mut self) {
        let secrets = self.mount(|volume| !volume["secret"].is_null());
        let folder = secrets.as_ref().map(|mount| text(&mount["mountPath"])).unwrap_or_default();
        let pattern = Regex::new(r"\$\{file:([^}]+)\}").unwrap();
        for (name, content) in self.manifests.config_files() {
            for found in pattern.captures_iter(content) {
                let is_there = found[1].rsplit_once('/').is_some_and(|(place, _)| place == folder);
                self.must(is_there, format!("{name}: {} is not in a mounted Secret", &found[1]));
            }
        }
        let is_live = secrets.is_none_or(|mount| mount["subPath"].is_null());
        self.must(is_live, "a Secret mounted by subPath is never renewed");
        for volume in items(&self.manifests.pod()["volumes"]).filter(|volume| !volume["secret"].is_null()) {
            let mode = volume["secret"]["defaultMode"].as_u64().unwrap_or(0o644);
            self.must(mode % 0o10 == 0, format!("the volume {} is for everyone to read: {mode:o}", volume["name"]));
        }
    }

    /// Past its limit the daemon is killed with all that it holds.
    fn memory(&mut self) {
        let limit = bytes(&self.manifests.daemon()["resources"]["limits"]["memory"]);
        let needed = self.config.limits.memory + BESIDE_PAYLOAD;
        self.must(
            limit >= needed,
            format!("the memory limit of {limit} bytes is below limits.memory and 128MiB: {needed}"),
        );
    }

    /// A store belongs on a volume that stays; without one, durable endpoints refuse every message.
    fn storage(&mut self) {
        let durable = self.config.endpoints.values().any(|endpoint| endpoint.link.outbox.durable);
        let claims = &self.manifests.workload()["spec"]["volumeClaimTemplates"];
        if !durable {
            return self.must(claims.is_null(), "a volume is claimed and no endpoint is durable");
        }
        let folder = self.config.storage.dir.display().to_string();
        let mounts = &self.manifests.daemon()["volumeMounts"];
        let claim = items(mounts)
            .find(|mount| mount["mountPath"] == folder.as_str())
            .and_then(|mount| items(claims).find(|claim| claim["metadata"]["name"] == mount["name"]));
        let Some(claim) = claim else {
            return self.must(false, format!("an endpoint is durable and no claimed volume is mounted at {folder}"));
        };
        let (size, needed) = (bytes(&claim["spec"]["resources"]["requests"]["storage"]), self.config.storage.max_bytes);
        self.must(size > needed, format!("the volume of {size} bytes is not above storage.max_bytes: {needed}"));
    }

    /// Two pods with the same endpoints hold every link twice.
    fn owner(&mut self) {
        let workload = self.manifests.workload();
        self.must(workload["spec"]["replicas"] == 1, "more than one replica: each would hold every link");
        let overlaps = workload["kind"] == "Deployment" && workload["spec"]["strategy"]["type"] != "Recreate";
        self.must(!overlaps, "a rolling update holds every link twice while it lasts: strategy Recreate");
        for budget in self.manifests.of("PodDisruptionBudget") {
            self.must(
                budget["spec"]["maxUnavailable"] == 1,
                "this PodDisruptionBudget can hold up a node's draining for ever",
            );
        }
        self.must(!self.manifests.of("PodDisruptionBudget").is_empty(), "there is no PodDisruptionBudget");
    }

    /// A selector that finds no pod protects, serves and scrapes nothing, and nobody is told.
    fn selectors(&mut self) {
        let labels = self.manifests.pod_labels().clone();
        for (kind, path) in [
            ("Service", "/spec/selector"),
            ("PodDisruptionBudget", "/spec/selector/matchLabels"),
            ("NetworkPolicy", "/spec/podSelector/matchLabels"),
            ("PodMonitor", "/spec/selector/matchLabels"),
        ] {
            for object in self.manifests.of(kind) {
                let selector = object.pointer(path).and_then(Value::as_object);
                let finds = selector.is_some_and(|wanted| wanted.iter().all(|(name, value)| labels[name] == *value));
                self.must(finds, format!("the {kind} {} does not find the pod", object["metadata"]["name"]));
            }
        }
        for constraint in items(&self.manifests.pod()["topologySpreadConstraints"]) {
            let wanted = constraint["labelSelector"]["matchLabels"].as_object();
            let finds = wanted.is_some_and(|wanted| wanted.iter().all(|(name, value)| labels[name] == *value));
            self.must(finds, format!("the spread by {} does not find the pod", constraint["topologyKey"]));
        }
    }

    /// With tokens, metrics need one; Prometheus' must be able to read metrics and nothing of any endpoint.
    fn scrape(&mut self) {
        let Some(secret) = self.mount(|volume| !volume["secret"].is_null()) else { return };
        for monitor in self.manifests.of("PodMonitor") {
            for scrape in items(&monitor["spec"]["podMetricsEndpoints"]) {
                self.must(
                    scrape["port"] == "api" && scrape["path"] == "/metrics",
                    format!("not /metrics at `api`: {scrape}"),
                );
                let key = text(&scrape["authorization"]["credentials"]["key"]);
                let from = &scrape["authorization"]["credentials"]["name"];
                let reference = format!("${{file:{}/{key}}}", text(&secret["mountPath"]));
                let token = self.config.api.tokens.iter().find(|token| token.secret.source() == reference);
                let is_known = token.is_some() && *from == secret["volume"]["secret"]["secretName"];
                self.must(is_known, format!("the PodMonitor's token {from}, {key:?} is none of api.tokens"));
                let is_least = token.is_none_or(|token| {
                    token.scopes == [Scope::Read] && token.endpoints.as_ref().is_some_and(Vec::is_empty)
                });
                self.must(is_least, "Prometheus' token allows more than metrics");
            }
        }
    }

    /// A policy for egress that forbids the peer's port looks like an outage of the peer.
    fn network(&mut self) {
        let policies = self.manifests.of("NetworkPolicy");
        let governed = json!(["Ingress", "Egress"]);
        let is_governed = policies.iter().any(|policy| policy["spec"]["policyTypes"] == governed);
        self.must(is_governed, "no NetworkPolicy governs what comes in and what goes out");
        let rules = policies.iter().flat_map(|policy| items(&policy["spec"]["egress"]));
        let open: Vec<&Value> = rules.flat_map(|rule| items(&rule["ports"])).map(|port| &port["port"]).collect();
        for endpoint in self.config.endpoints.values() {
            for url in &endpoint.urls {
                let port = Url::parse(&url.shown()).ok().and_then(|url| url.port_or_known_default());
                let may = port.is_some_and(|port| open.iter().any(|open| **open == port));
                self.must(may, format!("no NetworkPolicy lets out {}, port {port:?}", endpoint.name));
            }
        }
        self.must(open.iter().any(|port| **port == 53), "no NetworkPolicy lets out DNS");
    }

    /// What the restricted Pod Security Standard asks of a namespace and of volumes; the rest of it is asked by checkov.
    fn admission(&mut self) {
        for space in self.manifests.of("Namespace") {
            let enforced = &space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
            self.must(enforced == "restricted", "the namespace does not enforce restricted pods");
        }
        for volume in items(&self.manifests.pod()["volumes"]) {
            let is_of_a_kind = VOLUMES.iter().any(|kind| !volume[kind].is_null());
            self.must(
                is_of_a_kind,
                format!("the volume {} is of a kind that restricted pods may not have", volume["name"]),
            );
        }
    }

    /// Where the daemon mounts the first volume that is so: the mount, with the volume under `volume`.
    fn mount(&self, is: impl Fn(&Value) -> bool) -> Option<Value> {
        let volumes = || items(&self.manifests.pod()["volumes"]);
        items(&self.manifests.daemon()["volumeMounts"]).find_map(|mount| {
            let volume = volumes().find(|volume| volume["name"] == mount["name"] && is(volume))?;
            let mut mount = mount.clone();
            mount["volume"] = volume.clone();
            Some(mount)
        })
    }
}

/// Whether a port, by number or by name, is one of these of containers.
fn is_of(ports: &[&Value], port: &Value) -> bool {
    ports.iter().any(|known| known["containerPort"] == *port || (known["name"].is_string() && known["name"] == *port))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A quantity of bytes; none is 0.
fn bytes(quantity: &Value) -> u64 {
    let quantity = text(quantity);
    let digits = quantity.trim_end_matches(char::is_alphabetic);
    let shift = match &quantity[digits.len()..] {
        "" => 0,
        "Ki" => 10,
        "Mi" => 20,
        "Gi" => 30,
        other => panic!("{quantity}: the unit {other:?} is not known here"),
    };
    digits.parse::<u64>().unwrap_or(0) << shift
}
