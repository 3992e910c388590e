//! Links that have a connection only while somebody wants one, against a server that counts connections and how they end.

use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    QUICK, explained,
    support::{api::Api, daemon::Daemon, free_port, until},
};

/// What a server has seen.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    connections: usize,
    open: usize,
    messages: Vec<String>,
    /// The codes that ended connections.
    codes: Vec<Option<u16>>,
}

type Watched = Arc<Mutex<Seen>>;

/// A server that echoes, and sees what comes.
pub async fn watching(port: u16) -> (u16, Watched) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let (port, watched) = (listener.local_addr().unwrap().port(), Watched::default());
    let noted = Arc::clone(&watched);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let noted = Arc::clone(&noted);
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                {
                    let mut seen = noted.lock();
                    (seen.connections, seen.open) = (seen.connections + 1, seen.open + 1);
                }
                let mut code = None;
                while let Some(Ok(message)) = socket.next().await {
                    match message {
                        Message::Text(text) => {
                            noted.lock().messages.push(text.to_string());
                            let _ = socket.send(Message::Text(text)).await;
                        }
                        Message::Close(frame) => code = frame.map(|frame| frame.code.into()),
                        Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                    }
                }
                let mut seen = noted.lock();
                seen.open -= 1;
                seen.codes.push(code);
            });
        }
    });
    (port, watched)
}

fn lazy(port: u16, idle: &str, more: &str) -> String {
    format!(
        "{QUICK}\n[endpoints.e]\nurl = \"ws://127.0.0.1:{port}\"\nstart = \"lazy\"\nidle_timeout = \"{idle}\"\n{more}\n"
    )
}

fn is_asleep(link: &Value) -> bool {
    link["phase"] == "paused" && link["phaseReason"] == "asleep"
}

async fn asleep(api: &Api) -> Value {
    api.link_until("e/0", "a sleeping link", is_asleep).await
}

/// A lazy link beside that of a test, by which it tells that the time is over.
fn clock(port: u16) -> String {
    format!("[endpoints.clock]\nurl = \"ws://127.0.0.1:{port}\"\nstart = \"lazy\"\nidle_timeout = \"1s\"\n")
}

/// Long enough that a link which nobody uses since now is asleep: one that was used later than now is.
async fn idle_timeout_is_over(api: &Api) {
    let before = api.link("clock/0").await["generation"].as_u64();
    api.send_text("clock", "tick").await.expect(202);
    let is_over = |link: &Value| is_asleep(link) && link["generation"].as_u64() > before;
    api.link_until("clock/0", "it was awake, and is asleep", is_over).await;
}

async fn seen(watched: &Watched, what: &str, is: impl Fn(&Seen) -> bool) -> Seen {
    until(what, || async {
        let seen = watched.lock().clone();
        if is(&seen) { Ok(seen) } else { Err(seen) }
    })
    .await
}

#[tokio::test]
async fn a_message_wakes_a_lazy_link_and_it_is_closed_with_1000_when_nobody_uses_it() {
    let (port, watched) = watching(0).await;
    let daemon = Daemon::start(&lazy(port, "1s", "critical = true")).await;
    asleep(&daemon.api).await;
    assert_eq!(watched.lock().connections, 0);
    daemon.api.get("/readyz?links").await.expect(200);
    let said = explained(&daemon).await;
    assert!(said.contains("Nobody sends, subscribes or listens") && said.contains("wakes it"), "{said}");
    for round in 1..=3 {
        let path = "/v1/endpoints/e/messages?wait=written&timeout=20s";
        let receipt = daemon.api.post(path, &[("Content-Type", "text/plain")], format!("message {round}")).await;
        let receipt = receipt.expect(200).json();
        assert!(["written", "confirmed"].contains(&receipt["state"].as_str().unwrap()), "{receipt}");
        asleep(&daemon.api).await;
        let seen = seen(&watched, "its end", |seen| seen.open == 0).await;
        assert_eq!((seen.connections, seen.messages.len()), (round, round));
        assert_eq!(seen.codes, vec![Some(1000); round]);
    }
    let link = daemon.api.link("e/0").await;
    assert_eq!((&link["lastClose"]["cause"], &link["lastClose"]["sentCode"]), (&json!("idle"), &json!(1000)));
    assert_eq!(daemon.api.get("/v1/endpoints/e").await.json()["totals"]["asleep"], 1);
    assert!(!daemon.log().contains("WARN"), "{}", daemon.log());
}

