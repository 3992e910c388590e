//! A peer that takes every upgrade, sends back what it gets, and counts connections and messages by path.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::handshake::server::{Request, Response},
};

/// A path's connections, and the messages that came on them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    pub connections: u64,
    pub messages: u64,
}

/// A listening peer; dropped, it is gone.
pub struct Peer {
    pub port: u16,
    seen: Arc<Mutex<BTreeMap<String, Seen>>>,
    accepting: JoinHandle<()>,
}

impl Peer {
    pub async fn listen() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Mutex<BTreeMap<String, Seen>>>::default();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&seen)));
        Self { port, seen, accepting }
    }

    /// What came for the endpoint of this name.
    pub fn seen(&self, name: &str) -> Seen {
        self.seen.lock().get(&format!("/{name}")).copied().unwrap_or_default()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, seen: Arc<Mutex<BTreeMap<String, Seen>>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(serve(stream, Arc::clone(&seen)));
    }
}

async fn serve(stream: TcpStream, seen: Arc<Mutex<BTreeMap<String, Seen>>>) {
    let mut path = String::new();
    #[allow(clippy::result_large_err, reason = "the crate's type")]
    let count = |request: &Request, response: Response| {
        request.uri().path().clone_into(&mut path);
        Ok(response)
    };
    let Ok(mut socket) = accept_hdr_async(stream, count).await else { return };
    seen.lock().entry(path.clone()).or_default().connections += 1;
    while let Some(Ok(message)) = socket.next().await {
        if message.is_text() || message.is_binary() {
            seen.lock().entry(path.clone()).or_default().messages += 1;
            let _ = socket.send(message).await;
        }
    }
}
