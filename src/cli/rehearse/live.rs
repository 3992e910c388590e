//! The rehearsal at the real server: one attempt, one connection, and the clock.
//!
//! What a reader would get wrong: it dials as the daemon's links do, redirects, TLS and all, but the first URL only and once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{SinkExt as _, StreamExt as _, stream::FuturesUnordered};
use tokio::time::{sleep_until, timeout_at};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{CloseFrame as WireClose, Role, WebSocketConfig},
    },
};
use wskeeper_core::{
    clock::Clock as _,
    close::{Cause, CloseFrame},
    event::{DialFailure, Timings},
    link::{ConnectionInput, Frame, Received},
    message::Payload,
    session::Ask,
};
use wskeeper_link::{
    clock::Calendar,
    endpoint::Endpoint,
    link::{BoxFuture, Connected, Done, Duplex, Provider, connect},
};

use super::{
    dial::{Answers, tell},
    stage::{Stage, Verdict},
    teller::Teller,
};
use crate::{
    cli::{Failure, args, stopped, words::millis},
    provider::DaemonProvider,
};

type Socket = WebSocketStream<Box<dyn Duplex>>;

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn chance() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}

/// Rehearses it.
pub(super) async fn run(
    endpoint: &Arc<Endpoint>,
    args: &args::Rehearse,
    keys: &[Arc<str>],
    teller: &mut Teller<'_>,
) -> Result<Verdict, Failure> {
    let limit = now().later(args.timeout);
    let until = now().later(endpoint.link.connect_timeout).min(limit);
    let provider: Arc<dyn Provider> = Arc::new(DaemonProvider::new(None, chance(), Calendar::default()));
    let answers = Answers::of(Arc::clone(&provider));
    let dialled = tokio::select! {
        dialled = timeout_at(until.into(), connect(endpoint, Arc::clone(&answers) as _)) => dialled,
        () = stopped() => {
            return Ok(Verdict { trouble: Some("stopped before it was connected".into()), ..Verdict::default() });
        }
    };
    let dialled = match dialled {
        Ok(Ok(dialled)) => dialled,
        Ok(Err(failure)) => {
            let steps = failure.steps.as_ref().map_or(&[][..], |opening| &opening.steps);
            tell(teller, endpoint, steps, &answers)?;
            return Ok(Verdict { ended: Some(failure.closed()), ..Verdict::default() });
        }
        Err(_) => {
            let failure = DialFailure::of(Cause::Connect, "there was no connection in time");
            return Ok(Verdict { ended: Some(failure.closed()), ..Verdict::default() });
        }
    };
    let Connected { stream, early, established, session: Some(start) } = dialled else {
        return Ok(Verdict::default());
    };
    let dialled = start.dialled.as_ref().map_or(&[][..], |dialled| dialled.steps());
    tell(teller, endpoint, dialled, &answers)?;
    let total = Timings::from(established.timings).total;
    let how = format!("connected in {}", millis(total.as_secs_f64() * 1e3));
    teller.opened(now(), &established.url, &how)?;
    let max = Some(endpoint.link.max_inbound);
    let config = WebSocketConfig::default().max_message_size(max).max_frame_size(max);
    let socket = WebSocketStream::from_partially_read(stream, early, Role::Client, Some(config)).await;
    let seed = chance();
    let stage = Stage::open(&endpoint.link, (start, established), keys, (seed, now()), teller)?;
    let (lasting, patience, calls) = (args.lasting, endpoint.link.close_timeout, FuturesUnordered::new());
    Live { stage, socket, limit, lasting, patience, endpoint: Arc::clone(endpoint), provider, calls }.run().await
}

struct Live<'a, 'o> {
    stage: Stage<'a, 'o>,
    socket: Socket,
    /// It is ready by then.
    limit: Instant,
    lasting: Duration,
    /// For an orderly end.
    patience: Duration,
    endpoint: Arc<Endpoint>,
    provider: Arc<dyn Provider>,
    /// HTTP calls under way.
    calls: FuturesUnordered<BoxFuture<(u64, Done)>>,
}

