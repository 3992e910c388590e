//! Presets of channels against stand-ins: Phoenix, Pusher, `SignalR`.

use crate::{
    answer,
    stand::{Stand, text},
    support::daemon::Daemon,
    with_preset,
};

#[tokio::test]
async fn phoenix_beats_and_hides_the_replies() {
    let channels = |heard: Option<&str>| match heard {
        None => Vec::new(),
        Some(beat) if beat.contains("heartbeat") => {
            vec![text(r#"[null,"wskeeper","phoenix","phx_reply",{"status":"ok","response":{}}]"#)]
        }
        Some(other) => vec![text(&format!(r#"[null,null,"room:1","news",{{"text":"{other}"}}]"#))],
    };
    let mut stand = Stand::start("", channels).await;
    let url = format!("ws://127.0.0.1:{}/socket/websocket?vsn=2.0.0", stand.port);
    // As often as in the preset would be too seldom to wait for.
    let every = r#"session.every = [{ every = "100ms", send = '[null,"wskeeper","phoenix","heartbeat",{}]', expect = { json = { "/1" = "wskeeper", "/2" = "phoenix", "/3" = "phx_reply" } }, hide = true }]"#;
    let daemon = Daemon::start(&with_preset("phoenix", &url, every)).await;
    daemon.api.ready_after("e/0", 0).await;
    let is_beat = |text: &&String| *text == r#"[null,"wskeeper","phoenix","heartbeat",{}]"#;
    stand.last("two heartbeats", |heard| heard.iter().filter(is_beat).count() >= 2).await;
    assert_eq!(answer(&daemon, "hello").await, r#"[null,null,"room:1","news",{"text":"hello"}]"#);
    stand.heard_after_a_restart(&daemon).await;
    stand.goes_on(&daemon, "").await;
}

#[tokio::test]
async fn pusher_is_ready_when_it_is_established_and_pings_when_it_is_quiet() {
    let channels = |heard: Option<&str>| match heard {
        None => vec![text(
            r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\",\"activity_timeout\":1}"}"#,
        )],
        Some(ping) if ping.contains("pusher:ping") => vec![text(r#"{"event":"pusher:pong","data":"{}"}"#)],
        Some(other) => vec![text(r#"{"event":"pusher:ping","data":"{}"}"#), text(other)],
    };
    let mut stand = Stand::start("", channels).await;
    let url = format!("ws://127.0.0.1:{}/app/key?protocol=7", stand.port);
    let daemon = Daemon::start(&with_preset("pusher", &url, "")).await;
    daemon.api.ready_after("e/0", 0).await;
    stand.last("a ping", |heard| heard.iter().any(|heard| heard == r#"{"data":{},"event":"pusher:ping"}"#)).await;
    assert_eq!(answer(&daemon, "hello").await, "hello", "the ping is hidden");
    stand.last("a pong", |heard| heard.iter().any(|heard| heard == r#"{"data":{},"event":"pusher:pong"}"#)).await;
    let heard = stand.heard_after_a_restart(&daemon).await;
    assert_eq!(heard.first().map(String::as_str), Some("queued"), "{heard:?}");
    stand.goes_on(&daemon, "").await;
}

#[tokio::test]
async fn signalr_shakes_hands_and_follows_a_close() {
    let hub = |heard: Option<&str>| match heard {
        None => Vec::new(),
        Some("{\"protocol\":\"json\",\"version\":1}\u{1e}") => vec![text("{}\u{1e}"), text("{\"type\":6}\u{1e}")],
        Some("leave") => vec![text("{\"type\":7,\"allowReconnect\":true}\u{1e}")],
        Some(other) => vec![text(&format!("{{\"type\":1,\"target\":\"news\",\"arguments\":[\"{other}\"]}}\u{1e}"))],
    };
    let mut stand = Stand::start("", hub).await;
    let daemon = Daemon::start(&with_preset("signalr", &format!("ws://127.0.0.1:{}/hub", stand.port), "")).await;
    let link = daemon.api.ready_after("e/0", 0).await;
    assert!(answer(&daemon, "hello").await.contains("hello"), "the handshake and pings are hidden");
    daemon.api.send_text("e", "leave").await.expect(202);
    daemon.api.ready_after("e/0", link["generation"].as_u64().unwrap()).await;
    let heard = stand.heard_after_a_restart(&daemon).await;
    assert_eq!(heard, ["{\"protocol\":\"json\",\"version\":1}\u{1e}", "queued"]);
    stand.goes_on(&daemon, "protocol").await;
}
