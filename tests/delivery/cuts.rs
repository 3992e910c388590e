//! Senders that hang up at any moment and repeat with their keys: each message arrives once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::AsyncWriteExt,
    net::UnixStream,
    task::{JoinHandle, JoinSet},
};

use crate::{
    LEAST, MOST, QUICK,
    chance::Chance,
    endpoint,
    recorder::Recorder,
    support::{daemon::Daemon, until},
};

const SENDERS: u64 = 8;
/// Of each sender.
const MESSAGES: u64 = 100;

#[tokio::test]
async fn posts_that_are_cut_off_and_repeated_with_their_keys_arrive_once() {
    for outbox in ["", MOST, LEAST] {
        let recorder = Recorder::listen().await;
        let daemon = Arc::new(Daemon::start(&format!("{QUICK}{}", endpoint("e", recorder.port, outbox))).await);
        daemon.api.ready_after("e/0", 0).await;
        let chance = Chance::new("posts_that_are_cut_off");
        let mut senders = JoinSet::new();
        for sender in 0..SENDERS {
            senders.spawn(send(Arc::clone(&daemon), chance.split(), sender));
        }
        let mut wanted = BTreeMap::new();
        for texts in senders.join_all().await {
            wanted.extend(texts.into_iter().map(|text| (text, 1)));
        }
        until("each message, once", || async {
            let counts = recorder.counts();
            if counts == wanted { Ok(()) } else { Err(difference(&wanted, &counts)) }
        })
        .await;
    }
}

/// Sends its messages, each cut off a few times and then repeated until it is accepted.
async fn send(daemon: Arc<Daemon>, chance: Chance, sender: u64) -> Vec<String> {
    let socket = daemon.folder().join("api.sock");
    let mut texts = Vec::new();
    for number in 0..MESSAGES {
        let text = format!("message {number} of {sender}");
        let key = format!("key of {text}");
        let request = format!(
            "POST /v1/endpoints/e/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
             Idempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        for _ in 0..=chance.below(2) {
            let mut stream = UnixStream::connect(&socket).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            // Hangs up at some moment of the daemon's work on it, or a little later. A timer would be too coarse.
            let until = tokio::time::Instant::now() + Duration::from_micros(chance.below(1000));
            while tokio::time::Instant::now() < until {
                tokio::task::yield_now().await;
            }
        }
        let headers = [("content-type", "text/plain"), ("idempotency-key", &*key)];
        let answer = daemon.api.post("/v1/endpoints/e/messages", &headers, text.clone()).await.expect(202).json();
        let id = answer["id"].as_str().unwrap();
        daemon.api.get(&format!("/v1/messages/{id}")).await.expect(200);
        texts.push(text);
    }
    texts
}

/// The messages that did not arrive once.
fn difference(wanted: &BTreeMap<String, usize>, counts: &BTreeMap<String, usize>) -> Vec<(String, usize)> {
    let count = |text: &String| counts.get(text).copied().unwrap_or_default();
    let wrong = wanted.keys().filter(|text| count(text) != 1);
    wrong.map(|text| (text.clone(), count(text))).collect()
}

/// A connection of HTTP/2, and the task that moves it: without it there is none.
async fn connect(daemon: &Daemon) -> (SendRequest<Full<Bytes>>, JoinHandle<()>) {
    let stream = UnixStream::connect(daemon.folder().join("api.sock")).await.unwrap();
    let (sender, connection) = Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream)).await.unwrap();
    // What it ends by is up to the test.
    (sender, tokio::spawn(async { drop(connection.await) }))
}

/// Sends a text with its key, and waits for the verdict.
fn post(sender: &mut SendRequest<Full<Bytes>>, text: &str, patience: &str) -> JoinHandle<Option<StatusCode>> {
    let path = format!("http://localhost/v1/endpoints/e/messages?timeout={patience}");
    let request = Request::post(path).header("content-type", "text/plain").header("idempotency-key", "the key");
    let answer = sender.send_request(request.body(Full::from(text.to_owned())).unwrap());
    tokio::spawn(async { Some(answer.await.ok()?.status()) })
}

/// How a caller goes who has asked over HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// It takes its one request back.
    Stream,
    /// Its connection is gone.
    Connection,
}

#[tokio::test]
async fn a_repeat_hears_the_verdict_on_a_first_whose_caller_was_cut_off_over_http_2() {
    // Both are counted, so that it can be seen that both wait.
    let text = "x".repeat(50_000);
    for cut in [Cut::Stream, Cut::Connection] {
        for (patience, verdict) in [("1min", StatusCode::ACCEPTED), ("4s", StatusCode::TOO_MANY_REQUESTS)] {
            let recorder = Recorder::listen().await;
            let outbox = "max_messages = 1\non_full = \"wait\"";
            let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", recorder.port, outbox))).await;
            daemon.api.post("/v1/links/e/0/pause", &[], "").await.expect(200);
            daemon.api.link_until("e/0", "paused", |link| link["phase"] == "paused").await;
            daemon.api.send_text("e", "before").await.expect(202);
            let held = async |least: f64| {
                until("payloads that wait", async || match daemon.api.metric("wskeeper_payload_bytes").await {
                    Some(bytes) if bytes >= least => Ok(()),
                    other => Err(other),
                })
                .await;
            };
            let (mut first, connection) = connect(&daemon).await;
            let asked = post(&mut first, &text, patience);
            held(50_000.0).await;
            let (mut second, _connection) = connect(&daemon).await;
            let repeated = post(&mut second, &text, "1min");
            held(100_000.0).await;
            match cut {
                Cut::Stream => asked.abort(),
                Cut::Connection => connection.abort(),
            }
            if verdict == StatusCode::ACCEPTED {
                daemon.api.post("/v1/links/e/0/resume", &[], "").await.expect(200);
            }
            assert_eq!(repeated.await.unwrap(), Some(verdict), "{cut:?}");
            daemon.api.post("/v1/links/e/0/resume", &[], "").await.expect(200);
            // Whatever came of it, the key has one message in the end.
            let again = post(&mut second, &text, "1min").await.unwrap();
            assert_eq!(again, Some(StatusCode::ACCEPTED), "{cut:?} {verdict}");
            let wanted = BTreeMap::from([("before".to_owned(), 1), (text.clone(), 1)]);
            until("each message, once", || async {
                let counts = recorder.counts();
                if counts == wanted { Ok(()) } else { Err(difference(&wanted, &counts)) }
            })
            .await;
        }
    }
}