#[tokio::test]
async fn whoever_listens_or_holds_a_key_has_the_link_awake_and_who_only_looks_does_not() {
    let ((port, watched), (beside, _)) = (watching(0).await, watching(0).await);
    let subscriptions = "subscriptions.add = \"+${key}\"\nsubscriptions.remove = \"-${key}\"\nstreams = [{ name = \"s\", match = { \"/a\" = 1 } }]";
    let daemon = Daemon::start(&lazy(port, "1s", &format!("{subscriptions}\n{}", clock(beside)))).await;
    let api = &daemon.api;
    asleep(api).await;
    // Who watches phases or frames wants no connection.
    let (_phases, _frames) = (api.events("e", "types=phase").await, api.frames("e", "").await);
    assert_eq!(api.get("/v1/endpoints/e/subscriptions").await.expect(200).status, 200);

    let events = api.events("e", "").await;
    let link = api.ready_after("e/0", 0).await;
    idle_timeout_is_over(api).await;
    assert_eq!(api.link("e/0").await["generation"], link["generation"], "it stays while somebody listens");
    drop(events);
    asleep(api).await;

    let stream = api.events("e", "stream=s").await;
    api.ready_after("e/0", 1).await;
    drop(stream);
    asleep(api).await;

    let socket = api.socket("e", "", false).await;
    api.ready_after("e/0", 2).await;
    drop(socket);
    asleep(api).await;

    api.put("/v1/endpoints/e/subscriptions/k?holder=me", "").await;
    api.ready_after("e/0", 3).await;
    seen(&watched, "the key", |seen| seen.messages.contains(&"+k".to_owned())).await;
    idle_timeout_is_over(api).await;
    assert_eq!(api.link("e/0").await["phase"], "ready");
    api.delete("/v1/endpoints/e/subscriptions/k?holder=me").await;
    asleep(api).await;
    let seen = seen(&watched, "its end", |seen| seen.open == 0).await;
    assert_eq!(seen.connections, 4, "one for each who came");
    assert_eq!(seen.messages.last().map(String::as_str), Some("-k"));
}

#[tokio::test]
async fn a_wake_that_fails_is_tried_again_while_somebody_wants_it_and_operators_have_the_last_word() {
    let port = free_port();
    let daemon = Daemon::start(&lazy(port, "1s", "outbox.when_down = \"reject\"")).await;
    let api = &daemon.api;
    asleep(api).await;
    // A message to a sleeping link is accepted, for it wakes it.
    api.send_text("e", "first").await.expect(202);
    api.link_until("e/0", "attempts", |link| link["attempt"].as_u64().is_some_and(|attempt| attempt >= 3)).await;
    api.send_text("e", "to a link that is down").await.expect(503);
    let (_, watched) = watching(port).await;
    seen(&watched, "the first message", |seen| seen.messages == ["first"]).await;
    asleep(api).await;

    api.post("/v1/links/e/0/pause", &[], "").await.expect(200);
    let link = api.link("e/0").await;
    assert_eq!((&link["phase"], &link["phaseReason"]), (&json!("paused"), &json!("operator")));
    let listening = api.events("e", "").await;
    api.send_text("e", "to a paused link").await.expect(503);
    assert_eq!(api.link("e/0").await["phaseReason"], "operator", "nobody but an operator wakes it");
    drop(listening);
    api.post("/v1/links/e/0/resume", &[], "").await.expect(200);
    api.ready_after("e/0", 1).await;
    asleep(api).await;
    api.post("/v1/links/e/0/reconnect", &[], "").await.expect(200);
    api.ready_after("e/0", 2).await;
    asleep(api).await;
    assert_eq!(watched.lock().connections, 3);
}

#[tokio::test]
async fn a_reload_follows_start_and_idle_timeout_at_once() {
    let ((port, watched), (beside, _)) = (watching(0).await, watching(0).await);
    let daemon = Daemon::start(&lazy(port, "1h", &clock(beside))).await;
    let api = &daemon.api;
    asleep(api).await;
    let reload = async |text: String| {
        daemon.configure(&text);
        let plan = api.get("/v1/plan").await.expect(200).json().to_string();
        assert!(plan.contains("applied live"), "{plan}");
        api.post("/v1/reload", &[], "").await.expect(200);
    };
    reload(format!("{QUICK}\n[endpoints.e]\nurl = \"ws://127.0.0.1:{port}\"\n{}", clock(beside))).await;
    api.ready_after("e/0", 0).await;
    let events = api.events("e", "").await;
    reload(lazy(port, "1s", &clock(beside))).await;
    idle_timeout_is_over(api).await;
    assert_eq!(api.link("e/0").await["phase"], "ready", "somebody listened before it was lazy");
    drop(events);
    asleep(api).await;
    assert_eq!(watched.lock().connections, 1);
}

#[tokio::test]
async fn what_waits_on_disk_and_keys_that_are_held_wake_a_link_after_a_restart() {
    let port = free_port();
    let keeping = "durability = \"disk\"\nsubscriptions.add = \"+${key}\"\n[storage]\ndir = \"{folder}/storage\"";
    let mut daemon = Daemon::start(&lazy(port, "1s", keeping)).await;
    asleep(&daemon.api).await;
    daemon.api.send_text("e", "kept").await.expect(202);
    daemon.kill();
    let (_, watched) = watching(port).await;
    daemon.relaunch().await;
    seen(&watched, "what was kept", |seen| seen.messages == ["kept"]).await;
    asleep(&daemon.api).await;
    daemon.api.put("/v1/endpoints/e/subscriptions/k?holder=me", "").await;
    daemon.api.ready_after("e/0", 0).await;
    seen(&watched, "the key", |seen| seen.messages == ["kept", "+k"]).await;
    daemon.kill();
    daemon.relaunch().await;
    seen(&watched, "the key again", |seen| seen.messages == ["kept", "+k", "+k"]).await;
}
