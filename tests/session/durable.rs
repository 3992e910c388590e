//! Variables that outlive the daemon: a session is resumed after `kill -9` and after a stop, and begun anew once it is forgotten.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    stand::{Stand, text},
    support::{daemon::Daemon, until},
    with_preset,
};

const DURABLE: &str = "session.durable = [\"sid\", \"seq\", \"resume_url\"]";

fn said(value: &Value) -> Vec<Message> {
    vec![text(&value.to_string())]
}

/// A gateway that numbers its events, whatever connection they are on; `count` is the last number.
fn gateway(count: &AtomicU64, heard: Option<&str>) -> Vec<Message> {
    let event = |name: &str, data: Value| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        said(&json!({ "op": 0, "t": name, "s": number, "d": data }))
    };
    let Some(heard) = heard else {
        return said(&json!({ "op": 10, "d": { "heartbeat_interval": 60_000 }, "s": null, "t": null }));
    };
    match op(heard) {
        Some(1) => said(&json!({ "op": 11 })),
        Some(2) => event("READY", json!({ "session_id": "s3cret-sid", "resume_gateway_url": null })),
        Some(6) => event("RESUMED", json!({})),
        Some(_) => Vec::new(),
        None => event("MESSAGE_CREATE", json!({ "content": heard })),
    }
}

fn op(heard: &str) -> Option<i64> {
    serde_json::from_str::<Value>(heard).ok()?["op"].as_i64()
}

fn discord(port: u16, durable: &str) -> String {
    let values = format!("session.values = {{ token = \"right\", intents = 513 }}\n{durable}");
    with_preset("discord", &format!("ws://127.0.0.1:{port}/"), &format!("{values}\n[storage]\ndir = \"store\""))
}

/// What the connection that is there now began with: an identification (2) or a resume (6), and the number of the resume.
fn began(stand: &Stand) -> (i64, Option<u64>) {
    let heard = stand.heard().pop().unwrap_or_default();
    let first: Value = heard.first().and_then(|first| serde_json::from_str(first).ok()).unwrap_or_default();
    (first["op"].as_i64().unwrap_or_default(), first["d"]["seq"].as_u64())
}

/// Sends a message and waits until consumers see its event: the link has its number.
async fn event(daemon: &Daemon, count: &AtomicU64) -> u64 {
    let mut events = daemon.api.events("e", "from=latest&types=message").await;
    daemon.api.send_text("e", "hello").await.expect(202);
    let (payload, _) = events.next_of("message").await.payload();
    let number = serde_json::from_slice::<Value>(&payload).unwrap()["s"].as_u64().unwrap();
    assert_eq!(number, count.load(Ordering::SeqCst));
    number
}

/// Waits until this number is on disk.
async fn stored(daemon: &Daemon, number: u64) {
    let needle = format!("\"seq\":{number}");
    until("the number on disk", || async {
        let log = fs::read(daemon.folder().join("store/store.sqlite-wal")).unwrap_or_default();
        if log.windows(needle.len()).any(|window| window == needle.as_bytes()) { Ok(()) } else { Err(log.len()) }
    })
    .await;
}

async fn restarted(daemon: &mut Daemon) {
    daemon.relaunch().await;
    daemon.api.ready_after("e/0", 0).await;
}

#[tokio::test]
async fn a_session_is_resumed_after_a_kill_and_a_stop_until_it_is_forgotten() {
    let count = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&count);
    let stand = Stand::start("", move |heard| gateway(&counted, heard)).await;
    let mut daemon = Daemon::start(&discord(stand.port, DURABLE)).await;
    daemon.api.ready_after("e/0", 0).await;
    assert_eq!(began(&stand).0, 2);
    let on_disk = event(&daemon, &count).await;
    stored(&daemon, on_disk).await;
    daemon.kill();
    restarted(&mut daemon).await;
    assert_eq!(began(&stand), (6, Some(on_disk)), "{:?}", stand.heard());

    // The disk may be behind by what came within the last second, and is never ahead.
    let mut last = 0;
    for _ in 0..20 {
        last = event(&daemon, &count).await;
    }
    daemon.kill();
    restarted(&mut daemon).await;
    let (first, number) = began(&stand);
    assert!(first == 6 && (on_disk..=last).contains(&number.unwrap_or_default()), "{:?}", stand.heard());

    // A stop writes the last.
    for _ in 0..5 {
        last = event(&daemon, &count).await;
    }
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.end().await.success());
    restarted(&mut daemon).await;
    assert_eq!(began(&stand), (6, Some(last)), "{:?}", stand.heard());
    let identified = stand.heard().into_iter().flatten().filter(|heard| op(heard) == Some(2)).count();
    assert_eq!(identified, 1, "once in all these lives: {:?}", stand.heard());
    let shown = daemon.api.get("/v1/links/e/0/explain").await.expect(200).body;
    assert!(
        !String::from_utf8_lossy(&shown).contains("s3cret-sid") && !daemon.log().contains("s3cret-sid"),
        "variables are not shown"
    );

    // A configuration that does not name them forgets them.
    for (durable, is_known) in [("", false), (DURABLE, false), (DURABLE, true)] {
        daemon.signal(Signal::SIGTERM);
        assert!(daemon.end().await.success());
        daemon.configure(&discord(stand.port, durable));
        restarted(&mut daemon).await;
        assert_eq!(began(&stand).0, if is_known { 6 } else { 2 }, "{durable}: {:?}", stand.heard());
    }
}

#[tokio::test]
async fn without_its_store_the_link_goes_on_and_the_log_says_so_once() {
    let count = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&count);
    let stand = Stand::start("", move |heard| gateway(&counted, heard)).await;
    let mut daemon = Daemon::start(&discord(stand.port, DURABLE)).await;
    daemon.api.ready_after("e/0", 0).await;
    let before = event(&daemon, &count).await;
    stored(&daemon, before).await;
    let (store, elsewhere) = (daemon.folder().join("store"), daemon.folder().join("elsewhere"));
    fs::rename(&store, &elsewhere).unwrap();
    event(&daemon, &count).await;
    until("refusals", || async {
        let refused = daemon.api.metric("wskeeper_session_variables_refused_total{endpoint=\"e\"}").await;
        if refused >= Some(2.0) { Ok(()) } else { Err(refused) }
    })
    .await;
    let last = event(&daemon, &count).await;
    fs::rename(&elsewhere, &store).unwrap();
    stored(&daemon, last).await;
    let told = || daemon.log().matches("durable variables of sessions are").count();
    until("the word that all is well", || async { if told() == 2 { Ok(()) } else { Err(daemon.log()) } }).await;
    daemon.kill();
    restarted(&mut daemon).await;
    assert_eq!(began(&stand), (6, Some(last)), "{:?}", stand.heard());
}
