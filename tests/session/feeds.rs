//! Presets of feeds against stand-ins: Binance, Kraken, Mastodon, Jetstream, Centrifugo, `OpenAI`.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    answer, explained_when_parked,
    stand::{Stand, close, text},
    support::daemon::Daemon,
    with_preset,
};

fn said(value: &Value) -> Vec<Message> {
    vec![text(&value.to_string())]
}

#[tokio::test]
async fn binance_changes_over_when_its_server_shuts_down() {
    let streams = |heard: Option<&str>| match heard {
        Some("shut down") => {
            said(&json!({ "stream": "!serverShutdown", "data": { "e": "serverShutdown", "E": 1_770_123_456_789_u64 } }))
        }
        Some("queued") | None => Vec::new(),
        Some(_) => said(&json!({ "stream": "btcusdt@trade", "data": { "e": "trade" } })),
    };
    let mut stand = Stand::start("", streams).await;
    let url = format!("ws://127.0.0.1:{}/stream?streams=btcusdt@trade", stand.port);
    let daemon = Daemon::start(&with_preset("binance", &url, "")).await;
    let link = daemon.api.ready_after("e/0", 0).await;
    assert!(answer(&daemon, "hello").await.contains("btcusdt@trade"));
    daemon.api.send_text("e", "shut down").await.expect(202);
    let mut events = daemon.api.events("e", "from=oldest").await;
    daemon.api.ready_after("e/0", link["generation"].as_u64().unwrap()).await;
    // Nobody is told of a gap, because there was none.
    daemon.api.send_text("e", "hello").await.expect(202);
    let (mut kinds, mut messages) = (Vec::new(), 0);
    while messages < 3 {
        let event = events.next().await;
        messages += usize::from(event.kind == "message");
        kinds.push(event.kind);
    }
    assert!(!kinds.iter().any(|kind| kind == "gap"), "{kinds:?}");
    stand.heard_after_a_restart(&daemon).await;
    stand.goes_on(&daemon, "").await;
    assert!(stand.asked().iter().all(|asked| asked == "/stream?streams=btcusdt@trade "), "{:?}", stand.asked());
}

