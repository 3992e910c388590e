//! The session of a connection: when it looks at messages, when what it sends leaves, and what its verdicts do.
//!
//! Its messages go before those of the outbox, and none of the outbox's leaves before it is ready. What the transport tells to have left
//! are messages of both, so here it is known whose each was. What a reader would get wrong: pings that are owed go before all of them, so
//! no rule keeps the heartbeat from a connection.

use std::{collections::VecDeque, time::Instant};

use super::{Change, Connection, Shared, Stage};
use crate::{
    close::{CloseFrame, NORMAL},
    event::Event,
    link::{Command, Commands, Frame, Lane, state::Ending},
    run::Run,
    session::{Ask, Brought, Failure, News, Outside, Session, Start, Verdict, Waits},
    subscriptions,
    timers::Timer,
};

/// A session on its connection.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "it is in a box itself, and soon the larger one")]
pub(in crate::link) enum Running {
    /// The connection is not open yet.
    Prepared(Box<Start>),
    /// It has begun.
    Begun(Session, Given),
}

/// Whose the messages are that were given to the transport and have not left whole, in order: so many of the outbox or of the session.
#[derive(Debug, Default)]
pub(in crate::link) struct Given(VecDeque<(Whose, usize)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Outbox,
    Session,
}

impl Given {
    fn push(&mut self, whose: Whose, messages: u32) {
        let messages = messages as usize;
        match self.0.back_mut() {
            Some((last, count)) if *last == whose => *count = count.saturating_add(messages),
            Some(_) | None => self.0.push_back((whose, messages)),
        }
    }

    /// So many have left whole: how many of them are the outbox's.
    fn take(&mut self, mut messages: usize) -> usize {
        let mut of_outbox = 0_usize;
        while let Some((whose, count)) = self.0.front_mut()
            && messages > 0
        {
            let taken = messages.min(*count);
            messages = messages.saturating_sub(taken);
            if *whose == Whose::Outbox {
                of_outbox = of_outbox.saturating_add(taken);
            }
            *count = count.saturating_sub(taken);
            if *count == 0 {
                self.0.pop_front();
            }
        }
        of_outbox
    }
}

impl Connection {
    /// The attempt brings a session.
    pub(super) fn prepare(&mut self, start: Box<Start>) {
        if let Stage::Dialing { .. } = self.stage {
            self.session = Some(Box::new(Running::Prepared(start)));
        }
    }

    /// The connection is open: its session begins, if it has one. Its first word is due at once.
    pub(super) fn begin_session(&mut self, now: Instant, generation: u64, shared: &mut Shared) -> Change {
        let Some(Running::Prepared(start)) = self.session.take().map(|running| *running) else { return Change::Opened };
        let Shared { policy, chance, kept, wanted, .. } = shared;
        let backoff = &policy.backoff;
        let (pace, stable) = (backoff.initial, backoff.stable.max(crate::backoff::LEAST_STABLE));
        let (wanted, is_beside) = (wanted.as_deref(), self.lane == Lane::Beside);
        let mut outside = Outside { now, pace, stable, chance, wanted, is_beside };
        let session = Session::begin(*start, generation, kept.as_deref(), &mut outside);
        self.session = Some(Box::new(Running::Begun(session, Given::default())));
        Change::Opening
    }

    /// Whether messages may leave on it, once it is the current one.
    #[inline]
    pub(in crate::link) fn is_ready(&self) -> bool {
        self.is_open() && self.session().is_none_or(Session::is_ready)
    }

    /// Where its session waits until it is ready.
    pub(in crate::link) fn waits(&self) -> Option<Waits> {
        match &self.stage {
            Stage::Dialing { waits, .. } => waits.as_deref().copied(),
            Stage::Open(_) => self.session()?.waits(),
            Stage::Closing(_) => None,
        }
    }

    /// Its session, once that has begun.
    pub(in crate::link) fn session(&self) -> Option<&Session> {
        match self.session.as_deref() {
            Some(Running::Begun(session, _)) => Some(session),
            Some(Running::Prepared(_)) | None => None,
        }
    }

