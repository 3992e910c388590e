//! Local WebSockets whose sends have to wait, while their events do not.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use super::bench::{Bench, PATIENCE, echo, until};
use wskeeper_core::{link::Verb, phase::Phase};
use wskeeper_link::hub::{From, Item, Next};

const PATH: &str = "/v1/endpoints/feed/ws";
const ENVELOPE: Option<&str> = Some("wskeeper.v1.json");

/// An endpoint with room for one message and a paused link.
async fn paused(on_full: &str) -> Bench {
    let port = echo().await;
    let keys = format!("outbox.max_messages = 1\noutbox.on_full = {on_full:?}\nreconnect.first = \"10ms\"");
    let bench = Bench::new(&format!("[endpoints.feed]\nurl = \"ws://127.0.0.1:{port}/\"\n{keys}\n")).await;
    bench.pool.command("feed", 0, Verb::Pause).await.unwrap();
    until("a paused link", async || (bench.pool.link("feed", 0).unwrap().phase == Phase::Paused).then_some(())).await;
    bench
}

async fn resume(bench: &Bench) {
    bench.pool.command("feed", 0, Verb::Resume).await.unwrap();
}

async fn next(socket: &mut WebSocketStream<TcpStream>) -> Message {
    tokio::time::timeout(PATIENCE, socket.next()).await.expect("a message in time").unwrap().unwrap()
}

async fn next_json(socket: &mut WebSocketStream<TcpStream>) -> Value {
    serde_json::from_str(next(socket).await.to_text().unwrap()).unwrap()
}

async fn say(socket: &mut WebSocketStream<TcpStream>, value: Value) {
    socket.send(Message::text(value.to_string())).await.unwrap();
}

#[tokio::test]
async fn events_flow_on_while_a_send_waits_for_room() {
    // A link that never connects makes events all the time, and no room.
    let keys = "outbox = { max_messages = 1, on_full = \"wait\" }\nreconnect = { first = \"5ms\", initial = \"5ms\", max = \"10ms\" }";
    let bench = Bench::new(&format!("[endpoints.feed]\nurl = \"ws://127.0.0.1:1/\"\n{keys}\n")).await;
    let mut socket = bench.socket(PATH, ENVELOPE).await;
    for reference in 0..2 {
        say(&mut socket, json!({ "type": "send", "data": "x", "ref": reference })).await;
    }
    let (mut receipts, mut events) = (0, 0);
    while receipts < 1 || events < 50 {
        match next_json(&mut socket).await["type"].as_str().unwrap() {
            "receipt" => receipts += 1,
            _ => events += 1,
        }
    }
    assert_eq!(receipts, 1);
}

#[tokio::test]
async fn what_one_client_sends_stays_in_order_however_long_it_waits() {
    let bench = paused("wait").await;
    let mut socket = bench.socket(PATH, None).await;
    for number in 0..200 {
        socket.send(Message::text(number.to_string())).await.unwrap();
    }
    resume(&bench).await;
    for number in 0..200 {
        assert_eq!(next(&mut socket).await.to_text().unwrap(), number.to_string());
    }
}

#[tokio::test]
async fn what_a_client_sent_before_it_left_is_not_lost_with_it() {
    let bench = paused("wait").await;
    let mut inbox = bench.pool.subscribe("feed", From::Oldest).unwrap();
    let mut socket = bench.socket(PATH, None).await;
    for number in 0..20 {
        socket.send(Message::text(number.to_string())).await.unwrap();
    }
    socket.close(None).await.unwrap();
    until("the end of the handshake", async || socket.next().await.is_none().then_some(())).await;
    resume(&bench).await;
    let mut number = 0;
    while number < 20 {
        let next = inbox.next_within(PATIENCE).await.expect("an entry in time");
        if let Next::Entry(entry) = next
            && let Item::Message(payload) = &entry.item
        {
            assert_eq!(&payload.bytes()[..], number.to_string().as_bytes());
            number += 1;
        }
    }
}

