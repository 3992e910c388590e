//! Rotation: a new connection is opened beside the current one, takes its place between two messages, and the old one is closed.
//!
//! ```text
//!  Rotate      101, session ready      nothing is unproven              overlap over            transport gone
//! ────────► dialing ───────► standby ─────────────────────► lingering ─────────────► closing ────────────────► (none)
//!            ▲   │ failed       │ closed or lost                                     ▲  │ another one is wanted
//!            └─ waiting         └────────────────────────────────────────────────────┘  └────────► dialing, waiting
//! ```
//! `standby` is the new connection; `lingering` is the old one, which is still read: what the peer had sent on it is not thrown
//! away. There is one of them at a time, so a link has two connections at most. Each is a connection as any other; what is here is
//! which of the two is which, and when they change places. Nothing that happens to the one beside can harm the current one: a new one
//! that comes to nothing is tried again, an old one goes.
//!
//! What a reader would get wrong: two connections race. So no message leaves on the new one before a pong has proved that the
//! peer has read all that left on the old one; while that proof is awaited, messages queue. Thus nothing is ever unproven on
//! the connection beside, and the outbox knows of one stream only. A peer that gives no proof in time has the old connection
//! closed first, as any other is, with the new one in readiness.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Command, Commands, ConnectionInput, Lane, Link, Received, To,
    connection::{Change, Connection, Ended, Stage},
    pace::{self, Pace},
    state::{Ending, State, Then},
};
use crate::{
    allowance::For,
    clock::Clock,
    close::{Cause, CloseFrame, Closed, NORMAL},
    event::{Event, RetryAfter},
    failback::Whereabouts,
    outbox::Outbox,
    phase::{Phase, Reason},
    rejection::Rejection,
};

/// A rotation under way. In a box: most links have none, most of the time.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    /// None: the next attempt is waited for.
    connection: Option<Connection>,
    /// When its next step is due, where the connection itself has none: the next attempt, the end of the old one's time to prove what
    /// has left on it, or that of the overlap.
    at: Option<Instant>,
    /// A new connection is wanted once the one that is there is gone.
    wanted: bool,
    /// The new connection is wanted at the URL that the link would rather be at, and nowhere else: where it is not to be had, the link stays
    /// where it is.
    returns: bool,
    pace: Pace,
    attempt: u32,
    failure: Option<Box<str>>,
}

/// What there is beside the current connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// Nothing, until the next attempt.
    Waiting,
    /// An attempt.
    Dialing,
    /// The new connection, whose session is not ready yet.
    Opening,
    /// The new connection; the old one is to prove what has left on it.
    Standby,
    /// The old one, still read.
    Lingering,
    /// The old one, or a new one that came to nothing, on its way out.
    Closing,
}

/// A rotation as it can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotating<'a> {
    /// `waiting` for the next attempt, `dialing`, `opening` (the session of the new connection is not ready yet), `standby` (the new
    /// connection is ready, the old one is to prove what has left on it) or `leaving` (the old one is on its way out).
    pub stage: &'static str,
    /// Attempts so far.
    pub attempt: u32,
    /// When the next attempt is made, where one is waited for.
    pub next_at: Option<Instant>,
    /// The number of the connection beside the current one.
    pub generation: Option<u64>,
    /// Why the last attempt came to nothing.
    pub failure: Option<&'a str>,
}

impl Rotation {
    pub(super) fn connection(&self) -> Option<&Connection> {
        self.connection.as_ref()
    }

    pub(super) fn connection_mut(&mut self) -> Option<&mut Connection> {
        self.connection.as_mut()
    }

    fn generation(&self) -> Option<u64> {
        Some(self.connection.as_ref()?.open()?.generation)
    }
}

