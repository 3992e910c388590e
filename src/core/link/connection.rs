//! One WebSocket as a value, from its dial to its end: what arrives, what leaves, the closing handshake, and the clocks that traffic
//! cannot hold up.
//!
//! ```text
//!          101        Close sent or received, silence          transport gone
//! dialing ─────► open ────────────────────────────────► closing ───────────────► (ended)
//!             (opening, where there is a session, then ready)
//!    │ failed       │ transport gone                                                ▲
//!    └──────────────┴───────────────────────────────────────────────────────────────┘
//! ```
//! A link has one, and while it rotates two. What becomes of one is answered as a [`Change`]; what that means is the link's to say.
//!
//! Two clocks judge the peer: *silence* (nothing heard, not even after a ping) and *stall* (what we gave the transport has
//! not left it). The first is armed when a ping falls due, not when it leaves, so that a deaf peer is found out too.
//!
//! What a reader would get wrong: messages leave on the current connection only. One beside it is read and closed, but neither
//! sends nor is watched: each of its stages has an end of its own.

mod heartbeat;
mod paced;
mod requests;
mod session;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Command, Commands, ConnectionInput, Frame, Lane, Policy, Received,
    state::{Closing, Ending, Open},
};
use crate::{
    chance::Chance,
    clock::Clock,
    close::{Cause, CloseFrame, Closed},
    event::{DialFailure, Established, Event, RetryAfter},
    heartbeat::Pings,
    outbox::{self, Outbox},
    phase::Phase,
    run::Run,
    session::{Kept, Session, Waits},
    subscriptions::Wanted,
    timers::{Timer, Timers},
};

pub use heartbeat::SPACING;

/// No connection is replaced for an age of less than this.
const AGE_MIN: Duration = Duration::from_secs(1);

/// An attempt, or the connection that it made.
#[derive(Debug)]
pub(super) struct Connection {
    /// Which of the link's it is; where that changes, the driver is told by a `Command::Switch`.
    pub(super) lane: Lane,
    pub(super) stage: Stage,
    timers: Timers,
    pings: Pings,
    owes_ping: bool,
    unflushed_pings: u32,
    /// When anything last left on it.
    sent: Option<Instant>,
    /// In a box: most have none.
    session: Option<Box<session::Running>>,
}

/// How far it has come. Each stage owns what exists only in it.
#[derive(Debug)]
pub(super) enum Stage {
    /// An attempt is under way; while it is queued for admission its remaining time is kept here.
    Dialing {
        queued: Option<Duration>,
        /// Where the steps of `dial` wait.
        waits: Option<Box<Waits>>,
    },
    /// OPEN.
    Open(Open),
    /// The closing handshake, or the wait for the transport's end. In a box: it does not last.
    Closing(Box<Closing>),
}

/// What a link and its connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) policy: Arc<Policy>,
    pub(super) chance: Chance,
    pub(super) signs: Signs,
    /// The number of the connection that was opened last.
    pub(super) newest: u64,
    /// What is to leave, on the current connection. Made for the first message: many links hear only.
    pub(super) outbox: Option<Box<Outbox>>,
    /// What sessions leave to those that follow.
    pub(super) kept: Option<Box<Kept>>,
    /// What it is to ask its peers for.
    pub(super) wanted: Option<Box<Wanted>>,
}

impl Shared {
    /// For something that is to leave.
    #[inline]
    pub(super) fn outbox(&mut self) -> &mut Outbox {
        match &mut self.outbox {
            Some(outbox) => outbox,
            none => none.insert(Box::new(Outbox::new(Arc::clone(&self.policy.outbox)))),
        }
    }

    /// Whether something has been given to the network that has no proof yet.
    pub(super) fn has_unproven(&self) -> bool {
        self.outbox.as_deref().is_some_and(Outbox::has_unproven)
    }

    /// Whether there is something for it to do: to send, to prove, to answer, to ask for.
    pub(super) fn is_in_use(&self) -> bool {
        let has_keys = self.wanted.as_deref().is_some_and(|wanted| !wanted.is_empty());
        let pings = self.policy.heartbeat.pings();
        has_keys || self.outbox.as_deref().is_some_and(|outbox| outbox.is_in_use(pings))
    }

    /// Requests that wait for their replies.
    pub(super) fn asked(&self) -> usize {
        self.outbox.as_deref().map_or(0, Outbox::asked)
    }
}

