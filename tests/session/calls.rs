//! HTTP steps against a server that gives out tickets: each is good for one login.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    QUICK,
    stand::{Stand, text},
    support::{daemon::Daemon, tls::Authority, until},
};

/// What an HTTP server says.
pub struct Reply {
    pub status: u16,
    /// Lines, each with its end.
    pub headers: &'static str,
    pub body: String,
}

impl From<(u16, String)> for Reply {
    fn from((status, body): (u16, String)) -> Self {
        Self { status, headers: "", body }
    }
}

/// An HTTP server that answers each request by a function, and keeps what it was asked.
pub struct Http {
    /// Where it listens.
    pub port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    _running: JoinSet<()>,
}

impl Http {
    /// Starts one; the function is given the head and body of a request, and says status and body.
    pub async fn start<R: Into<Reply>>(answer: impl Fn(&str) -> R + Send + Sync + 'static) -> Self {
        Self::started(None, answer).await
    }

    async fn started<R: Into<Reply>>(
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&str) -> R + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, asked) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<String>>>::default());
        let (answer, record, mut running) = (Arc::new(answer), Arc::clone(&asked), JoinSet::new());
        running.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, record, tls) = (Arc::clone(&answer), Arc::clone(&record), tls.clone());
                connections.spawn(async move {
                    let answer = |request: &str| {
                        record.lock().push(request.to_owned());
                        answer(request).into()
                    };
                    match tls {
                        None => serve(stream, answer).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, answer).await;
                            }
                        }
                    }
                });
            }
        });
        Self { port, asked, _running: running }
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: impl Fn(&str) -> Reply) {
    let mut request = String::new();
    loop {
        if let Some((head, body)) = request.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                break;
            }
        }
        let mut part = [0; 2048];
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return,
            Ok(count) => request.push_str(&String::from_utf8_lossy(&part[..count])),
        }
    }
    let Reply { status, headers, body } = answer(&request);
    let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let _ = stream.write_all((head + &body).as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn welcome(heard: Option<&str>) -> Vec<Message> {
    heard.filter(|heard| heard.starts_with("login ")).map(|_| text("welcome")).into_iter().collect()
}

fn config(ws: u16, http: u16) -> String {
    format!(
        r#"{QUICK}
[endpoints.e]
url = "ws://127.0.0.1:{ws}/"
[endpoints.e.session]
open = [
    {{ http = {{ method = "POST", url = "http://127.0.0.1:{http}/tickets?of=me", headers = {{ Authorization = "Bearer s3cret-bearer" }}, json = {{ scope = "ws" }}, extract = {{ ticket = "/ticket" }} }} }},
    {{ send = "login ${{var:ticket}}" }},
    {{ expect = {{ text = "welcome" }}, hide = true }},
]
"#
    )
}

#[tokio::test]
async fn each_connection_fetches_a_ticket_of_its_own_before_it_logs_in() {
    let given = Mutex::new(0);
    let http = Http::start(move |_| {
        let mut given = given.lock();
        *given += 1;
        (201, format!("{{\"ticket\": \"s3cret-ticket-{given}\"}}"))
    })
    .await;
    let mut stand = Stand::start("", welcome).await;
    let daemon = Daemon::start(&config(stand.port, http.port)).await;
    let link = daemon.api.ready_after("e/0", 0).await;
    stand.restart().await;
    daemon.api.ready_after("e/0", link["generation"].as_u64().unwrap()).await;
    let heard: Vec<Vec<String>> = stand.heard();
    let logins: Vec<&str> = heard.iter().flatten().map(String::as_str).collect();
    assert_eq!(logins, ["login s3cret-ticket-1", "login s3cret-ticket-2"]);
    let asked = http.asked();
    assert!(asked[0].starts_with("POST /tickets?of=me HTTP/1.1\r\n"), "{asked:?}");
    assert!(asked[0].contains("authorization: Bearer s3cret-bearer\r\n") && asked[0].ends_with("{\"scope\":\"ws\"}"));
    let shown = daemon.api.get("/v1/endpoints/e").await.expect(200).body;
    assert!(!String::from_utf8_lossy(&shown).contains("s3cret") && !daemon.log().contains("s3cret"));
}

#[tokio::test]
async fn a_call_that_is_refused_parks_the_link_with_the_servers_words() {
    let http = Http::start(|_| (403, "no tickets for s3cret-bearer, sorry".into())).await;
    let stand = Stand::start("", welcome).await;
    let mut daemon = Daemon::made(&config(stand.port, http.port).replace("Bearer s3cret-bearer", "Bearer ${env:PATH}"));
    daemon.launch();
    daemon.alive().await;
    let explained = crate::explained_when_parked(&daemon).await;
    assert!(explained.contains("open[0] was answered with status 403 and said: no tickets for"), "{explained}");
    assert_eq!(http.asked().len(), 2, "once, and once more with secrets that were read again");
}

#[tokio::test]
async fn a_server_of_another_authority_than_the_endpoints_is_called_by_the_systems() {
    let (own, public) = (Authority::named("of the endpoint"), Authority::named("of the system"));
    let http = Http::started(Some(public.acceptor()), |_| (200, "{\"ticket\": \"t\"}".into())).await;
    let stand = Stand::start("", welcome).await;
    let of_endpoint = config(stand.port, http.port).replace("http://127.0.0.1", "https://localhost");
    let of_endpoint = format!("{of_endpoint}{}\n", own.trust("e"));
    for (config, is_trusted) in
        [(of_endpoint.replace("method =", "tls = \"system\", method ="), true), (of_endpoint, false)]
    {
        let mut daemon = Daemon::made(&config);
        daemon.set_variable("SSL_CERT_FILE", public.file().to_str().unwrap());
        daemon.launch();
        if is_trusted {
            daemon.ready().await;
        } else {
            daemon.alive().await;
            until("explain tells of the certificate", async || {
                let explained = daemon.api.get("/v1/links/e/0/explain").await.expect(200);
                let explained = String::from_utf8_lossy(&explained.body).into_owned();
                if explained.contains("certificate") { Ok(()) } else { Err(explained) }
            })
            .await;
        }
    }
}

/// Twitch's: `reconnect` brings a URL to go to.
fn eventsub(heard: Option<&str>, port: u16) -> Vec<Message> {
    let message = |kind: &str, session: serde_json::Value| {
        let metadata = serde_json::json!({ "message_id": "1", "message_type": kind });
        text(&serde_json::json!({ "metadata": metadata, "payload": session }).to_string())
    };
    match heard {
        None => {
            let session = serde_json::json!({ "id": "AQoQ", "status": "connected", "keepalive_timeout_seconds": 10 });
            vec![message("session_welcome", serde_json::json!({ "session": session }))]
        }
        Some("reconnect") => {
            let url = format!("ws://127.0.0.1:{port}/ws?challenge=1");
            let session = serde_json::json!({ "id": "AQoQ", "status": "reconnecting", "reconnect_url": url });
            vec![message("session_reconnect", serde_json::json!({ "session": session }))]
        }
        Some("queued") => Vec::new(),
        Some(_) => vec![
            message("session_keepalive", serde_json::json!({})),
            message("notification", serde_json::json!({ "event": {} })),
        ],
    }
}

fn twitch(ws: u16, http: u16) -> String {
    let values = format!(
        "session.values = {{ api = \"http://127.0.0.1:{http}/helix\", client_id = \"me\", token = \"s3cret-token\", \
         type = \"channel.online\", condition = '{{\"broadcaster_user_id\":\"1337\"}}' }}"
    );
    let url = format!("${{var:reconnect_url|ws://127.0.0.1:{ws}/ws}}");
    crate::with_preset("twitch-eventsub", &url, &values)
}

#[tokio::test]
async fn twitch_is_subscribed_to_on_every_connection_but_on_one_that_it_asked_for() {
    let http = Http::start(|_| (202, r#"{"data":[{"id":"1","status":"enabled"}]}"#.into())).await;
    let port = Arc::new(std::sync::atomic::AtomicU16::new(0));
    let known = Arc::clone(&port);
    let mut stand =
        Stand::start("", move |heard| eventsub(heard, known.load(std::sync::atomic::Ordering::Relaxed))).await;
    port.store(stand.port, std::sync::atomic::Ordering::Relaxed);
    let daemon = Daemon::start(&twitch(stand.port, http.port)).await;
    let link = daemon.api.ready_after("e/0", 0).await;
    let asked = http.asked();
    assert!(asked[0].starts_with("POST /helix/eventsub/subscriptions HTTP/1.1\r\n"), "{asked:?}");
    assert!(asked[0].contains("authorization: Bearer s3cret-token\r\n") && asked[0].contains("client-id: me\r\n"));
    let body = r#"{"type":"channel.online","version":"1","condition":{"broadcaster_user_id":"1337"},"transport":{"method":"websocket","session_id":"AQoQ"}}"#;
    assert!(asked[0].ends_with(body), "{asked:?}");
    assert!(crate::answer(&daemon, "hello").await.contains("notification"), "keepalives are hidden");

    daemon.api.send_text("e", "reconnect").await.expect(202);
    daemon.api.ready_after("e/0", link["generation"].as_u64().unwrap()).await;
    assert_eq!((stand.asked(), http.asked().len()), (vec!["/ws ".into(), "/ws?challenge=1 ".into()], 1));

    stand.heard_after_a_restart(&daemon).await;
    assert_eq!((stand.asked().last().unwrap().as_str(), http.asked().len()), ("/ws ", 2));
}

#[tokio::test]
async fn twitch_refuses_a_token_in_its_own_words() {
    let refused = r#"{"error":"Unauthorized","status":401,"message":"Invalid OAuth token"}"#;
    let http = Http::start(move |_| (401, refused.into())).await;
    let stand = Stand::start("", |heard| eventsub(heard, 0)).await;
    let mut daemon = Daemon::made(&twitch(stand.port, http.port));
    daemon.launch();
    daemon.alive().await;
    let explained = crate::explained_when_parked(&daemon).await;
    assert!(explained.contains("Invalid OAuth token") && !explained.contains("s3cret-token"), "{explained}");
    assert_eq!(http.asked().len(), 2, "once, and once more with secrets that were read again");
}
