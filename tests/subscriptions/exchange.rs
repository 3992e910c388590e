//! A stand-in for an exchange: it knows who has subscribed to what on which connection, keeps a record of all it heard, and is strict about
//! how many keys a connection may have.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
    time::Instant,
};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::support::until;

/// What a connection may do.
#[derive(Clone, Copy)]
pub struct Limits {
    /// Keys at once.
    pub keys: usize,
    /// Messages about keys a second, since the connection began.
    pub rate: u128,
}

/// No limits.
pub const FREE: Limits = Limits { keys: usize::MAX, rate: 1 << 64 };

/// What it knows of a connection.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// All that it heard, keys one by one: `+key`, `-key`, and other texts as they are.
    pub heard: Vec<String>,
    /// Its keys now.
    pub has: BTreeSet<String>,
    /// It is open.
    pub is_open: bool,
    /// Why it was refused something, or closed by the exchange.
    pub faults: Vec<String>,
    /// Messages about keys.
    pub messages: usize,
    /// From before the connection was open until the last of them came.
    pub took: Duration,
    /// Close codes that it was sent.
    pub closed: Option<u16>,
}

/// An exchange.
pub struct Exchange {
    /// Where it listens.
    pub port: u16,
    limits: Limits,
    records: Arc<Mutex<Vec<Record>>>,
    cuts: Arc<Mutex<Vec<Arc<Notify>>>>,
    running: JoinSet<()>,
}

impl Exchange {
    /// Starts one.
    pub async fn start(limits: Limits) -> Self {
        let mut exchange =
            Self { port: 0, limits, records: Arc::default(), cuts: Arc::default(), running: JoinSet::new() };
        exchange.restart().await;
        exchange
    }

    /// Ends it, and all its connections without a word, as `kill -9` does.
    pub async fn kill(&mut self) {
        self.running.shutdown().await;
        self.records.lock().iter_mut().for_each(|record| record.is_open = false);
    }

    /// Starts it again where it was.
    pub async fn restart(&mut self) {
        self.kill().await;
        let port = self.port;
        let listener = until("a port", || TcpListener::bind(("127.0.0.1", port))).await;
        self.port = listener.local_addr().unwrap().port();
        let (limits, records, cuts) = (self.limits, Arc::clone(&self.records), Arc::clone(&self.cuts));
        self.running.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, limits, Arc::clone(&records), Arc::clone(&cuts)));
            }
        });
    }

    /// Cuts the TCP connection of this number.
    pub fn cut(&self, connection: usize) {
        self.cuts.lock()[connection].notify_one();
    }

    /// All connections, in order.
    pub fn records(&self) -> Vec<Record> {
        self.records.lock().clone()
    }

    /// Waits until all is as `is` wants it, and gives the records.
    pub async fn until(&self, what: &str, is: impl Fn(&[Record]) -> bool) -> Vec<Record> {
        until(what, || async {
            let records = self.records();
            if is(&records) { Ok(records) } else { Err(format!("{records:?}").chars().take(3000).collect::<String>()) }
        })
        .await
    }

    /// Waits until there are so many connections and the last has exactly these keys.
    pub async fn last_has(&self, connections: usize, keys: &[&str]) -> Record {
        let wanted: BTreeSet<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        let is = |records: &[Record]| {
            records.len() == connections && records.last().is_some_and(|record| record.is_open && record.has == wanted)
        };
        self.until(&format!("connection {connections} with {keys:?}"), is).await.pop().unwrap()
    }
}

async fn serve(
    stream: TcpStream,
    limits: Limits,
    records: Arc<Mutex<Vec<Record>>>,
    cuts: Arc<Mutex<Vec<Arc<Notify>>>>,
) {
    let begun = Instant::now();
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
    let cut = Arc::new(Notify::new());
    let place = {
        let mut records = records.lock();
        records.push(Record { is_open: true, ..Record::default() });
        cuts.lock().push(Arc::clone(&cut));
        records.len() - 1
    };
    loop {
        let message = tokio::select! {
            () = cut.notified() => break,
            message = socket.next() => message,
        };
        let Some(Ok(message)) = message else { break };
        if let Message::Close(frame) = &message {
            records.lock()[place].closed = frame.as_ref().map(|frame| frame.code.into());
        }
        let Message::Text(text) = message else { continue };
        let Ok(asked) = serde_json::from_str::<Value>(&text) else {
            records.lock()[place].heard.push(text.to_string());
            if text.as_str() == "leave" {
                let frame = CloseFrame { code: CloseCode::Away, reason: "".into() };
                let _closed = socket.close(Some(frame)).await;
            }
            continue;
        };
        let answer = {
            let record = &mut records.lock()[place];
            record.took = begun.elapsed();
            take(record, &asked, limits)
        };
        if socket.send(Message::text(answer.to_string())).await.is_err() {
            break;
        }
    }
    records.lock()[place].is_open = false;
}

fn take(record: &mut Record, asked: &Value, limits: Limits) -> Value {
    record.messages += 1;
    let keys: Vec<&str> = asked["params"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let is_add = asked["method"] == "SUBSCRIBE";
    if (record.messages as u128 - 1) * 1_000_000_000 > record.took.as_nanos() * limits.rate {
        record.faults.push(format!("{} messages in {:?}", record.messages, record.took));
        return json!({ "error": "too many messages", "id": asked["id"] });
    }
    for key in &keys {
        record.heard.push(format!("{}{key}", if is_add { '+' } else { '-' }));
    }
    if let Some(bad) = keys.iter().find(|key| key.starts_with("bad")) {
        return json!({ "error": format!("there is no {bad}"), "id": asked["id"] });
    }
    if is_add && record.has.len() + keys.len() > limits.keys {
        record.faults.push(format!("{} keys", record.has.len() + keys.len()));
        return json!({ "error": "too many keys", "id": asked["id"] });
    }
    for key in keys {
        if is_add {
            record.has.insert(key.to_owned());
        } else {
            record.has.remove(key);
        }
    }
    json!({ "result": null, "id": asked["id"] })
}
