//! A reader of server-sent events, as far as the API uses them.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use super::PATIENCE;

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its type.
    pub kind: String,
    /// Its cursor, where it has one.
    pub id: String,
    /// Its data.
    pub data: Value,
}

impl Event {
    /// The payload of a `message`, and whether it was binary.
    pub fn payload(&self) -> (Vec<u8>, bool) {
        let binary = self.data["binary"] == true;
        let text = self.data["data"].as_str().unwrap_or_else(|| panic!("no data in {self:?}"));
        (if binary { BASE64_STANDARD.decode(text).unwrap() } else { text.as_bytes().to_vec() }, binary)
    }
}

/// A stream of events. Not reading it is what a slow consumer does.
pub struct Events {
    body: Incoming,
    pending: Vec<u8>,
    searched: usize,
}

impl Events {
    /// Reads this body.
    pub fn new(body: Incoming) -> Self {
        Self { body, pending: Vec::new(), searched: 0 }
    }

    /// The next event; panics where none comes in time.
    pub async fn next(&mut self) -> Event {
        self.within(PATIENCE).await.expect("an event in time")
    }

    /// The next event within this time, or nothing; nothing also when the stream ends or breaks.
    pub async fn within(&mut self, patience: Duration) -> Option<Event> {
        tokio::time::timeout(patience, self.read()).await.ok().flatten()
    }

    /// The next event of this type.
    pub async fn next_of(&mut self, kind: &str) -> Event {
        loop {
            let event = self.next().await;
            if event.kind == kind {
                return event;
            }
        }
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.take() {
                return Some(event);
            }
            let frame = self.body.frame().await?.ok()?;
            if let Some(data) = frame.data_ref() {
                self.pending.extend_from_slice(data);
            }
        }
    }

    /// An event from what has been read; comments are passed over.
    fn take(&mut self) -> Option<Event> {
        loop {
            let from = self.searched.saturating_sub(1);
            let Some(end) = self.pending[from..].windows(2).position(|two| two == b"\n\n").map(|at| from + at) else {
                self.searched = self.pending.len();
                return None;
            };
            let block: Vec<u8> = self.pending.drain(..end + 2).collect();
            self.searched = 0;
            let block = String::from_utf8(block).expect("events are UTF-8");
            let field = |name: &str| {
                let values = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                values.map(|value| value.strip_prefix(' ').unwrap_or(value)).collect::<Vec<_>>().join("\n")
            };
            let data = field("data");
            if !data.is_empty() {
                let data = serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}: {data}"));
                return Some(Event { kind: field("event"), id: field("id"), data });
            }
        }
    }
}
