//! HTTP/1.1 as a client: one connection by TCP, TLS or a unix socket, with an end in time and a bound of what is read.
//!
//! What a reader would get wrong: nothing is done again by itself. A request whose answer was lost may have been carried out, and
//! only who asked knows whether twice is once too often. Redirects are answers as others are.

mod server;
mod tls;

use std::{future::Future, io};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_LENGTH};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout_at},
};
use wskeeper_link::endpoint::url::Target;

pub use server::Server;

/// The server of a URL, as people see it.
pub fn shown(target: &Target) -> String {
    format!("{}://{}", if target.tls { "https" } else { "http" }, target.authority())
}

/// Why there is no answer, or not all of it. Its text goes on after the server's name.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection; nothing was sent.
    #[error("is not reached: {0}")]
    Unreachable(#[from] io::Error),
    /// The connection ended before the answer did.
    #[error("hung up: {0}")]
    Lost(#[from] hyper::Error),
    /// The time was over first.
    #[error("did not answer in time")]
    Late,
    /// There is more of the answer than is read.
    #[error("answered with more than {0} bytes")]
    TooLong(usize),
}

/// A connection to a server. It carries one request at a time, and its end in time is that of all of them.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    until: Option<Instant>,
}

impl Connection {
    /// Connects. To be called within a tokio runtime.
    pub async fn open(server: &Server, until: Option<Instant>) -> Result<Self, Error> {
        Self::over(server.connect(), until).await
    }

    /// Connects by a way of the caller's own.
    pub async fn over<S: AsyncRead + AsyncWrite + Send + 'static>(
        connecting: impl Future<Output = io::Result<S>>,
        until: Option<Instant>,
    ) -> Result<Self, Error> {
        let opening = async {
            let stream = Box::pin(connecting.await?);
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            // It ends with the sender and the answer under way; its errors are seen by them.
            tokio::spawn(async move { drop(connection.await) });
            Ok(sender)
        };
        let sender = within(until, opening).await?;
        Ok(Self { sender, until })
    }

    /// Whether it can carry another request; waits for the end of the one before.
    pub async fn is_ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends a request, whose target and `Host` are as they go out, and waits for the head of its answer.
    pub async fn send(&mut self, mut request: Request<Bytes>) -> Result<Answer, Error> {
        let has_body = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
        if has_body && request.body().is_empty() {
            // Hyper leaves it out, and there are servers that read a length or answer 411 (RFC 9110, section 8.6).
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let sending = self.sender.send_request(request.map(Full::new));
        let response = within(self.until, async { Ok(sending.await?) }).await?;
        Ok(Answer { response, until: self.until })
    }
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub struct Answer {
    response: Response<Incoming>,
    until: Option<Instant>,
}

impl Answer {
    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Its headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// What comes next of the body; `None` at its end.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        loop {
            let body = self.response.body_mut();
            match within(self.until, async { Ok(body.frame().await.transpose()?) }).await {
                // Trailers are of no use to anybody here.
                Ok(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        return Some(Ok(data));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// All of the body, where it has at most so many bytes.
    pub async fn whole(mut self, most: usize) -> Result<Bytes, Error> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.next().await {
            let piece = piece?;
            if piece.len() > most - whole.len() {
                return Err(Error::TooLong(most));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }
}

async fn within<T>(until: Option<Instant>, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match until {
        Some(until) => timeout_at(until, work).await.unwrap_or(Err(Error::Late)),
        None => work.await,
    }
}

#[cfg(test)]
mod tests;
