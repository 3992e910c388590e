//! A stand-in for a service: what it answers to each message is said by a function, and what it heard is kept, connection by connection.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
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
        self.running.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, protocol, Arc::clone(&answer), records.clone()));
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

    /// What it heard on the last connection, once that is as `is` wants it.
    pub async fn last(&self, what: &str, is: impl Fn(&[String]) -> bool) -> Vec<String> {
        until(what, || async {
            let last = self.heard().pop().unwrap_or_default();
            if is(&last) { Ok(last) } else { Err(self.heard()) }
        })
        .await
    }
}

type Records = (Arc<Mutex<Vec<Vec<String>>>>, Arc<Mutex<Vec<String>>>);

async fn serve(stream: TcpStream, protocol: &'static str, answer: Answer, (heard, asked): Records) {
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
        let Some(Ok(message)) = socket.next().await else { return };
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
