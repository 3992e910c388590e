//! The local WebSocket: an endpoint's pool of links as one connection that never drops.
//!
//! Plain, it carries remote messages with their opcode, and takes what is sent for the outbox; it has no way to say that a
//! message was refused but to close with 1013. With the subprotocol `wskeeper.v1.json` everything is an envelope in JSON:
//! events with cursors one way, sends the other way, each answered by a receipt or a problem.

mod envelope;
mod handshake;
mod sends;

use std::{pin::pin, sync::Arc, time::Duration};

use axum::{
    extract::{Path, RawQuery, Request, State},
    response::Response,
};
use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        error::ProtocolError,
        protocol::{
            CloseFrame, Role, WebSocketConfig,
            frame::{
                Frame,
                coding::{CloseCode, Data, OpCode},
            },
        },
    },
};

use self::sends::{Outcome, Request as Asked, Sends};
use super::{
    Shared,
    consumer::{Consumer, Told, Wish},
    convert,
    places::Place,
    problem::Problem,
    query::Params,
    stopped, wire,
};
use crate::{
    config,
    core::{
        message::{Kind, Payload},
        receipt::State as Rung,
    },
    hub::{Entry, Item},
    link::Lent,
    pool::Send,
};

/// A client from whom nothing is heard is pinged this often.
const PING: Duration = Duration::from_secs(30);
/// A client from whom nothing was heard for this long is given up. Long, because one that sleeps for a minute or two is owed
/// its gap and not a new connection.
const SILENCE: Duration = Duration::from_mins(5);
/// The longest that a send waits for room, and again for its state.
const PATIENCE: Duration = Duration::from_mins(1);
/// A closing handshake with a client takes at most this.
const GOODBYE: Duration = Duration::from_secs(1);

/// tungstenite fills all of it with zeros before each read; the large buffer is the thread's.
const READ_BUFFER: usize = 1 << 10;
/// Events passed on before anything else has its turn.
const AT_ONCE: usize = 256;

type Socket = WebSocketStream<Lent<TokioIo<Upgraded>>>;

/// `GET /v1/endpoints/{name}/ws`
#[utoipa::path(get, path = "/v1/endpoints/{name}/ws", tag = "events", operation_id = "socket",
    params(("name" = String, Path, description = "The endpoint."),
        ("link" = Option<u32>, Query, description = "This link only, both ways."),
        ("from" = Option<String>, Query, description = "`latest` (unless given), `oldest`, or the last cursor seen."),
        ("types" = Option<String>, Query, description = "Only these, with commas between; a gap of the reader's own is always told."),
        ("binaryType" = Option<String>, Query, description = "`base64` (unless given) or `hex`."),
        ("on_lag" = Option<String>, Query, description = "`gap` (unless given) or `close`: what happens to a reader that falls behind.")),
    responses((status = 101, description = "A WebSocket; with the subprotocol wskeeper.v1.json an envelope."), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem)))]
pub(super) async fn upgrade(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    mut request: Request,
) -> Result<Response, Problem> {
    let params = Params::read(query.as_deref(), &[&Wish::PARAMS[..], &["link"]].concat())?;
    let wish = Wish::read(&params, None)?;
    let view = shared.pool.endpoint(&name).ok_or_else(|| super::links::no_endpoint(&name))?;
    let envelope = handshake::offers_envelope(request.headers());
    let response = handshake::answer(request.headers(), envelope)?;
    let link = wish.link;
    if let Some(index) = link.filter(|index| shared.pool.link(&name, *index).is_none()) {
        return Err(super::links::no_link(&name, &index.to_string()));
    }
    let session = Session {
        endpoint: Arc::clone(&view.config.name),
        link,
        envelope,
        events: Consumer::of(&shared, &name, wish)?,
        sends: Sends::new(shared.pool.clone(), envelope),
        stop: shared.stop.clone(),
    };
    let limits = limits(&view.config);
    let upgraded = hyper::upgrade::on(&mut request);
    let place = request.extensions_mut().remove::<Place>();
    tokio::spawn(async move {
        // The connection is out of the server's hands and keeps its place all the same.
        let _place = place;
        // A client that goes away during its own handshake has asked for nothing.
        if let Ok(upgraded) = upgraded.await {
            let stream = Lent::new(TokioIo::new(upgraded));
            let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(limits)).await;
            session.serve(socket).await;
        }
    });
    Ok(response)
}

