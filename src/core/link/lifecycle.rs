//! The link between connections: attempts, what follows an end, an operator's words, the stop.
//!
//! Every change of the phase comes past `tell_phase`, which clears the link's timer: each phase arms only its own. And `dial` begins an
//! attempt only for a start, an operator's word, a reload, credentials that have changed, or the timer that `follow` has armed with the delay of [`super::pace`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Command, Commands, Lane, Link, Policy, To, Verb,
    connection::{self, Change, Connection},
    pace::{self, Next},
    state::{Ending, State, Then},
};
use crate::{
    allowance::For,
    backoff::LEAST,
    clock::Clock,
    close::{Cause, CloseFrame, GOING_AWAY, NORMAL},
    event::{DialFailure, Event, RetryAfter, Timings},
    outbox::Outbox,
    outcome::Row,
    phase::{Phase, ReadyState, Reason},
    receipt::{EndReason, State as ReceiptState},
    rejection::Rejection,
};

/// What is left of a closing handshake once an operator wants the next connection: a round trip, and no wait for a peer that says
/// nothing.
const HURRIED: Duration = Duration::from_millis(250);

impl Link {
    pub(super) fn on_start(&mut self, now: Instant, out: &mut Commands) {
        if matches!(self.state, State::Made) {
            self.dial_if_wanted(now, Reason::Starting, out);
        }
    }

    pub(super) fn on_park(&mut self, now: Instant, reason: Reason, out: &mut Commands) {
        if matches!(self.state, State::Made) {
            let delay = self.shared.chance.above(self.shared.policy.park_probe).max(LEAST);
            self.enter(now, State::Parked, reason, Some(delay), out);
        }
    }

    /// Begins an attempt.
    pub(super) fn dial(&mut self, now: Instant, reason: Reason, out: &mut Commands) {
        self.is_renewed();
        if let Err(until) = self.pace.take(now, For::Down) {
            self.set_down(true);
            let delay = until.saturating_duration_since(now);
            return self.enter(now, State::Waiting, Reason::Budget, Some(delay), out);
        }
        self.attempt = self.attempt.saturating_add(1);
        let (url, refreshes) = self.pace.begin(self.shared.policy.urls);
        let refused = self.refused(refreshes);
        self.enter(now, State::Active(Connection::dial(now, Lane::Current, &self.shared.policy)), reason, None, out);
        out.push(Command::Tell(Event::Dialing { attempt: self.attempt, url }));
        let (round, urgent) = (Some(self.pace.round(&self.shared.policy)), reason == Reason::Operator);
        out.push(Command::Dial { lane: Lane::Current, to: To { url, round, urgent, refused } });
    }

    /// When what was evaluated for the last connection was refused, where the next attempt is to follow that.
    pub(super) fn refused(&self, refreshes: bool) -> Option<Instant> {
        self.last_close.as_deref().filter(|_| refreshes).map(|(_, at)| *at)
    }

    /// A wait that the server had asked for is over, but for the backoff's own. The backoff after an attempt for others is over, too.
    pub(super) fn on_server_back(&mut self, now: Instant, was_sent: bool, out: &mut Commands) {
        match (&self.state, self.reason) {
            (State::Waiting, Reason::RetryAfter) => {
                if let Some(delay) = self.pace.end_rest(now) {
                    self.enter(now, State::Waiting, Reason::Backoff, Some(delay), out);
                }
            }
            (State::Waiting, Reason::Backoff) if was_sent => self.dial_if_wanted(now, Reason::Underway, out),
            _ => {}
        }
    }

    /// What was refused may be right now: a link that is parked for a refusal tries at once, with what is there.
    pub(super) fn on_credentials_changed(&mut self, now: Instant, out: &mut Commands) {
        if matches!((&self.state, self.reason), (State::Parked, Reason::Unauthorized | Reason::Refused)) {
            self.pace.forget_row();
            self.pace.refresh();
            self.dial_if_wanted(now, Reason::Refresh, out);
        }
    }

