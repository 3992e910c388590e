//! One client at its WebSocket: what it sends, what it is told, and the clock that finds out whether it is still there.
//!
//! One task, one await. Each turn serves every source as far as it goes, then lets all of it leave at once. What a reader would
//! get wrong: bytes that the client has not taken hold up everything else of its connection, so that it feels its own slowness;
//! only the stop of the daemon and `api.write_timeout`, below, go past them.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::SinkExt;
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, Sleep, sleep_until},
};
use tokio_tungstenite::tungstenite::Message;

use super::{
    End, PATIENCE, Socket,
    claims::Claim,
    close,
    holding::Holding,
    sends::{self, Request, Sends},
    stopping, transparent,
};
use crate::api::{
    access::Pass,
    consumer::{PAUSE, frames_length, length},
    convert::{self, BinaryType},
    stopped,
};
use wskeeper_core::{
    body::Body,
    budget::{Budget, Lease, Rank},
    message::Payload,
    receipt::State as ReceiptState,
    run::Run,
};
use wskeeper_link::{
    clock::Moment,
    pool::{
        Send,
        local::{Consumer, Follower, Heard, Told},
    },
};

mod arriving;

/// A client from whom nothing is heard is pinged this often.
const PING: Duration = Duration::from_secs(30);
/// A client from whom nothing was heard for this long is given up. Long, because one that sleeps for a minute or two is owed
/// its gap and not a new connection.
const SILENCE: Duration = Duration::from_mins(5);
/// Events passed on before anything else has its turn; so many bytes of messages that come together are as good as one.
const AT_ONCE: usize = 256;
const AS_ONE: usize = 16 << 10;
/// Rounds of one turn before other tasks get theirs.
const ROUNDS: usize = 8;

/// What the client asked for when it came.
pub(super) struct Terms {
    pub(super) endpoint: Arc<str>,
    /// This link only, both ways.
    pub(super) link: Option<u32>,
    /// This connection only, both ways.
    pub(super) generation: Option<u64>,
    /// Everything is an envelope in JSON.
    pub(super) envelope: bool,
    pub(super) binary: BinaryType,
}

/// What a client is told of.
pub(super) enum Source {
    Inbox(Consumer),
    Connection(Follower),
}

/// One client at its WebSocket.
pub(super) struct Session {
    socket: Socket,
    terms: Terms,
    source: Source,
    /// The link that is its own.
    claim: Option<Claim>,
    sends: Sends,
    holding: Holding,
    /// Messages that came together and have not been pushed, for want of room.
    rest: Option<Body>,
    /// Something has been given that may not have left.
    owes: bool,
    heard: Instant,
    ping: Pin<Box<Sleep>>,
    /// For what has arrived of a message, and for messages that wait for their turn.
    arriving: Lease,
    /// Bytes that had arrived with the last whole message.
    arrived: u64,
    /// For what has not left.
    leaving: Lease,
    /// Until when it is not told anything long, for want of room.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Session {
    pub(super) fn new(
        socket: Socket,
        terms: Terms,
        (source, claim): (Source, Option<Claim>),
        (sends, holding): (Sends, Holding),
        budget: &Arc<Budget>,
    ) -> Self {
        let heard = Instant::now();
        let ping = Box::pin(sleep_until(heard.later(PING)));
        let (arriving, leaving) = (budget.lease(Rank::Arriving), budget.lease(Rank::Leaving));
        Self {
            socket,
            terms,
            source,
            claim,
            sends,
            holding,
            rest: None,
            owes: false,
            heard,
            ping,
            arriving,
            arrived: 0,
            leaving,
            pause: None,
        }
    }

