//! The machine: a plan that runs on one connection.
//!
//! Messages and time go in; messages to send, verdicts and deadlines come out. What it decides is a [`Verdict`], and the connection's to
//! carry out. After an [`Verdict::End`] it does nothing more.
//!
//! What a reader would get wrong: verdicts wait until they are asked for, and while one waits the machine is due at once. One message may
//! bring two: it was the last that `open` waited for, and a rule wants another connection.

mod errands;
mod keeping;
mod leaving;
mod opening;
mod run;
mod seen;
mod setting;
mod subscribing;
mod words;

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::Arc,
    time::{Duration, Instant},
};

use self::{keeping::Keeping, leaving::Leaving, opening::Opening, run::Pause};
pub use opening::{Dialled, Waits};
pub use subscribing::CANNOT_ASK;
pub use words::of_peer;

use super::{
    Ask, Do, Kept, Place, Plan, Rule, Send, Start, StepResult, Then,
    matcher::{Matcher, Message},
    render::Scene,
    subscriptions::Asked,
    trace::Trace,
    variables::Variables,
};
use crate::{chance::Chance, close::Cause, message::Payload, subscriptions::Wanted};

/// Steps that may run in one `open`, again after a `restart` included.
pub const STEPS_MAX: u32 = 64;
/// Messages of a session that may wait to leave.
pub const QUEUE_MAX: usize = 256;
/// Their bytes.
pub const QUEUE_BYTES_MAX: usize = 1 << 20;
/// What a session calls it that an answer to a timer did not come.
pub const KEEPALIVE: &str = "keepalive";
/// What an opening waits for that asks for keys.
pub const SUBSCRIBE: &str = "subscribe";
/// A variable makes no interval shorter than this.
pub const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Nor longer.
const INTERVAL_MAX: Duration = Duration::from_hours(24 * 366);

/// What the connection knows, for what is done now.
#[derive(Debug)]
pub struct Outside<'a> {
    /// The moment.
    pub now: Instant,
    /// The first delay before a `restart`.
    pub pace: Duration,
    /// For so long it must have been the current connection before a peer may have it replaced: else one that asks each time would make
    /// the link dial without end.
    pub stable: Duration,
    /// Of names and first moments.
    pub chance: &'a mut Chance,
    /// What the link is to ask for.
    pub wanted: Option<&'a Wanted>,
    /// The connection is beside the current one, which carries on until this one has all that it is to have.
    pub is_beside: bool,
}

/// What is to become of the connection.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// `open` is over.
    Ready {
        /// How long it took.
        took: Duration,
        /// Steps that ran.
        steps: u32,
    },
    /// What a timer waited for has come.
    Answered,
    /// Another connection is to take its place. Said of the current one only.
    Rotate,
    /// It is over.
    End(Box<Failure>),
}

/// Why a session ends its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the outcome table calls it.
    pub label: Box<str>,
    /// A sentence for people; holds no secret and no variable.
    pub detail: Box<str>,
    /// `Session`, or `Mute`.
    pub cause: Cause,
    /// The close code that was asked for.
    pub code: Option<u16>,
    /// The peer was not heard: as where a pong does not come.
    pub is_silence: bool,
    /// For how long a server that refused a call wants to be left alone.
    pub retry_after: Option<Duration>,
}

impl Failure {
    fn of(label: &str, detail: impl Into<Box<str>>) -> Self {
        Self {
            label: label.into(),
            detail: detail.into(),
            cause: Cause::Session,
            code: None,
            is_silence: false,
            retry_after: None,
        }
    }

    fn late(place: &str) -> Self {
        Self::of("timeout", format!("the call of {place} was not answered in time"))
    }
}

/// A session on one connection.
pub struct Session {
    start: Start,
    generation: u64,
    variables: Variables,
    /// One that the link keeps has changed.
    changed: bool,
    /// The peer has asked for another connection.
    wants_rotation: bool,
    seq: u64,
    stage: Stage,
    queue: VecDeque<Payload>,
    queued: usize,
    /// What is to be done outside, and how much has been so far.
    asks: VecDeque<Ask>,
    asked: u64,
    verdicts: VecDeque<Verdict>,
    /// Since when a verdict waits.
    due: Option<Instant>,
    /// What it has done.
    trace: Trace,
    began: Instant,
    was_ready: bool,
    /// When a message last arrived, and when one last left. Pings and pongs are none: the peer's application does not see them.
    heard: Instant,
    sent: Instant,
    /// What has been asked for, where the endpoint has subscriptions.
    asked_for: Option<Box<Asked>>,
    /// While it asks for what it is to have before it is ready.
    replays: Option<Replay>,
    /// It has failed by an answer that asks to be left alone for so long.
    retry_after: Option<Duration>,
}

