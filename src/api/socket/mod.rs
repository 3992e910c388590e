//! The local WebSocket: an endpoint's pool of links as one connection that never drops.
//!
//! Plain, it carries remote messages with their opcode, and takes what is sent for the outbox; it has no way to say that a
//! message was refused but to close with 1013. With the subprotocol `wskeeper.v1.json` everything is an envelope in JSON:
//! events with cursors one way, sends the other way, each answered by a receipt or a problem. `transparent` it is the opposite of all that:
//! one connection of one link, with its beginning and its end.

mod claims;
mod envelope;
mod handshake;
mod holding;
mod sends;
mod session;
mod transparent;

use std::{io, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{Path, RawQuery, Request, State},
    response::Response,
};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use self::{
    claims::Claim,
    handshake::{Asked, ENVELOPE},
    holding::Holding,
    sends::sends,
    session::{Session, Source, Terms},
};
pub(super) use self::{claims::Claims, handshake::offered};
use super::{
    Shared,
    access::Pass,
    consumer::{self, Wish},
    places::Place,
    problem::Problem,
    query::Params,
};
use wskeeper_core::{close::MAX_REASON_BYTES, deflate::Agreement, phase::ReadyState};
use wskeeper_link::{
    endpoint::{Endpoint, compression::Compression},
    link::ServedStream,
    pool::{Pool, local::Consumer},
};

/// The longest that a send waits for room, and again for its state.
const PATIENCE: Duration = Duration::from_mins(1);
/// A closing handshake with a client takes at most this.
const GOODBYE: Duration = Duration::from_secs(1);

/// Links whose subprotocols are looked at for a client that offers some.
const LOOKED_AT: usize = 1000;

/// tungstenite fills all of it with zeros before each read; the large buffer is the thread's.
const READ_BUFFER: usize = 1 << 10;

type Socket = WebSocketStream<ServedStream<TokioIo<Upgraded>>>;

/// `GET /v1/endpoints/{name}/ws`
#[cfg_attr(test, utoipa::path(get, path = "/v1/endpoints/{name}/ws", tag = "events", operation_id = "socket",
    params(("name" = String, Path, description = "The endpoint."),
        ("link" = Option<u32>, Query, description = "This link only, both ways."),
        ("transparent" = Option<bool>, Query, description = "The connection of a link as a library expects its own: waits until it is ready, and ends with it."),
        ("timeout" = Option<String>, Query, description = "With `transparent`: how long to wait for that. Default: `30s`."),
        ("from" = Option<String>, Query, description = "`latest` (default), `oldest`, or the last cursor seen."),
        ("types" = Option<String>, Query, description = "Only these types, separated by commas. The reader's own gaps are always sent."),
        ("stream" = Option<String>, Query, description = "This stream of the endpoint instead of its whole inbox; its cursors are its own."),
        ("match" = Option<Vec<String>>, Query, description = "Only messages that have this value at this place: a JSON pointer, `=` and a value, as in `/s=BTCUSDT`. If it is given several times, all must match."),
        ("binaryType" = Option<String>, Query, description = "`base64` (default) or `hex`."),
        ("on_lag" = Option<String>, Query, description = "What happens to a reader that falls behind: `gap` (default) or `close`.")),
    responses((status = 101, description = "A WebSocket; with the subprotocol wskeeper.v1.json an envelope."), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = super::wire::Problem))))]
pub(super) async fn upgrade(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    Extension(pass): Extension<Pass>,
    mut request: Request,
) -> Result<Response, Problem> {
    let asked = Asked::read(request.headers())?;
    if Params::read_some(query.as_deref(), &["transparent"]).with("transparent", "true or false", flag)? == Some(true) {
        let opened = transparent::open(&shared, &name, query.as_deref()).await?;
        let protocol = asked.first_of(|offer| offer == &*opened.protocol);
        let compression = agreed(&shared, &request);
        let response = asked.answer(protocol, compression);
        serve(&shared, (opened.terms, opened.source, Some(opened.claim)), compression, pass, &mut request);
        return Ok(response);
    }
    let params = Params::read(query.as_deref(), &[&Wish::OWN[..], &["link", "transparent"]].concat())?;
    let wish = Wish::read(&params, None)?;
    let view = shared.pool.endpoint(&name).ok_or_else(|| super::links::no_endpoint(&name))?;
    let envelope = asked.offers(ENVELOPE);
    let link = wish.reading.link;
    if let Some(index) = link.filter(|index| shared.pool.link(&name, *index).is_none()) {
        return Err(super::links::no_link(&name, &index.to_string()));
    }
    let protocol = if envelope { Some(ENVELOPE) } else { echoed(&shared.pool, &view.config, link, &asked) };
    let compression = agreed(&shared, &request);
    let response = asked.answer(protocol, compression);
    let terms =
        Terms { endpoint: Arc::clone(&view.config.name), link, generation: None, envelope, binary: wish.binary };
    let stream = wish.reading.stream.clone();
    let events = Consumer::of(&shared.pool, &name, wish.reading)
        .ok_or_else(|| consumer::none(&shared.pool, &name, stream.as_deref()))?;
    serve(&shared, (terms, Source::Inbox(events), None), compression, pass, &mut request);
    Ok(response)
}

fn flag(word: &str) -> Option<bool> {
    word.parse().ok()
}