#[tokio::test]
async fn kraken_is_ready_with_its_status_and_asked_where_it_is_quiet() {
    let exchange = |heard: Option<&str>| {
        let Some(heard) = heard else {
            return said(
                &json!({ "channel": "status", "type": "update", "data": [{ "system": "online", "api_version": "v2" }] }),
            );
        };
        match serde_json::from_str::<Value>(heard).unwrap_or_default()["method"].as_str() {
            Some("ping") => said(&json!({ "method": "pong", "time_in": "2026-11-29T00:00:00Z" })),
            Some("subscribe") => said(&json!({ "method": "subscribe", "success": true })),
            _ => [said(&json!({ "channel": "heartbeat" })), vec![text(heard)]].concat(),
        }
    };
    let mut stand = Stand::start("", exchange).await;
    // What the preset waits for is too long to wait for here.
    let mute = "session.mute = { after = \"300ms\", probe = { json = { method = \"ping\" } } }";
    let daemon = Daemon::start(&with_preset("kraken", &format!("ws://127.0.0.1:{}/v2", stand.port), mute)).await;
    let link = daemon.api.ready_after("e/0", 0).await;
    stand.last("two pings", |heard| heard.iter().filter(|heard| *heard == r#"{"method":"ping"}"#).count() >= 2).await;
    assert_eq!(answer(&daemon, "hello").await, "hello", "pongs and heartbeats are hidden");
    assert_eq!(daemon.api.link("e/0").await["generation"], link["generation"]);
    stand.heard_after_a_restart(&daemon).await;
    stand.goes_on(&daemon, "").await;
}

fn mastodon(heard: Option<&str>) -> Vec<Message> {
    match heard {
        Some(subscribe) if subscribe.contains(r#""stream":"user""#) => Vec::new(),
        Some(subscribe) if subscribe.contains("subscribe") => {
            said(&json!({ "error": "Unknown stream type", "status": 400 }))
        }
        Some("queued") | None => Vec::new(),
        Some(_) => said(&json!({ "stream": ["user"], "event": "delete", "payload": "106692867363994015" })),
    }
}

#[tokio::test]
async fn mastodon_is_subscribed_to_first_on_every_connection() {
    let mut stand = Stand::start("", mastodon).await;
    let url = format!("ws://127.0.0.1:{}/api/v1/streaming", stand.port);
    let daemon = Daemon::start(&with_preset("mastodon", &url, "session.values.token = \"right\"")).await;
    daemon.api.ready_after("e/0", 0).await;
    assert!(answer(&daemon, "hello").await.contains("delete"));
    let heard = stand.heard_after_a_restart(&daemon).await;
    assert_eq!(heard, [r#"{"stream":"user","type":"subscribe"}"#, "queued"]);
    stand.goes_on(&daemon, "subscribe").await;
    assert!(stand.asked().iter().all(|asked| asked == "/api/v1/streaming Bearer right"), "{:?}", stand.asked());
}

#[tokio::test]
async fn mastodon_says_that_a_stream_is_not_known_in_its_own_words() {
    let stand = Stand::start("", mastodon).await;
    let url = format!("ws://127.0.0.1:{}/api/v1/streaming", stand.port);
    let mut daemon =
        Daemon::made(&with_preset("mastodon", &url, "session.values = { token = \"right\", stream = \"usr\" }"));
    daemon.launch();
    daemon.alive().await;
    let explained = explained_when_parked(&daemon).await;
    assert!(explained.contains("Unknown stream type"), "{explained}");
}

#[tokio::test]
async fn jetstream_goes_on_after_the_last_event_of_either_version() {
    let stream = |heard: Option<&str>| match heard {
        Some("old") => said(&json!({ "did": "did:plc:a", "time_us": 1_725_911_162_329_308_u64, "kind": "commit" })),
        Some("new") => said(
            &json!({ "did": "did:plc:a", "time_us": 1_725_911_162_329_309_u64, "cursor": 12345, "kind": "commit" }),
        ),
        Some(_) | None => Vec::new(),
    };
    let mut stand = Stand::start("", stream).await;
    let url = format!("ws://127.0.0.1:{}/subscribe?wantedCollections=a&cursor=${{var:cursor|}}", stand.port);
    let daemon = Daemon::start(&with_preset("bluesky-jetstream", &url, "")).await;
    daemon.api.ready_after("e/0", 0).await;
    for word in ["old", "new"] {
        assert!(answer(&daemon, word).await.contains("did:plc:a"));
        stand.heard_after_a_restart(&daemon).await;
    }
    let asked = ["", "1725911162329308", "12345"];
    let asked = asked.map(|cursor| format!("/subscribe?wantedCollections=a&cursor={cursor} "));
    let mut seen = stand.asked();
    seen.dedup();
    assert_eq!(seen, asked);
    stand.goes_on(&daemon, "").await;
}

fn centrifugo(heard: Option<&str>) -> Vec<Message> {
    let Some(heard) = heard else { return Vec::new() };
    let command: Value = serde_json::from_str(heard).unwrap_or_default();
    match (&command["id"], command["connect"]["token"].as_str()) {
        (id, Some("right")) => [
            said(&json!({ "id": id, "connect": { "client": "c", "version": "6.9.1", "ping": 25, "pong": true } })),
            vec![text("{}")],
        ]
        .concat(),
        (id, Some("old")) => said(&json!({ "id": id, "error": { "code": 109, "message": "token expired" } })),
        (_, Some(_)) => vec![close(3500, "invalid token")],
        (_, None) if heard == "{}" || heard == "queued" => Vec::new(),
        (_, None) => vec![text(&format!("{{\"push\":{{\"channel\":\"{heard}\"}}}}\n{{}}"))],
    }
}

#[tokio::test]
async fn centrifugo_is_connected_to_first_on_every_connection_and_answered_when_it_pings() {
    let mut stand = Stand::start("", centrifugo).await;
    let url = format!("ws://127.0.0.1:{}/connection/websocket", stand.port);
    let daemon = Daemon::start(&with_preset("centrifugo", &url, "session.values.token = \"right\"")).await;
    daemon.api.ready_after("e/0", 0).await;
    let pongs = |count| move |heard: &[String]| heard.iter().filter(|heard| *heard == "{}").count() == count;
    stand.last("a pong", pongs(1)).await;
    assert!(answer(&daemon, "hello").await.contains("push"), "a ping that comes alone is hidden");
    stand.last("a pong to a ping among others", pongs(2)).await;
    let heard = stand.heard_after_a_restart(&daemon).await;
    let connect = r#"{"connect":{"name":"wskeeper","token":"right"},"id":4294967295}"#;
    assert_eq!((heard[0].as_str(), heard.iter().filter(|heard| heard.contains("connect")).count()), (connect, 1));
    stand.goes_on(&daemon, connect).await;
}

#[tokio::test]
async fn centrifugo_refuses_a_token_in_its_own_words() {
    for (token, words) in [("old", "token expired"), ("s3cret-wrong", "invalid token")] {
        let stand = Stand::start("", centrifugo).await;
        let url = format!("ws://127.0.0.1:{}/connection/websocket", stand.port);
        let mut daemon = Daemon::made(&with_preset("centrifugo", &url, &format!("session.values.token = \"{token}\"")));
        daemon.launch();
        daemon.alive().await;
        let explained = explained_when_parked(&daemon).await;
        assert!(explained.contains(words) && !explained.contains("s3cret-wrong"), "{explained}");
        assert_eq!(stand.heard().len(), 2, "it is asked twice, and no more");
    }
}

#[tokio::test]
async fn openai_realtime_is_ready_when_its_session_is_and_says_why_it_is_not() {
    let model = |heard: Option<&str>| match heard {
        None => said(
            &json!({ "type": "session.created", "event_id": "event_1", "session": { "expires_at": 1_756_324_625 } }),
        ),
        Some("queued") => Vec::new(),
        Some(_) => said(&json!({ "type": "session.updated", "event_id": "event_2" })),
    };
    let mut stand = Stand::start("", model).await;
    let with = |port: u16| {
        let url = format!("ws://127.0.0.1:{port}/v1/realtime?model=gpt-realtime");
        with_preset("openai-realtime", &url, "session.values.key = \"right\"")
    };
    let daemon = Daemon::start(&with(stand.port)).await;
    daemon.api.ready_after("e/0", 0).await;
    assert!(answer(&daemon, "{}").await.contains("session.updated"));
    stand.heard_after_a_restart(&daemon).await;
    stand.goes_on(&daemon, "").await;
    assert!(stand.asked().iter().all(|asked| asked == "/v1/realtime?model=gpt-realtime Bearer right"));

    let error = json!({ "type": "error", "error": { "type": "invalid_request_error", "message": "The model does not exist." } });
    let stand = Stand::start("", move |_| said(&error)).await;
    let mut daemon = Daemon::made(&with(stand.port));
    daemon.launch();
    daemon.alive().await;
    let explained = explained_when_parked(&daemon).await;
    assert!(explained.contains("The model does not exist."), "{explained}");
}