#[tokio::test]
async fn messages_that_come_together_are_accepted_up_to_the_limit_and_leave_in_order() {
    let port = echo().await;
    let keys = "outbox.max_messages = 700\nreconnect.first = \"10ms\"";
    let bench = Bench::new(&format!("[endpoints.feed]\nurl = \"ws://127.0.0.1:{port}/\"\n{keys}\n")).await;
    bench.pool.command("feed", 0, Verb::Pause).await.unwrap();
    until("a paused link", async || (bench.pool.link("feed", 0).unwrap().phase == Phase::Paused).then_some(())).await;
    let mut inbox = bench.pool.subscribe("feed", From::Oldest).unwrap();
    let mut socket = bench.socket(PATH, None).await;
    for number in 0..1000 {
        socket.feed(Message::text(number.to_string())).await.unwrap();
    }
    socket.flush().await.unwrap();
    loop {
        if let Message::Close(Some(frame)) = next(&mut socket).await {
            assert_eq!(u16::from(frame.code), 1013);
            break;
        }
    }
    let bytes: usize = (0..700).map(|number: u32| number.to_string().len()).sum();
    let view = bench.pool.link("feed", 0).unwrap();
    assert_eq!((view.queued_messages, view.buffered_amount), (700, bytes as u64));
    resume(&bench).await;
    let mut number = 0;
    while number < 700 {
        let next = inbox.next_within(PATIENCE).await.expect("an entry in time");
        if let Next::Entry(entry) = next
            && let Item::Message(payload) = &entry.item
        {
            assert_eq!(&payload.bytes()[..], number.to_string().as_bytes());
            number += 1;
        }
    }
    until("all of it has left", async || {
        let view = bench.pool.link("feed", 0).unwrap();
        ((view.queued_messages, view.traffic.sent_messages) == (0, 700)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_refusal_closes_a_plain_socket_and_nothing_overtakes_it() {
    let feed = "[endpoints.feed]\nurl = \"ws://127.0.0.1:1/\"\noutbox.max_messages = 1";
    let bench = Bench::new(&format!("max_connections = 1\n{feed}")).await;
    let mut socket = bench.socket(PATH, None).await;
    for text in ["first", "too many", "behind it", "and this"] {
        socket.feed(Message::text(text)).await.unwrap();
    }
    socket.flush().await.unwrap();
    loop {
        if let Message::Close(Some(frame)) = next(&mut socket).await {
            assert_eq!(u16::from(frame.code), 1013);
            break;
        }
    }
    drop(socket);
    until("the end of the connection", async || (bench.get("/v1/links").await.0 == 200).then_some(())).await;
    assert_eq!(bench.pool.endpoint("feed").unwrap().totals.queued_messages, 1);
}

#[tokio::test]
async fn an_envelope_that_cannot_be_understood_is_answered_in_its_turn() {
    let bench = paused("reject").await;
    let mut socket = bench.socket(PATH, ENVELOPE).await;
    say(&mut socket, json!({ "type": "send", "data": "x", "ref": "a" })).await;
    say(&mut socket, json!({ "type": "sned", "ref": 1 })).await;
    say(&mut socket, json!({ "type": "send", "data": "x", "ref": "y".repeat(2000) })).await;
    for kind in ["send", "request", "subscribe"] {
        let frame = json!({ "type": kind, "key": "k", "data": "no base64", "binary": true, "ref": kind });
        say(&mut socket, frame).await;
    }
    say(&mut socket, json!({ "type": "request", "data": "{}", "timeout": "11min", "ref": "long" })).await;
    say(&mut socket, json!({ "type": "send", "data": "x", "ref": "b" })).await;
    for (kind, reference, status) in [
        ("receipt", json!("a"), Value::Null),
        ("problem", json!(1), json!(400)),
        ("problem", Value::Null, json!(400)),
        ("problem", json!("send"), json!(400)),
        ("problem", json!("request"), json!(400)),
        ("problem", json!("subscribe"), json!(400)),
        ("problem", json!("long"), json!(400)),
        ("problem", json!("b"), json!(429)),
    ] {
        let answer = next_json(&mut socket).await;
        assert_eq!((&answer["type"], &answer["ref"]), (&json!(kind), &reference), "{answer}");
        assert_eq!(answer["problem"]["status"], status);
    }
}

#[tokio::test]
async fn a_link_that_is_not_there_cannot_be_asked_for() {
    let bench = paused("reject").await;
    assert!(bench.try_socket(&format!("{PATH}?link=0"), None).await.is_ok());
    let error = bench.try_socket(&format!("{PATH}?link=1"), None).await.unwrap_err();
    assert!(error.to_string().contains("404"), "{error}");
}

#[tokio::test]
async fn only_the_types_asked_for_come_by_either_way() {
    let bench = paused("reject").await;
    let mut socket = bench.socket(&format!("{PATH}?types=open,message"), ENVELOPE).await;
    resume(&bench).await;
    assert_eq!(next_json(&mut socket).await["type"], "open");
    say(&mut socket, json!({ "type": "send", "data": "hello" })).await;
    let mut kinds = [next_json(&mut socket).await, next_json(&mut socket).await].map(|it| it["type"].to_string());
    kinds.sort();
    assert_eq!(kinds, ["\"message\"", "\"receipt\""]);
}