fn limits(endpoint: &config::Endpoint) -> WebSocketConfig {
    // Base64 and escapes make an envelope longer than its message.
    let longest = endpoint.link.outbox.max_message.saturating_mul(2).saturating_add(4096);
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size((4 << 20) + 2 * endpoint.inbox.max_message)
        .max_message_size(Some(longest))
}

/// One client at its WebSocket.
struct Session {
    endpoint: Arc<str>,
    link: Option<u32>,
    envelope: bool,
    events: Consumer,
    sends: Sends,
    stop: watch::Receiver<bool>,
}

/// Why a conversation ends.
enum End {
    /// The client has gone.
    Gone,
    /// We close it.
    Farewell(u16, String),
}

impl Session {
    async fn serve(mut self, mut socket: Socket) {
        match self.converse(&mut socket).await {
            // tungstenite has answered a Close; the answer leaves with the flush.
            End::Gone => drop(tokio::time::timeout(GOODBYE, socket.flush()).await),
            End::Farewell(code, reason) => farewell(&mut socket, code, reason).await,
        }
        drop((socket, self.events));
        // What the client had sent before it left is not lost with it.
        tokio::select! {
            _ = tokio::time::timeout(PATIENCE, self.sends.all_accepted()) => {}
            () = stopped(&mut self.stop) => {}
        }
    }

    async fn converse(&mut self, socket: &mut Socket) -> End {
        let mut heard = Instant::now();
        let mut ping = pin!(sleep_until(heard + PING));
        let mut stop = self.stop.clone();
        let mut stopped = pin!(stopped(&mut stop));
        loop {
            let reads = self.sends.has_room();
            let outcome = tokio::select! {
                () = &mut stopped => Err(stopping()),
                arrived = socket.next(), if reads => {
                    heard = Instant::now();
                    self.take_all(arrived, socket)
                }
                told = self.events.next() => self.tell_all(told, socket).await,
                outcome = self.sends.next() => self.answer(outcome, socket).await,
                () = &mut ping => {
                    let now = Instant::now();
                    let is_due = heard + PING <= now;
                    ping.as_mut().reset(if is_due { now } else { heard } + PING);
                    // Nothing is heard of a client that is not listened to, nor while a write to it takes its time.
                    match socket.next().now_or_never().filter(|_| reads) {
                        Some(arrived) => {
                            heard = now;
                            self.take(arrived)
                        }
                        None if !is_due => Ok(()),
                        None if reads && heard.elapsed() >= SILENCE => Err(End::Gone),
                        None => {
                            if !reads {
                                heard = now;
                            }
                            self.send(socket, Message::Ping(Bytes::new())).await
                        }
                    }
                }
            };
            if let Err(end) = outcome {
                return end;
            }
        }
    }

    /// Passes on what the hub has by now, and lets all of it leave at once.
    async fn tell_all(&mut self, first: Told, socket: &mut Socket) -> Result<(), End> {
        let mut next = Some(first);
        for _ in 0..AT_ONCE {
            let Some(told) = next.take().or_else(|| self.events.try_next()) else { break };
            self.tell(told, socket).await?;
        }
        self.flush(socket).await
    }

    async fn tell(&mut self, told: Told, socket: &mut Socket) -> Result<(), End> {
        let (event, is_last) = match told {
            Told::Gone => return Err(End::Farewell(1001, "the endpoint is gone".into())),
            Told::Entry(entry) if self.envelope => (convert::event(&entry, self.events.binary()), false),
            Told::Entry(entry) => match plain(&entry) {
                Some(message) => return self.feed(socket, message).await,
                None => return Ok(()),
            },
            Told::Gap(event) => (event, false),
            Told::Lagged(event) => (event, true),
        };
        if self.envelope {
            self.feed(socket, Message::text(json!(event).to_string())).await?;
        }
        if is_last { Err(End::Farewell(4408, "fell behind; resume with ?from=".into())) } else { Ok(()) }
    }

    /// Tells the client what became of a message.
    async fn answer(&mut self, outcome: Outcome, socket: &mut Socket) -> Result<(), End> {
        match outcome.receipt {
            _ if self.envelope => self.send(socket, Message::text(outcome.envelope().to_string())).await,
            Ok(_) => Ok(()),
            Err(problem) => {
                // What stands behind the refused one must not overtake it.
                self.sends.forget();
                let mut reason = problem.detail().to_owned();
                reason.truncate(reason.floor_char_boundary(crate::core::close::MAX_REASON_BYTES));
                Err(End::Farewell(1013, reason))
            }
        }
    }

