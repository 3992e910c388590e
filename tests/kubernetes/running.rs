//! The daemon as each overlay would run it: probed from its start to its end, with a peer that is away, a `ConfigMap` and a Secret
//! that change under it, and a volume that outlives it.
//!
//! Each test has a network of its own, in which the pod's address is; the tests and what they start are the node.

use std::{
    fs,
    net::TcpStream,
    panic::resume_unwind,
    process::{Child, Command, Stdio},
    thread,
};

use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    judges::Tools,
    manifests::{MONITORED, Manifests, items},
    pod::{ADDRESS, Pod},
    volume::Files,
    waiting::{PATIENCE, until},
};

/// An endpoint whose peer is on this node.
const NEARBY: &str = "[endpoints.feed]\nurl = \"ws://127.0.0.1:9001/\"\n\
                      [endpoints.feed.reconnect]\nfirst = \"50ms\"\ninitial = \"50ms\"\nmax = \"200ms\"\n";

#[test]
fn a_pod_of_every_overlay_lives_by_its_manifest() {
    let Some(tools) = Tools::found() else { return };
    in_a_network_of_its_own(move || {
        for overlay in [MONITORED, "durable", "sidecar"] {
            let manifests = tools.render(overlay);
            let claims = TempDir::new().unwrap();
            let mut pod = Pod::start(&manifests, &shipped(&manifests), &secret("one"), claims.path());
            pod.until_ready();
            pod.assert_confined();
            its_peer_is_unknown(&pod);
            its_config_map_changes(&pod, &manifests);
            if overlay == MONITORED {
                prometheus_asks_it(&pod, &manifests);
            }
            its_secret_changes(&pod);
            if overlay == "sidecar" {
                the_program_beside_it_asks(&pod, &manifests);
            }
            pod.stop();
        }
    });
}

#[test]
fn what_a_durable_pod_has_accepted_leaves_from_the_next_pod_on_its_volume() {
    let Some(tools) = Tools::found() else { return };
    in_a_network_of_its_own(move || {
        let manifests = tools.render("durable");
        let (claims, secret) = (TempDir::new().unwrap(), secret("one"));
        let config = with_endpoints(&manifests, NEARBY);
        let mut pod = Pod::start(&manifests, &config, &secret, claims.path());
        pod.until_ready();
        let path = "/v1/endpoints/feed/messages?wait=stored";
        let (status, receipt) = pod.call("POST", "wskeeper:7700", path, "program-one", "carried over").unwrap();
        assert_eq!(status, 200, "{receipt}");
        let receipt: Value = serde_json::from_str(&receipt).unwrap();
        pod.assert_well();
        pod.stop();

        let _peer = Peer::start();
        let mut next = Pod::start(&manifests, &config, &secret, claims.path());
        next.until_ready();
        let path = format!("/v1/messages/{}", receipt["id"].as_str().unwrap());
        next.until("a confirmed message", &path, "program-one", |status, body| {
            status == 200 && body.contains("\"state\":\"confirmed\"")
        });
        next.stop();
    });
}

/// The peer of the shipped configuration cannot be found: the link is told so again and again, and nobody restarts the pod.
fn its_peer_is_unknown(pod: &Pod) {
    pod.until("a link whose peer is unknown", "/v1/links/trades/0", "admin-one", |status, body| {
        let link: Value = serde_json::from_str(body).unwrap_or_default();
        status == 200 && link["attempt"].as_u64() > Some(0) && link["lastClose"]["cause"] == "dns"
    });
    pod.assert_well();
}

/// The kubelet brings another configuration: the daemon follows. Then the peer goes away, and still nobody restarts the pod.
fn its_config_map_changes(pod: &Pod, manifests: &Manifests) {
    let peer = Peer::start();
    pod.volume("config").swap(&with_endpoints(manifests, NEARBY));
    pod.until("the new endpoint", "/v1/links/feed/0", "admin-one", |_, body| body.contains("\"phase\":\"ready\""));
    assert_eq!(pod.call("GET", pod.authority(), "/v1/links/trades/0", "admin-one", "").unwrap().0, 404);
    pod.assert_well();
    drop(peer);
    pod.until("a link without a peer", "/v1/links/feed/0", "admin-one", |_, body| {
        !body.contains("\"phase\":\"ready\"")
    });
    pod.assert_well();
}

