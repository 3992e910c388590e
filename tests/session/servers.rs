//! Presets against nats-server, mosquitto and the server of `graphql-ws`.

use crate::{
    explained_when_parked, is_down,
    support::{
        daemon::Daemon,
        peer::{Peer, Recipe},
        until,
    },
    with_preset,
};

fn nats() -> Recipe {
    Recipe::Nats { user: "keeper".into(), password: "pass 1".into() }
}

fn mosquitto() -> Recipe {
    Recipe::GuardedMosquitto { user: "keeper".into(), password: "pass 1".into() }
}

fn values(password: &str) -> String {
    format!("session.values = {{ user = \"keeper\", pass = \"{password}\" }}")
}

/// Waits until the server has told this, and gives all that it told.
async fn told(peer: &Peer, what: &str) -> String {
    until(what, || async {
        let log = peer.log();
        if log.contains(what) { Ok(log) } else { Err(log) }
    })
    .await
}

/// That `first` is told before `then`, and both are.
fn assert_order(log: &str, first: &str, then: &str) {
    let at = |what: &str| log.find(what).unwrap_or_else(|| panic!("{what:?} is not told in:\n{log}"));
    assert!(at(first) < at(then), "{then:?} before {first:?}:\n{log}");
}

/// Kills the server, sends while it is away, and starts it again: what it tells from then on.
async fn restarted(peer: &mut Peer, daemon: &Daemon, queued: &[u8], what: &str) -> String {
    let before = daemon.api.link("e/0").await["generation"].as_u64().unwrap();
    peer.kill();
    daemon.api.link_until("e/0", "down", is_down).await;
    daemon.api.send_binary("e", queued.to_vec()).await.expect(202);
    peer.restart().await;
    daemon.api.ready_after("e/0", before).await;
    told(peer, what).await
}

#[tokio::test]
async fn nats_logs_in_before_anything_else_after_a_restart_too() {
    let Some(mut nats) = Peer::start(nats()).await else { return };
    let daemon = Daemon::start(&with_preset("nats", &format!("ws://127.0.0.1:{}", nats.port), &values("pass 1"))).await;
    daemon.api.ready_after("e/0", 0).await;
    let mut events = daemon.api.events("e", "from=latest&types=message").await;
    daemon.api.send_binary("e", b"SUB news 1\r\nPUB news 5\r\nhello\r\n".to_vec()).await.expect(202);
    let (data, _) = events.next_of("message").await.payload();
    assert_eq!(String::from_utf8_lossy(&data), "MSG news 1 5\r\nhello\r\n");

    let log = restarted(&mut nats, &daemon, b"PUB queued 5\r\nhello\r\n", "<<- [PUB queued").await;
    assert_order(&log, "<<- [CONNECT {", "<<- [PUB queued");
    // It pings twice a second, and would have ended a connection that does not answer.
    until("two answers", || async {
        let answers = nats.log().matches("<<- [PONG]").count();
        if answers >= 2 { Ok(()) } else { Err(answers) }
    })
    .await;
}

#[tokio::test]
async fn nats_refuses_a_wrong_password_in_its_own_words() {
    let Some(nats) = Peer::start(nats()).await else { return };
    let daemon = Daemon::made(&with_preset("nats", &format!("ws://127.0.0.1:{}", nats.port), &values("s3cret-wrong")));
    let mut daemon = daemon;
    daemon.launch();
    daemon.alive().await;
    let explained = explained_when_parked(&daemon).await;
    assert!(explained.contains("Authorization Violation"), "{explained}");
    assert!(!explained.contains("s3cret-wrong") && !daemon.log().contains("s3cret-wrong"), "{explained}");
}