    /// Takes what the client has sent by now.
    fn take_all(&mut self, first: Option<Result<Message, Error>>, socket: &mut Socket) -> Result<(), End> {
        self.take(first)?;
        while self.sends.has_room()
            && let Some(arrived) = socket.next().now_or_never()
        {
            self.take(arrived)?;
        }
        Ok(())
    }

    fn take(&mut self, arrived: Option<Result<Message, Error>>) -> Result<(), End> {
        let request = match arrived {
            None | Some(Ok(Message::Close(_))) => return Err(End::Gone),
            Some(Err(error)) => return Err(fault(&error)),
            Some(Ok(Message::Text(text))) if self.envelope => {
                envelope::read(text.as_str(), &|payload| self.message(payload))
            }
            Some(Ok(Message::Text(text))) => self.plain(Payload::checked_text(text)),
            Some(Ok(Message::Binary(_))) if self.envelope => {
                return Err(End::Farewell(1003, "with wskeeper.v1.json everything is text".into()));
            }
            Some(Ok(Message::Binary(bytes))) => self.plain(Payload::binary(bytes)),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return Ok(()),
        };
        self.sends.push(request);
        Ok(())
    }

    fn plain(&self, payload: Payload) -> Asked {
        Asked { reference: None, send: Ok((self.message(payload), Rung::Queued)) }
    }

    fn message(&self, payload: Payload) -> Send {
        Send {
            endpoint: Arc::clone(&self.endpoint),
            link: self.link,
            key: None,
            ttl: None,
            idempotency_key: None,
            wants_confirmation: false,
            patience: PATIENCE,
            payload,
        }
    }

    async fn send(&mut self, socket: &mut Socket, message: Message) -> Result<(), End> {
        self.feed(socket, message).await?;
        self.flush(socket).await
    }

    /// Writes, now or with the flush that must follow; a client that takes nothing is cut off below, after
    /// `api.write_timeout`.
    async fn feed(&mut self, socket: &mut Socket, message: Message) -> Result<(), End> {
        tokio::select! {
            biased;
            fed = socket.feed(message) => fed.map_err(|_| End::Gone),
            () = stopped(&mut self.stop) => Err(stopping()),
        }
    }

    async fn flush(&mut self, socket: &mut Socket) -> Result<(), End> {
        tokio::select! {
            biased;
            flushed = socket.flush() => flushed.map_err(|_| End::Gone),
            () = stopped(&mut self.stop) => Err(stopping()),
        }
    }
}

fn stopping() -> End {
    End::Farewell(1001, "the daemon is stopping".into())
}

/// Closes. Bounded: a client that takes nothing is not waited for.
async fn farewell(socket: &mut Socket, code: u16, reason: String) {
    let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
    let goodbye = async {
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    let _ = tokio::time::timeout(GOODBYE, goodbye).await;
}

fn plain(entry: &Entry) -> Option<Message> {
    match &entry.item {
        Item::Message(payload) => Some(match payload.kind() {
            // A raw frame: the text was found to be UTF-8 when it arrived.
            Kind::Text => Message::Frame(Frame::message(payload.bytes().clone(), OpCode::Data(Data::Text), true)),
            Kind::Binary => Message::binary(payload.bytes().clone()),
        }),
        Item::Open { .. } | Item::Error { .. } | Item::Close(_) | Item::Phase { .. } | Item::LinkGap { .. } => None,
    }
}

/// What a client is told of its own fault, unless the connection is simply gone.
fn fault(error: &Error) -> End {
    match error {
        Error::Capacity(_) => End::Farewell(1009, "the message is larger than outbox.max_message allows".into()),
        Error::Utf8(_) => End::Farewell(1007, "text must be UTF-8".into()),
        Error::Protocol(fault) if *fault != ProtocolError::ResetWithoutClosingHandshake => {
            End::Farewell(1002, fault.to_string())
        }
        Error::Protocol(_)
        | Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Io(_)
        | Error::Tls(_)
        | Error::WriteBufferFull(_)
        | Error::AttackAttempt
        | Error::Url(_)
        | Error::Http(_)
        | Error::HttpFormat(_) => End::Gone,
    }
}
