//! Reloads of the file beside endpoints that came by the API.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    keys, logged, names, path,
    peer::Peer,
    put, sections,
    support::{daemon::Daemon, until},
    told,
};

const KEEPING: &str = "dynamic = \"disk\"\ndynamic_references = [\"${env:FEED_*}\"]";

async fn plan(daemon: &Daemon) -> Value {
    daemon.api.get("/v1/plan").await.expect(200).json()
}

async fn reload(daemon: &Daemon) -> Value {
    daemon.api.post("/v1/reload", &[], "").await.expect(200).json()
}

fn warnings(report: &Value) -> String {
    report["warnings"].to_string()
}

#[tokio::test]
async fn a_reload_keeps_them_and_lays_them_over_its_defaults() {
    let peer = Peer::listen().await;
    let file = format!("[endpoints.file]\nurl = \"ws://127.0.0.1:{}/file\"\n", peer.port);
    let daemon = Daemon::start(&sections(KEEPING, &file)).await;
    put(&daemon, "mine", &keys(peer.port, "mine")).await.expect(201);
    daemon.api.ready_after("mine/0", 0).await;
    assert_eq!(told(&plan(&daemon).await), ["file/0 unchanged", "mine/0 unchanged"]);
    assert_eq!(told(&reload(&daemon).await), ["file/0 unchanged", "mine/0 unchanged"]);
    daemon.signal(Signal::SIGHUP);
    until("a reload by signal", || async {
        let count = daemon.log().matches("configuration reloaded").count();
        if count == 2 { Ok(()) } else { Err(count) }
    })
    .await;
    assert_eq!((daemon.api.link("mine/0").await["generation"].as_u64(), peer.seen("mine").connections), (Some(1), 1));

    daemon.configure(&sections(KEEPING, &file).replace("close_timeout = \"1s\"", "close_timeout = \"2s\""));
    assert_eq!(
        told(&reload(&daemon).await),
        ["file/0 applied live close_timeout", "mine/0 applied live close_timeout"]
    );
    // A file that is empty but for that takes its own endpoints, and no other.
    daemon.configure(&sections(KEEPING, ""));
    let refused = daemon.api.post("/v1/reload", &[], "").await;
    assert_eq!(refused.status, 422, "no endpoint of the file is left");
    assert_eq!(names(&daemon).await, ["file", "mine"]);
}

#[tokio::test]
async fn the_file_takes_a_name_over_and_that_is_told_before() {
    let (peer, text) = (Peer::listen().await, sections(KEEPING, ""));
    let mut daemon = Daemon::start(&text).await;
    put(&daemon, "both", &keys(peer.port, "both")).await.expect(201);
    daemon.api.ready_after("both/0", 0).await;
    daemon.configure(&format!("{text}[endpoints.both]\nurl = \"ws://127.0.0.1:{}/both\"\nlinks = 2\n", peer.port));
    let planned = plan(&daemon).await;
    assert!(warnings(&planned).contains("the endpoint of the file replaces it"), "{planned}");
    assert_eq!(told(&planned), ["both/0 unchanged", "both/1 added links"]);
    let kept = daemon.folder().join("storage/endpoints/both.json");
    assert!(kept.exists(), "a plan does nothing");
    assert_eq!(reload(&daemon).await, planned);
    assert!(!kept.exists());
    assert_eq!(daemon.api.get(&path("both")).await.json()["source"], "file");
    assert_eq!(put(&daemon, "both", &keys(peer.port, "both")).await.status, 409);
    daemon.api.ready_after("both/1", 0).await;
    assert_eq!(peer.seen("both").connections, 2, "the first connection stayed");

    // The same at a start.
    fs::write(&kept, keys(peer.port, "other").to_string()).unwrap();
    daemon.kill();
    daemon.relaunch().await;
    assert_eq!(daemon.api.get(&path("both")).await.json()["source"], "file");
    assert!(!kept.exists());
    logged(&daemon, &["endpoints on disk do not fit the configuration", "the endpoint of the file replaces it"]).await;
}

#[tokio::test]
async fn one_that_the_file_allows_no_more_rests_until_it_does() {
    let (peer, text) = (Peer::listen().await, sections(KEEPING, ""));
    let mut daemon = Daemon::made(&text);
    daemon.set_variable("FEED_A", "a");
    daemon.launch();
    daemon.ready().await;
    let mut keyed = keys(peer.port, "keyed");
    keyed["headers"] = json!({ "X-A": "${env:FEED_A}" });
    put(&daemon, "keyed", &keyed).await.expect(201);
    put(&daemon, "plain", &keys(peer.port, "plain")).await.expect(201);
    daemon.configure(&text.replace("FEED_*", "OTHER"));
    let report = reload(&daemon).await;
    assert_eq!(told(&report), ["keyed/0 removed endpoint", "plain/0 unchanged"]);
    assert!(
        warnings(&report).contains("keyed (") && warnings(&report).contains("they have no links until"),
        "{report}"
    );
    assert_eq!(names(&daemon).await, ["plain"]);
    daemon.kill();
    daemon.relaunch().await;
    assert_eq!(names(&daemon).await, ["plain"], "after a restart too");
    daemon.configure(&text);
    assert_eq!(told(&reload(&daemon).await), ["keyed/0 added endpoint", "plain/0 unchanged"]);
    daemon.api.ready_after("keyed/0", 0).await;
}

#[tokio::test]
async fn where_they_are_kept_changes_by_a_restart_only() {
    let (peer, text) = (Peer::listen().await, sections(KEEPING, ""));
    let mut daemon = Daemon::start(&text).await;
    put(&daemon, "mine", &keys(peer.port, "mine")).await.expect(201);
    daemon.configure(&text.replace("\"disk\"", "\"off\"").replace("/storage\"", "/elsewhere\""));
    let report = reload(&daemon).await;
    assert_eq!(report["restart"], json!(["api.dynamic", "storage.dir"]));
    put(&daemon, "yours", &keys(peer.port, "yours")).await.expect(201);
    daemon.configure(&text.replace("\"disk\"", "\"off\""));
    daemon.kill();
    daemon.relaunch().await;
    assert_eq!(names(&daemon).await, Vec::<String>::new());
    logged(&daemon, &["endpoints on disk are not held"]).await;
    daemon.configure(&text);
    daemon.kill();
    daemon.relaunch().await;
    assert_eq!(names(&daemon).await, ["mine", "yours"]);
}