impl Live<'_, '_> {
    async fn run(mut self) -> Result<Verdict, Failure> {
        let (mut stop, mut leaving) = (Box::pin(stopped()), false);
        loop {
            self.write().await?;
            self.stage.pass(now())?;
            while let Some(Ask { id, errand }) = self.stage.next_ask() {
                let done = self.provider.run(errand, Arc::clone(&self.endpoint));
                self.calls.push(Box::pin(async move { (id, done.await) }));
            }
            if std::mem::take(&mut self.stage.hangs_up) {
                self.stage.feed(now(), ConnectionInput::Ended { begun: 0, detail: "".into() })?;
            }
            if self.stage.is_over() {
                return Ok(self.stage.verdict);
            }
            let end = self.stage.done_at().map_or(self.limit, |at| at.later(self.lasting));
            if !leaving && end <= now() {
                leaving = true;
                if self.stage.done_at().is_none() {
                    self.stage.verdict.trouble = Some(format!("given up: {}", self.waiting()));
                }
                self.stage.stop(now(), self.patience)?;
                continue;
            }
            let next = self.stage.due().unwrap_or(self.limit);
            let next = if leaving { next } else { next.min(end) };
            tokio::select! {
                message = self.socket.next() => self.hear(message)?,
                Some((id, done)) = self.calls.next() => self.stage.answer(now(), id, done)?,
                () = sleep_until(next.into()) => {}
                () = &mut stop, if !leaving => {
                    leaving = true;
                    if self.stage.done_at().is_none() {
                        self.stage.verdict.trouble = Some(format!("stopped: {}", self.waiting()));
                    }
                    self.stage.stop(now(), self.patience)?;
                }
            }
        }
    }

    fn waiting(&self) -> String {
        self.stage.waiting("waited").unwrap_or_else(|| "it was not ready".into())
    }

    fn hear(&mut self, message: Option<Result<Message, Error>>) -> Result<(), Failure> {
        let now = now();
        if matches!(message, Some(Ok(_))) {
            self.stage.feed(now, ConnectionInput::Heard)?;
        }
        let payload = match message {
            Some(Ok(Message::Text(text))) => Payload::checked_text(text),
            Some(Ok(Message::Binary(bytes))) => Payload::binary(bytes),
            Some(Ok(Message::Pong(payload))) => {
                return self.stage.feed(now, ConnectionInput::Received(Received::Pong(payload)));
            }
            Some(Ok(Message::Close(frame))) => {
                let frame =
                    frame.map(|frame| CloseFrame { code: frame.code.into(), reason: frame.reason.as_str().into() });
                self.stage.teller.closed_by_peer(now, frame.as_ref())?;
                return self.stage.feed(now, ConnectionInput::Received(Received::Close(frame)));
            }
            Some(Ok(Message::Ping(_) | Message::Frame(_))) => return Ok(()),
            Some(Err(error)) => {
                return self.stage.feed(now, ConnectionInput::Ended { begun: 0, detail: error.to_string().into() });
            }
            None => return self.stage.feed(now, ConnectionInput::Ended { begun: 0, detail: "".into() }),
        };
        self.stage.hear(now, &payload)
    }

    /// Sends what is to leave; a peer that takes nothing for too long has gone.
    async fn write(&mut self) -> Result<(), Failure> {
        while let Some(frame) = self.stage.next_frame(now())? {
            let (message, code) = match frame {
                Frame::Session(payload) => (of_payload(&payload), None),
                Frame::Data(body) => (of_payload(&body.into_first()), None),
                Frame::Ping(payload) => (Message::Ping(payload), None),
                Frame::Close(frame) => {
                    let wire = |frame: &CloseFrame| WireClose {
                        code: frame.code.into(),
                        reason: String::from(&*frame.reason).into(),
                    };
                    (Message::Close(frame.as_ref().map(wire)), Some(frame.map(|frame| frame.code)))
                }
            };
            let until = now().later(self.patience);
            let sent = timeout_at(until.into(), self.socket.send(message)).await;
            // What was wrong with it is told by reading.
            if !matches!(sent, Ok(Ok(()))) {
                self.stage.hangs_up |= sent.is_err();
                return Ok(());
            }
            self.stage.feed(now(), ConnectionInput::Flushed)?;
            if let Some(code) = code {
                self.stage.feed(now(), ConnectionInput::CloseSent(code))?;
            }
        }
        Ok(())
    }
}

fn of_payload(payload: &Payload) -> Message {
    match std::str::from_utf8(payload.bytes()) {
        Ok(text) if payload.kind() == wskeeper_core::message::Kind::Text => Message::text(text),
        Ok(_) | Err(_) => Message::Binary(payload.bytes().clone()),
    }
}
