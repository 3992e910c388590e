//! A server that answers, keeps a record of what it was asked, and can be made to answer nothing until its connections are cut.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use futures_util::{FutureExt, SinkExt, StreamExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_tungstenite::tungstenite::Message;

use crate::support::until;

/// Replies of requests that came together leave the wrong way round, so many at a time.
const TOGETHER: usize = 4;

/// What it was asked.
#[derive(Debug, Clone)]
pub struct Heard {
    pub connection: usize,
    pub id: Value,
    pub say: String,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    heard: Mutex<Vec<Heard>>,
    connections: AtomicUsize,
    holds: AtomicBool,
    /// Requests that it has not answered because it was told to hold.
    held: AtomicUsize,
    cut: watch::Sender<()>,
}

/// The server.
pub struct Peer {
    pub port: u16,
    shared: Arc<Shared>,
    _running: JoinSet<()>,
}

impl Peer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            heard: Mutex::default(),
            connections: AtomicUsize::new(0),
            holds: AtomicBool::new(false),
            held: AtomicUsize::new(0),
            cut: watch::Sender::new(()),
        });
        let (mut running, of_all) = (JoinSet::new(), Arc::clone(&shared));
        running.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&of_all)));
            }
        });
        Self { port, shared, _running: running }
    }

    /// What it was asked so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.shared.heard.lock().clone()
    }

    /// Waits until it was asked this.
    pub async fn hears(&self, say: &str) {
        until(say, || async {
            let heard = self.heard();
            if heard.iter().any(|heard| heard.say == say) { Ok(()) } else { Err(heard.len()) }
        })
        .await;
    }

    /// Answers nothing from now on, or again.
    pub fn hold(&self, holds: bool) {
        self.shared.holds.store(holds, SeqCst);
    }

    /// Resets all connections while something is not answered.
    pub async fn cut_amid_requests(&self) {
        let before = self.shared.held.load(SeqCst);
        self.hold(true);
        until("a request that is not answered", || async {
            if self.shared.held.load(SeqCst) > before { Ok(()) } else { Err(before) }
        })
        .await;
        self.shared.cut.send_replace(());
        self.hold(false);
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut cut = shared.cut.subscribe();
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
    let connection = shared.connections.fetch_add(1, SeqCst);
    loop {
        let first = tokio::select! {
            message = socket.next() => message,
            _ = cut.changed() => {
                socket.get_ref().set_zero_linger().unwrap();
                return;
            }
        };
        let mut came = vec![first];
        while came.len() < TOGETHER
            && let Some(next) = socket.next().now_or_never()
        {
            came.push(next);
        }
        let mut replies = Vec::new();
        for message in came {
            let Some(Ok(message)) = message else { return };
            let Message::Text(text) = message else { continue };
            replies.extend(shared.reply(connection, &text));
        }
        for reply in replies.into_iter().rev() {
            if socket.send(Message::text(reply.to_string())).await.is_err() {
                return;
            }
        }
    }
}

impl Shared {
    fn reply(&self, connection: usize, text: &str) -> Option<Value> {
        let request: Value = serde_json::from_str(text).unwrap();
        let (id, say) = (request["id"].clone(), request["say"].as_str().unwrap_or_default().to_owned());
        self.heard.lock().push(Heard { connection, id: id.clone(), say: say.clone() });
        if self.holds.load(SeqCst) {
            self.held.fetch_add(1, SeqCst);
            return None;
        }
        (request["how"] != "mute").then(|| json!({ "id": id, "echo": say }))
    }
}