    /// Something became of the current connection.
    pub(super) fn on_change_current(&mut self, now: Instant, change: Change, out: &mut Commands) {
        match change {
            Change::Queued => self.tell_phase(now, Reason::Admission, None, out),
            Change::Admitted => self.tell_phase(now, Reason::Underway, None, out),
            // It is the same attempt, at another URL.
            Change::PassedOver(url) => self.pace.set_url(url),
            Change::Opening => {
                self.follow_generation();
                // Whoever asked for it: a session that fails is followed as the table says, not by the same wish again.
                self.then = Then::Outcome;
                self.tell_phase(now, Reason::Underway, None, out);
            }
            Change::Opened => {
                self.follow_generation();
                self.take_over(now, out);
            }
            Change::Rotate => self.on_renew(now, (Cause::Rotate, Reason::Rotate), out),
            Change::Failed(failure) => self.on_dial_failed(now, failure, out),
            Change::Stable => self.on_stable(),
            Change::Closing | Change::Aborted => self.tell_phase(now, self.then.reason(), None, out),
            Change::Ended(ended) => self.on_ended(now, *ended, out),
        }
    }

    /// The current connection is an open one: its number is the link's.
    pub(super) fn follow_generation(&mut self) {
        if let Some(open) = self.state.connection().and_then(Connection::open) {
            self.generation = open.generation;
        }
    }

    /// The current connection, which is open, carries messages from now on.
    pub(super) fn take_over(&mut self, now: Instant, out: &mut Commands) {
        self.then = Then::Outcome;
        self.set_down(false);
        self.tell_phase(now, Reason::Underway, None, out);
        if let Some((connection, shared)) = self.connection(Lane::Current) {
            connection.take_over(now, shared);
        }
    }

    fn on_dial_failed(&mut self, now: Instant, failure: Box<DialFailure>, out: &mut Commands) {
        let (closed, retry_after, rejection) = (failure.closed(), failure.retry_after, failure.rejection.clone());
        self.last_close = Some(Arc::new((closed.into(), now)));
        out.push(Command::Tell(Event::DialFailed(failure)));
        self.follow(now, (retry_after, rejection.as_deref()), false, out);
    }

    pub(super) fn on_stable(&mut self) {
        self.pace.start_over();
        self.attempt = 0;
    }

    /// Does what the outcome table says of the last close.
    fn follow(
        &mut self,
        now: Instant,
        (retry_after, rejection): (Option<RetryAfter>, Option<&Rejection>),
        was_stable: bool,
        out: &mut Commands,
    ) {
        let Some(last) = self.last_close.clone() else { return };
        self.set_down(true);
        let ended = pace::Ended { closed: &last.0, retry_after, rejection, was_stable };
        let next = self.pace.after(&self.shared.policy, now, ended, &mut self.shared.chance);
        self.forget_kept(self.pace.ruling());
        match next {
            (Next::Wait(reason), delay) => self.enter(now, State::Waiting, reason, Some(delay), out),
            (Next::Park(reason), delay) => self.enter(now, State::Parked, reason, Some(delay), out),
            (Next::StayClosed, _) => self.enter(now, State::Paused, Reason::StayClosed, None, out),
        }
    }

    /// What the row that decided says is to be forgotten of a session.
    pub(super) fn forget_kept(&mut self, ruling: Option<(Row, u32)>) {
        if let (Some(kept), Some((Row::Own(index), _))) = (&mut self.shared.kept, ruling)
            && let Some(rule) = self.shared.policy.outcomes.get(index as usize)
        {
            kept.forget(&rule.forget);
        }
    }

    /// Changes the state, tells of it, and arms the retry timer where there is a delay.
    pub(super) fn enter(
        &mut self,
        now: Instant,
        state: State,
        reason: Reason,
        delay: Option<Duration>,
        out: &mut Commands,
    ) {
        self.state = state;
        self.tell_phase(now, reason, delay, out);
        self.retry = delay.map(|delay| now.later(delay));
    }

