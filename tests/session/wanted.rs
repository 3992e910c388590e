//! Keys of presets against stand-ins: what asks for one and lets go of it, what the service says to that, and what consumers see of it.
//!
//! What a reader would get wrong: no test here knows a preset's templates. Each service takes what its documentation says, and refuses the rest.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    stand::{Stand, text},
    support::{daemon::Daemon, until},
    with_preset,
};

/// A service, a key that it takes, and one that it refuses.
struct Feed {
    preset: &'static str,
    /// Behind the host.
    path: &'static str,
    /// Further keys of the endpoint.
    keys: &'static str,
    service: fn(Option<&str>) -> Vec<Message>,
    good: &'static str,
    /// Empty where the service refuses none so that anybody could tell which.
    bad: &'static str,
    /// What of a message asks for the good one, and what lets go of it; empty where nothing does.
    asks: &'static str,
    leaves: &'static str,
    /// What consumers are not to see.
    hidden: &'static str,
}

const KEYS: &str = "/v1/endpoints/e/subscriptions";

fn escaped(key: &str) -> String {
    key.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat()
}

async fn state(daemon: &Daemon, key: &str, wanted: &str) -> Value {
    until(&format!("{key} {wanted}"), || async {
        let view = daemon.api.get(&format!("{KEYS}/{}", escaped(key))).await.expect(200).json();
        if view["state"] == wanted { Ok(view) } else { Err(format!("{view} {}", daemon.log())) }
    })
    .await
}

async fn is_kept(feed: Feed) {
    let Feed { preset, path, keys, service, good, bad, asks, leaves, hidden } = feed;
    let protocol = if preset == "actioncable" { "actioncable-v1-json" } else { "" };
    let mut stand = Stand::start(protocol, service).await;
    let daemon = Daemon::start(&with_preset(preset, &format!("ws://127.0.0.1:{}{path}", stand.port), keys)).await;
    daemon.api.ready_after("e/0", 0).await;
    for key in [good, bad].into_iter().filter(|key| !key.is_empty()) {
        daemon.api.put(&format!("{KEYS}/{}?holder=a", escaped(key)), "").await.expect(201);
    }
    state(&daemon, good, "active").await;
    if !bad.is_empty() {
        let view = state(&daemon, bad, "refused").await;
        assert!(view["why"].to_string().contains("no such thing"), "{view}");
    }
    let heard = stand.heard_after_a_restart(&daemon).await;
    let place = |what: &str| heard.iter().position(|heard| heard.contains(what));
    assert!(place(asks).is_some() && place(asks) < place("queued"), "{preset}: {heard:?}");
    state(&daemon, good, "active").await;
    daemon.api.delete(&format!("{KEYS}/{}?holder=a", escaped(good))).await.expect(204);
    if !leaves.is_empty() {
        stand.last("the farewell", |heard| heard.iter().any(|heard| heard.contains(leaves))).await;
    }
    // What comes behind it has everything before it.
    daemon.api.send_text("e", "hello").await.expect(202);
    let mut events = daemon.api.events("e", "from=oldest&types=message").await;
    loop {
        let (message, _) = events.next_of("message").await.payload();
        let message = String::from_utf8_lossy(&message).into_owned();
        assert!(hidden.is_empty() || !message.contains(hidden), "{preset}: consumers see {message}");
        if message == "hello" {
            break;
        }
    }
}

fn read(heard: &str) -> Value {
    serde_json::from_str(heard).unwrap_or_default()
}

fn said(value: &Value) -> Vec<Message> {
    vec![text(&value.to_string())]
}

/// What is no message of the protocol comes back as it is.
fn echoed(heard: &str) -> Vec<Message> {
    if heard == "queued" { Vec::new() } else { vec![text(heard)] }
}

fn binance(heard: Option<&str>) -> Vec<Message> {
    let Some(heard) = heard else { return Vec::new() };
    let request = read(heard);
    let id = &request["id"];
    match (request["method"].as_str(), request["params"].as_array()) {
        (Some("SUBSCRIBE" | "UNSUBSCRIBE"), Some(streams)) if id.is_u64() => {
            if streams.iter().any(|stream| stream == "bad") {
                return said(&json!({ "code": 2, "msg": "Invalid request: no such thing", "id": id }));
            }
            said(&json!({ "result": null, "id": id }))
        }
        _ => echoed(heard),
    }
}

fn kraken(heard: Option<&str>) -> Vec<Message> {
    let Some(heard) = heard else {
        return said(&json!({ "channel": "status", "type": "update", "data": [{ "system": "online" }] }));
    };
    let request = read(heard);
    let (method, id, symbol) = (&request["method"], &request["req_id"], &request["params"]["symbol"][0]);
    match method.as_str() {
        Some("ping") => said(&json!({ "method": "pong" })),
        Some("subscribe" | "unsubscribe") if symbol == "XBT/USD" => said(
            &json!({ "error": "no such thing", "method": method, "success": false, "symbol": symbol, "req_id": id }),
        ),
        Some("subscribe" | "unsubscribe") => {
            let result = json!({ "channel": request["params"]["channel"], "symbol": symbol });
            said(&json!({ "method": method, "result": result, "success": true, "req_id": id }))
        }
        _ => echoed(heard),
    }
}

