//! The opening handshake (RFC 6455 §4.1) as an HTTP/1.1 client has it.
//!
//! hyper's connection runs inside the future of [`upgrade`], not in a task, so dropping that future leaves nothing behind.
//! hyper knows nothing of WebSocket: every demand on the 101 is made in [`answer`].

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response,
    header::{
        AUTHORIZATION, CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use http_body_util::Empty;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use crate::config::{Secret, url::Target};

pub(super) use fault::UpgradeFault;

mod answer;
mod fault;

/// The head of an answer may have this many bytes.
const MOST_HEAD: usize = 16 << 10;

/// What to ask for.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    /// Of whom.
    pub(super) target: &'a Target,
    /// Headers beside those of the handshake. `Host` and `Authorization` among them win over the target's.
    pub(super) headers: &'a [(HeaderName, Secret)],
    /// Subprotocols offered, in order.
    pub(super) protocols: &'a [Secret],
    /// A server that chooses none of them is accepted.
    pub(super) protocols_optional: bool,
}

/// What was had.
#[derive(Debug)]
pub(super) struct Agreed<S> {
    /// The stream, free of HTTP.
    pub(super) stream: S,
    /// Bytes that came behind the 101.
    pub(super) early: Vec<u8>,
    /// Which of the offered subprotocols was chosen.
    pub(super) protocol: Option<usize>,
}

/// Asks for the upgrade and judges the answer.
pub(super) async fn upgrade<S>(stream: S, wish: &Wish<'_>) -> Result<Agreed<S>, UpgradeFault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let key = generate_key();
    let request = request(wish, &key)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MOST_HEAD)
        .title_case_headers(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| UpgradeFault::from_hyper(&error))?;
    let mut connection = Driven { connection: connection.with_upgrades(), ended: None };
    let response: Response<Incoming> = connection.until(sender.send_request(request)).await?;
    let protocol = answer::judge(&response, &key, wish)?;
    let upgraded = connection.until(hyper::upgrade::on(response)).await?;
    let parts = upgraded.downcast::<TokioIo<S>>().map_err(|_| UpgradeFault::Ended)?;
    // Copied: to hand on the buffer itself would keep all of it for as long as the connection.
    Ok(Agreed { stream: parts.io.into_inner(), early: parts.read_buf.to_vec(), protocol })
}

/// hyper's connection, which moves only while something else is awaited.
struct Driven<C> {
    connection: C,
    ended: Option<hyper::Result<()>>,
}

impl<C: Future<Output = hyper::Result<()>> + Unpin> Driven<C> {
    /// Awaits `wanted` while the connection runs. Where both fail, the connection knows better why.
    async fn until<T>(&mut self, wanted: impl Future<Output = hyper::Result<T>>) -> Result<T, UpgradeFault> {
        tokio::pin!(wanted);
        let result = loop {
            tokio::select! {
                biased;
                result = &mut wanted => break result,
                ended = &mut self.connection, if self.ended.is_none() => self.ended = Some(ended),
            }
        };
        result.map_err(|error| match &self.ended {
            Some(Err(known)) => UpgradeFault::from_hyper(known),
            Some(Ok(())) | None => UpgradeFault::from_hyper(&error),
        })
    }
}

fn request(wish: &Wish<'_>, key: &str) -> Result<Request<Empty<Bytes>>, UpgradeFault> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = wish.target.request_target().parse().map_err(|_| UpgradeFault::RequestTarget)?;
    let headers = request.headers_mut();
    headers.insert(HOST, value(&HOST, wish.target.authority())?);
    if let Some(basic) = &wish.target.basic_auth {
        headers.insert(AUTHORIZATION, secret(&AUTHORIZATION, basic)?);
    }
    add_own(headers, wish.headers)?;
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(SEC_WEBSOCKET_KEY, value(&SEC_WEBSOCKET_KEY, key)?);
    if !wish.protocols.is_empty() {
        let offered: Vec<&str> = wish.protocols.iter().map(Secret::expose).collect();
        headers.insert(SEC_WEBSOCKET_PROTOCOL, secret(&SEC_WEBSOCKET_PROTOCOL, &Secret::new(offered.join(", ")))?);
    }
    Ok(request)
}

/// The first of a name replaces what the target gave; further ones of that name are sent beside it.
fn add_own(headers: &mut HeaderMap, own: &[(HeaderName, Secret)]) -> Result<(), UpgradeFault> {
    for (index, (name, text)) in own.iter().enumerate() {
        let value = secret(name, text)?;
        if own[..index].iter().any(|(other, _)| other == name) {
            headers.append(name, value);
        } else {
            headers.insert(name, value);
        }
    }
    Ok(())
}

fn value(name: &HeaderName, text: &str) -> Result<HeaderValue, UpgradeFault> {
    HeaderValue::from_str(text).map_err(|_| UpgradeFault::HeaderValue(name.clone()))
}

fn secret(name: &HeaderName, text: &Secret) -> Result<HeaderValue, UpgradeFault> {
    // Not `value`: a header may hold UTF-8, which `from_str` refuses.
    let mut value =
        HeaderValue::from_bytes(text.expose().as_bytes()).map_err(|_| UpgradeFault::HeaderValue(name.clone()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests;