    /// The state has changed, be it only that of the current connection.
    fn tell_phase(&mut self, now: Instant, reason: Reason, delay: Option<Duration>, out: &mut Commands) {
        self.retry = None;
        self.tell_phase_as(now, self.state.phase(), reason, delay, out);
    }

    fn tell_phase_as(&mut self, now: Instant, to: Phase, reason: Reason, delay: Option<Duration>, out: &mut Commands) {
        let from = std::mem::replace(&mut self.phase, to);
        let before = std::mem::replace(&mut self.reason, reason);
        let next_at = delay.map(|delay| now.later(delay));
        // Whoever pauses one that is asleep is told so.
        let is_held = from == Phase::Paused && (before, reason) == (Reason::Asleep, Reason::Operator);
        if from != to || next_at.is_some() || is_held {
            self.since = now;
            out.push(Command::Tell(Event::Phase { from, to, reason, next_at, delay }));
        }
    }

    pub(super) fn on_verb(&mut self, now: Instant, verb: Verb, out: &mut Commands) {
        self.pace.forget_row();
        self.stay_awake(now);
        match verb {
            Verb::Close(frame) => self.leave(now, frame, Cause::Operator, Then::Pause, out),
            Verb::Pause => self.leave(now, Some(CloseFrame::of(NORMAL)), Cause::Operator, Then::Pause, out),
            // Nothing that is there is given up for what may not be had.
            Verb::Reconnect if self.state.connection().is_some() && self.pace.is_spent(now) => {}
            Verb::Reconnect => {
                self.leave(now, Some(CloseFrame::of(NORMAL)), Cause::Operator, Then::Redial(Reason::Operator), out);
            }
            Verb::Resume => match &self.state {
                State::Asleep | State::Paused | State::Parked | State::Waiting => {
                    self.dial(now, Reason::Operator, out);
                }
                State::Active(connection) if connection.is_queued() && !self.pace.is_spent(now) => {
                    self.leave(now, None, Cause::Operator, Then::Redial(Reason::Operator), out);
                }
                // Closed a moment ago by `close` or `pause`, or because nobody wanted it, and meant to go on now.
                State::Active(_) if matches!(self.then, Then::Pause | Then::Sleep) => {
                    self.leave(now, None, Cause::Operator, Then::Redial(Reason::Operator), out);
                }
                State::Made | State::Active(_) | State::Stopped(_) => {}
            },
            Verb::Rotate => self.on_renew(now, (Cause::Operator, Reason::Operator), out),
        }
    }

    /// A new connection is wanted. Where none is open or under way, the next one will be new anyway.
    pub(super) fn on_renew(&mut self, now: Instant, (cause, reason): (Cause, Reason), out: &mut Commands) {
        match (self.ready_state(), self.phase) {
            (ReadyState::Open, Phase::Ready) if self.shared.policy.rotates => self.rotate(now, reason, out),
            // What is beside would follow, and what it was to follow may be old by now.
            (ReadyState::Closing, _) if self.is_coming() => self.rotate(now, reason, out),
            (ReadyState::Open | ReadyState::Connecting, _) if self.pace.is_spent(now) => {}
            (ReadyState::Open | ReadyState::Connecting, _) | (ReadyState::Closed, Phase::Parked) => {
                self.leave(now, Some(CloseFrame::of(NORMAL)), cause, Then::Redial(reason), out);
            }
            (ReadyState::Closing | ReadyState::Closed, _) => {}
        }
    }

    /// Where a new connection is looked for first: who asks for one by hand, or by other URLs, does not ask for one where the link is.
    pub(super) fn first_for(&self, reason: Reason) -> usize {
        let policy = &self.shared.policy;
        if reason == Reason::Rotate { self.pace.first(policy) } else { self.pace.home(policy) }
    }

