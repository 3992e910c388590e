//! A client of NATS for tests: it subscribes, publishes, and asks JetStream.
//!
//! What a reader would get wrong: it reads by the daemon's own codec, which the real server stands against here.

use std::collections::BTreeMap;

use bytes::BytesMut;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use wskeeper_core::nats::{self, Delivered, OpReader, ServerOp};

use crate::support::PATIENCE;

/// A connection with one subscription to answers, and others.
pub struct Client {
    stream: TcpStream,
    hearing: OpReader,
    out: BytesMut,
    asked: u64,
    /// What came of other subscriptions while an answer was waited for.
    waiting: Vec<Delivered>,
}

/// Of the subscription to answers, and of the others.
const ANSWERS: u64 = 1;
const OTHERS: u64 = 2;

impl Client {
    pub async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let mut client =
            Self { stream, hearing: OpReader::new(64 << 20), out: BytesMut::new(), asked: 0, waiting: Vec::new() };
        nats::connect(&mut client.out, br#"{"verbose":false,"headers":true,"no_responders":true,"protocol":1}"#);
        nats::subscribe(&mut client.out, "answers.*", None, ANSWERS);
        client.flush().await;
        client
    }

    /// Subscribes; what was published after this comes.
    pub async fn subscribe(&mut self, subject: &str) {
        nats::subscribe(&mut self.out, subject, None, OTHERS);
        self.flush().await;
    }

    pub async fn publish(&mut self, subject: &str, headers: &[(&str, &str)], payload: &[u8]) {
        nats::publish(&mut self.out, subject, None, headers, payload);
        self.flush().await;
    }

    /// The next message of a subscription.
    pub async fn next(&mut self) -> Delivered {
        if !self.waiting.is_empty() {
            return self.waiting.remove(0);
        }
        loop {
            if let ServerOp::Message(message) = self.hear().await {
                return message;
            }
        }
    }

    /// As many of them.
    pub async fn take(&mut self, count: usize) -> Vec<Delivered> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.next().await);
        }
        all
    }

    /// Asks, and waits for the answer.
    pub async fn ask(&mut self, subject: &str, payload: &[u8]) -> Delivered {
        self.asked += 1;
        let reply = format!("answers.{}", self.asked);
        nats::publish(&mut self.out, subject, Some(&reply), &[], payload);
        loop {
            match self.hear().await {
                ServerOp::Message(message) if *message.subject == *reply => return message,
                ServerOp::Message(message) if message.sid == OTHERS => self.waiting.push(message),
                _ => {}
            }
        }
    }

    /// Asks JetStream for something that succeeds.
    pub async fn js(&mut self, what: &str, payload: Value) -> Value {
        let answer = self.ask(&format!("$JS.API.{what}"), payload.to_string().as_bytes()).await;
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert!(answer.get("error").is_none(), "{what}: {answer}");
        answer
    }

    /// Makes a stream of these subjects.
    pub async fn stream(&mut self, name: &str, subjects: &[&str], more: Value) {
        let mut config =
            json!({ "name": name, "subjects": subjects, "storage": "file", "allow_direct": true, "num_replicas": 1 });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        self.js(&format!("STREAM.CREATE.{name}"), config).await;
    }

    /// How many messages a stream has.
    pub async fn count(&mut self, name: &str) -> u64 {
        self.js(&format!("STREAM.INFO.{name}"), json!({})).await["state"]["messages"].as_u64().unwrap()
    }

    /// All messages of a stream, in order, and under which subject each was.
    pub async fn stored(&mut self, name: &str) -> Vec<(String, Delivered)> {
        let state = self.js(&format!("STREAM.INFO.{name}"), json!({})).await["state"].clone();
        let mut all = BTreeMap::new();
        for seq in state["first_seq"].as_u64().unwrap()..=state["last_seq"].as_u64().unwrap() {
            let got =
                self.ask(&format!("$JS.API.DIRECT.GET.{name}"), json!({ "seq": seq }).to_string().as_bytes()).await;
            if got.status().is_none_or(|(code, _)| code != 404) {
                all.insert(seq, (got.header("Nats-Subject").unwrap_or_default().to_owned(), got));
            }
        }
        all.into_values().collect()
    }

    async fn flush(&mut self) {
        self.out.extend_from_slice(nats::PING);
        loop {
            match self.hear().await {
                ServerOp::Pong => return,
                ServerOp::Message(message) if message.sid == OTHERS => self.waiting.push(message),
                _ => {}
            }
        }
    }

    async fn hear(&mut self) -> ServerOp {
        loop {
            if !self.out.is_empty() {
                self.stream.write_all(&self.out).await.unwrap();
                self.out.clear();
            }
            match self.hearing.read().unwrap() {
                Some(ServerOp::Ping) => self.out.extend_from_slice(nats::PONG),
                Some(said) => return said,
                None => {
                    let reading = self.stream.read_buf(self.hearing.buffer());
                    let read = timeout(PATIENCE, reading).await.expect("nothing came").unwrap();
                    assert!(read > 0, "the broker has gone");
                }
            }
        }
    }
}

/// The number of a message of the feed.
pub fn number(message: &Delivered) -> u64 {
    let value: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
    value["n"].as_u64().unwrap_or_else(|| panic!("{message:?}"))
}