    /// Lets the session do something, and keeps what the link is to remember of it.
    fn with_session<R>(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        act: impl FnOnce(&mut Session, &mut Outside<'_>) -> R,
    ) -> Option<R> {
        if !(self.is_open() || self.is_leaving()) {
            return None;
        }
        let Some(Running::Begun(session, _)) = self.session.as_deref_mut() else { return None };
        let asked = shared.asked();
        let Shared { policy, chance, kept, wanted, .. } = shared;
        session.set_busy(policy.requests.in_flight.is_some_and(|most| asked >= most as usize));
        let backoff = &policy.backoff;
        let (pace, stable) = (backoff.initial, backoff.stable.max(crate::backoff::LEAST_STABLE));
        let (wanted, is_beside) = (wanted.as_deref(), self.lane == Lane::Beside);
        let mut outside = Outside { now, pace, stable, chance, wanted, is_beside };
        let answer = act(session, &mut outside);
        if self.lane == Lane::Current {
            session.remember(kept, false);
        }
        Some(answer)
    }

    /// It is on the current connection from now on.
    pub(super) fn session_takes_over(&mut self, now: Instant, shared: &mut Shared) {
        self.with_session(now, shared, Session::take_over);
        if let Some(Running::Begun(session, _)) = self.session.as_deref_mut() {
            session.remember(&mut shared.kept, true);
        }
    }

    /// It is so no more.
    pub(super) fn session_steps_aside(&mut self) {
        if let Some(Running::Begun(session, _)) = self.session.as_deref_mut() {
            session.step_aside();
        }
    }

    /// Shows it what arrived, and answers with what consumers are to see: nothing of what is hidden already.
    #[inline(never)]
    pub(super) fn show_session(
        &mut self,
        now: Instant,
        run: Run,
        mut hides: Vec<bool>,
        shared: &mut Shared,
        out: &mut Commands,
    ) -> Option<Run> {
        hides.resize(run.count(), false);
        let mut hidden = Vec::new();
        for (payload, hide) in run.payloads().zip(&mut hides) {
            *hide |= self.with_session(now, shared, |session, outside| session.handle(&payload, outside)) == Some(true);
            hidden.extend(hide.then(|| (payload.kind(), payload.len())));
        }
        if hidden.is_empty() {
            return Some(run);
        }
        out.push(Command::Tell(Event::Hidden(hidden)));
        run.without(&hides)
    }

    /// What it is to ask for has changed.
    pub(in crate::link) fn follow_subscriptions(
        &mut self,
        now: Instant,
        changes: &[subscriptions::Change],
        shared: &mut Shared,
        out: &mut Commands,
    ) -> Option<Change> {
        self.with_session(now, shared, |session, outside| session.follow_subscriptions(changes, outside));
        self.conclude(now, shared, out)
    }

    /// Whether it has all keys that stood when it began, so that the one whose place it is to take asks for no more.
    pub(in crate::link) fn takes_keys_over(&self) -> bool {
        self.is_open() && self.session().is_some_and(Session::takes_keys_over)
    }

    /// It asks for no key, or does again; answers with those that it has asked for, where that is new.
    pub(in crate::link) fn hold_keys(&mut self, is_held: bool) -> Option<Vec<u64>> {
        match self.session.as_deref_mut()? {
            Running::Begun(session, _) => session.hold_keys(is_held),
            Running::Prepared(_) => None,
        }
    }

    /// The other one has asked for these, and asks for no more.
    pub(in crate::link) fn take_keys_over(
        &mut self,
        now: Instant,
        places: &[u64],
        shared: &mut Shared,
        out: &mut Commands,
    ) -> Option<Change> {
        self.with_session(now, shared, |session, outside| session.take_keys_over(places, outside));
        self.conclude(now, shared, out)
    }

    /// How far its keys have come.
    pub(in crate::link) fn news_of_subscriptions(&mut self, all: bool) -> Option<News> {
        if !self.is_open() {
            return None;
        }
        match self.session.as_deref_mut()? {
            Running::Begun(session, _) => session.news_of_subscriptions(all),
            Running::Prepared(_) => None,
        }
    }

    /// A ping is sent on it. Behind a pong of it is what its session has said before, where no older ping can be answered instead.
    pub(super) fn tell_pinged(&mut self) {
        if let Some(Running::Begun(session, _)) = self.session.as_deref_mut()
            && !self.pings.is_outstanding()
        {
            session.pinged();
        }
    }

    /// A pong has come of a ping of ours.
    pub(super) fn tell_ponged(&mut self) {
        if let Some(Running::Begun(session, _)) = self.session.as_deref_mut() {
            session.ponged();
        }
    }

    /// What its session wants to have done outside.
    #[inline]
    pub(in crate::link) fn next_ask(&mut self) -> Option<Ask> {
        match self.session.as_deref_mut()? {
            Running::Begun(session, _) => session.poll_ask(),
            Running::Prepared(_) => None,
        }
    }

    /// That is done.
    pub(super) fn on_errand(
        &mut self,
        now: Instant,
        id: u64,
        done: Result<Brought, Box<str>>,
        shared: &mut Shared,
        out: &mut Commands,
    ) -> Option<Change> {
        self.with_session(now, shared, |session, outside| session.errand_done(id, done, outside));
        self.conclude(now, shared, out)
    }

    /// It is to be closed in order: the session says farewell first.
    pub(super) fn leave_session(&mut self, now: Instant, shared: &mut Shared) {
        let within = shared.policy.close_timeout / 2;
        self.with_session(now, shared, |session, outside| session.leave(within, outside));
    }

    /// Whether the Close waits for the session's farewell.
    #[inline]
    pub(super) fn is_leaving(&self) -> bool {
        self.session.is_some()
            && matches!(self.stage, Stage::Closing(_))
            && self.session().is_some_and(Session::is_leaving)
    }

    #[inline]
    pub(super) fn session_due(&self) -> Option<Instant> {
        self.session.as_ref()?;
        self.due_of_session()
    }

    #[inline(never)]
    fn due_of_session(&self) -> Option<Instant> {
        self.session().filter(|_| self.is_open() || self.is_leaving())?.poll_timeout()
    }

    #[inline]
    pub(super) fn on_session_due(&mut self, now: Instant, shared: &mut Shared, out: &mut Commands) -> Option<Change> {
        self.session.as_ref()?;
        self.follow_session(now, shared, out)
    }

    #[inline(never)]
    fn follow_session(&mut self, now: Instant, shared: &mut Shared, out: &mut Commands) -> Option<Change> {
        while self.session_due().is_some_and(|at| at <= now) {
            self.with_session(now, shared, Session::handle_timeout);
            if self.is_leaving() {
                continue;
            }
            if let Some(change) = self.conclude(now, shared, out) {
                return Some(change);
            }
        }
        None
    }

    /// Does what the session says is to become of the connection, up to the first change.
    #[inline]
    pub(super) fn conclude(&mut self, now: Instant, shared: &mut Shared, out: &mut Commands) -> Option<Change> {
        self.session.as_ref()?;
        self.conclude_session(now, shared, out)
    }

    #[inline(never)]
    fn conclude_session(&mut self, now: Instant, shared: &mut Shared, out: &mut Commands) -> Option<Change> {
        loop {
            let Stage::Open(open) = &self.stage else { return None };
            let generation = open.generation;
            let Some(Running::Begun(session, _)) = self.session.as_deref_mut() else { return None };
            match session.poll_verdict()? {
                Verdict::Ready { .. } => {
                    let opening = Box::new(session.take_opening(now));
                    out.push(Command::Tell(Event::SessionReady { generation, opening }));
                    return Some(Change::Opened);
                }
                Verdict::Answered => out.push(Command::Tell(Event::Keepalive { answered: true })),
                Verdict::Rotate => return Some(Change::Rotate),
                Verdict::End(failure) => return Some(self.fail_session(now, *failure, shared, out)),
            }
        }
    }

    fn fail_session(&mut self, now: Instant, failure: Failure, shared: &mut Shared, out: &mut Commands) -> Change {
        let Failure { label, detail, cause, code, is_silence, retry_after: _ } = failure;
        if is_silence && cause == crate::close::Cause::Session {
            out.push(Command::Tell(Event::Keepalive { answered: false }));
        }
        let abort_code = shared.policy.heartbeat.abort_code;
        let owed = if is_silence { abort_code } else { Some(code.unwrap_or(NORMAL)) };
        self.end(
            now,
            Ending { owed: owed.map(|code| Some(CloseFrame::of(code))), cause, label: Some(label), detail },
            shared,
        )
    }

    /// The connection is gone: tells what its session did where that has not been ready.
    pub(super) fn tell_unready(&mut self, now: Instant, out: &mut Commands) {
        let generation = self.open().map(|open| open.generation);
        if let (Some(Running::Begun(session, _)), Some(generation)) = (self.session.as_deref_mut(), generation)
            && session.is_unready()
        {
            let opening = Box::new(session.take_opening(now));
            out.push(Command::Tell(Event::SessionFailed { generation, opening }));
        }
    }

    /// Ends an open connection; where no Close is owed, at once.
    pub(super) fn end(&mut self, now: Instant, ending: Ending, shared: &mut Shared) -> Change {
        let abort = ending.owed.is_none();
        let _ = self.close(now, ending, shared);
        if !abort {
            return Change::Closing;
        }
        // Without a Close frame there is no handshake to wait for.
        self.timers.stop(Timer::Close);
        Change::Aborted
    }

    /// The next message of the session.
    #[inline]
    pub(super) fn next_of_session(&mut self, now: Instant, shared: &mut Shared) -> Option<Frame> {
        self.session.as_ref()?;
        self.take_of_session(now, shared)
    }

    #[inline(never)]
    fn take_of_session(&mut self, now: Instant, shared: &mut Shared) -> Option<Frame> {
        // A farewell has little time, and waits for nothing.
        let is_leaving = self.is_leaving();
        let Some(Running::Begun(session, given)) = self.session.as_deref_mut() else { return None };
        if !session.has_messages() || !(is_leaving || shared.may_go_ahead(now)) {
            return None;
        }
        let payload = session.poll_transmit()?;
        if is_leaving {
            shared.counts(now, payload.len());
        } else {
            shared.goes_ahead(now, payload.len());
        }
        given.push(Whose::Session, 1);
        Some(Frame::Session(payload))
    }

    /// Messages of the outbox leave.
    #[inline]
    pub(super) fn note_given(&mut self, now: Instant, messages: u32) {
        if let Some(Running::Begun(session, given)) = self.session.as_deref_mut() {
            session.message_leaves(now);
            given.push(Whose::Outbox, messages);
        }
    }

    /// How many of the messages that have left whole are the outbox's, and how much of the next one has left if that is.
    #[inline]
    pub(super) fn of_outbox(&mut self, messages: usize, part: usize) -> (usize, usize) {
        let Some(Running::Begun(_, given)) = self.session.as_deref_mut() else { return (messages, part) };
        let messages = given.take(messages);
        let is_next = given.0.front().is_some_and(|(whose, _)| *whose == Whose::Outbox);
        (messages, if is_next { part } else { 0 })
    }

    /// All that was given has left.
    #[inline]
    pub(super) fn forget_given(&mut self) {
        if let Some(Running::Begun(_, given)) = self.session.as_deref_mut() {
            given.0.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_has_left_the_outbox_hears_of_its_own_alone() {
        let mut given = Given::default();
        for whose in [Whose::Session, Whose::Outbox, Whose::Outbox, Whose::Session, Whose::Outbox] {
            given.push(whose, 1);
        }
        assert_eq!([1, 1, 2, 9].map(|messages| given.take(messages)), [0, 1, 1, 1]);
        assert!(given.0.is_empty());
    }
}