fn okx(heard: Option<&str>) -> Vec<Message> {
    let Some(heard) = heard else { return Vec::new() };
    let request = read(heard);
    let (id, argument) = (&request["id"], &request["args"][0]);
    match request["op"].as_str() {
        Some("subscribe") if argument["instId"] == "bad" => {
            said(&json!({ "id": id, "event": "error", "code": "60018", "msg": "no such thing", "connId": "a4d3ae55" }))
        }
        Some(op @ ("subscribe" | "unsubscribe")) if id.is_string() => {
            said(&json!({ "id": id, "event": op, "arg": argument, "connId": "a4d3ae55" }))
        }
        _ => echoed(heard),
    }
}

fn home_assistant(heard: Option<&str>) -> Vec<Message> {
    let Some(heard) = heard else { return said(&json!({ "type": "auth_required" })) };
    let command = read(heard);
    let id = &command["id"];
    match command["type"].as_str() {
        Some("auth") => said(&json!({ "type": "auth_ok" })),
        Some("subscribe_events") if command["event_type"] == "bad" => {
            let error = json!({ "code": "invalid_format", "message": "no such thing" });
            said(&json!({ "id": id, "type": "result", "success": false, "error": error }))
        }
        Some("subscribe_events") if id.is_u64() => {
            said(&json!({ "id": id, "type": "result", "success": true, "result": null }))
        }
        _ => echoed(heard),
    }
}

fn phoenix(heard: Option<&str>) -> Vec<Message> {
    let Some(heard) = heard else { return Vec::new() };
    let message = read(heard);
    let (join, reference, topic) = (&message[0], &message[1], &message[2]);
    let reply = |status: &str, response: Value| {
        said(&json!([join, reference, topic, "phx_reply", { "status": status, "response": response }]))
    };
    match message[3].as_str() {
        Some("phx_join") if topic == "bad:1" => reply("error", json!({ "reason": "no such thing" })),
        Some("phx_join") if join.is_string() && join == reference => reply("ok", json!({})),
        Some("phx_leave") => [reply("ok", json!({})), said(&json!([null, null, topic, "phx_close", {}]))].concat(),
        Some("heartbeat") => reply("ok", json!({})),
        _ => echoed(heard),
    }
}

fn pusher(heard: Option<&str>) -> Vec<Message> {
    let Some(heard) = heard else {
        let data = json!({ "socket_id": "1.2", "activity_timeout": 120 }).to_string();
        return said(&json!({ "event": "pusher:connection_established", "data": data }));
    };
    let message = read(heard);
    match message["event"].as_str() {
        Some("pusher:subscribe") => {
            let channel = &message["data"]["channel"];
            said(&json!({ "event": "pusher_internal:subscription_succeeded", "channel": channel, "data": "{}" }))
        }
        Some(_) => Vec::new(),
        None => echoed(heard),
    }
}

fn action_cable(heard: Option<&str>) -> Vec<Message> {
    let Some(heard) = heard else {
        return [said(&json!({ "type": "welcome" })), said(&json!({ "type": "ping" }))].concat();
    };
    let command = read(heard);
    let identifier = &command["identifier"];
    match command["command"].as_str() {
        Some("subscribe") if identifier.to_string().contains("Bad") => {
            said(&json!({ "type": "reject_subscription", "identifier": identifier, "why": "no such thing" }))
        }
        Some("subscribe") => said(&json!({ "type": "confirm_subscription", "identifier": identifier })),
        Some(_) => Vec::new(),
        None => echoed(heard),
    }
}

fn centrifugo(heard: Option<&str>) -> Vec<Message> {
    let Some(heard) = heard else { return Vec::new() };
    let command = read(heard);
    let id = &command["id"];
    if command["connect"].is_object() {
        return said(&json!({ "id": id, "connect": { "client": "c", "ping": 25, "pong": true } }));
    }
    match command["subscribe"]["channel"].as_str() {
        Some("bad") => said(&json!({ "id": id, "error": { "code": 102, "message": "no such thing" } })),
        Some(_) => said(&json!({ "id": id, "subscribe": {} })),
        None if command["unsubscribe"].is_object() => said(&json!({ "id": id, "unsubscribe": {} })),
        None => echoed(heard),
    }
}

fn mastodon(heard: Option<&str>) -> Vec<Message> {
    let Some(heard) = heard else { return Vec::new() };
    if read(heard)["type"].is_string() { Vec::new() } else { echoed(heard) }
}

#[tokio::test]
async fn binance_has_its_streams() {
    is_kept(Feed {
        preset: "binance",
        path: "/stream",
        keys: "subscriptions.batch = 1",
        service: binance,
        good: "btcusdt@trade",
        bad: "bad",
        asks: r#""method":"SUBSCRIBE","params":["btcusdt@trade"]"#,
        leaves: r#""method":"UNSUBSCRIBE","params":["btcusdt@trade"]"#,
        hidden: r#""id""#,
    })
    .await;
}

