//! Presets of chat services against stand-ins: Discord's gateway, Home Assistant, Action Cable.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    explained_when_parked, is_down,
    stand::{Stand, close, text},
    support::{daemon::Daemon, until},
    with_preset,
};

fn op(heard: &str) -> (i64, Value) {
    let heard: Value = serde_json::from_str(heard).unwrap_or_default();
    (heard["op"].as_i64().unwrap_or(-1), heard["d"].clone())
}

fn said(value: &Value) -> Vec<Message> {
    vec![text(&value.to_string())]
}

/// Its gateway: HELLO, READY or RESUMED, an acknowledgement of each heartbeat, and the codes that it refuses with.
fn gateway(heard: Option<&str>) -> Vec<Message> {
    let Some(heard) = heard else {
        return said(&json!({ "op": 10, "d": { "heartbeat_interval": 200 }, "s": null, "t": null }));
    };
    match op(heard) {
        (1, _) => said(&json!({ "op": 11 })),
        (2, login) if login["token"] == "right" && login["intents"] == 513 => said(
            &json!({ "op": 0, "t": "READY", "s": 1, "d": { "session_id": "abc", "resume_gateway_url": login["url"] } }),
        ),
        (2, _) => vec![close(4004, "Authentication failed.")],
        (6, resume) if resume["session_id"] == "abc" => said(&json!({ "op": 0, "t": "RESUMED", "s": 3, "d": {} })),
        (6, _) => said(&json!({ "op": 9, "d": false })),
        (-1, _) => said(&json!({ "op": 0, "t": "MESSAGE_CREATE", "s": 2, "d": { "content": heard } })),
        _ => Vec::new(),
    }
}

fn discord(port: u16, token: &str) -> String {
    let values = format!("session.values = {{ token = \"{token}\", intents = 513 }}");
    with_preset("discord", &format!("ws://127.0.0.1:{port}/?v=10&encoding=json"), &values)
}

