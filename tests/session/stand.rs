//! A stand-in for a service: what it answers to each message is said by a function, and what it heard is kept, connection by connection.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_tungstenite::tungstenite::{
    Message,
    handshake::server::{ErrorResponse, Request, Response},
    http::HeaderValue,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::{
    is_down,
    support::{daemon::Daemon, until},
};

/// Rotations under load.
const ROTATIONS: u64 = 3;

/// What a connection says to what it hears; to nothing at its beginning.
pub type Answer = Arc<dyn Fn(Option<&str>) -> Vec<Message> + Send + Sync>;

/// A service.
pub struct Stand {
    /// Where it listens.
    pub port: u16,
    protocol: &'static str,
    answer: Answer,
    heard: Arc<Mutex<Vec<Vec<String>>>>,
    asked: Arc<Mutex<Vec<String>>>,
    running: JoinSet<()>,
    /// Ends all connections with RST where it changes.
    cut: watch::Sender<()>,
    /// Connections come to nothing.
    is_cut: Arc<AtomicBool>,
}

impl Stand {
    /// Starts one that chooses this subprotocol, or none where it is empty.
    pub async fn start(
        protocol: &'static str,
        answer: impl Fn(Option<&str>) -> Vec<Message> + Send + Sync + 'static,
    ) -> Self {
        let mut stand = Self {
            port: 0,
            protocol,
            answer: Arc::new(answer),
            heard: Arc::default(),
            asked: Arc::default(),
            running: JoinSet::new(),
            cut: watch::channel(()).0,
            is_cut: Arc::default(),
        };
        stand.restart().await;
        stand
    }

    /// Ends it, and all its connections without a word.
    pub async fn stop(&mut self) {
        self.running.shutdown().await;
    }

    /// Starts it again where it was.
    pub async fn restart(&mut self) {
        self.stop().await;
        let port = self.port;
        let listener = until("a port", || TcpListener::bind(("127.0.0.1", port))).await;
        self.port = listener.local_addr().unwrap().port();
        let (protocol, answer) = (self.protocol, Arc::clone(&self.answer));
        let records = (Arc::clone(&self.heard), Arc::clone(&self.asked));
        let (cut, is_cut) = (self.cut.subscribe(), Arc::clone(&self.is_cut));
        self.running.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                if is_cut.load(Ordering::Relaxed) {
                    continue;
                }
                connections.spawn(serve(stream, protocol, Arc::clone(&answer), records.clone(), cut.clone()));
            }
        });
    }

    /// What it heard, connection by connection.
    pub fn heard(&self) -> Vec<Vec<String>> {
        self.heard.lock().clone()
    }

    /// What each connection asked for in its upgrade: the path with its query, and the header Authorization.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }

    /// Stops, takes a text for later, and starts again: what the new connection heard, up to that text.
    pub async fn heard_after_a_restart(&mut self, daemon: &Daemon) -> Vec<String> {
        let before = daemon.api.link("e/0").await["generation"].as_u64().unwrap();
        self.stop().await;
        daemon.api.link_until("e/0", "down", is_down).await;
        daemon.api.send_text("e", "queued").await.expect(202);
        self.restart().await;
        daemon.api.ready_after("e/0", before).await;
        self.last("the queued one", |heard| heard.iter().any(|heard| heard == "queued")).await
    }

    /// A cut of TCP, and rotations under load: on each connection `login` comes before what has waited, and each message comes once and
    /// in order. Nothing is asked for first where `login` is empty.
    pub async fn goes_on(&self, daemon: &Daemon, login: &str) {
        let (first, mut marks) = (self.heard().len(), Vec::new());
        self.is_cut.store(true, Ordering::Relaxed);
        self.cut.send_replace(());
        daemon.api.link_until("e/0", "down", is_down).await;
        let before = send_mark(daemon, &mut marks).await;
        self.is_cut.store(false, Ordering::Relaxed);
        daemon.api.ready_after("e/0", before).await;
        for _ in 0..ROTATIONS {
            let before = send_mark(daemon, &mut marks).await;
            let rotated = daemon.api.post("/v1/links/e/0/rotate", &[], "").await;
            assert_eq!(rotated.status, 200, "{} {}", rotated.json(), daemon.log());
            while send_mark(daemon, &mut marks).await <= before || is_down(&daemon.api.link("e/0").await) {}
        }
        // The one before may have left on the old connection.
        send_mark(daemon, &mut marks).await;
        let last = marks[marks.len() - 1].clone();
        self.last("the last mark", |heard| heard.contains(&last)).await;
        let heard = self.heard().split_off(first);
        let is_mark = |heard: &&String| heard.starts_with("mark ");
        let came: Vec<&String> = heard.iter().flatten().filter(is_mark).collect();
        assert_eq!(came, marks.iter().collect::<Vec<_>>(), "each once and in order");
        for connection in heard.iter().filter(|_| !login.is_empty()) {
            let mut until = connection.iter().take_while(|heard| !is_mark(heard));
            assert!(until.any(|heard| heard.contains(login)), "{login:?} is not before the messages: {connection:?}");
        }
        assert!(heard.len() > usize::try_from(ROTATIONS).unwrap(), "{} connections", heard.len());
    }

    /// What it heard on the last connection, once that is as `is` wants it.
    pub async fn last(&self, what: &str, is: impl Fn(&[String]) -> bool) -> Vec<String> {
        until(what, || async {
            let last = self.heard().pop().unwrap_or_default();
            if is(&last) { Ok(last) } else { Err(self.heard()) }
        })
        .await
    }
}

/// Sends the next of these; gives the number of the connection that was there.
async fn send_mark(daemon: &Daemon, marks: &mut Vec<String>) -> u64 {
    let mark = format!("mark {:04}", marks.len());
    daemon.api.send_text("e", &mark).await.expect(202);
    marks.push(mark);
    daemon.api.link("e/0").await["generation"].as_u64().unwrap()
}

type Records = (Arc<Mutex<Vec<Vec<String>>>>, Arc<Mutex<Vec<String>>>);

async fn serve(
    stream: TcpStream,
    protocol: &'static str,
    answer: Answer,
    (heard, asked): Records,
    mut cut: watch::Receiver<()>,
) {
    cut.mark_unchanged();
    #[allow(clippy::result_large_err, reason = "the library's type")]
    let choose = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        let authorization = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        asked.lock().push(format!("{} {}", request.uri(), authorization.unwrap_or_default()));
        if !protocol.is_empty() {
            response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(protocol));
        }
        Ok(response)
    };
    let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, choose).await else { return };
    let place = {
        let mut heard = heard.lock();
        heard.push(Vec::new());
        heard.len() - 1
    };
    let mut said = answer(None);
    loop {
        for message in said.drain(..) {
            if socket.send(message).await.is_err() {
                return;
            }
        }
        let message = tokio::select! {
            message = socket.next() => message,
            _ = cut.changed() => {
                socket.get_ref().set_zero_linger().unwrap();
                return;
            }
        };
        let Some(Ok(message)) = message else { return };
        if message.is_text() || message.is_binary() {
            let text = String::from_utf8_lossy(&message.into_data()).into_owned();
            heard.lock()[place].push(text.clone());
            said = answer(Some(&text));
        }
    }
}

/// A text.
pub fn text(text: &str) -> Message {
    Message::text(text)
}

/// A Close.
pub fn close(code: u16, reason: &str) -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::from(code), reason: reason.into() }))
}