/// As the `PodMonitor` says, with the token that it names.
fn prometheus_asks_it(pod: &Pod, manifests: &Manifests) {
    let monitors = manifests.of("PodMonitor");
    let scrape = items(&monitors[0]["spec"]["podMetricsEndpoints"]).next().expect("an endpoint");
    let key = scrape["authorization"]["credentials"]["key"].as_str().unwrap();
    let token = secret("one").into_iter().find(|(name, _)| name == key).expect("its key").1;
    let (authority, path) = (format!("{ADDRESS}:7700"), scrape["path"].as_str().unwrap());
    let (status, text) = pod.call("GET", &authority, path, &token, "").unwrap();
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("\nwskeeper_config_reloads_total{result=\"ok\"} "), "{text}");
    assert_eq!(pod.call("GET", &authority, path, "", "").unwrap().0, 401);
}

/// A new token counts without a restart, and the old one counts no more.
fn its_secret_changes(pod: &Pod) {
    pod.volume("secrets").swap(&secret("two"));
    pod.until("the new token", "/v1/links", "admin-two", |status, _| status == 200);
    assert_eq!(pod.call("GET", pod.authority(), "/v1/links", "admin-one", "").unwrap().0, 401);
}

/// By the variables of its own container, with the one file that it has of the Secret.
fn the_program_beside_it_asks(pod: &Pod, manifests: &Manifests) {
    let program = items(&manifests.pod()["containers"]).find(|container| container["name"] == "program").unwrap();
    let variable = |name: &str| {
        let found = items(&program["env"]).find(|variable| variable["name"] == name).expect("a variable");
        found["value"].as_str().unwrap()
    };
    let authority = variable("WSKEEPER_API").strip_prefix("http://").unwrap();
    let mount = items(&program["volumeMounts"]).next().expect("a mount");
    let folder = pod.volume(mount["name"].as_str().unwrap()).folder();
    let file = variable("WSKEEPER_TOKEN_FILE").strip_prefix(mount["mountPath"].as_str().unwrap()).unwrap();
    pod.volume("secrets").swap(&secret("one"));
    let token = fs::read_to_string(folder.join(file.trim_start_matches('/'))).unwrap();
    pod.until("the program's token", "/v1/endpoints/feed", &token, |status, _| status == 200);
    assert_eq!(pod.call("POST", authority, "/v1/reload", &token, "").unwrap().0, 403);
    let visible = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(visible.filter(|name| !name.starts_with("..")).collect::<Vec<_>>(), ["program-token"]);
}

/// The files of the `ConfigMap` as they are shipped.
fn shipped(manifests: &Manifests) -> Files {
    manifests.config_files().into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

/// The same with other endpoints: `20-endpoints.toml` is the user's.
fn with_endpoints(manifests: &Manifests, endpoints: &str) -> Files {
    let mut files = shipped(manifests);
    let own = files.iter_mut().find(|(name, _)| name == "20-endpoints.toml").expect("the user's file");
    endpoints.clone_into(&mut own.1);
    files
}

/// The Secret that `docs/kubernetes.md` has people make; `round` tells one from the next.
fn secret(round: &str) -> Files {
    ["metrics", "program", "admin", "feed"].map(|name| (format!("{name}-token"), format!("{name}-{round}"))).into()
}

/// An echo peer on the node.
struct Peer(Child);

impl Peer {
    fn start() -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_wskeeper"))
            .args(["echo", "--listen", "127.0.0.1:9001"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let peer = Self(child);
        until("the peer to listen", PATIENCE, || TcpStream::connect("127.0.0.1:9001"));
        peer
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        self.0.wait().unwrap();
    }
}

/// Runs a test on a thread, and all that it starts, where there is nobody but the pod.
fn in_a_network_of_its_own(test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("only root can run a pod");
        for words in ["link set lo up".to_owned(), format!("address add {ADDRESS}/24 dev lo")] {
            assert!(Command::new("ip").args(words.split(' ')).status().unwrap().success(), "ip {words}");
        }
        test();
    });
    thread.join().unwrap_or_else(|panic| resume_unwind(panic));
}