/// What the peer was last seen to do, over all connections.
#[derive(Debug, Default)]
pub(super) struct Signs {
    pub(super) rtt: Option<Duration>,
    pub(super) heard: Option<Instant>,
    /// When the last ping left.
    pinged: Option<Instant>,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Change {
    /// The dial waits for admission.
    Queued,
    /// The dial goes on.
    Admitted,
    /// The dial goes on at this URL.
    PassedOver(usize),
    /// It is OPEN, and its session has begun.
    Opening,
    /// It is OPEN, and may carry messages.
    Opened,
    /// The peer wants another one to take its place.
    Rotate,
    /// It has been the current one for so long that what went before is over.
    Stable,
    /// There was none to be had.
    Failed(Box<DialFailure>),
    /// It is on its way to its end.
    Closing,
    /// The same without a handshake: it is to be hung up.
    Aborted,
    /// Its transport is gone.
    Ended(Box<Ended>),
}

/// An end.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) generation: u64,
    pub(super) closed: Arc<Closed>,
    pub(super) age: Duration,
    /// It came without a closing handshake before it.
    pub(super) was_open: bool,
    /// The code of the peer's Close frame, where there was one.
    pub(super) code: Option<u16>,
    /// Messages that have begun to leave and have not left whole.
    pub(super) begun: usize,
    /// What an HTTP call of its session was asked for with `Retry-After`, where that ended it.
    pub(super) retry_after: Option<RetryAfter>,
}

impl Connection {
    /// An attempt that begins.
    pub(super) fn dial(now: Instant, lane: Lane, policy: &Policy) -> Self {
        let mut timers = Timers::default();
        timers.set(Timer::Connect, now.later(policy.connect_timeout));
        let stage = Stage::Dialing { queued: None, waits: None };
        let pings = Pings::default();
        Self { lane, stage, timers, pings, owes_ping: false, unflushed_pings: 0, sent: None, session: None }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.stage {
            Stage::Dialing { queued: Some(_), .. } => Phase::Waiting,
            Stage::Dialing { queued: None, .. } => Phase::Connecting,
            Stage::Open(_) if self.is_ready() => Phase::Ready,
            Stage::Open(_) => Phase::Opening,
            Stage::Closing(_) => Phase::Closing,
        }
    }

    /// Its number and what was agreed, once it is open.
    pub(super) fn open(&self) -> Option<&Open> {
        match &self.stage {
            Stage::Dialing { .. } => None,
            Stage::Open(open) => Some(open),
            Stage::Closing(closing) => Some(&closing.open),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    pub(super) fn is_queued(&self) -> bool {
        self.phase() == Phase::Waiting
    }

    /// Something happened to it.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        input: ConnectionInput,
        shared: &mut Shared,
        out: &mut Commands,
    ) -> Option<Change> {
        match input {
            ConnectionInput::Queued => return self.on_queued(now, &shared.policy),
            ConnectionInput::Admitted => return self.on_admitted(now),
            ConnectionInput::PassedOver(url) => return self.on_passed_over(url),
            ConnectionInput::Waits(at) => self.on_waits(at),
            ConnectionInput::Session(start) => self.prepare(start),
            ConnectionInput::Dialled(established) => return self.on_dialled(now, established, shared, out),
            ConnectionInput::DialFailed(failure) => return self.on_dial_failed(failure),
            ConnectionInput::Expires(at) => self.on_expires(now, at, &shared.policy),
            ConnectionInput::Heard => self.on_heard(now, shared),
            ConnectionInput::Pinged => shared.counts(now, 0),
            ConnectionInput::Left { messages, pings, part } => {
                let (messages, part) = self.of_outbox(messages, part);
                self.on_left(now, messages, pings, shared, out);
                if let (Lane::Current, Some(outbox)) = (self.lane, &mut shared.outbox) {
                    outbox.part_left(part);
                }
            }
            ConnectionInput::CloseSent(code) => self.on_close_sent(code),
            ConnectionInput::Received(Received::Messages(run)) => return self.on_messages(now, run, shared, out),
            ConnectionInput::Received(Received::Pong(payload)) => self.on_pong(now, &payload, shared, out),
            ConnectionInput::Received(Received::Close(frame)) => return self.on_close(now, frame, shared),
            ConnectionInput::Errand { id, done } => return self.on_errand(now, id, done, shared, out),
            ConnectionInput::Flushed => self.on_flushed(now, shared, out),
            ConnectionInput::Violation { code, cause, detail } => {
                return self.on_violation(now, (code, cause, detail), shared, out);
            }
            ConnectionInput::Ended { begun, detail } => {
                self.tell_unready(now, out);
                return self.on_ended(now, begun, detail, shared);
            }
        }
        None
    }

    /// When to call `handle_timeout`, and why.
    #[inline]
    pub(super) fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        let own = self.timers.next();
        match self.session_due() {
            None => own,
            Some(at) => own.into_iter().chain([(at, Timer::Session)]).min(),
        }
    }