impl Link {
    /// The rotation under way.
    pub fn rotating(&self) -> Option<Rotating<'_>> {
        let rotation = self.rotation.as_deref()?;
        let (stage, next_at) = match self.beside()? {
            Beside::Waiting => ("waiting", rotation.at),
            Beside::Dialing => ("dialing", None),
            Beside::Opening => ("opening", None),
            Beside::Standby => ("standby", None),
            Beside::Lingering | Beside::Closing => ("leaving", None),
        };
        let (generation, failure) = (rotation.generation(), rotation.failure.as_deref());
        Some(Rotating { stage, attempt: rotation.attempt, next_at, generation, failure })
    }

    /// The number of the connection beside the current one.
    pub fn generation_beside(&self) -> Option<u64> {
        self.rotation.as_deref()?.generation()
    }

    fn beside(&self) -> Option<Beside> {
        let Some(connection) = &self.rotation.as_deref()?.connection else { return Some(Beside::Waiting) };
        Some(match &connection.stage {
            Stage::Dialing { .. } => Beside::Dialing,
            Stage::Open(open) if open.generation > self.generation && connection.is_ready() => Beside::Standby,
            Stage::Open(open) if open.generation > self.generation => Beside::Opening,
            Stage::Open(_) => Beside::Lingering,
            Stage::Closing(_) => Beside::Closing,
        })
    }

    /// When its next step is due.
    #[inline]
    pub(super) fn rotation_due(&self) -> Option<Instant> {
        let rotation = self.rotation.as_deref()?;
        let connection = rotation.connection.as_ref().and_then(Connection::poll_timeout).map(|(at, _)| at);
        connection.into_iter().chain(rotation.at).min()
    }

    /// Whether a new connection is open and waits for its turn.
    #[inline]
    pub(super) fn has_standby(&self) -> bool {
        self.rotation.is_some() && self.beside() == Some(Beside::Standby)
    }

    /// Whether a new connection is being made, or open already.
    pub(super) fn is_coming(&self) -> bool {
        matches!(self.beside(), Some(Beside::Dialing | Beside::Opening | Beside::Standby))
    }

    /// Begins one, or begins it again: what an attempt under way was to follow may be old by now.
    pub(super) fn rotate(&mut self, now: Instant, reason: Reason, out: &mut Commands) {
        let (first, urgent) = (self.first_for(reason), reason == Reason::Operator);
        let rotation = self.rotation.get_or_insert_default();
        rotation.returns = false;
        if rotation.connection.as_ref().is_none_or(|connection| connection.open().is_none()) {
            rotation.pace = self.pace.beside(first);
        }
        match &rotation.connection {
            Some(connection) if connection.open().is_some() => rotation.wanted = true,
            Some(_) => {
                out.push(Command::Hangup(Lane::Beside));
                self.dial_beside(now, urgent, out);
            }
            None => self.dial_beside(now, urgent, out),
        }
    }

    /// Whether it is at the URL that it would rather be at.
    pub fn whereabouts(&self) -> Whereabouts {
        if self.phase != Phase::Ready {
            Whereabouts::Nowhere
        } else if self.url() == self.home() {
            Whereabouts::Home
        } else if self.rotation.as_deref().is_some_and(|rotation| rotation.returns) {
            Whereabouts::Returning
        } else {
            Whereabouts::Away
        }
    }

    /// The URL that it would rather be at, by index.
    pub fn home(&self) -> usize {
        self.pace.home(&self.shared.policy)
    }

    /// The server of the URL that it would rather be at has been back for long enough.
    pub(super) fn on_return(&mut self, now: Instant, out: &mut Commands) {
        if self.whereabouts() != Whereabouts::Away || self.rotation.is_some() || !self.shared.policy.failback {
            return;
        }
        if !self.shared.policy.rotates {
            return self.on_renew(now, (Cause::Rotate, Reason::Rotate), out);
        }
        let pace = self.pace.beside(self.home());
        self.rotation = Some(Box::new(Rotation { pace, returns: true, ..Rotation::default() }));
        self.dial_beside(now, false, out);
    }

    fn dial_beside(&mut self, now: Instant, urgent: bool, out: &mut Commands) {
        let allowed = self.pace.take(now, For::Spare);
        let Some(rotation) = self.rotation.as_deref_mut() else { return };
        rotation.wanted = false;
        if let Err(until) = allowed {
            if rotation.returns {
                self.rotation = None;
            } else {
                rotation.failure = Some("reconnect.budget leaves no attempt to a rotation".into());
                (rotation.connection, rotation.at) = (None, Some(until));
            }
            return;
        }
        rotation.attempt = rotation.attempt.saturating_add(1);
        let (url, refreshes) = rotation.pace.begin(self.shared.policy.urls);
        // It is dialled after a delay by now: later than any value that was refused.
        let refused = refreshes.then_some(now);
        (rotation.connection, rotation.at) = (Some(Connection::dial(now, Lane::Beside, &self.shared.policy)), None);
        out.push(Command::Tell(Event::Rotating { attempt: rotation.attempt, url }));
        let round = (!rotation.returns).then(|| rotation.pace.round(&self.shared.policy));
        out.push(Command::Dial { lane: Lane::Beside, to: To { url, round, urgent, refused } });
    }

    /// While there are two connections, whether one attends to what happened to it.
    pub(super) fn attends(&mut self, now: Instant, lane: Lane, input: &ConnectionInput) -> bool {
        if lane == Lane::Current && matches!(input, ConnectionInput::Left { .. } | ConnectionInput::Flushed) {
            self.extend_standby(now);
        }
        // Both tell; an old one may do so to its end, as long as the link itself is open.
        let is_told = lane == Lane::Beside && matches!(input, ConnectionInput::Received(Received::Messages(_)));
        !is_told || self.state.is_ready() || self.is_coming()
    }

    /// The current connection took more of what has been given to it, so its proof may come later.
    fn extend_standby(&mut self, now: Instant) {
        if self.shared.outbox.as_deref().is_some_and(Outbox::is_in_transit)
            && self.has_standby()
            && let Some(Rotation { at: Some(at), .. }) = self.rotation.as_deref_mut()
        {
            *at = now.later(self.shared.policy.close_timeout);
        }
    }

    /// A step of the rotation is due.
    pub(super) fn on_rotation_due(&mut self, now: Instant, out: &mut Commands) {
        while let Some((connection, shared)) = self.connection(Lane::Beside)
            && let Some(change) = connection.handle_timeout(now, shared, out)
        {
            self.on_change(now, Lane::Beside, change, out);
        }
        let Some(rotation) = self.rotation.as_deref_mut().filter(|rotation| rotation.at.is_some_and(|at| at <= now))
        else {
            return;
        };
        rotation.at = None;
        match self.beside() {
            Some(Beside::Waiting) => self.dial_beside(now, false, out),
            Some(Beside::Standby) => self.close_unproven(now, out),
            Some(Beside::Lingering) => self.close_beside(now, Cause::Rotate, out),
            Some(Beside::Dialing | Beside::Opening | Beside::Closing) | None => {}
        }
    }

    /// The old connection has not proved in time what has left on it: it is closed first.
    fn close_unproven(&mut self, now: Instant, out: &mut Commands) {
        // An acknowledgement that does not come has an end of its own, later.
        let later = self.shared.outbox.as_deref().and_then(Outbox::next_ack_deadline).filter(|at| *at > now);
        if let (Some(_), Some(rotation)) = (later, self.rotation.as_deref_mut()) {
            rotation.at = later;
            return;
        }
        let detail = "the peer did not prove in time what it had read".into();
        let ending = Ending { owed: Some(Some(CloseFrame::of(NORMAL))), cause: Cause::Rotate, label: None, detail };
        self.close(now, ending, Then::Redial(Reason::Rotate), out);
    }

    /// Lets the new connection take its place once nothing is unproven on the old one.
    pub(super) fn settle(&mut self, now: Instant, out: &mut Commands) {
        if !self.has_standby() || self.shared.has_unproven() || !self.state.is_ready() {
            return;
        }
        let State::Active(mut old) = mem::replace(&mut self.state, State::Waiting) else { return };
        old.step_aside();
        self.take_place(now, Some(old), out);
    }

    /// The current connection is gone: what is beside takes its place, if it can. Answers whether it did.
    pub(super) fn adopt(&mut self, now: Instant, out: &mut Commands) -> bool {
        match self.beside() {
            Some(Beside::Standby) => {
                self.take_place(now, None, out);
                true
            }
            Some(Beside::Dialing | Beside::Opening) => {
                let Some(Rotation { connection: Some(mut attempt), pace, .. }) = self.rotation.take().map(|it| *it)
                else {
                    return false;
                };
                attempt.lane = Lane::Current;
                self.then = Then::Outcome;
                self.pace.set_url(pace.url());
                self.attempt = self.attempt.saturating_add(1);
                let reason = if attempt.is_queued() { Reason::Admission } else { Reason::Underway };
                self.enter(now, State::Active(attempt), reason, None, out);
                self.follow_generation();
                out.push(Command::Switch);
                if self.shared.wanted.is_some() {
                    // It need not wait for confirmations any more.
                    self.on_subscriptions(now, &[], out);
                }
                true
            }
            Some(Beside::Waiting) => {
                self.rotation = None;
                false
            }
            Some(Beside::Lingering | Beside::Closing) | None => false,
        }
    }

    /// The new connection becomes the current one; the old one, if it is there, lingers.
    fn take_place(&mut self, now: Instant, old: Option<Connection>, out: &mut Commands) {
        let Some(mut rotation) = self.rotation.take() else { return };
        let to = rotation.generation().unwrap_or_default();
        let Some(new) = mem::replace(&mut rotation.connection, old) else { return };
        let from = mem::replace(&mut self.generation, to);
        if let Some(outbox) = &mut self.shared.outbox {
            outbox.forget_late();
        }
        self.pace.set_url(rotation.pace.url());
        self.state = State::Active(new);
        self.take_over(now, out);
        out.push(Command::Switch);
        out.push(Command::Tell(Event::Rotated { from, to }));
        if rotation.connection.is_some() {
            rotation.at = Some(now.later(self.shared.policy.overlap));
            (rotation.attempt, rotation.returns) = (0, false);
            rotation.pace = self.pace.beside(self.first_for(Reason::Rotate));
            self.rotation = Some(rotation);
        } else if rotation.wanted {
            self.rotate(now, Reason::Rotate, out);
        }
    }

    /// Something became of the connection, or the attempt, beside the current one.
    pub(super) fn on_change_beside(&mut self, now: Instant, change: Change, out: &mut Commands) {
        let is_new = self.generation_beside() > Some(self.generation);
        let Some(rotation) = self.rotation.as_deref_mut() else { return };
        match change {
            Change::Queued | Change::Admitted | Change::Opening | Change::Rotate | Change::Stable => {}
            Change::PassedOver(url) => rotation.pace.set_url(url),
            Change::Opened => {
                rotation.failure = None;
                rotation.at = Some(now.later(self.shared.policy.close_timeout));
            }
            Change::Failed(failure) => {
                let said = (failure.retry_after, failure.rejection.as_deref());
                let delay = self.retry_beside(now, &failure.closed(), said);
                out.push(Command::Tell(Event::RotateFailed { failure, delay }));
            }
            Change::Closing | Change::Aborted => {
                rotation.at = None;
                rotation.wanted |= is_new && !rotation.returns;
            }
            Change::Ended(ended) => {
                rotation.wanted |= is_new && ended.was_open && !rotation.returns;
                self.on_ended_beside(now, *ended, is_new, out);
            }
        }
    }

    /// The new connection was not to be had, or did not last: after a delay by the outcome table, another attempt. The wish
    /// stays for as long as the current connection does, so where the table would park or stay closed it is asked for slowly.
    fn retry_beside(
        &mut self,
        now: Instant,
        closed: &Closed,
        (retry_after, rejection): (Option<RetryAfter>, Option<&Rejection>),
    ) -> Option<Duration> {
        if !self.state.is_ready() || self.rotation.as_deref().is_some_and(|rotation| rotation.returns) {
            self.rotation = None;
            return None;
        }
        let rotation = self.rotation.as_deref_mut()?;
        let ended = pace::Ended { closed, retry_after, rejection, was_stable: false };
        let (_, delay) = rotation.pace.after(&self.shared.policy, now, ended, &mut self.shared.chance);
        let ruling = rotation.pace.ruling();
        rotation.failure = Some(format!("{}: {}", closed.cause, closed.detail).into());
        (rotation.connection, rotation.at) = (None, Some(now.later(delay)));
        self.forget_kept(ruling);
        Some(delay)
    }

    fn on_ended_beside(&mut self, now: Instant, ended: Ended, is_new: bool, out: &mut Commands) {
        let Ended { generation, closed, age, retry_after, .. } = ended;
        out.push(Command::Tell(Event::Closed { generation, closed: Arc::clone(&closed), age }));
        if !self.rotation.as_deref().is_some_and(|rotation| rotation.wanted) || !self.state.is_ready() {
            self.rotation = None;
        } else if is_new {
            self.retry_beside(now, &closed, (retry_after, None));
        } else {
            self.dial_beside(now, false, out);
        }
        if !is_new {
            self.last_close = Some(Arc::new((closed, now)));
        }
    }

    /// The connection beside comes to its end: a new one before its turn, or an old one that lingers.
    fn close_beside(&mut self, now: Instant, cause: Cause, out: &mut Commands) {
        let ending = Ending { owed: Some(Some(CloseFrame::of(NORMAL))), cause, label: None, detail: "".into() };
        if let Some((connection, shared)) = self.connection(Lane::Beside)
            && let Some(change) = connection.close(now, ending, shared)
        {
            self.on_change_beside(now, change, out);
        }
    }

    /// The link is to do something else: no new connection is wanted, and one beside is closed.
    pub(super) fn dismiss(&mut self, now: Instant, cause: Cause, out: &mut Commands) {
        match self.beside() {
            Some(Beside::Waiting) => self.rotation = None,
            Some(Beside::Dialing) => {
                self.rotation = None;
                out.push(Command::Hangup(Lane::Beside));
            }
            Some(Beside::Opening | Beside::Standby) => self.close_beside(now, cause, out),
            Some(Beside::Lingering) => self.close_beside(now, Cause::Rotate, out),
            Some(Beside::Closing) | None => {}
        }
        self.is_renewed();
    }

    /// The link ends now, and with it what is beside.
    pub(super) fn cut_beside(&self, out: &mut Commands) {
        if self.generation_beside().is_some() {
            out.push(Command::Hangup(Lane::Beside));
        }
    }

    /// A connection is about to be dialled anyway, or none is to be: no other is wanted.
    pub(super) fn is_renewed(&mut self) {
        if let Some(rotation) = self.rotation.as_deref_mut() {
            rotation.wanted = false;
        }
    }
}