#[tokio::test]
async fn discord_identifies_beats_and_resumes_with_the_last_sequence_number() {
    let mut stand = Stand::start("", gateway).await;
    let daemon = Daemon::start(&discord(stand.port, "right")).await;
    let link = daemon.api.ready_after("e/0", 0).await;
    let mut events = daemon.api.events("e", "from=oldest&types=message").await;
    let (ready, _) = events.next_of("message").await.payload();
    assert!(String::from_utf8_lossy(&ready).contains("READY"), "HELLO is hidden");
    daemon.api.send_text("e", "hello").await.expect(202);
    let (answer, _) = events.next_of("message").await.payload();
    assert!(String::from_utf8_lossy(&answer).contains("MESSAGE_CREATE"), "acknowledgements are hidden");
    let beat = r#"{"d":2,"op":1}"#;
    let heard = stand.last("a heartbeat", |heard| heard.iter().any(|heard| heard == beat)).await;
    assert_eq!((op(&heard[0]).0, heard.iter().filter(|heard| op(heard).0 == 2).count()), (2, 1), "{heard:?}");

    stand.stop().await;
    daemon.api.link_until("e/0", "down", is_down).await;
    daemon.api.send_text("e", "queued").await.expect(202);
    stand.restart().await;
    daemon.api.ready_after("e/0", link["generation"].as_u64().unwrap()).await;
    let heard = stand.last("the queued one", |heard| heard.iter().any(|heard| heard == "queued")).await;
    let resume = json!({ "op": 6, "d": { "token": "right", "session_id": "abc", "seq": 2 } });
    assert_eq!(serde_json::from_str::<Value>(&heard[0]).unwrap(), resume, "{heard:?}");
    stand.goes_on(&daemon, r#""op":6"#).await;
}

#[tokio::test]
async fn discord_refuses_a_wrong_token_in_its_own_words() {
    let stand = Stand::start("", gateway).await;
    let mut daemon = Daemon::made(&discord(stand.port, "s3cret-wrong"));
    daemon.launch();
    daemon.alive().await;
    let explained = explained_when_parked(&daemon).await;
    assert!(explained.contains("4004") && explained.contains("Authentication failed."), "{explained}");
    let shown = daemon.api.get("/v1/endpoints/e").await.expect(200).body;
    assert!(!String::from_utf8_lossy(&shown).contains("s3cret-wrong") && !daemon.log().contains("s3cret-wrong"));
}

fn home(heard: Option<&str>) -> Vec<Message> {
    let Some(heard) = heard else { return said(&json!({ "type": "auth_required", "ha_version": "2026.11.1" })) };
    let heard: Value = serde_json::from_str(heard).unwrap_or_default();
    match (heard["type"].as_str(), heard["access_token"].as_str()) {
        (Some("auth"), Some("right")) => said(&json!({ "type": "auth_ok", "ha_version": "2026.11.1" })),
        (Some("auth"), _) => {
            vec![text(r#"{"type":"auth_invalid","message":"Invalid access token or password"}"#), close(1000, "")]
        }
        _ => said(&json!({ "id": heard["id"], "type": "result", "success": true, "result": null })),
    }
}

fn home_assistant(port: u16, token: &str) -> String {
    let values = format!("session.values.token = \"{token}\"");
    with_preset("home-assistant", &format!("ws://127.0.0.1:{port}/api/websocket"), &values)
}

#[tokio::test]
async fn home_assistant_is_logged_into_before_anything_else_after_a_restart_too() {
    let mut stand = Stand::start("", home).await;
    let daemon = Daemon::start(&home_assistant(stand.port, "right")).await;
    let link = daemon.api.ready_after("e/0", 0).await;
    let mut events = daemon.api.events("e", "from=oldest&types=message").await;
    daemon.api.send_text("e", r#"{"id":1,"type":"subscribe_events"}"#).await.expect(202);
    let (answer, _) = events.next_of("message").await.payload();
    assert!(String::from_utf8_lossy(&answer).contains("result"), "the login is hidden");
    stand.stop().await;
    daemon.api.link_until("e/0", "down", is_down).await;
    daemon.api.send_text("e", r#"{"id":1,"type":"queued"}"#).await.expect(202);
    stand.restart().await;
    daemon.api.ready_after("e/0", link["generation"].as_u64().unwrap()).await;
    let heard = stand.last("both", |heard| heard.len() == 2).await;
    assert_eq!(heard, [r#"{"access_token":"right","type":"auth"}"#, r#"{"id":1,"type":"queued"}"#]);
    stand.goes_on(&daemon, "access_token").await;
}

#[tokio::test]
async fn home_assistant_refuses_a_wrong_token_in_its_own_words() {
    let stand = Stand::start("", home).await;
    let mut daemon = Daemon::made(&home_assistant(stand.port, "s3cret-wrong"));
    daemon.launch();
    daemon.alive().await;
    let explained = explained_when_parked(&daemon).await;
    assert!(explained.contains("Invalid access token or password"), "{explained}");
    // It was asked twice, for the secret may have changed meanwhile; then no more.
    let asked: usize = stand.heard().iter().map(Vec::len).sum();
    assert_eq!(asked, 2, "{:?}", stand.heard());
}

#[tokio::test]
async fn action_cable_waits_for_welcome_and_follows_a_disconnect() {
    let cable = |heard: Option<&str>| match heard {
        None => vec![text(r#"{"type":"welcome"}"#), text(r#"{"type":"ping","message":1}"#)],
        Some("leave") => vec![text(r#"{"type":"disconnect","reason":"server_restart","reconnect":true}"#)],
        Some("banned") => vec![text(r#"{"type":"disconnect","reason":"unauthorized","reconnect":false}"#)],
        Some(other) => vec![text(&format!(r#"{{"identifier":"x","message":"{other}"}}"#))],
    };
    let stand = Stand::start("actioncable-v1-json", cable).await;
    let config = with_preset("actioncable", &format!("ws://127.0.0.1:{}/cable", stand.port), "");
    let daemon = Daemon::start(&config).await;
    let link = daemon.api.ready_after("e/0", 0).await;
    let mut events = daemon.api.events("e", "from=oldest&types=message").await;
    daemon.api.send_text("e", "hello").await.expect(202);
    let (answer, _) = events.next_of("message").await.payload();
    assert!(String::from_utf8_lossy(&answer).contains("hello"), "`welcome` and pings are hidden");
    daemon.api.send_text("e", "leave").await.expect(202);
    stand.goes_on(&daemon, "").await;
    let link = daemon.api.ready_after("e/0", link["generation"].as_u64().unwrap()).await;
    daemon.api.send_text("e", "banned").await.expect(202);
    let next = link["generation"].as_u64().unwrap();
    until("the end", || async {
        let link = daemon.api.link("e/0").await;
        let label = link["lastClose"]["label"] == "unauthorized" || link["generation"].as_u64() > Some(next);
        if label { Ok(()) } else { Err(link) }
    })
    .await;
}
