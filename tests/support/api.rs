//! A client of the local API over a unix socket: one connection a call.

use std::path::PathBuf;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{client::IntoClientRequest, protocol::WebSocketConfig},
};

use super::{sse::Events, until};

/// Why a call had no answer.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A local WebSocket.
pub type Socket = WebSocketStream<UnixStream>;

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// Panics unless the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

/// A client.
#[derive(Debug, Clone)]
pub struct Api {
    socket: PathBuf,
    token: Option<String>,
}

impl Api {
    /// For the daemon on this socket.
    pub fn unix(socket: PathBuf) -> Self {
        Self { socket, token: None }
    }

    /// The same with a token.
    #[must_use]
    pub fn with_token(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }

    /// `GET`, which must be answered.
    pub async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// `GET`, where nobody may be there.
    pub async fn try_get(&self, path: &str) -> Result<Answer, Failure> {
        read(self.call(Method::GET, path, &[], Bytes::new()).await?).await
    }

    /// `POST` with a body and headers.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let answer = self.call(Method::POST, path, headers, body.into()).await;
        read(answer.unwrap_or_else(|error| panic!("POST {path}: {error}"))).await.unwrap()
    }

    /// `POST`, where nobody may be there, or may go before there is an answer.
    pub async fn try_post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, Failure> {
        read(self.call(Method::POST, path, headers, body.into()).await?).await
    }

    /// `PUT` with a body.
    pub async fn put(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.call_with("PUT", path, body).await
    }

    /// `PUT` with a body and headers.
    pub async fn put_with(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        read(self.call(Method::PUT, path, headers, body.into()).await.unwrap()).await.unwrap()
    }

    /// `PUT`, where nobody may be there, or may go before there is an answer.
    pub async fn try_put(&self, path: &str, body: impl Into<Bytes>) -> Result<Answer, Failure> {
        read(self.call(Method::PUT, path, &[], body.into()).await?).await
    }

    /// `DELETE` with headers.
    pub async fn delete_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        read(self.call(Method::DELETE, path, headers, Bytes::new()).await.unwrap()).await.unwrap()
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Answer {
        self.call_with("DELETE", path, "").await
    }

    /// By this method, with a body.
    pub async fn call_with(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Answer {
        let answer = self.call(method.parse().unwrap(), path, &[], body.into()).await;
        read(answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))).await.unwrap()
    }

    /// Sends text to an endpoint.
    pub async fn send_text(&self, endpoint: &str, text: &str) -> Answer {
        let path = format!("/v1/endpoints/{endpoint}/messages");
        self.post(&path, &[("content-type", "text/plain")], text.to_owned()).await
    }

    /// Sends binary data to an endpoint.
    pub async fn send_binary(&self, endpoint: &str, data: impl Into<Bytes>) -> Answer {
        let path = format!("/v1/endpoints/{endpoint}/messages");
        self.post(&path, &[("content-type", "application/octet-stream")], data).await
    }

    /// A link, `NAME/INDEX`.
    pub async fn link(&self, link: &str) -> Value {
        self.get(&format!("/v1/links/{link}")).await.expect(200).json()
    }

    /// Waits until a link is as `is` wants it.
    pub async fn link_until(&self, link: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        until(&format!("{link}: {what}"), || async {
            let seen = self.link(link).await;
            if is(&seen) { Ok(seen) } else { Err(seen) }
        })
        .await
    }

    /// Waits until a link is ready with a generation above this.
    pub async fn ready_after(&self, link: &str, generation: u64) -> Value {
        let what = format!("ready after generation {generation}");
        self.link_until(link, &what, |seen| {
            seen["phase"] == "ready" && seen["generation"].as_u64().is_some_and(|now| now > generation)
        })
        .await
    }

    /// The value of a series in `/metrics`, labels in the order in which they are rendered.
    pub async fn metric(&self, series: &str) -> Option<f64> {
        let answer = self.get("/metrics").await.expect(200);
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    /// Follows the events of an endpoint, from the oldest kept, or from `latest` or a cursor.
    pub async fn events(&self, endpoint: &str, query: &str) -> Events {
        let path = format!("/v1/endpoints/{endpoint}/events?{query}");
        let answer = self.call(Method::GET, &path, &[("accept", "text/event-stream")], Bytes::new()).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        Events::new(answer.into_body())
    }

    /// Looks at the frames of an endpoint.
    pub async fn frames(&self, endpoint: &str, query: &str) -> Events {
        let path = format!("/v1/endpoints/{endpoint}/frames?{query}");
        let answer = self.call(Method::GET, &path, &[("accept", "text/event-stream")], Bytes::new()).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        Events::new(answer.into_body())
    }

    /// Follows the events of an endpoint, where nobody may be there.
    pub async fn try_events(&self, endpoint: &str, query: &str, headers: &[(&str, &str)]) -> Result<Events, Failure> {
        let path = format!("/v1/endpoints/{endpoint}/events?{query}");
        let answer = self.call(Method::GET, &path, headers, Bytes::new()).await?;
        if answer.status() == 200 { Ok(Events::new(answer.into_body())) } else { Err(format!("{answer:?}").into()) }
    }

    /// A consumer by the local WebSocket: plain, or with the envelope of `wskeeper.v1.json`. Not reading it is what a slow one does.
    pub async fn socket(&self, endpoint: &str, query: &str, envelope: bool) -> Socket {
        self.try_socket(endpoint, query, envelope).await.unwrap()
    }

    /// The same, where nobody may be there.
    pub async fn try_socket(&self, endpoint: &str, query: &str, envelope: bool) -> Result<Socket, Failure> {
        let mut request = format!("ws://localhost/v1/endpoints/{endpoint}/ws?{query}").into_client_request().unwrap();
        if envelope {
            request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("wskeeper.v1.json"));
        }
        let limits = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let stream = UnixStream::connect(&self.socket).await?;
        Ok(client_async_with_config(request, stream, Some(limits)).await?.0)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        let stream = UnixStream::connect(&self.socket).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        Ok(sender.send_request(request.body(Full::new(body))?).await?)
    }
}

async fn read(answer: Response<Incoming>) -> Result<Answer, Failure> {
    let (head, body) = answer.into_parts();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.collect().await?.to_bytes() })
}