    /// Time passed: does what is due, up to the first change. To be called until there is none.
    pub(super) fn handle_timeout(&mut self, now: Instant, shared: &mut Shared, out: &mut Commands) -> Option<Change> {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Connect => out.push(Command::GiveUp(self.lane)),
                Timer::Close => out.push(Command::Hangup(self.lane)),
                Timer::Idle => self.on_idle(now, &shared.policy),
                Timer::Pong => return Some(self.on_silence(now, shared.policy.heartbeat.watch.silence(), shared, out)),
                Timer::Stall => return Some(self.on_silence(now, "the peer takes nothing that is sent", shared, out)),
                Timer::Stable => return Some(Change::Stable),
                Timer::Age => return Some(Change::Rotate),
                // The ping is pulled, now that it may be. And the others are not of a connection.
                Timer::Confirm
                | Timer::Session
                | Timer::Retry
                | Timer::Ack
                | Timer::Expiry
                | Timer::Rotate
                | Timer::Pace
                | Timer::Sleep => {}
            }
        }
        self.on_session_due(now, shared, out)
    }

    /// The next frame, pulled when the transport has room: Close before a heartbeat before data. A ping that only asks for a
    /// proof comes behind the data. Where the stream `is_held`, no more of it leaves.
    pub(super) fn poll_transmit(&mut self, now: Instant, is_held: bool, shared: &mut Shared) -> Option<Frame> {
        if self.is_leaving() {
            return self.next_of_session(now, shared);
        }
        match &mut self.stage {
            Stage::Dialing { .. } => None,
            Stage::Open(_) => {
                let frame = self.next_while_open(now, is_held, shared)?;
                self.timers.set_if_unarmed(Timer::Stall, || now.later(shared.policy.heartbeat.detection()));
                Some(frame)
            }
            Stage::Closing(closing) if !(self.owes_ping && closing.ending.owed.is_some()) => {
                Some(Frame::Close(closing.ending.owed.take()?))
            }
            Stage::Closing(_) => Some(self.ping(now, shared)),
        }
    }

    fn on_queued(&mut self, now: Instant, policy: &Policy) -> Option<Change> {
        let Stage::Dialing { queued: queued @ None, .. } = &mut self.stage else { return None };
        let until = self.timers.get(Timer::Connect);
        self.timers.stop(Timer::Connect);
        *queued = Some(until.map_or(policy.connect_timeout, |at| at.saturating_duration_since(now)));
        Some(Change::Queued)
    }

    fn on_admitted(&mut self, now: Instant) -> Option<Change> {
        let Stage::Dialing { queued, .. } = &mut self.stage else { return None };
        let left = queued.take()?;
        self.timers.set(Timer::Connect, now.later(left));
        Some(Change::Admitted)
    }

    /// The steps of `dial` have come there.
    fn on_waits(&mut self, at: Option<Box<Waits>>) {
        if let Stage::Dialing { waits, .. } = &mut self.stage {
            *waits = at;
        }
    }

    fn on_dialled(
        &mut self,
        now: Instant,
        established: Box<Established>,
        shared: &mut Shared,
        out: &mut Commands,
    ) -> Option<Change> {
        let Stage::Dialing { .. } = self.stage else { return None };
        shared.newest += 1;
        let (generation, established) = (shared.newest, Arc::<Established>::from(established));
        out.push(Command::Tell(Event::Opened { generation, established: Arc::clone(&established) }));
        self.timers.clear();
        self.stage = Stage::Open(Open { generation, established, since: now });
        Some(self.begin_session(now, generation, shared))
    }

    /// What it was made with ends at this moment: it is replaced before, but not before it could be of use.
    fn on_expires(&mut self, now: Instant, at: Instant, policy: &Policy) {
        if let Some(before) = policy.rotate_before_expiry {
            let at = at.checked_sub(before).unwrap_or(now).max(now.later(policy.backoff.stable.max(AGE_MIN)));
            self.timers.set(Timer::Age, at);
        }
    }

    fn on_passed_over(&self, url: usize) -> Option<Change> {
        matches!(self.stage, Stage::Dialing { .. }).then_some(Change::PassedOver(url))
    }

    fn on_dial_failed(&self, failure: Box<DialFailure>) -> Option<Change> {
        match self.stage {
            Stage::Dialing { .. } => Some(Change::Failed(failure)),
            Stage::Open(_) | Stage::Closing(_) => None,
        }
    }

    fn on_close_sent(&mut self, code: Option<u16>) {
        if let Stage::Closing(closing) = &mut self.stage {
            closing.sent.get_or_insert(code);
        }
    }

    fn on_messages(&mut self, now: Instant, run: Run, shared: &mut Shared, out: &mut Commands) -> Option<Change> {
        if self.session.is_some() || self.expects_replies(shared) {
            return self.on_read(now, run, shared, out);
        }
        self.deliver(run, out);
        None
    }

    /// The same where somebody reads the messages before consumers do.
    #[inline(never)]
    fn on_read(&mut self, now: Instant, run: Run, shared: &mut Shared, out: &mut Commands) -> Option<Change> {
        let hides = self.find_replies(&run, shared, out);
        if let Some(run) = self.show_session(now, run, hides, shared, out) {
            self.deliver(run, out);
        }
        self.conclude(now, shared, out)
    }

    #[inline]
    fn deliver(&self, run: Run, out: &mut Commands) {
        let open = match (&self.stage, self.lane) {
            // An old one may say to its end what it has to say.
            (Stage::Open(open), _) => open,
            (Stage::Closing(closing), Lane::Beside) => &closing.open,
            // WHATWG §4: a message that arrives while readyState is not OPEN is dropped.
            (Stage::Closing(_), Lane::Current) | (Stage::Dialing { .. }, _) => return,
        };
        out.push(Command::Deliver { generation: open.generation, run });
    }

    fn on_close(&mut self, now: Instant, frame: Option<CloseFrame>, shared: &mut Shared) -> Option<Change> {
        let change =
            self.close(now, Ending { owed: None, cause: Cause::Remote, label: None, detail: "".into() }, shared);
        if let Stage::Closing(closing) = &mut self.stage
            && closing.received.is_none()
            && !closing.ending.cause.is_failure()
        {
            closing.received = Some(frame);
            // Both sides closed at once: the answer that is made below stands for the Close that we owe.
            closing.ending.owed = None;
        }
        change
    }

    fn on_violation(
        &mut self,
        now: Instant,
        (code, cause, detail): (u16, Cause, Box<str>),
        shared: &mut Shared,
        out: &mut Commands,
    ) -> Option<Change> {
        if let Stage::Closing(_) = self.stage {
            // It was about to end anyway, and what it sends can no longer be read.
            out.push(Command::Hangup(self.lane));
        }
        let owed = Some(Some(CloseFrame::of(code)));
        self.close(now, Ending { owed, cause, label: None, detail }, shared)
    }

    /// Open → closing; otherwise nothing.
    pub(super) fn close(&mut self, now: Instant, ending: Ending, shared: &mut Shared) -> Option<Change> {
        let Stage::Open(Open { generation, established, since }) = &self.stage else { return None };
        let open = Open { generation: *generation, established: Arc::clone(established), since: *since };
        // A last ping before our Close: its pong tells what the peer has read, where the end would leave it unknown.
        self.owes_ping = ending.owed.is_some()
            && !ending.cause.is_failure()
            && shared.policy.heartbeat.pings()
            && self.lane == Lane::Current
            && self.is_ready()
            && shared.has_unproven();
        if self.session.is_some() && ending.owed.is_some() && !ending.cause.is_failure() {
            self.leave_session(now, shared);
        }
        self.stage = Stage::Closing(Box::new(Closing { open, ending, sent: None, received: None }));
        self.timers.clear();
        self.timers.set(Timer::Close, now.later(shared.policy.close_timeout));
        Some(Change::Closing)
    }

    /// The closing handshake ends by then at the latest.
    pub(super) fn close_by(&mut self, deadline: Instant) {
        if let Stage::Closing(_) = self.stage {
            let earlier = self.timers.get(Timer::Close).map_or(deadline, |at| at.min(deadline));
            self.timers.set(Timer::Close, earlier);
        }
    }

    fn on_ended(&mut self, now: Instant, begun: usize, detail: Box<str>, shared: &mut Shared) -> Option<Change> {
        let (begun, _) = self.of_outbox(begun, 0);
        let detail = if detail.is_empty() { "the peer ended TCP without a Close frame".into() } else { detail };
        let was_open = self.is_open();
        let _ = self.close(now, Ending { owed: None, cause: Cause::Reset, label: None, detail }, shared);
        let Stage::Closing(closing) = &self.stage else { return None };
        let closed = Arc::new(closing.closed());
        let code = closing.received.as_ref().map(|_| closed.code);
        let age = now.saturating_duration_since(closing.open.since);
        let retry_after = self.session().and_then(Session::retry_after);
        let retry_after = retry_after.map(|asked| RetryAfter::capped(asked, shared.policy.retry_after_max));
        let generation = closing.open.generation;
        Some(Change::Ended(Box::new(Ended { generation, closed, age, was_open, code, begun, retry_after })))
    }

    #[inline]
    fn tell_receipts(&self, reached: Vec<outbox::Ended>, out: &mut Commands) {
        if !reached.is_empty() {
            let generation = self.open().map(|open| open.generation);
            out.push(Command::Settle { reached, generation });
        }
    }
}
