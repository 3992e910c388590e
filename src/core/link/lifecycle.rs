//! The link between connections: attempts, what follows an end, an operator's words, the stop.
//!
//! `enter` is the only place where the state changes: it clears the timers, so each state arms only its own. And `dial` begins an
//! attempt only for a start, an operator's word, a reload, or the timer that `follow` has armed with the delay of [`super::pace`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Command, Commands, Lane, Link, Policy, Verb,
    pace::{self, Next},
    state::{Closing, Ending, Open, State, Then},
};
use crate::core::{
    backoff::{LEAST, LEAST_STABLE},
    clock::Clock,
    close::{Cause, CloseFrame, GOING_AWAY, NORMAL},
    event::{DialFailure, Established, Event, RetryAfter, Timings},
    phase::{Phase, Reason},
    receipt::{Fate, State as Rung},
    timers::Timer,
};

impl Link {
    pub(super) fn on_start(&mut self, now: Instant, out: &mut Commands) {
        if matches!(self.state, State::Made) {
            self.dial(now, Reason::Starting, out);
        }
    }

    pub(super) fn on_park(&mut self, now: Instant, reason: Reason, out: &mut Commands) {
        if matches!(self.state, State::Made) {
            let delay = self.chance.above(self.policy.park_probe).max(LEAST);
            self.enter(now, State::Parked, reason, Some(delay), out);
        }
    }

    /// Begins an attempt.
    pub(super) fn dial(&mut self, now: Instant, reason: Reason, out: &mut Commands) {
        self.is_renewed();
        self.attempt = self.attempt.saturating_add(1);
        let url = self.pace.begin(self.policy.urls);
        self.enter(now, State::Dialing { queued: None }, reason, None, out);
        self.timers.set(Timer::Connect, now.later(self.policy.connect_timeout));
        out.push(Command::Tell(Event::Dialing { attempt: self.attempt, url }));
        out.push(Command::Dial { lane: Lane::Current, url, urgent: reason == Reason::Operator });
    }

    /// A wait that the server had asked for is over, but for the backoff's own.
    pub(super) fn on_server_back(&mut self, now: Instant, out: &mut Commands) {
        if matches!((&self.state, self.reason), (State::Waiting, Reason::RetryAfter))
            && let Some(delay) = self.pace.end_rest(now)
        {
            self.enter(now, State::Waiting, Reason::Backoff, Some(delay), out);
        }
    }

    pub(super) fn on_queued(&mut self, now: Instant, out: &mut Commands) {
        if matches!(self.state, State::Dialing { queued: None }) {
            let left = self
                .timers
                .get(Timer::Connect)
                .map_or(self.policy.connect_timeout, |at| at.saturating_duration_since(now));
            self.enter(now, State::Dialing { queued: Some(left) }, Reason::Admission, None, out);
        }
    }

    pub(super) fn on_admitted(&mut self, now: Instant, out: &mut Commands) {
        if let State::Dialing { queued: Some(left) } = self.state {
            self.enter(now, State::Dialing { queued: None }, Reason::Underway, None, out);
            self.timers.set(Timer::Connect, now.later(left));
        }
    }

    /// It is the same attempt, at another URL.
    pub(super) fn on_passed_over(&mut self, url: usize) {
        if matches!(self.state, State::Dialing { .. }) {
            self.pace.set_url(url);
        }
    }

    pub(super) fn on_dialled(&mut self, now: Instant, established: Box<Established>, out: &mut Commands) {
        if !matches!(self.state, State::Dialing { .. }) {
            return;
        }
        self.newest += 1;
        self.generation = self.newest;
        let established = Arc::<Established>::from(established);
        let told = Arc::clone(&established);
        out.push(Command::Tell(Event::Opened { generation: self.generation, established: told }));
        self.become_open(now, Open { generation: self.generation, established, since: now }, out);
    }

