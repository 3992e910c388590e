//! A served API with a configuration of its own, and clients that need not be polite.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use prometheus::Registry;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        client::IntoClientRequest,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use crate::{
    api::{
        Api, Asked, Denied, Done, DynamicEndpoints, Gone, Listener, Planning, Put, Reload, ReloadError, Remove, WRITING,
    },
    config::{InForce, Listen, Loaded, parse_toml, plan},
    observe::{Families, Telling},
    push::Pushes,
};
use wskeeper_link::pool::Pool;

/// How long a test waits for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A daemon without a file.
struct NoFile;

impl Reload for NoFile {
    fn plan(&self) -> Planning {
        Box::pin(async { Err(ReloadError::NoFile) })
    }

    fn reload(&self) -> Planning {
        self.plan()
    }
}

impl DynamicEndpoints for NoFile {
    fn put(&self, _put: Put) -> Asked<Done> {
        Box::pin(async { Err(Denied::Off) })
    }

    fn remove(&self, _remove: Remove) -> Asked<Gone> {
        Box::pin(async { Err(Denied::Off) })
    }
}

/// A served API.
pub(super) struct Bench {
    pub(super) pool: Pool,
    config: InForce,
    pub(super) port: u16,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Bench {
    /// Serves what the keys of `[api]` and the sections after them say.
    pub(super) async fn new(text: &str) -> Self {
        let config = parse_toml(&format!("[api]\n{text}"), "test.toml").unwrap().config;
        let families = Families::register(&Registry::new(), false).unwrap();
        let pool = Pool::start(config.settings(), Telling::new(Arc::clone(&families), None), 1).await;
        let listener = Listener::bind(&Listen::Tcp("127.0.0.1:0".parse().unwrap())).await.unwrap();
        let Listener::Tcp(tcp) = &listener else { panic!("no TCP") };
        let port = tcp.local_addr().unwrap().port();
        let (stop, stopping) = watch::channel(false);
        let config = InForce::new(Arc::new(config));
        let pushes = Pushes::new(pool.clone(), WRITING, 1);
        let api = Api {
            pool: pool.clone(),
            config: config.clone(),
            families,
            reload: Arc::new(NoFile),
            endpoints: Arc::new(NoFile),
            pushes,
        };
        let serving = tokio::spawn(api.serve(listener, stopping));
        Self { pool, config, port, stop, serving }
    }

    /// Follows another configuration.
    pub(super) async fn apply(&self, loaded: Loaded) {
        let plan = plan(&self.config.get(), loaded, self.pool.has_store(), &|name| self.pool.links_of(name));
        self.pool.apply(plan.config.settings(), &|_, new| plan.follow(&new.name)).await.unwrap();
        self.config.set(plan.config);
    }

    /// A connection that has said nothing.
    pub(super) async fn dial(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    /// One request on a connection of its own: status and body.
    pub(super) async fn get(&self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await
    }

    /// As [`Self::get`], for an answer in JSON.
    pub(super) async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path).await.1).unwrap()
    }

    /// A request with a body, on a connection of its own: status and body.
    pub(super) async fn call(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close");
        self.ask(&format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}")).await
    }

    /// A request as it stands.
    pub(super) async fn ask(&self, request: &str) -> (u16, String) {
        let mut stream = self.dial().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    /// A local WebSocket.
    pub(super) async fn socket(&self, path: &str, protocol: Option<&str>) -> WebSocketStream<TcpStream> {
        self.try_socket(path, protocol).await.unwrap()
    }

    /// A local WebSocket, or why there is none.
    pub(super) async fn try_socket(
        &self,
        path: &str,
        protocol: Option<&str>,
    ) -> Result<WebSocketStream<TcpStream>, Box<tokio_tungstenite::tungstenite::Error>> {
        let mut request = format!("ws://localhost:{}{path}", self.port).into_client_request().unwrap();
        if let Some(protocol) = protocol {
            request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
        }
        Ok(client_async(request, self.dial().await).await.map_err(Box::new)?.0)
    }

    /// Stops it and waits for its end.
    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(PATIENCE, self.serving).await.unwrap().unwrap();
    }
}

/// The port of an echo peer.
pub(super) async fn echo() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    let is_data = message.is_text() || message.is_binary();
                    if is_data && socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// The port of a peer that closes with 1008 on every message that begins with `bad`, while `refuses` is true.
pub(super) async fn picky(refuses: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let refuses = Arc::clone(&refuses);
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if refuses.load(Ordering::Relaxed) && message.clone().into_data().starts_with(b"bad") {
                        let frame = CloseFrame { code: CloseCode::Policy, reason: "bad".into() };
                        // The peer of this peer may be gone first.
                        let _ = socket.close(Some(frame)).await;
                    }
                }
            });
        }
    });
    port
}

/// Everything until the server hangs up.
pub(super) async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset ends it as well.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("an end in time");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Asks until the answer is there.
pub(super) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            match ask().await {
                Some(answer) => return answer,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}
