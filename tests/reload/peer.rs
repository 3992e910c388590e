//! A peer that takes every upgrade, answers what it must, and counts connections by path.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::handshake::server::{Request, Response},
};

/// How many connections each path has seen.
pub type Counts = BTreeMap<String, u64>;

/// A listening peer; dropped, it is gone.
pub struct Peer {
    pub port: u16,
    counts: Arc<Mutex<Counts>>,
    accepting: JoinHandle<()>,
}

impl Peer {
    pub async fn listen() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let counts = Arc::<Mutex<Counts>>::default();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&counts)));
        Self { port, counts, accepting }
    }

    pub fn counts(&self) -> Counts {
        self.counts.lock().clone()
    }

    pub fn total(&self) -> u64 {
        self.counts().values().sum()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, counts: Arc<Mutex<Counts>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(serve(stream, Arc::clone(&counts)));
    }
}

async fn serve(stream: TcpStream, counts: Arc<Mutex<Counts>>) {
    #[allow(clippy::result_large_err, reason = "the crate's type")]
    let count = |request: &Request, response: Response| {
        *counts.lock().entry(request.uri().path().to_owned()).or_default() += 1;
        Ok(response)
    };
    // Reading answers pings and Close frames.
    let Ok(mut socket) = accept_hdr_async(stream, count).await else { return };
    while let Some(Ok(_)) = socket.next().await {}
}