    pub(super) async fn serve(mut self, mut stop: watch::Receiver<bool>, mut pass: Pass) {
        let end = {
            let mut stopped = pin!(stopped(&mut stop));
            let mut withdrawn = pin!(pass.withdrawn());
            poll_fn(|cx| {
                if stopped.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(stopping());
                }
                match withdrawn.as_mut().poll(cx) {
                    Poll::Ready(why) => Poll::Ready(End::Withdrawn(why)),
                    Poll::Pending => self.poll_turn(cx),
                }
            })
            .await
        };
        let Self { socket, terms, source, claim, mut sends, holding, rest, .. } = self;
        rest.iter().flat_map(Body::payloads).for_each(|payload| sends.push(terms.plain(payload)));
        // Who comes back at once finds nobody in its way.
        drop((source, claim, holding));
        let is_allowed = !matches!(end, End::Withdrawn(_));
        close(socket, end).await;
        if !is_allowed {
            return;
        }
        // What the client had sent before it left is not lost with it.
        tokio::select! {
            _ = tokio::time::timeout(PATIENCE, sends.all_accepted()) => {}
            () = stopped(&mut stop) => {}
        }
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        for _ in 0..ROUNDS {
            match self.poll_round(cx) {
                Err(end) => return Poll::Ready(end),
                Ok(Poll::Ready(())) => {}
                Ok(Poll::Pending) => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ready where a source may have more at once.
    fn poll_round(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, End> {
        if self.poll_flush(cx)?.is_pending() {
            return Ok(Poll::Pending);
        }
        self.read(cx)?;
        let has_more = self.owes;
        let was_deaf = !self.hears();
        self.answer(cx)?;
        let more = self.tell_events(cx)?;
        self.look_at_the_clock(cx)?;
        let flushed = self.poll_flush(cx)?;
        let hears_again = was_deaf && self.hears();
        Ok(if more || has_more || hears_again { flushed } else { Poll::Pending })
    }

    /// Tells the client what became of its messages.
    fn answer(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        while self.poll_room(cx)?.is_ready()
            && let Some(answer) = self.holding.next_answer()
        {
            self.tell(answer.to_string());
        }
        while self.poll_room(cx)?.is_ready()
            && let Poll::Ready(outcome) = self.sends.poll_next(cx)
        {
            match &outcome.end {
                _ if self.terms.envelope => self.tell(sends::envelope(outcome).to_string()),
                Ok(_) => {}
                // Its end is told by the connection itself, unless that lives on beside another.
                Err(problem) if problem.is_other_connection() && self.terms.generation.is_some() => {
                    self.sends.forget();
                    self.rest = None;
                    if transparent::is_replaced(self.sends.pool(), &self.terms) {
                        return Err(transparent::replaced());
                    }
                }
                Err(problem) => {
                    // What stands behind the refused one must not overtake it.
                    self.sends.forget();
                    self.rest = None;
                    return Err(End::Farewell(1013, problem.detail().to_owned()));
                }
            }
        }
        Ok(())
    }

    /// Passes on what the hub has by now; says whether there may be more.
    fn tell_events(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut told = 0;
        while told < AT_ONCE {
            if self.poll_room(cx)?.is_pending() {
                return Ok(false);
            }
            if let Some(pause) = &mut self.pause
                && pause.as_mut().poll(cx).is_pending()
            {
                return Ok(false);
            }
            self.pause = None;
            match if self.terms.envelope { self.tell_event(cx)? } else { self.tell_messages(cx)? } {
                Poll::Ready(count) => told += count,
                Poll::Pending => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Passes on the next event in its envelope: one.
    fn tell_event(&mut self, cx: &mut Context<'_>) -> Result<Poll<usize>, End> {
        let Source::Inbox(events) = &mut self.source else { return Ok(Poll::Pending) };
        let (event, is_last) = match events.poll_next(cx) {
            Poll::Ready(Told::Gone) => return Err(gone()),
            Poll::Ready(Told::Entry(entry)) => {
                if !has_room_for(&mut self.leaving, length(&entry)) {
                    return Ok(self.wait_for_room());
                }
                (convert::event(&entry, self.terms.binary), false)
            }
            Poll::Ready(Told::Gap(lag)) => (convert::lag(events.endpoint(), lag), false),
            Poll::Ready(Told::Lagged(lag)) => (convert::lag(events.endpoint(), lag), true),
            Poll::Pending => return Ok(Poll::Pending),
        };
        self.tell(json!(event).to_string());
        if is_last { Err(behind()) } else { Ok(Poll::Ready(1)) }
    }

    /// Passes on the next messages as they came.
    fn tell_messages(&mut self, cx: &mut Context<'_>) -> Result<Poll<usize>, End> {
        let arrived = match &mut self.source {
            Source::Inbox(events) => match events.poll_next_messages(cx) {
                Poll::Ready(Told::Gone) => return Err(gone()),
                Poll::Ready(Told::Entry(arrived)) => arrived,
                Poll::Ready(Told::Gap(_)) => return Ok(Poll::Ready(1)),
                Poll::Ready(Told::Lagged(_)) => return Err(behind()),
                Poll::Pending => return Ok(Poll::Pending),
            },
            Source::Connection(follower) => match follower.poll_next(cx) {
                Poll::Ready(Heard::Messages(arrived)) => arrived,
                Poll::Ready(Heard::Closed(closed)) => return Err(transparent::end(&closed)),
                Poll::Ready(Heard::Lagged) => return Err(behind()),
                Poll::Ready(Heard::Gone) => return Err(gone()),
                Poll::Pending => return Ok(Poll::Pending),
            },
        };
        if !has_room_for(&mut self.leaving, frames_length(&arrived)) {
            return Ok(self.wait_for_room());
        }
        let count = 1 + arrived.run.frames().len() / AS_ONE;
        self.give(&arrived.run);
        Ok(Poll::Ready(count))
    }

    /// What was read last is told later.
    fn wait_for_room(&mut self) -> Poll<usize> {
        match &mut self.source {
            Source::Inbox(events) => events.put_back(),
            Source::Connection(follower) => follower.put_back(),
        }
        self.pause = Some(Box::pin(sleep_until(Instant::now().later(PAUSE))));
        Poll::Ready(0)
    }

    /// Pings a client from whom nothing is heard, and gives it up in the end.
    fn look_at_the_clock(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        while self.ping.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let is_due = self.heard.later(PING) <= now;
            self.ping.as_mut().reset(if is_due { now } else { self.heard }.later(PING));
            if is_due {
                // Nothing is heard of a client that is not listened to.
                if !self.hears() {
                    self.heard = now;
                }
                if now.saturating_duration_since(self.heard) >= SILENCE {
                    return Err(End::Gone);
                }
                if self.poll_room(cx)?.is_ready() {
                    self.owes = true;
                    self.socket.start_send_unpin(Message::Ping(Bytes::new())).map_err(|_| End::Gone)?;
                }
            }
        }
        Ok(())
    }

    /// Whether one more message may be given.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, End> {
        if self.socket.poll_ready_unpin(cx).map_err(|_| End::Gone)?.is_pending() {
            return Ok(Poll::Pending);
        }
        Ok(self.socket.get_mut().poll_room(cx).map_err(|_| End::Gone)?)
    }

    fn tell(&mut self, text: String) {
        self.give(&(&Payload::checked_text(text)).into());
    }

    /// Written with the flush that follows, past tungstenite, which holds nothing of a message here. A client that takes nothing is cut off
    /// below, after `api.write_timeout`.
    fn give(&mut self, run: &Run) {
        self.owes = true;
        self.socket.get_mut().give(run);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, End> {
        if self.owes && self.socket.poll_flush_unpin(cx).map_err(|_| End::Gone)?.is_pending() {
            return Ok(Poll::Pending);
        }
        self.owes = false;
        if self.leaving.bytes() > 0 {
            // Nothing is always to be had.
            let _ = self.leaving.resize(0);
        }
        Ok(Poll::Ready(()))
    }
}

impl Terms {
    fn plain(&self, payload: Payload) -> Request {
        Request { reference: None, send: Ok((self.message(payload), ReceiptState::Queued)) }
    }

    fn message(&self, payload: Payload) -> Send {
        let Self { link, generation, .. } = *self;
        // A library knows no refusal: it is slowed down instead, as its server would do.
        let waits = generation.is_some();
        Send { link, generation, waits, patience: PATIENCE, ..Send::new(Arc::clone(&self.endpoint), payload) }
    }
}

/// Takes a share of the budget for something long, until it has left.
fn has_room_for(leaving: &mut Lease, length: u64) -> bool {
    length == 0 || leaving.resize(leaving.bytes() + length)
}

fn gone() -> End {
    End::Farewell(1001, "the endpoint is gone".into())
}

fn behind() -> End {
    End::Farewell(4408, "fell behind; resume with ?from=".into())
}