#[tokio::test]
async fn mosquitto_is_logged_into_before_anything_else_after_a_restart_too() {
    let Some(mut mosquitto) = Peer::start(mosquitto()).await else { return };
    let url = format!("ws://127.0.0.1:{}/mqtt", mosquitto.port);
    let daemon = Daemon::start(&with_preset("mqtt", &url, &values("pass 1"))).await;
    daemon.api.ready_after("e/0", 0).await;
    let mut events = daemon.api.events("e", "from=latest&types=message").await;
    daemon.api.send_binary("e", b"\x82\x0a\x00\x01\x00\x05ticks\x00".to_vec()).await.expect(202);
    assert_eq!(events.next_of("message").await.payload().0, b"\x90\x03\x00\x01\x00", "SUBACK");
    let publish = b"\x30\x09\x00\x05ticks\xff\x00";
    daemon.api.send_binary("e", publish.to_vec()).await.expect(202);
    assert_eq!(events.next_of("message").await.payload().0, publish);

    let log = restarted(&mut mosquitto, &daemon, publish, "Received PUBLISH").await;
    assert_order(&log, "New client connected", "Received PUBLISH");
    daemon.api.post("/v1/links/e/0/pause", &[], "").await.expect(200);
    told(&mosquitto, "Received DISCONNECT").await;
}

#[tokio::test]
async fn mosquitto_refuses_a_wrong_password() {
    let Some(mosquitto) = Peer::start(mosquitto()).await else { return };
    let url = format!("ws://127.0.0.1:{}/mqtt", mosquitto.port);
    let mut daemon = Daemon::made(&with_preset("mqtt", &url, &values("wrong")));
    daemon.launch();
    daemon.alive().await;
    let explained = explained_when_parked(&daemon).await;
    assert!(explained.contains("unauthorized"), "{explained}");
}

#[tokio::test]
async fn mosquitto_without_users_takes_the_preset_without_them() {
    let Some(mosquitto) = Peer::start(Recipe::Mosquitto).await else { return };
    let url = format!("ws://127.0.0.1:{}/mqtt", mosquitto.port);
    let daemon = Daemon::start(&with_preset("mqtt-anonymous", &url, "")).await;
    daemon.api.ready_after("e/0", 0).await;
}

#[tokio::test]
async fn graphql_ws_is_opened_before_anything_else_after_a_restart_too() {
    let Some(mut server) = Peer::start(Recipe::GraphqlWs).await else { return };
    let daemon = Daemon::start(&with_preset("graphql-ws", &format!("ws://127.0.0.1:{}", server.port), "")).await;
    daemon.api.ready_after("e/0", 0).await;
    let mut events = daemon.api.events("e", "from=latest&types=message").await;
    let subscribe = r#"{"id":"1","type":"subscribe","payload":{"query":"subscription { ticks }"}}"#;
    daemon.api.send_text("e", subscribe).await.expect(202);
    let (data, _) = events.next_of("message").await.payload();
    let data: serde_json::Value = serde_json::from_slice(&data).unwrap();
    assert_eq!((&data["type"], &data["payload"]["data"]["ticks"]), (&"next".into(), &"tick".into()), "{data}");
    told(&server, r#"heard {"type":"pong"}"#).await;

    let before = daemon.api.link("e/0").await["generation"].as_u64().unwrap();
    server.kill();
    daemon.api.link_until("e/0", "down", is_down).await;
    daemon.api.send_text("e", subscribe).await.expect(202);
    server.restart().await;
    daemon.api.ready_after("e/0", before).await;
    let log = told(&server, "\"subscribe\"").await;
    assert_order(&log, "connection_init", "\"subscribe\"");
}

#[tokio::test]
async fn graphql_ws_takes_a_payload_where_open_is_written_anew_and_parks_a_wrong_one() {
    let Some(server) = Peer::start(Recipe::GraphqlWs).await else { return };
    let open = |token: &str| {
        format!(
            "session.values.token = \"{token}\"\nsession.open = [\n\
             {{ send = {{ json = {{ type = \"connection_init\", payload = {{ token = \"${{value:token}}\" }} }} }} }},\n\
             {{ expect = {{ json = {{ \"/type\" = \"connection_ack\" }} }}, hide = true }},\n]"
        )
    };
    let url = format!("ws://127.0.0.1:{}/guarded", server.port);
    let daemon = Daemon::start(&with_preset("graphql-ws", &url, &open("right"))).await;
    daemon.api.ready_after("e/0", 0).await;
    daemon.configure(&with_preset("graphql-ws", &url, &open("wrong")));
    daemon.api.post("/v1/reload", &[], "").await.expect(200);
    // The old connection is in use until a new one is ready, and none becomes so.
    daemon.api.post("/v1/links/e/0/reconnect", &[], "").await;
    let explained = explained_when_parked(&daemon).await;
    assert!(explained.contains("4403"), "{explained}");
}
