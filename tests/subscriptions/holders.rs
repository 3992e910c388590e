//! Who holds a key, and when it is released.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    PATH, at,
    exchange::{Exchange, FREE},
    subscribe,
    support::{api::Socket, daemon::Daemon},
    unsubscribe, until_shown,
};

async fn with(more: &str) -> (Exchange, Daemon) {
    let exchange = Exchange::start(FREE).await;
    let daemon = Daemon::start(&at(&exchange, "", more)).await;
    daemon.api.ready_after("e/0", 0).await;
    (exchange, daemon)
}

/// What the client is told of this kind.
async fn told(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let message = socket.next().await.unwrap().unwrap();
        let event: Value = serde_json::from_str(message.to_text().unwrap()).unwrap_or_default();
        if event["type"] == kind {
            return event;
        }
    }
}

#[tokio::test]
async fn a_key_of_two_programs_is_one_subscription_and_goes_with_the_last() {
    let (exchange, daemon) = with("").await;
    let first = subscribe(&daemon, "k", "one").await;
    assert_eq!(first["holders"], json!([{ "kind": "program", "name": "one", "leaseUntil": null }]));
    let second = subscribe(&daemon, "k", "two").await;
    assert_eq!(second["holders"].as_array().unwrap().len(), 2);
    exchange.last_has(1, &["k"]).await;
    unsubscribe(&daemon, "k", "one").await;
    subscribe(&daemon, "other", "one").await;
    let record = exchange.last_has(1, &["k", "other"]).await;
    assert_eq!(record.heard, ["+k", "+other"], "asked for once, and not released");
    unsubscribe(&daemon, "k", "two").await;
    exchange.last_has(1, &["other"]).await;
    assert_eq!(daemon.api.get(&format!("{PATH}/k")).await.status, 404);
    assert_eq!(daemon.api.delete(&format!("{PATH}/k?holder=two")).await.status, 404);
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_ends_and_one_that_is_goes_on() {
    let (exchange, daemon) = with("").await;
    let held = daemon.api.put(&format!("{PATH}/short?holder=x&lease=700ms"), "").await.expect(201).json();
    assert!(held["holders"][0]["leaseUntil"].is_string(), "{held}");
    subscribe(&daemon, "long", "x").await;
    exchange.last_has(1, &["long", "short"]).await;
    daemon.api.put(&format!("{PATH}/short?holder=x&lease=700ms"), "").await.expect(200);
    exchange.last_has(1, &["long"]).await;
    until_shown(&daemon, &[("long", "active")]).await;
}

#[tokio::test]
async fn a_local_websocket_holds_its_keys_until_it_is_closed() {
    let (exchange, daemon) = with("").await;
    let mut socket = daemon.api.socket("e", "", true).await;
    let ask = |kind: &str, key: &str| Message::text(json!({ "type": kind, "key": key, "ref": key }).to_string());
    for key in ["a", "b"] {
        socket.send(ask("subscribe", key)).await.unwrap();
        let answer = told(&mut socket, "subscription").await;
        assert_eq!((&answer["ref"], &answer["subscription"]["holders"][0]["kind"]), (&json!(key), &json!("websocket")));
    }
    exchange.last_has(1, &["a", "b"]).await;
    socket.send(ask("unsubscribe", "b")).await.unwrap();
    assert_eq!(told(&mut socket, "unsubscribed").await["key"], "b");
    exchange.last_has(1, &["a"]).await;
    socket.send(ask("unsubscribe", "b")).await.unwrap();
    assert_eq!(told(&mut socket, "problem").await["problem"]["status"], 404);
    subscribe(&daemon, "a", "x").await;
    socket.close(None).await.unwrap();
    drop(socket);
    let mut other = daemon.api.socket("e", "", true).await;
    other.send(ask("subscribe", "c")).await.unwrap();
    exchange.last_has(1, &["a", "c"]).await;
    // Without a Close.
    drop(other);
    exchange.last_has(1, &["a"]).await;
}

#[tokio::test]
async fn a_message_of_its_own_asks_for_a_key_and_another_ends_it() {
    let (exchange, daemon) = with("").await;
    let own = json!({ "method": "SUBSCRIBE", "params": ["x", "y"], "id": "mine" }).to_string();
    daemon.api.put(&format!("{PATH}/pair%2Fxy?holder=p"), own).await.expect(201);
    let record = exchange.last_has(1, &["x", "y"]).await;
    assert_eq!(record.heard, ["+x", "+y"]);
    exchange.cut(0);
    exchange.last_has(2, &["x", "y"]).await;
    let own = json!({ "method": "UNSUBSCRIBE", "params": ["x", "y"], "id": "mine" }).to_string();
    daemon.api.call_with("DELETE", &format!("{PATH}/pair%2Fxy?holder=p"), own).await.expect(204);
    exchange.last_has(2, &[]).await;
}

#[tokio::test]
async fn an_endpoint_without_the_section_says_what_to_do() {
    let exchange = Exchange::start(FREE).await;
    let config = format!("{}\n[endpoints.e]\nurl = \"ws://127.0.0.1:{}\"", crate::QUICK, exchange.port);
    let daemon = Daemon::start(&config).await;
    let answer = daemon.api.put(&format!("{PATH}/k"), "").await.expect(409).json();
    assert_eq!(answer["type"], "urn:wskeeper:problem:no-subscriptions");
}
