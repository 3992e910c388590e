//! A server that receives, answers as it is told to, and remembers all that it was asked.

use std::{collections::VecDeque, convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};

use crate::support::until;

/// A request that it was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub at: Instant,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Asked {
    /// A header, empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The number of its message.
    pub fn number(&self) -> u64 {
        serde_json::from_slice::<Value>(&self.body).unwrap()["n"].as_u64().unwrap()
    }

    /// Its lines, as JSON.
    pub fn lines(&self) -> Vec<Value> {
        let text = std::str::from_utf8(&self.body).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// What it answers.
pub type Reply = (u16, Vec<(&'static str, String)>);

/// The server.
#[derive(Debug)]
pub struct Receiver {
    pub port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// One on a port of its own, which answers 200.
    pub async fn start() -> Self {
        Self::at(0, |_| None).await
    }

    /// One on this port; what `judge` says of a request goes before what it was told to answer.
    pub async fn at(port: u16, judge: impl Fn(&Asked) -> Option<u16> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, replies) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::<Mutex<VecDeque<Reply>>>::default());
        let (all, next, judge) = (Arc::clone(&asked), Arc::clone(&replies), Arc::new(judge));
        let serving = tokio::spawn(async move {
            // What it serves ends with it.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (all, next, judge) = (Arc::clone(&all), Arc::clone(&next), Arc::clone(&judge));
                let answer = service_fn(move |request: Request<Incoming>| {
                    let (all, next, judge) = (Arc::clone(&all), Arc::clone(&next), Arc::clone(&judge));
                    async move {
                        let (head, body) = request.into_parts();
                        let Ok(body) = body.collect().await else {
                            return Ok::<_, Infallible>(Response::new(Full::default()));
                        };
                        let path = head.uri.to_string();
                        let asked = Asked { at: Instant::now(), path, headers: head.headers, body: body.to_bytes() };
                        let judged = judge(&asked).map(|status| (status, Vec::new()));
                        let (status, headers) = judged.or_else(|| next.lock().pop_front()).unwrap_or((200, Vec::new()));
                        all.lock().push(asked);
                        let mut response = Response::builder().status(status);
                        for (name, value) in headers {
                            response = response.header(name, value);
                        }
                        Ok(response.body(Full::new(Bytes::from_static(b"noted"))).unwrap())
                    }
                });
                connections.spawn(async move {
                    drop(
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await,
                    );
                });
            }
        });
        Self { port, asked, replies, serving }
    }

    /// It answers these next, and 200 then.
    pub fn replies(&self, replies: impl IntoIterator<Item = Reply>) {
        self.replies.lock().extend(replies);
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }

    /// Waits until it was asked so often.
    pub async fn asked_times(&self, times: usize) -> Vec<Asked> {
        until(&format!("{times} requests"), || async {
            let asked = self.asked();
            if asked.len() >= times { Ok(asked) } else { Err(asked.len()) }
        })
        .await
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("url = \"http://127.0.0.1:{}/hook?a=b\"", self.port)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
