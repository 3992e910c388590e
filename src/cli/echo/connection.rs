//! One connection of the echo peer: upgrade, echo, and the fault that comes first.
//!
//! The echo and the faults race as futures over one stream. A fault may cut the echo in the middle of a write; that is safe
//! because every fault ends the conversation.

use std::{
    future::pending,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        self, Message,
        handshake::server::{ErrorResponse, Request, Response},
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

use super::{
    Closing, Faults, Refusal, Shared,
    fact::{Fact, What},
};
use wskeeper_core::{
    close::MAX_REASON_BYTES,
    deflate::{Agreement, MOST_BITS, Proposal, Takeover},
    message::Payload,
};
use wskeeper_link::{
    clock::Moment,
    endpoint::compression::Compression,
    link::{ServedStream, violation_in},
};

/// A client that does not finish its upgrade, or its closing handshake, is let go after this.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a stalled connection looks whether the client has gone.
const LOOK: Duration = Duration::from_millis(250);
/// All that a client may offer is agreed to.
const COMPRESSION: Compression = Compression {
    is_offered: true,
    level: 3,
    threshold: 0,
    offer: Proposal { context: Takeover::Both, window_bits: MOST_BITS },
};

type Socket = WebSocketStream<ServedStream<TcpStream>>;

/// What a client agreed on: a subprotocol, and how messages are compressed.
type Chosen = (Option<String>, Option<Agreement>);

/// Serves one connection to its end.
pub(super) async fn serve(peer: Arc<Shared>, stream: TcpStream, from: SocketAddr) {
    let connection = peer.connections.fetch_add(1, Ordering::Relaxed) + 1;
    let tell = |what| (peer.tell)(Fact { connection, what });
    // Small frames are the point of an echo peer; a failure to set it costs latency only.
    let _ = stream.set_nodelay(true);
    let refusal = peer.faults.refuse.and_then(|refusing| refusing.at(peer.started.elapsed()));
    let (mut socket, (protocol, compression)) = match timeout(PATIENCE, upgrade(stream, &peer.faults, refusal)).await {
        Ok(Ok(upgraded)) => upgraded,
        Ok(Err(what)) => return tell(what),
        Err(_) => return tell(What::Failed("the upgrade was not complete within 10 s".into())),
    };
    tell(What::Opened { from, protocol, compression });
    let mut echoed = 0;
    let code = converse(&peer, &mut socket, &mut echoed, &tell).await;
    tell(What::Ended { code, echoed });
}

/// Echoes until the client closes or a fault is due; answers with the client's close code.
async fn converse(peer: &Shared, socket: &mut Socket, echoed: &mut u64, tell: &impl Fn(What)) -> u16 {
    let faults = &peer.faults;
    let opened = Instant::now();
    let drop_at = faults.drop_every.map(|every| next_multiple(peer.started, every, opened));
    if faults.half_open {
        tell(What::Silent);
        tokio::select! {
            () = discard(socket) => {}
            () = until(drop_at) => { reset(socket); tell(What::Dropped); }
        }
        return 1006;
    }
    let close_at = faults.close.as_ref().map(|closing| opened.later(closing.after));
    let stall_at = faults.stall.map(|after| opened.later(after));
    tokio::select! {
        code = echo(socket, faults.delay, echoed) => return code,
        () = until(drop_at) => {}
        () = until(close_at) => {
            if let Some(closing) = &faults.close {
                tell(What::Closing { code: closing.code });
                return close(socket, closing).await;
            }
        }
        () = until(stall_at) => {
            tell(What::Stalled);
            tokio::select! {
                () = gone(socket.get_mut().below()) => return 1006,
                () = until(drop_at) => {}
            }
        }
    }
    reset(socket);
    tell(What::Dropped);
    1006
}

#[allow(clippy::result_large_err, reason = "the size of the error is tungstenite's")]
async fn upgrade(stream: TcpStream, faults: &Faults, refusal: Option<Refusal>) -> Result<(Socket, Chosen), What> {
    let mut refused = None;
    let (mut chosen, mut agreed) = (None, None);
    let answer = |request: &Request, mut response: Response| {
        if let Some(refusal) = refusal {
            refused = Some(refusal);
            return Err(refuse(refusal, "refused on purpose\n"));
        }
        if let Some(wanted) = &faults.subprotocol {
            if !offers(request, wanted) {
                let refusal = Refusal { status: 400, retry_after: None };
                refused = Some(refusal);
                return Err(refuse(refusal, "the subprotocol was not offered\n"));
            }
            if let Ok(value) = wanted.parse() {
                response.headers_mut().insert("Sec-WebSocket-Protocol", value);
                chosen = Some(wanted.clone());
            }
        }
        if faults.compression {
            let offers = request.headers().get_all("Sec-WebSocket-Extensions");
            agreed = COMPRESSION.offer.answer(offers.iter().map(HeaderValue::as_bytes));
        }
        if let Some(Ok(value)) = agreed.map(|agreed| agreed.to_string().parse()) {
            response.headers_mut().insert("Sec-WebSocket-Extensions", value);
        }
        Ok(response)
    };
    match accept_hdr_async(stream, answer).await {
        Ok(socket) => {
            // It was given nothing behind the request, and has read no more.
            let stream = ServedStream::new(socket.into_inner(), agreed.map(|agreed| (COMPRESSION, agreed)));
            Ok((WebSocketStream::from_raw_socket(stream, Role::Server, None).await, (chosen, agreed)))
        }
        Err(error) => Err(match refused {
            Some(Refusal { status, retry_after }) => What::Refused { status, retry_after },
            None => What::Failed(error.to_string()),
        }),
    }
}

fn offers(request: &Request, wanted: &str) -> bool {
    request
        .headers()
        .get_all("Sec-WebSocket-Protocol")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|offered| offered.trim() == wanted)
}

