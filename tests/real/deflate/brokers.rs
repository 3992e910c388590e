//! Brokers that compress: what is published through them comes back as it was, each byte of it.
//!
//! What a reader would get wrong: a message of their protocols may come in any number of WebSocket messages.

use bytes::{Buf, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::Message;

use super::CONTEXTS;
use crate::{
    QUICK,
    support::{
        PATIENCE,
        api::Socket,
        compressed::{Asked, LARGE, SIZES, messages},
        daemon::Daemon,
        free_port,
        peer::{Peer, Recipe, Script},
        until,
    },
};

/// A program that speaks a broker's protocol by a link.
struct Client {
    socket: Socket,
    come: BytesMut,
    /// What was agreed on.
    agreed: String,
}

impl Client {
    async fn by(daemon: &Daemon, endpoint: &str) -> Self {
        let link = daemon.api.ready_after(&format!("{endpoint}/0"), 0).await;
        let agreed = format!("{endpoint}: {}", link["extensions"]);
        assert!(agreed.contains("permessage-deflate"), "{agreed}");
        Self { socket: daemon.api.socket(endpoint, "from=latest", false).await, come: BytesMut::new(), agreed }
    }

    async fn say(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// Reads until `find` finds what is wanted in what has come: how many bytes before it, and how long it is.
    async fn until(&mut self, what: &str, find: impl Fn(&[u8]) -> Option<(usize, usize)>) -> BytesMut {
        let deadline = Instant::now() + 2 * PATIENCE;
        loop {
            if let Some((before, length)) = find(&self.come) {
                self.come.advance(before);
                return self.come.split_to(length);
            }
            let Ok(message) = timeout_at(deadline, self.socket.next()).await else {
                let come = String::from_utf8_lossy(&self.come[..self.come.len().min(1000)]);
                panic!("waited in vain for {what}, {}; {} bytes have come: {come:?}", self.agreed, self.come.len());
            };
            let message = message.unwrap().unwrap();
            if message.is_text() || message.is_binary() {
                self.come.extend(message.into_data());
            }
        }
    }

    /// Waits for a line or a packet that has these bytes in it.
    async fn hears(&mut self, words: &[u8]) {
        let what = String::from_utf8_lossy(words).into_owned();
        self.until(&what, |come| place(come, words).map(|at| (at, words.len()))).await;
    }
}

fn place(come: &[u8], words: &[u8]) -> Option<usize> {
    come.windows(words.len()).position(|window| window == words)
}

/// Every window and context that a broker may be asked for.
fn asked() -> impl Iterator<Item = Asked> + Clone {
    CONTEXTS.into_iter().zip([15, 12, 9]).map(|(context, bits)| Asked { bits, context, level: 1 + bits / 2 })
}

/// Large ones once: a link with another context does the same to them.
fn payloads(asked: Asked) -> impl Iterator<Item = Message> {
    let large = (asked.context == "both").then_some(LARGE);
    SIZES.into_iter().chain(large).flat_map(messages)
}

/// As it is, beside what the protocol wants around it.
fn around(before: &str, payload: &Message, after: &str) -> Message {
    let bytes = [before.as_bytes(), &payload.clone().into_data(), after.as_bytes()].concat();
    if payload.is_text() { Message::text(String::from_utf8(bytes).unwrap()) } else { Message::binary(bytes) }
}

async fn nats() -> Option<Peer> {
    Peer::start(Recipe::Nats { user: "keeper".into(), password: "pass 1".into(), pings: "5m" }).await
}

#[tokio::test]
async fn what_nats_compresses_is_what_was_published() {
    let Some(nats) = nats().await else { return };
    let url = format!("ws://127.0.0.1:{}/", nats.port);
    let all = asked().map(|asked| Asked { bits: 15, ..asked });
    let sections: String = all.clone().map(|asked| asked.section(&url, "")).collect();
    let daemon = Daemon::start(&format!("{QUICK}{sections}")).await;
    for asked in all {
        let mut client = Client::by(&daemon, &asked.name()).await;
        let subject = asked.name();
        let connect = "CONNECT {\"verbose\":false,\"user\":\"keeper\",\"pass\":\"pass 1\"}";
        client.say(Message::text(format!("{connect}\r\nSUB {subject} 1\r\nPING\r\n"))).await;
        client.hears(b"PONG\r\n").await;
        for payload in payloads(asked) {
            let head = format!("MSG {subject} 1 {}\r\n", payload.len());
            client.say(around(&format!("PUB {subject} {}\r\n", payload.len()), &payload, "\r\n")).await;
            client.hears(head.as_bytes()).await;
            let back = client.until(&head, |come| (come.len() >= payload.len()).then_some((0, payload.len()))).await;
            assert!(back == payload.into_data(), "{head} {}", client.agreed);
        }
    }
}

/// It has one window, and answers an offer of a smaller one as if it had not been asked for that.
#[tokio::test]
async fn a_window_that_nats_ignores_is_a_failed_upgrade_with_advice() {
    let Some(nats) = nats().await else { return };
    let asked = Asked { bits: 12, context: "none", level: 3 };
    let section = asked.section(&format!("ws://127.0.0.1:{}/", nats.port), "");
    let daemon = Daemon::start(&format!("{QUICK}{section}")).await;
    let link = format!("{}/0", asked.name());
    let failed = daemon.api.link_until(&link, "failed", |link| link["lastClose"]["cause"] == "upgrade").await;
    assert!(failed["lastClose"]["detail"].to_string().contains("server_max_window_bits"), "{failed}");
    let explained = daemon.api.get(&format!("/v1/links/{link}/explain")).await.expect(200).json();
    assert!(explained["advice"].to_string().contains("`compression_window_bits = 15`"), "{explained}");
}

/// Texts by STOMP, with less of a window and context than was asked for, and binary messages by MQTT, as Cowboy does by itself.
#[tokio::test]
async fn what_rabbitmq_compresses_is_what_was_published() {
    let mqtt = free_port();
    let words = vec![&*Box::leak(mqtt.to_string().into_boxed_str())];
    let script = Script { file: "rabbitmq.sh", needs: "rabbitmq-server", words: Box::leak(words.into_boxed_slice()) };
    let Some(rabbit) = Peer::start(Recipe::Script(script)).await else { return };
    // It listens before it is up, and says `Processing error` then.
    until("the broker", || async {
        let log = rabbit.log();
        if log.contains("Server startup complete") { Ok(()) } else { Err(log) }
    })
    .await;
    for (port, protocol) in [(rabbit.port, "v12.stomp"), (mqtt, "mqtt")] {
        let url = format!("ws://127.0.0.1:{port}/ws");
        let protocols = format!("protocols = [\"{protocol}\"]");
        let sections: String = asked().map(|asked| asked.section(&url, &protocols)).collect();
        let daemon = Daemon::start(&format!("{QUICK}{sections}")).await;
        for asked in asked() {
            let client = Client::by(&daemon, &asked.name()).await;
            if protocol == "mqtt" { by_mqtt(client, asked).await } else { by_stomp(client, asked).await }
        }
    }
}

async fn by_stomp(mut client: Client, asked: Asked) {
    client.say(Message::text("CONNECT\naccept-version:1.2\nhost:/\nlogin:keeper\npasscode:pass 1\n\n\0")).await;
    client.hears(b"CONNECTED\n").await;
    let topic = format!("destination:/topic/{}", asked.name());
    client.say(Message::text(format!("SUBSCRIBE\nid:1\n{topic}\nreceipt:1\n\n\0"))).await;
    client.hears(b"receipt-id:1\n").await;
    for payload in payloads(asked).filter(Message::is_text) {
        let head = format!("SEND\n{topic}\ncontent-length:{}\n\n", payload.len());
        client.say(around(&head, &payload, "\0")).await;
        client.hears(b"MESSAGE\n").await;
        client.hears(b"\n\n").await;
        let back = client.until(&head, |come| (come.len() > payload.len()).then_some((0, payload.len()))).await;
        assert!(back == payload.into_data(), "{head} {}", client.agreed);
        client.hears(b"\0").await;
    }
}

async fn by_mqtt(mut client: Client, asked: Asked) {
    let connect =
        [&string("MQTT")[..], &[4, 0xC2, 0, 60], &string(&client.agreed), &string("keeper"), &string("pass 1")];
    client.say(packet(0x10, &connect.concat())).await;
    client.hears(&[0x20, 2, 0, 0]).await;
    let topic = string(&asked.name());
    client.say(packet(0x82, &[&[0, 1], &topic[..], &[0]].concat())).await;
    client.hears(&[0x90, 3, 0, 1, 0]).await;
    for payload in payloads(asked).filter(Message::is_binary) {
        let published = packet(0x30, &[&topic[..], &payload.into_data()].concat());
        client.say(published.clone()).await;
        let whole = published.len();
        let back = client.until("a packet", |come| (come.len() >= whole).then_some((0, whole))).await;
        assert!(back == published.into_data(), "{whole} bytes, {}", client.agreed);
    }
}

fn packet(kind: u8, body: &[u8]) -> Message {
    let mut packet = vec![kind];
    let mut left = body.len();
    loop {
        let (digit, rest) = (u8::try_from(left % 128).unwrap(), left / 128);
        packet.push(if rest > 0 { digit | 0x80 } else { digit });
        left = rest;
        if left == 0 {
            return Message::binary([packet.as_slice(), body].concat());
        }
    }
}

fn string(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}
