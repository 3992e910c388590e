//! A peer that tells numbered messages, each once, to whichever connection it has.
//!
//! A number that was on its way when a connection was lost is lost with it: nobody tells it again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

/// The peer of one link, for as long as the test's runtime lives.
#[derive(Clone)]
pub struct Teller {
    /// Where it listens.
    pub port: u16,
    words: Arc<Words>,
}

struct Words {
    told: AtomicU64,
    allowed: AtomicU64,
    padding: usize,
}

impl Teller {
    /// One that tells nothing yet; its messages have so many bytes beside their number.
    pub async fn listen(padding: usize) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let words = Arc::new(Words { told: 0.into(), allowed: 0.into(), padding });
        let serving = Arc::clone(&words);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.serve(stream).await;
            }
        });
        Self { port, words }
    }

    /// Tells so many more numbers.
    pub fn tell(&self, count: u64) {
        self.words.allowed.fetch_add(count, Ordering::SeqCst);
    }

    /// Tells numbers until the end of the test.
    pub fn tell_on(&self) {
        self.words.allowed.store(u64::MAX, Ordering::SeqCst);
    }

    /// How many numbers it has told: the next one.
    pub fn told(&self) -> u64 {
        self.words.told.load(Ordering::SeqCst)
    }
}

impl Words {
    async fn serve(&self, stream: TcpStream) {
        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
        let mut beat = tokio::time::interval(Duration::from_millis(2));
        loop {
            tokio::select! {
                heard = socket.next() => if !matches!(heard, Some(Ok(_))) { return },
                _ = beat.tick() => {
                    if self.told.load(Ordering::SeqCst) < self.allowed.load(Ordering::SeqCst) {
                        let number = self.told.fetch_add(1, Ordering::SeqCst);
                        let text = format!("{number} {}", "x".repeat(self.padding));
                        if socket.send(Message::text(text)).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    }
}