/// What is agreed to of the compression that the client offers: neither end keeps its context, so that an idle client costs nothing.
fn agreed(shared: &Shared, request: &Request) -> Option<Agreement> {
    let offers = request.headers().get_all(header::SEC_WEBSOCKET_EXTENSIONS);
    let is_on = shared.config.get().api.compression;
    is_on.then(|| Compression::default().offer.answer(offers.iter().map(HeaderValue::as_bytes))).flatten()
}

/// The subprotocol that a plain client is answered with: the first of its own that a link has agreed on with its server or, as long as none
/// is open, that the endpoint offers.
fn echoed<'a>(pool: &Pool, endpoint: &Endpoint, link: Option<u32>, asked: &'a Asked) -> Option<&'a str> {
    asked.first_of(|_| true)?;
    let links = pool.links(&|name| *name == *endpoint.name, None, None, LOOKED_AT).items;
    let mut open = links
        .iter()
        .filter(|view| link.is_none_or(|index| index == view.index) && view.ready_state == ReadyState::Open);
    match open.next() {
        Some(first) => {
            let open: Vec<_> = std::iter::once(first).chain(open).collect();
            asked.first_of(|offer| open.iter().any(|view| *view.protocol == *offer))
        }
        None => {
            asked.first_of(|offer| endpoint.protocols.iter().any(|known| known.as_literal().as_deref() == Some(offer)))
        }
    }
}

/// Serves a client from when its connection is its own.
fn serve(
    shared: &Shared,
    (terms, source, claim): (Terms, Source, Option<Claim>),
    compression: Option<Agreement>,
    pass: Pass,
    request: &mut Request,
) {
    let sends = sends(shared.pool.clone(), terms.envelope);
    let holding = Holding::new(shared.pool.clone(), Arc::clone(&terms.endpoint));
    let (stop, budget) = (shared.stop.clone(), Arc::clone(shared.pool.budget()));
    let limits = shared.pool.endpoint(&terms.endpoint).map(|view| limits(&view.config, terms.envelope));
    let upgraded = hyper::upgrade::on(&mut *request);
    let place = request.extensions_mut().remove::<Place>();
    tokio::spawn(async move {
        // The connection is out of the server's hands and keeps its place all the same.
        let _place = place;
        // A client that goes away during its own handshake has asked for nothing.
        if let Ok(upgraded) = upgraded.await {
            let compression = compression.map(|agreed| (Compression::default(), agreed));
            let stream = ServedStream::new(TokioIo::new(upgraded), compression);
            let socket = WebSocketStream::from_raw_socket(stream, Role::Server, limits).await;
            Session::new(socket, terms, (source, claim), (sends, holding), &budget).serve(stop, pass).await;
        }
    });
}

fn limits(endpoint: &Endpoint, envelope: bool) -> WebSocketConfig {
    let longest = endpoint.link.outbox.max_message;
    // Base64 and escapes make an envelope longer than its message.
    let longest = if envelope { longest.saturating_mul(2).saturating_add(4096) } else { longest };
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size((4 << 20) + 2 * endpoint.inbox.max_message)
        .max_message_size(Some(longest))
        .max_frame_size(Some(longest))
}

/// Why a conversation ends.
enum End {
    /// The client has gone.
    Gone,
    /// We close it.
    Farewell(u16, String),
    /// We close it, and what the client has sent counts no more.
    Withdrawn(String),
    /// There is no room for what it sends.
    NoRoom,
    /// As its connection has ended: with this Close frame, or one without a body.
    Passed(Option<CloseFrame>),
}

fn stopping() -> End {
    End::Farewell(1001, "the daemon is stopping".into())
}

/// Ends the connection as a server does (RFC 6455 §7.1.1). Bounded: a client that takes nothing is not waited for.
async fn close(mut socket: Socket, end: End) {
    let closing = async {
        match end {
            // tungstenite has answered a Close, and thinks that the answer has left with this. It says that all is over.
            End::Gone => drop(socket.flush().await),
            End::Passed(frame) => {
                let _ = socket.send(Message::Close(frame)).await;
                while let Some(Ok(_)) = socket.next().await {}
            }
            End::Farewell(code, reason) => say_goodbye(&mut socket, code, reason).await,
            End::Withdrawn(why) => say_goodbye(&mut socket, 1008, format!("no longer allowed: {why}")).await,
            End::NoRoom => {
                let reason = "limits.memory is used up; send again later".into();
                let frame = CloseFrame { code: CloseCode::from(1013), reason };
                let _ = socket.send(Message::Close(Some(frame))).await;
                // What has arrived of a message goes with the reader that gathered it.
                let mut stream = socket.into_inner();
                stream.look_away();
                return hang_up(&mut stream).await;
            }
        }
        socket.get_mut().look_away();
        hang_up(socket.get_mut()).await
    };
    // A client that has gone has nothing to be told.
    let _ = tokio::time::timeout(GOODBYE, closing).await;
}

/// Closes, and waits for the answer.
async fn say_goodbye(socket: &mut Socket, code: u16, mut reason: String) {
    reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
    let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
    if socket.send(Message::Close(Some(frame))).await.is_ok() {
        while let Some(Ok(_)) = socket.next().await {}
    }
}

/// Lets all leave, ends our half, and waits for the client's. What it sent meanwhile is taken: unread, it would make a reset of
/// the end, and a reset overtakes the Close frame.
async fn hang_up(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    stream.shutdown().await?;
    let mut rest = vec![0; READ_BUFFER];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