    pub(super) fn on_stop(&mut self, now: Instant, within: Duration, end_reason: EndReason, out: &mut Commands) {
        self.leave(now, Some(CloseFrame::of(GOING_AWAY)), why_stopped(end_reason).0, Then::Stop(end_reason), out);
        self.close_by(now.later(within.min(self.shared.policy.close_timeout)));
    }

    /// Somebody waits for what follows the closing handshake that is under way.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.close_by(now.later(HURRIED));
    }

    /// A closing handshake that is under way ends by then at the latest.
    fn close_by(&mut self, deadline: Instant) {
        if let Some(connection) = self.state.connection_mut() {
            connection.close_by(deadline);
        }
    }

    /// Leaves whatever the link is at, for `then`; an open connection goes through the closing handshake first.
    pub(super) fn leave(
        &mut self,
        now: Instant,
        frame: Option<CloseFrame>,
        cause: Cause,
        then: Then,
        out: &mut Commands,
    ) {
        self.dismiss(now, cause, out);
        match self.ready_state() {
            ReadyState::Open => {
                self.close(now, Ending { owed: Some(frame), cause, label: None, detail: "".into() }, then, out);
            }
            ReadyState::Closing => {
                if !matches!(self.then, Then::Stop(_)) {
                    self.then = then;
                }
                if then == Then::Redial(Reason::Operator) {
                    self.hurry(now);
                }
            }
            ReadyState::Connecting => {
                self.fail_attempt(now, cause, then, out);
                self.go_on(now, then, None, out);
            }
            ReadyState::Closed if matches!(self.state, State::Stopped(_)) => {}
            ReadyState::Closed => self.go_on(now, then, None, out),
        }
    }

    /// What is closed while CONNECTING is failed: CLOSING, an `error`, and a `close` with 1006 (WHATWG §3.1).
    fn fail_attempt(&mut self, now: Instant, cause: Cause, then: Then, out: &mut Commands) {
        let is_queued = self.state.connection().is_some_and(Connection::is_queued);
        let took = now.saturating_duration_since(self.since);
        let timings = Timings { total: if is_queued { Duration::ZERO } else { took }, ..Timings::default() };
        self.tell_phase_as(now, Phase::Closing, then.reason(), None, out);
        out.push(Command::Hangup(Lane::Current));
        let failure = DialFailure { timings, ..DialFailure::of(cause, "given up before it was open") };
        self.last_close = Some(Arc::new((failure.closed().into(), now)));
        out.push(Command::Tell(Event::DialFailed(Box::new(failure))));
    }

    /// The transport is gone and nothing is under way: what comes next.
    fn go_on(&mut self, now: Instant, then: Then, retry_after: Option<RetryAfter>, out: &mut Commands) {
        match then {
            // What is beside was not dismissed, so it is wanted.
            Then::Outcome | Then::Redial(_) if self.adopt(now, out) => {}
            // That a new connection in readiness came to nothing is no reason for an attempt without a delay.
            Then::Outcome | Then::Redial(Reason::Rotate) => {
                // What was replaced by our wish has not failed.
                let was_stable = then != Then::Outcome || self.attempt == 0;
                self.follow(now, (retry_after, None), was_stable, out);
            }
            Then::Redial(reason) => self.dial(now, reason, out),
            Then::Sleep => self.dial_if_wanted(now, Reason::Underway, out),
            Then::Pause => {
                self.set_down(true);
                self.enter(now, State::Paused, Reason::Operator, None, out);
            }
            Then::Stop(end_reason) => {
                self.enter(now, State::Stopped(end_reason), why_stopped(end_reason).1, None, out);
                self.cut_beside(out);
                let mut ended = Vec::new();
                let clear = |outbox: &mut Outbox| outbox.clear(ReceiptState::Dropped, end_reason, &mut ended);
                let marked = self.shared.outbox.as_deref_mut().map(clear).unwrap_or_default();
                self.tell_receipts(ended, out);
                if !marked.is_empty() {
                    out.push(Command::Mark { ids: marked.into(), marked: false });
                }
                out.push(Command::Done);
            }
        }
    }

    /// Closes the current connection, if it is open.
    pub(super) fn close(&mut self, now: Instant, ending: Ending, then: Then, out: &mut Commands) {
        let Some((connection, shared)) = self.connection(Lane::Current) else { return };
        if let Some(change) = connection.close(now, ending, shared) {
            self.then = then;
            self.on_change_current(now, change, out);
        }
    }

    /// The current connection's transport is gone.
    fn on_ended(&mut self, now: Instant, ended: connection::Ended, out: &mut Commands) {
        let connection::Ended { generation, closed, age, was_open, code, begun, retry_after } = ended;
        let then = self.then;
        if was_open {
            self.tell_phase(now, then.reason(), None, out);
        }
        out.push(Command::Tell(Event::Closed { generation, closed: Arc::clone(&closed), age }));
        self.last_close = Some(Arc::new((closed, now)));
        if then != Then::Outcome {
            let first = self.first_for(then.reason());
            self.pace.set_url(first);
        }
        let mut lost = Vec::new();
        let dead = self.shared.outbox.as_deref_mut().and_then(|outbox| outbox.lost(begun, code, &mut lost));
        self.tell_receipts(lost, out);
        if let Some(dead) = dead {
            // What the peer refused is out of its way.
            self.pace.forget_row();
            out.push(Command::Bury(dead));
        }
        // What comes back to the queue may have expired on its way.
        self.expire(now, out);
        self.go_on(now, then, retry_after, out);
    }

    pub(super) fn on_policy(&mut self, now: Instant, policy: Arc<Policy>, out: &mut Commands) {
        if !self.shared.policy.requests.is_as(&policy.requests) {
            self.settle_by(out, Outbox::end_requests);
        }
        if self.shared.policy.backoff != policy.backoff {
            self.pace.restart_backoff();
        }
        if let Some(outbox) = &mut self.shared.outbox {
            outbox.set_policy(Arc::clone(&policy.outbox));
        }
        let is_watched_anew = self.shared.policy.heartbeat != policy.heartbeat;
        self.shared.policy = policy;
        if let Some((connection, shared)) = self.connection(Lane::Current).filter(|_| is_watched_anew) {
            connection.watch_anew(now, shared);
        }
        self.follow_laziness(now, out);
        if matches!((&self.state, self.reason), (State::Waiting, Reason::Budget)) {
            // There may be more of it now.
            self.dial_if_wanted(now, Reason::Underway, out);
        }
    }
}

impl Then {
    /// Why the link closes, as long as it does.
    fn reason(self) -> Reason {
        match self {
            Self::Outcome => Reason::Underway,
            Self::Redial(reason) => reason,
            Self::Sleep => Reason::Asleep,
            Self::Pause => Reason::Operator,
            Self::Stop(end_reason) => why_stopped(end_reason).1,
        }
    }
}

/// Who ends a link for good: a reload that has it no more, or the daemon's own end.
fn why_stopped(end_reason: EndReason) -> (Cause, Reason) {
    match end_reason {
        EndReason::Removed => (Cause::Reload, Reason::Reload),
        EndReason::Shutdown
        | EndReason::Evicted
        | EndReason::Overflow
        | EndReason::Down
        | EndReason::Conflated
        | EndReason::Ttl
        | EndReason::LinkLost
        | EndReason::Poison
        | EndReason::Panicked
        | EndReason::AckTimeout
        | EndReason::Disk
        | EndReason::Crash
        | EndReason::Unproven
        | EndReason::Generation
        | EndReason::IdInUse
        | EndReason::Reload => (Cause::Shutdown, Reason::Shutdown),
    }
}