/// It asks for what it is to have before it is ready.
#[derive(Debug)]
struct Replay {
    /// Since when it opens.
    began: Instant,
    /// How many steps that took.
    steps: u32,
    /// The connection that it is to take the place of asks for no more keys, and what that one has is known.
    is_handed_over: bool,
}

#[derive(Debug)]
enum Stage {
    Opening(Opening),
    Ready(Box<Keeping>),
    Leaving(Leaving),
    Ended,
}

impl Session {
    /// Whether `open` is over, and the connection not.
    pub fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready(_)) && self.replays.is_none()
    }

    /// A message arrived. Answers whether consumers are not to see it.
    pub fn handle(&mut self, payload: &Payload, outside: &mut Outside<'_>) -> bool {
        if matches!(self.stage, Stage::Ended) {
            return false;
        }
        self.heard = outside.now;
        let plan = Arc::clone(&self.start.plan);
        let message = Message::new(payload, plan.max_json);
        let mut hide = false;
        let handled = self.look(&plan, &message, &mut hide, outside);
        self.settle(outside.now, handled);
        hide
    }

    fn look(&mut self, plan: &Plan, message: &Message<'_>, hide: &mut bool, outside: &mut Outside<'_>) -> Step {
        if let Stage::Leaving(_) = self.stage {
            return self.look_for_leave(plan, message, outside);
        }
        self.look_for_open(plan, message, hide, outside)?;
        self.look_for_timers(plan, message, hide, outside)?;
        self.look_for_answers(plan, message, hide, outside)?;
        let is_met = |(_, rule): &(usize, &Rule)| self.is_met(&rule.matcher, message, outside.now);
        if let Some((place, rule)) = plan.on.candidates(message).find(is_met) {
            *hide |= rule.act.hide;
            let step = self.stand_aside(Place::On(place), "match", outside.now);
            let acted = self.apply(Some(&rule.matcher), &rule.act, message, outside);
            self.trace.stand_in(step);
            acted?;
            self.conclude(&rule.act.then, message, outside)?;
        }
        Ok(())
    }

    fn matching<'r>(&self, rules: &'r [Rule], message: &Message<'_>, now: Instant) -> Option<(usize, &'r Rule)> {
        rules.iter().enumerate().find(|(_, rule)| self.is_met(&rule.matcher, message, now))
    }

    fn is_met(&self, matcher: &Matcher, message: &Message<'_>, now: Instant) -> bool {
        matcher.is_met(message, &mut Scene::still(&self.start, &self.variables, self.generation, now))
    }

    /// Time passed: does what is due.
    pub fn handle_timeout(&mut self, outside: &mut Outside<'_>) {
        let plan = Arc::clone(&self.start.plan);
        let passed = match &self.stage {
            Stage::Opening(_) => self.on_opening_due(&plan, outside),
            Stage::Ready(_) => self.on_keeping_due(&plan, outside).and_then(|()| self.on_subscriptions_due(outside)),
            Stage::Leaving(_) => self.on_leaving_due(&plan, outside),
            Stage::Ended => Ok(()),
        };
        self.settle(outside.now, passed);
    }

    /// For how long whoever has refused it wants to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// When to call `handle_timeout`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let next = match &self.stage {
            Stage::Opening(opening) => Some(opening.due()),
            Stage::Ready(keeping) => {
                keeping.next(self.wants_rotation).into_iter().chain(self.subscriptions_due()).min()
            }
            Stage::Leaving(leaving) => Some(leaving.due()),
            Stage::Ended => None,
        };
        self.due.into_iter().chain(next).min()
    }

    /// What is to become of the connection, in order.
    pub fn poll_verdict(&mut self) -> Option<Verdict> {
        let verdict = self.verdicts.pop_front();
        if self.verdicts.is_empty() {
            self.due = None;
        }
        verdict
    }

    /// The next message to leave.
    pub fn poll_transmit(&mut self) -> Option<Payload> {
        let payload = self.queue.pop_front()?;
        self.queued = self.queued.saturating_sub(payload.len());
        Some(payload)
    }

    /// A message leaves that is not the session's.
    pub fn message_leaves(&mut self, now: Instant) {
        self.sent = now;
    }

    /// Whether a message waits to leave.
    pub fn has_messages(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Writes down what the link keeps, where that has changed, or in any case.
    pub fn remember(&mut self, kept: &mut Option<Box<Kept>>, anyway: bool) {
        let plan = &self.start.plan;
        if plan.keep.is_empty() || !(mem::take(&mut self.changed) || anyway) {
            return;
        }
        let kept = kept.get_or_insert_default();
        for var in &plan.keep {
            kept.put(plan.names.name(*var), self.variables.get(*var));
        }
    }

    /// What a match brings but for its verdict.
    fn apply(&mut self, matcher: Option<&Matcher>, act: &Do, message: &Message<'_>, outside: &mut Outside<'_>) -> Step {
        for (var, value) in matcher.into_iter().flat_map(|matcher| matcher.groups(message)) {
            self.set(var, value)?;
        }
        self.extract(&act.extract, message)?;
        self.set_all(&act.set, outside)?;
        act.forget.iter().for_each(|var| self.forget(*var));
        match &act.send {
            Some(send) => self.send(send, outside),
            None => Ok(()),
        }
    }

    fn conclude(&mut self, then: &Then, message: &Message<'_>, outside: &mut Outside<'_>) -> Step {
        match then {
            Then::GoOn => Ok(()),
            Then::Ready => self.be_open(outside),
            Then::Restart => {
                self.restart(outside);
                Ok(())
            }
            Then::Rotate => {
                self.wants_rotation = true;
                Ok(())
            }
            Then::Reconnect(code) => {
                let failure = Failure::of("reconnect", "the session asks for another connection");
                Err(Failure { code: *code, ..failure })
            }
            Then::Park => Err(Failure::of("park", format!("the peer said: {}", self.words(message)))),
            Then::Fail(label) => Err(Failure::of(label, format!("the peer said: {}", self.words(message)))),
        }
    }

    fn decide(&mut self, now: Instant, verdict: Verdict) {
        // Who asks for the same again before it was heard asks for one.
        if self.verdicts.back() != Some(&verdict) {
            self.verdicts.push_back(verdict);
        }
        self.due.get_or_insert(now);
    }

    fn settle(&mut self, now: Instant, step: Step) {
        let was_leaving = matches!(self.stage, Stage::Leaving(_));
        // An end is decided once, whatever is asked of the session behind it.
        if let Err(failure) = step
            && !matches!(self.stage, Stage::Ended)
        {
            self.stage = Stage::Ended;
            self.retry_after = failure.retry_after;
            self.drop_messages();
            self.trace.end(StepResult::Failed, now);
            // What ends anyway needs no other reason.
            if !was_leaving {
                self.decide(now, Verdict::End(Box::new(failure)));
            }
        }
    }

    fn drop_messages(&mut self) {
        (self.queue, self.queued, self.asks) = (VecDeque::new(), 0, VecDeque::new());
    }

    fn send(&mut self, send: &Send, outside: &mut Outside<'_>) -> Step {
        let made = self.scene(outside).message(send);
        let payload =
            made.map_err(|_| Failure::of("too_big", "a message that the session makes is too large to send"))?;
        self.give(payload, outside.now)
    }

    /// A message waits to leave.
    fn give(&mut self, payload: Payload, now: Instant) -> Step {
        self.queued = self.queued.saturating_add(payload.len());
        self.queue.push_back(payload);
        self.sent = now;
        if self.queue.len() > QUEUE_MAX || self.queued > QUEUE_BYTES_MAX {
            let detail = "the peer asks for more messages of the session than it takes";
            return Err(Failure::of("overflow", detail));
        }
        Ok(())
    }

    fn scene<'a>(&'a mut self, outside: &'a mut Outside<'_>) -> Scene<'a> {
        self.pass_over_names();
        Scene {
            start: &self.start,
            variables: &self.variables,
            generation: self.generation,
            now: outside.now,
            fresh: Some((&mut self.seq, outside.chance)),
            seq: None,
            uuid: None,
            keys: &[],
        }
    }
}

/// Done, or the end.
type Step = Result<(), Failure>;

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("start", &self.start).field("stage", &self.stage).finish_non_exhaustive()
    }
}