fn refuse(refusal: Refusal, body: &str) -> ErrorResponse {
    let mut response = ErrorResponse::new(Some(body.to_owned()));
    *response.status_mut() = http::StatusCode::from_u16(refusal.status).unwrap_or(http::StatusCode::BAD_REQUEST);
    let headers = response.headers_mut();
    headers.insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(http::header::CONTENT_LENGTH, body.len().into());
    if let Some(seconds) = refusal.retry_after {
        headers.insert(http::header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Echoes text and binary; tungstenite answers pings and Close frames as it reads on.
async fn echo(socket: &mut Socket, delay: Duration, echoed: &mut u64) -> u16 {
    let mut code = 1006;
    while let Some(message) = socket.next().await {
        let message = match message {
            Ok(message) => message,
            Err(error) => {
                if let Some((code, why)) = violation_in(&error) {
                    let _ = timeout(PATIENCE, say_why(socket, code, why)).await;
                }
                break;
            }
        };
        let payload = match message {
            Message::Text(text) => Payload::checked_text(text),
            Message::Binary(bytes) => Payload::binary(bytes),
            Message::Close(frame) => {
                code = close_code(frame.as_ref());
                // tungstenite has answered it, and says that all is over when the answer has come as far as the stream.
                let _ = socket.flush().await;
                let _ = socket.get_mut().flush().await;
                continue;
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        // There is room: what was given before has left.
        socket.get_mut().give(&(&payload).into());
        if socket.flush().await.is_err() {
            break;
        }
        *echoed += 1;
    }
    code
}

/// Fails the connection (RFC 6455 §7.1.7). What the client still sends is read: unread, it would make a reset, which overtakes the Close frame.
async fn say_why(socket: &mut Socket, code: u16, mut why: String) {
    why.truncate(why.floor_char_boundary(MAX_REASON_BYTES));
    let _ = socket.close(Some(CloseFrame { code: CloseCode::from(code), reason: why.into() })).await;
    let _ = socket.get_mut().shutdown().await;
    discard(socket).await;
}

async fn close(socket: &mut Socket, closing: &Closing) -> u16 {
    if closing.code == 1006 {
        let _ = socket.get_mut().shutdown().await;
        let _ = timeout(PATIENCE, discard(socket)).await;
        return 1006;
    }
    let frame = (closing.code != 1005)
        .then(|| CloseFrame { code: CloseCode::from(closing.code), reason: closing.reason.as_str().into() });
    if socket.close(frame).await.is_err() {
        return 1006;
    }
    timeout(PATIENCE, drain(socket)).await.unwrap_or(1006)
}

/// Reads to the end of the closing handshake.
async fn drain(socket: &mut Socket) -> u16 {
    let mut code = 1006;
    while let Some(message) = socket.next().await {
        match message {
            Ok(Message::Close(frame)) => code = close_code(frame.as_ref()),
            Ok(_) => {}
            Err(tungstenite::Error::ConnectionClosed) => break,
            Err(_) => return code,
        }
    }
    code
}

fn close_code(frame: Option<&CloseFrame>) -> u16 {
    frame.map_or(1005, |frame| frame.code.into())
}

/// Reads bytes and forgets them, until the client has gone.
async fn discard(socket: &mut Socket) {
    let stream = socket.get_mut().below();
    let mut bytes = vec![0; 4096];
    while let Ok(1..) = stream.read(&mut bytes).await {}
}

/// Waits until the client has gone, without reading.
async fn gone(stream: &TcpStream) {
    while let Ok(ready) = stream.ready(Interest::READABLE | Interest::ERROR).await {
        if ready.is_read_closed() || ready.is_error() {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Makes the end of the stream a TCP RST.
fn reset(socket: &mut Socket) {
    let stream: &TcpStream = socket.get_mut().below();
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// The next moment after `now` that lies a multiple of `every` after `start`.
fn next_multiple(start: Instant, every: Duration, now: Instant) -> Instant {
    let every_nanos = every.as_nanos().max(1);
    let into = now.saturating_duration_since(start).as_nanos() % every_nanos;
    now.later(Duration::from_nanos(u64::try_from(every_nanos - into).unwrap_or(u64::MAX)))
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}