    /// This connection is the current one from now on.
    pub(super) fn become_open(&mut self, now: Instant, open: Open, out: &mut Commands) {
        (self.heard, self.sent) = (Some(now), Some(now));
        self.enter(now, State::Open(open), Reason::Underway, None, out);
        self.owes_ping = false;
        self.watch(now);
        self.timers.set(Timer::Stable, now.later(self.policy.backoff.stable.max(LEAST_STABLE)));
    }

    pub(super) fn on_dial_failed(&mut self, now: Instant, failure: Box<DialFailure>, out: &mut Commands) {
        if !matches!(self.state, State::Dialing { .. }) {
            return;
        }
        let (closed, retry_after) = (failure.closed(), failure.retry_after);
        self.last_close = Some(Arc::new((closed, now)));
        out.push(Command::Tell(Event::DialFailed(failure)));
        self.follow(now, retry_after, false, out);
    }

    pub(super) fn on_stable(&mut self) {
        self.pace.start_over();
        self.attempt = 0;
    }

    /// Does what the outcome table says of the last close.
    fn follow(&mut self, now: Instant, retry_after: Option<RetryAfter>, was_open: bool, out: &mut Commands) {
        let Some(last) = self.last_close.clone() else { return };
        let ended = pace::Ended { closed: &last.0, retry_after, was_open };
        match self.pace.after(&self.policy, now, ended, &mut self.chance) {
            (Next::Wait(reason), delay) => self.enter(now, State::Waiting, reason, Some(delay), out),
            (Next::Park(reason), delay) => self.enter(now, State::Parked, reason, Some(delay), out),
            (Next::StayClosed, _) => self.enter(now, State::Paused, Reason::StayClosed, None, out),
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
        self.timers.clear();
        if let Some(delay) = delay {
            self.timers.set(Timer::Retry, now.later(delay));
        }
        let to = state.phase();
        self.state = state;
        self.tell_phase(now, to, reason, delay, out);
    }

    fn tell_phase(&mut self, now: Instant, to: Phase, reason: Reason, delay: Option<Duration>, out: &mut Commands) {
        let from = std::mem::replace(&mut self.phase, to);
        self.reason = reason;
        let next_at = delay.map(|delay| now.later(delay));
        if from != to || next_at.is_some() {
            self.since = now;
            out.push(Command::Tell(Event::Phase { from, to, reason, next_at, delay }));
        }
    }

    pub(super) fn on_verb(&mut self, now: Instant, verb: Verb, out: &mut Commands) {
        self.pace.forget_row();
        match verb {
            Verb::Close(frame) => self.leave(now, frame, Cause::Operator, Then::Pause, out),
            Verb::Pause => {
                let normal = CloseFrame { code: NORMAL, reason: "".into() };
                self.leave(now, Some(normal), Cause::Operator, Then::Pause, out);
            }
            Verb::Reconnect => {
                let normal = CloseFrame { code: NORMAL, reason: "".into() };
                self.leave(now, Some(normal), Cause::Operator, Then::Redial(Reason::Operator), out);
            }
            Verb::Resume => match &mut self.state {
                State::Paused | State::Parked | State::Waiting => self.dial(now, Reason::Operator, out),
                State::Dialing { queued: Some(_) } => {
                    self.leave(now, None, Cause::Operator, Then::Redial(Reason::Operator), out);
                }
                // Closed a moment ago by `close` or `pause`, and meant to go on now.
                State::Closing(closing) if closing.ending.then == Then::Pause => {
                    closing.ending.then = Then::Redial(Reason::Operator);
                }
                State::Made | State::Dialing { queued: None } | State::Open(_) | State::Closing(_) | State::Stopped => {
                }
            },
            Verb::Rotate => self.on_renew(now, (Cause::Operator, Reason::Operator), out),
        }
    }

    /// A new connection is wanted. Where none is open or under way, the next one will be new anyway.
    pub(super) fn on_renew(&mut self, now: Instant, (cause, reason): (Cause, Reason), out: &mut Commands) {
        let urgent = reason == Reason::Operator;
        match &self.state {
            State::Open(_) if self.policy.rotates => self.rotate(now, urgent, out),
            State::Open(_) | State::Dialing { .. } | State::Parked => {
                let normal = CloseFrame { code: NORMAL, reason: "".into() };
                self.leave(now, Some(normal), cause, Then::Redial(reason), out);
            }
            // What is beside would follow, and what it was to follow may be old by now.
            State::Closing(_) if self.is_coming() => self.rotate(now, urgent, out),
            State::Made | State::Waiting | State::Closing(_) | State::Paused | State::Stopped => {}
        }
    }

    pub(super) fn on_stop(&mut self, now: Instant, within: Duration, fate: Fate, out: &mut Commands) {
        let away = CloseFrame { code: GOING_AWAY, reason: "".into() };
        self.leave(now, Some(away), why_stopped(fate).0, Then::Stop(fate), out);
        if let State::Closing(_) = self.state {
            let deadline = now.later(within.min(self.policy.close_timeout));
            let earlier = self.timers.get(Timer::Close).map_or(deadline, |at| at.min(deadline));
            self.timers.set(Timer::Close, earlier);
        }
    }

    /// Leaves whatever the link is at, for `then`; an open connection goes through the closing handshake first.
    fn leave(&mut self, now: Instant, frame: Option<CloseFrame>, cause: Cause, then: Then, out: &mut Commands) {
        self.dismiss(now, cause, out);
        match &mut self.state {
            State::Open(_) => self.begin_close(now, Ending { owed: Some(frame), cause, detail: "".into(), then }, out),
            State::Closing(closing) => {
                if !matches!(closing.ending.then, Then::Stop(_)) {
                    closing.ending.then = then;
                }
            }
            State::Dialing { .. } => {
                self.fail_attempt(now, cause, then, out);
                self.go_on(now, then, out);
            }
            State::Made | State::Waiting | State::Parked | State::Paused => self.go_on(now, then, out),
            State::Stopped => {}
        }
    }

    /// What is closed while CONNECTING is failed: CLOSING, an `error`, and a `close` with 1006 (WHATWG §3.1).
    fn fail_attempt(&mut self, now: Instant, cause: Cause, then: Then, out: &mut Commands) {
        let is_queued = matches!(self.state, State::Dialing { queued: Some(_) });
        let took = now.saturating_duration_since(self.since);
        let timings = Timings { total: if is_queued { Duration::ZERO } else { took }, ..Timings::default() };
        self.tell_phase(now, Phase::Closing, then.reason(), None, out);
        out.push(Command::Hangup(Lane::Current));
        let detail = "given up before it was open".into();
        let failure = DialFailure { cause, status: None, retry_after: None, detail, timings };
        self.last_close = Some(Arc::new((failure.closed(), now)));
        out.push(Command::Tell(Event::DialFailed(Box::new(failure))));
    }

    /// The transport is gone and nothing is under way: what comes next.
    fn go_on(&mut self, now: Instant, then: Then, out: &mut Commands) {
        match then {
            // What is beside was not dismissed, so it is wanted.
            Then::Outcome | Then::Redial(_) if self.adopt(now, out) => {}
            // That a new connection in readiness came to nothing is no reason for an attempt without a delay.
            Then::Outcome | Then::Redial(Reason::Rotate) => self.follow(now, None, true, out),
            Then::Redial(reason) => self.dial(now, reason, out),
            Then::Pause => self.enter(now, State::Paused, Reason::Operator, None, out),
            Then::Stop(fate) => {
                self.enter(now, State::Stopped, why_stopped(fate).1, None, out);
                self.cut_beside(out);
                let mut ended = Vec::new();
                let marked = self.outbox.clear(Rung::Dropped, fate, &mut ended);
                self.tell_receipts(ended, out);
                if !marked.is_empty() {
                    out.push(Command::Mark { ids: marked.into(), marked: false });
                }
                out.push(Command::Done);
            }
        }
    }

    /// Open → closing.
    pub(super) fn begin_close(&mut self, now: Instant, ending: Ending, out: &mut Commands) {
        let State::Open(open) = &self.state else { return };
        let Open { generation, since, established } = open;
        let open = Open { generation: *generation, since: *since, established: Arc::clone(established) };
        let reason = ending.then.reason();
        // A last ping before our Close: its pong tells what the peer has read, where the end would leave it unknown.
        self.owes_ping = ending.owed.is_some()
            && !ending.cause.is_failure()
            && self.policy.heartbeat.pings()
            && self.outbox.has_unproven();
        let closing = Closing { open, ending, sent: None, received: None };
        self.enter(now, State::Closing(Box::new(closing)), reason, None, out);
        self.timers.set(Timer::Close, now.later(self.policy.close_timeout));
    }

    /// The connection's transport is gone.
    pub(super) fn on_ended(&mut self, now: Instant, begun: usize, detail: Box<str>, out: &mut Commands) {
        if matches!(self.state, State::Open(_)) {
            let detail = if detail.is_empty() { "the peer ended TCP without a Close frame".into() } else { detail };
            self.begin_close(now, Ending { owed: None, cause: Cause::Reset, detail, then: Then::Outcome }, out);
        }
        let State::Closing(closing) = &self.state else { return };
        let (closed, then) = (closing.closed(), closing.ending.then);
        let code = closing.received.as_ref().map(|_| closed.code);
        let age = now.saturating_duration_since(closing.open.since);
        let event = Event::Closed { generation: self.generation, closed: Box::new(closed.clone()), age };
        out.push(Command::Tell(event));
        self.last_close = Some(Arc::new((closed, now)));
        self.pings.clear();
        self.unflushed_pings = 0;
        if then != Then::Outcome {
            self.pace.set_url(0);
        }
        let mut lost = Vec::new();
        let dead = self.outbox.lost(begun, code, &mut lost);
        self.tell_receipts(lost, out);
        if let Some(dead) = dead {
            // What the peer refused is out of its way.
            self.pace.forget_row();
            out.push(Command::Bury(dead));
        }
        // What comes back to the queue may have expired on its way.
        self.expire(now, out);
        self.go_on(now, then, out);
    }

    pub(super) fn on_policy(&mut self, now: Instant, policy: Arc<Policy>) {
        if self.policy.backoff != policy.backoff {
            self.pace.restart_backoff();
        }
        self.outbox.set_policy(Arc::clone(&policy.outbox));
        let is_watched_anew = self.policy.heartbeat != policy.heartbeat;
        self.policy = policy;
        if is_watched_anew && matches!(self.state, State::Open(_)) {
            self.stop_pinging();
            self.watch(now);
        }
    }
}

impl Then {
    /// Why the link closes, as long as it does.
    fn reason(self) -> Reason {
        match self {
            Self::Outcome => Reason::Underway,
            Self::Redial(reason) => reason,
            Self::Pause => Reason::Operator,
            Self::Stop(fate) => why_stopped(fate).1,
        }
    }
}

/// Who ends a link for good: a reload that has it no more, or the daemon's own end.
fn why_stopped(fate: Fate) -> (Cause, Reason) {
    match fate {
        Fate::Removed => (Cause::Reload, Reason::Reload),
        Fate::Shutdown
        | Fate::Evicted
        | Fate::Overflow
        | Fate::Down
        | Fate::Conflated
        | Fate::Ttl
        | Fate::LinkLost
        | Fate::Poison
        | Fate::Panicked
        | Fate::AckTimeout
        | Fate::Disk
        | Fate::Crash
        | Fate::Unproven => (Cause::Shutdown, Reason::Shutdown),
    }
}
