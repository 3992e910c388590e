//! A peer that remembers what it was sent, by which connection and in which order.
//!
//! It serves one connection after the other: what the daemon sent on an earlier one is on record before anything of a later
//! one. So each recorder is for one link.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::{SinkExt, StreamExt};
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::support::{
    deflate::Inflater,
    raw::{self, Raw},
    until,
};

/// A message that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// By which connection, from 0.
    pub connection: usize,
    /// Its text.
    pub text: String,
}

/// The peer of one link, for as long as the test's runtime lives.
#[derive(Clone)]
pub struct Recorder {
    /// Where it listens.
    pub port: u16,
    record: Arc<Record>,
}

#[derive(Default)]
struct Record {
    seen: Mutex<Seen>,
    /// What makes it close with 1008.
    poison: Option<&'static str>,
    /// It agrees to compression, and inflates what comes by another hand than the daemon's.
    inflates: bool,
    is_stalled: AtomicBool,
    resumed: tokio::sync::Notify,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    compressed: usize,
    arrivals: Vec<Arrival>,
}

impl Recorder {
    /// One that takes everything.
    pub async fn listen() -> Self {
        Self::with(Record::default()).await
    }

    /// One that agrees to compression as it is offered.
    pub async fn that_inflates() -> Self {
        Self::with(Record { inflates: true, ..Record::default() }).await
    }

    /// One that closes with 1008 whenever it sees this text.
    pub async fn that_refuses(poison: &'static str) -> Self {
        Self::with(Record { poison: Some(poison), ..Record::default() }).await
    }

    async fn with(record: Record) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let record = Arc::new(record);
        let serving = Arc::clone(&record);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.serve(stream).await;
            }
        });
        Self { port, record }
    }

    /// Reads nothing from now on, the next upgrade neither, or goes on.
    pub fn stall(&self, is_stalled: bool) {
        self.record.is_stalled.store(is_stalled, Ordering::SeqCst);
        self.record.resumed.notify_waiters();
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.record.seen().connections
    }

    /// Messages that came compressed.
    pub fn compressed(&self) -> usize {
        self.record.seen().compressed
    }

    /// What has arrived so far.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.record.seen().arrivals.clone()
    }

    /// The texts that have arrived so far.
    pub fn texts(&self) -> Vec<String> {
        self.arrivals().into_iter().map(|arrival| arrival.text).collect()
    }

    /// The texts, each where it came first.
    pub fn first_arrivals(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        self.texts().into_iter().filter(|text| seen.insert(text.clone())).collect()
    }

    /// How often each text has arrived.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for text in self.texts() {
            *counts.entry(text).or_default() += 1;
        }
        counts
    }

    /// Waits until these, and nothing else, have arrived, in this order and once each.
    pub async fn until_exactly(&self, wanted: &[String]) {
        until("exactly what was sent", || async {
            let seen = self.texts();
            if seen == wanted { Ok(()) } else { Err(seen) }
        })
        .await;
    }
}

impl Record {
    async fn serve(&self, stream: TcpStream) {
        let connection = {
            let mut seen = self.seen();
            seen.connections += 1;
            seen.connections - 1
        };
        self.until_it_may_read().await;
        if self.inflates {
            return self.inflate(stream, connection).await;
        }
        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
        loop {
            self.until_it_may_read().await;
            let Some(Ok(message)) = socket.next().await else { return };
            let Message::Text(text) = message else { continue };
            let text = text.to_string();
            let refused = self.poison.is_some_and(|poison| text.contains(poison));
            self.seen().arrivals.push(Arrival { connection, text });
            if refused {
                let frame = CloseFrame { code: CloseCode::Policy, reason: "poison".into() };
                let _sent = socket.send(Message::Close(Some(frame))).await;
                while let Some(Ok(_)) = socket.next().await {}
                return;
            }
        }
    }

    /// The same of a daemon that compresses.
    async fn inflate(&self, mut stream: TcpStream, connection: usize) {
        let request = raw::request(&mut stream).await;
        if !raw::header(&request, "sec-websocket-extensions").starts_with("permessage-deflate") {
            return;
        }
        let agreed = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";
        if Raw::upgrade_with(&mut stream, &request, agreed).await.is_err() {
            return;
        }
        let keeps = !request.contains("client_no_context_takeover");
        let (mut inflater, mut message) = (Inflater::new(), (false, Vec::new()));
        while let Some((first, body)) = raw::read_frame(&mut stream).await {
            let answer = match first & 0x0f {
                8 => 0x88,
                9 => 0x8a,
                _ => 0,
            };
            if answer != 0 {
                let answer = [&[answer, u8::try_from(body.len()).unwrap()][..], &body].concat();
                if stream.write_all(&answer).await.is_err() || first & 0x0f == 8 {
                    return;
                }
                continue;
            }
            message.0 |= first & 0x40 != 0;
            message.1.extend(body);
            if first & 0x80 != 0 {
                let (is_compressed, bytes) = std::mem::take(&mut message);
                if !keeps {
                    inflater = Inflater::new();
                }
                let plain = if is_compressed { inflater.inflated(&bytes).expect("it is whole") } else { bytes };
                let text = String::from_utf8(plain).expect("it is a text");
                let mut seen = self.seen();
                seen.compressed += usize::from(is_compressed);
                seen.arrivals.push(Arrival { connection, text });
            }
        }
    }

    async fn until_it_may_read(&self) {
        loop {
            let resumed = self.resumed.notified();
            if !self.is_stalled.load(Ordering::SeqCst) {
                return;
            }
            resumed.await;
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock()
    }
}
