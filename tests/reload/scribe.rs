//! A peer that writes down what comes on which connection, says it back, and tells all its connections the time.
//!
//! A message is said back before anything else is read, so a pong that follows it comes behind the reply.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{broadcast, watch},
    task::JoinHandle,
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
    },
};

/// What happened to a connection, by its number from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// It is open.
    Open(u64),
    /// A Close frame came, with this code; `None`: it ended without.
    Close(u64, Option<u16>),
}

#[derive(Debug)]
struct Book {
    notes: Mutex<Vec<Note>>,
    read: Mutex<Vec<String>>,
    keys: Mutex<Vec<String>>,
    refuses: AtomicBool,
    /// Of so many upgrades one is refused; 0: none is.
    every: AtomicU64,
    upgrades: AtomicU64,
    cuts: watch::Sender<u64>,
    connections: AtomicU64,
    ticks: AtomicU64,
    clock: broadcast::Sender<u64>,
}

/// A listening peer; dropped, it is gone.
pub struct Scribe {
    pub port: u16,
    book: Arc<Book>,
    accepting: JoinHandle<()>,
    ticking: Mutex<Option<JoinHandle<()>>>,
}

impl Scribe {
    pub async fn listen() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let book = Arc::new(Book {
            notes: Mutex::default(),
            read: Mutex::default(),
            keys: Mutex::default(),
            refuses: AtomicBool::new(false),
            every: AtomicU64::new(0),
            upgrades: AtomicU64::new(0),
            cuts: watch::channel(0).0,
            connections: AtomicU64::new(0),
            ticks: AtomicU64::new(0),
            clock: broadcast::channel(1 << 16).0,
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&book)));
        Self { port, book, accepting, ticking: Mutex::default() }
    }

    /// Begins to send a number, one higher each time, to every open connection.
    pub fn tick(&self, every: Duration) {
        let book = Arc::clone(&self.book);
        let ticking = tokio::spawn(async move {
            let mut interval = tokio::time::interval(every);
            loop {
                interval.tick().await;
                let _heard_by = book.clock.send(book.ticks.fetch_add(1, Ordering::SeqCst) + 1);
            }
        });
        *self.ticking.lock() = Some(ticking);
    }

    /// Ends that; answers with the last number.
    pub fn stop_ticking(&self) -> u64 {
        self.ticking.lock().take().unwrap().abort();
        self.book.ticks.load(Ordering::SeqCst)
    }

    /// From now on refuses upgrades with 503, or takes them again.
    pub fn refuse(&self, refuses: bool) {
        self.book.refuses.store(refuses, Ordering::SeqCst);
    }

    /// From now on refuses one of so many upgrades.
    pub fn refuse_one_in(&self, every: u64) {
        self.book.every.store(every, Ordering::SeqCst);
    }

    /// Upgrades asked for so far.
    pub fn upgrades(&self) -> u64 {
        self.book.upgrades.load(Ordering::SeqCst)
    }

    /// Ends every connection by TCP, without a Close, and refuses upgrades from now on.
    pub fn go_down(&self) {
        self.refuse(true);
        self.cut();
    }

    /// Ends every connection by TCP, without a Close.
    pub fn cut(&self) {
        self.book.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// What happened to connections, in order.
    pub fn notes(&self) -> Vec<Note> {
        self.book.notes.lock().clone()
    }

    /// The messages that were read, over all connections, in order.
    pub fn read(&self) -> Vec<String> {
        self.book.read.lock().clone()
    }

    /// The header `X-Key` of each connection.
    pub fn keys(&self) -> Vec<String> {
        self.book.keys.lock().clone()
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        self.accepting.abort();
        if let Some(ticking) = self.ticking.lock().take() {
            ticking.abort();
        }
    }
}

async fn accept(listener: TcpListener, book: Arc<Book>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(serve(stream, Arc::clone(&book)));
    }
}

async fn serve(stream: TcpStream, book: Arc<Book>) {
    // It hears the clock from before the other side can know that it is open.
    let mut clock = book.clock.subscribe();
    #[allow(clippy::result_large_err, reason = "the crate's type")]
    let judge = |request: &Request, response: Response| {
        let number = book.upgrades.fetch_add(1, Ordering::SeqCst) + 1;
        let is_unlucky = number.checked_rem(book.every.load(Ordering::SeqCst)) == Some(0);
        if is_unlucky || book.refuses.load(Ordering::SeqCst) {
            let mut refusal = ErrorResponse::new(None);
            *refusal.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            return Err(refusal);
        }
        let key = request.headers().get("x-key").map(|value| value.to_str().unwrap().to_owned());
        book.keys.lock().push(key.unwrap_or_default());
        Ok(response)
    };
    let Ok(mut socket) = accept_hdr_async(stream, judge).await else { return };
    let mut cuts = book.cuts.subscribe();
    let number = book.connections.fetch_add(1, Ordering::SeqCst) + 1;
    book.notes.lock().push(Note::Open(number));
    let mut code = None;
    loop {
        tokio::select! {
            _ = cuts.changed() => break,
            tick = clock.recv() => drop(socket.send(Message::text(format!("tick {}", tick.unwrap()))).await),
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    book.read.lock().push(text.to_string());
                    // Said back, or the connection is about to end.
                    let _sent = socket.send(Message::Text(text)).await;
                }
                Some(Ok(Message::Close(frame))) => code = frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            },
        }
    }
    book.notes.lock().push(Note::Close(number, code));
}