#[tokio::test]
async fn kraken_has_its_channels() {
    is_kept(Feed {
        preset: "kraken",
        path: "/v2",
        keys: "",
        service: kraken,
        good: r#"{"channel":"trade","symbol":["BTC/USD"]}"#,
        bad: r#"{"channel":"trade","symbol":["XBT/USD"]}"#,
        asks: r#"{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"]}"#,
        leaves: r#"{"method":"unsubscribe","params":{"channel":"trade","symbol":["BTC/USD"]}"#,
        hidden: r#""success""#,
    })
    .await;
}

#[tokio::test]
async fn okx_has_its_channels() {
    is_kept(Feed {
        preset: "okx",
        path: "/ws/v5/public",
        keys: "session.open = []\nsession.values = { key = \"\", secret = \"\", passphrase = \"\" }",
        service: okx,
        good: r#"{"channel":"tickers","instId":"BTC-USDT"}"#,
        bad: r#"{"channel":"tickers","instId":"bad"}"#,
        asks: r#""op":"subscribe","args":[{"channel":"tickers","instId":"BTC-USDT"}]"#,
        leaves: r#""op":"unsubscribe","args":[{"channel":"tickers","instId":"BTC-USDT"}]"#,
        hidden: r#""connId""#,
    })
    .await;
}

#[tokio::test]
async fn home_assistant_has_its_types_of_events() {
    is_kept(Feed {
        preset: "home-assistant",
        path: "/api/websocket",
        keys: "session.values.token = \"right\"",
        service: home_assistant,
        good: "state_changed",
        bad: "bad",
        asks: r#""event_type":"state_changed""#,
        leaves: "",
        hidden: r#""result""#,
    })
    .await;
}

#[tokio::test]
async fn phoenix_has_its_channels_joined() {
    is_kept(Feed {
        preset: "phoenix",
        path: "/socket/websocket?vsn=2.0.0",
        keys: "",
        service: phoenix,
        good: "room:1",
        bad: "bad:1",
        asks: r#""room:1","phx_join""#,
        leaves: r#""room:1","phx_leave""#,
        hidden: "phx_reply",
    })
    .await;
}

#[tokio::test]
async fn pusher_has_its_public_channels() {
    is_kept(Feed {
        preset: "pusher",
        path: "/app/key?protocol=7",
        keys: "",
        service: pusher,
        good: "news",
        bad: "",
        asks: r#"{"data":{"channel":"news"},"event":"pusher:subscribe"}"#,
        leaves: r#"{"data":{"channel":"news"},"event":"pusher:unsubscribe"}"#,
        hidden: "pusher_internal:subscription_succeeded",
    })
    .await;
}

#[tokio::test]
async fn action_cable_has_its_channels() {
    is_kept(Feed {
        preset: "actioncable",
        path: "/cable",
        keys: "session.mute = { after = \"1h\" }",
        service: action_cable,
        good: r#"{"channel":"ChatChannel"}"#,
        bad: r#"{"channel":"BadChannel"}"#,
        asks: r#"{"command":"subscribe","identifier":"{\"channel\":\"ChatChannel\"}"}"#,
        leaves: r#"{"command":"unsubscribe","identifier":"{\"channel\":\"ChatChannel\"}"}"#,
        hidden: "_subscription",
    })
    .await;
}

#[tokio::test]
async fn centrifugo_has_its_channels() {
    is_kept(Feed {
        preset: "centrifugo",
        path: "/connection/websocket",
        keys: "",
        service: centrifugo,
        good: "news",
        bad: "bad",
        asks: r#""subscribe":{"channel":"news"}"#,
        leaves: r#""unsubscribe":{"channel":"news"}"#,
        hidden: "",
    })
    .await;
}

#[tokio::test]
async fn mastodon_has_its_streams() {
    is_kept(Feed {
        preset: "mastodon",
        path: "/api/v1/streaming",
        keys: "session.values.token = \"right\"",
        service: mastodon,
        good: "public:local",
        bad: "",
        asks: r#"{"stream":"public:local","type":"subscribe"}"#,
        leaves: r#"{"stream":"public:local","type":"unsubscribe"}"#,
        hidden: "",
    })
    .await;
}

#[tokio::test]
async fn the_answer_to_a_programs_own_message_is_found_by_its_own_reference() {
    let stand = Stand::start("", phoenix).await;
    let url = format!("ws://127.0.0.1:{}/socket/websocket?vsn=2.0.0", stand.port);
    let daemon = Daemon::start(&with_preset("phoenix", &url, "")).await;
    for topic in ["room:1", "bad:1"] {
        let join = format!(r#"["{topic}","{topic}","{topic}","phx_join",{{"since":7}}]"#);
        daemon.api.put(&format!("{KEYS}/{}?holder=a", escaped(topic)), join).await.expect(201);
    }
    state(&daemon, "room:1", "active").await;
    state(&daemon, "bad:1", "refused").await;
}
