//! A thousand endpoints, of which a reload touches one.

use std::fmt::Write;

use serde_json::Value;

use crate::{
    QUICK,
    peer::Peer,
    plan, reload,
    support::{daemon::Daemon, until},
    told,
};

const ENDPOINTS: usize = 1000;

fn sections(port: u16, changed: &str) -> String {
    let mut text = format!("{QUICK}\n[limits]\ndrain = \"0s\"\n");
    for number in 0..ENDPOINTS {
        let line = if number == 500 { changed } else { "" };
        write!(text, "[endpoints.e{number:04}]\nurl = \"ws://127.0.0.1:{port}/{number}\"\n{line}\n").unwrap();
    }
    text
}

/// Every link, once all are ready.
async fn ready(daemon: &Daemon) -> Vec<Value> {
    until("all links ready", || async {
        let list = daemon.api.get("/v1/links?limit=10000").await.expect(200).json();
        let links = list["items"].as_array().unwrap().clone();
        let waiting = links.iter().filter(|link| link["phase"] != "ready").count();
        if waiting == 0 { Ok(links) } else { Err(format!("{waiting} of {} are not ready", links.len())) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_changes_one_of_a_thousand_endpoints_touches_one() {
    rlimit::increase_nofile_limit(rlimit::INFINITY).unwrap();
    let peer = Peer::listen().await;
    let daemon = Daemon::start(&sections(peer.port, "")).await;
    let before = ready(&daemon).await;
    assert_eq!((before.len(), peer.total()), (ENDPOINTS, ENDPOINTS as u64));

    daemon.configure(&sections(peer.port, "headers = { X-New = \"1\" }"));
    let planned = plan(&daemon).await;
    assert_eq!(told(&planned), ["e0500/0 rotate headers"]);
    assert_eq!(planned["changes"].as_array().unwrap().len(), ENDPOINTS);
    assert_eq!(peer.total(), ENDPOINTS as u64, "a plan does nothing");

    assert_eq!(reload(&daemon).await, planned);
    daemon.api.ready_after("e0500/0", 1).await;
    let after = ready(&daemon).await;
    for (old, new) in before.iter().zip(&after) {
        let generation = if new["endpoint"] == "e0500" { 2 } else { 1 };
        assert_eq!((&new["endpoint"], new["generation"].as_u64()), (&old["endpoint"], Some(generation)));
        assert!(generation == 2 || old["since"] == new["since"], "{new}");
    }
    let counts = peer.counts();
    assert_eq!(peer.total(), ENDPOINTS as u64 + 1, "the peer saw one new connection");
    assert_eq!(counts["/500"], 2);
}
