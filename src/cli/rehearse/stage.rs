//! A link of the core with one connection, whoever stands in for its driver.
//!
//! What a reader would get wrong: steps are told when they are over, so one that waits is told of behind the message that ends it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::teller::Teller;
use crate::cli::Failure;
use wskeeper_core::{
    close::Closed,
    event::{Established, Event},
    link::{Command, Commands, ConnectionInput, Frame, Input, Lane, Link, Policy, Received},
    message::Payload,
    receipt::EndReason,
    session::{Ask, Brought, Plan, SUBSCRIBE, Session, Start, StepResult, Stepped, Waits},
    subscriptions::{Change, Reached, State, Wish},
};

/// Keys that are named of those that were not answered.
const SHOWN: usize = 5;

/// What became of it.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// It became ready, after so long and so many steps.
    pub(super) ready: Option<(Duration, usize)>,
    /// How the connection, or the attempt, ended.
    pub(super) ended: Option<Closed>,
    /// What else there is to say: it was cut short, or was not as it was to be.
    pub(super) trouble: Option<String>,
    /// Keys that the server has refused, or has not answered in time.
    pub(super) refused: Vec<Arc<str>>,
}

impl Verdict {
    /// It became ready, and nothing failed.
    pub(super) fn is_fine(&self) -> bool {
        let failed = self.ended.as_ref().is_some_and(|closed| closed.cause.is_failure());
        self.ready.is_some() && self.trouble.is_none() && self.refused.is_empty() && !failed
    }
}

/// The link, and who is told.
pub(super) struct Stage<'a, 'o> {
    link: Link,
    pub(super) teller: &'a mut Teller<'o>,
    pub(super) plan: Arc<Plan>,
    pub(super) verdict: Verdict,
    /// When it became ready, or the last of its keys was answered after that.
    ready_at: Option<Instant>,
    /// The keys that it asks for, by their places, and what became of each.
    keys: Vec<(Arc<str>, State)>,
    /// The steps that have been told, by their place in what is noted.
    told: Vec<bool>,
    /// The transport is to be dropped.
    pub(super) hangs_up: bool,
    done: bool,
}

/// Whether a step that is under way has what it waits for.
fn is_met(step: &Stepped) -> bool {
    step.result == StepResult::Underway && step.alternative.is_some()
}

impl<'a, 'o> Stage<'a, 'o> {
    /// An open connection, whose session begins.
    pub(super) fn open(
        policy: &Arc<Policy>,
        (mut start, established): (Box<Start>, Box<Established>),
        keys: &[Arc<str>],
        (seed, now): (u64, Instant),
        teller: &'a mut Teller<'o>,
    ) -> Result<Self, Failure> {
        start.is_watched = true;
        let plan = Arc::clone(&start.plan);
        // What `dial` did has been told.
        let told = start.dialled.iter().flat_map(|dialled| dialled.steps()).map(|_| true).collect();
        let mut stage = Self {
            link: Link::new(Arc::clone(policy), seed, now),
            teller,
            plan,
            verdict: Verdict::default(),
            ready_at: None,
            keys: keys.iter().map(|key| (Arc::clone(key), State::Pending)).collect(),
            told,
            hangs_up: false,
            done: false,
        };
        let wish =
            |(place, key): (u64, &Arc<str>)| Change::Add(Wish { place, key: Arc::clone(key), add: None, remove: None });
        stage.input(now, Input::Subscriptions((0..).zip(keys).map(wish).collect()))?;
        stage.input(now, Input::Start)?;
        stage.feed(now, ConnectionInput::Session(start))?;
        stage.feed(now, ConnectionInput::Dialled(established))?;
        Ok(stage)
    }

    /// Something happened to the connection.
    pub(super) fn feed(&mut self, now: Instant, input: ConnectionInput) -> Result<(), Failure> {
        self.input(now, Input::Connection(Lane::Current, input))
    }

    /// A message arrived.
    pub(super) fn hear(&mut self, now: Instant, payload: &Payload) -> Result<(), Failure> {
        let before = self.told.len();
        self.teller.message(now, payload, true, self.link.session())?;
        self.feed(now, ConnectionInput::Heard)?;
        self.feed(now, ConnectionInput::Received(Received::Messages(payload.into())))?;
        let waits = self.link.session_waits().filter(|waits| waits.act == "expect");
        // It has what it waited for, and `open` begins again after a delay.
        let restarts = |session: &Session| session.steps().iter().any(is_met);
        let waits = waits.filter(|_| !self.link.session().is_some_and(restarts));
        match waits {
            Some(waits) if self.told.len() == before && !self.is_over() => {
                self.teller.unmatched(now, &self.plan, waits.place.at())
            }
            Some(_) | None => Ok(()),
        }
    }

    fn input(&mut self, now: Instant, input: Input) -> Result<(), Failure> {
        let commands = self.link.handle(now, input);
        self.follow(now, commands)?;
        self.pass(now)
    }

    /// Does what is due.
    pub(super) fn pass(&mut self, now: Instant) -> Result<(), Failure> {
        while !self.is_over() && self.due().is_some_and(|at| at <= now) {
            let commands = self.link.handle_timeout(now);
            self.follow(now, commands)?;
        }
        Ok(())
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.link.poll_timeout().map(|(at, _)| at)
    }

    /// The next frame to leave.
    pub(super) fn next_frame(&mut self, now: Instant) -> Result<Option<Frame>, Failure> {
        let frame = self.link.poll_transmit(now, Lane::Current);
        if let Some(Frame::Session(payload)) = &frame {
            self.teller.message(now, payload, false, self.link.session())?;
        }
        Ok(frame)
    }

    /// What the session asks for outside of its connection.
    pub(super) fn next_ask(&mut self) -> Option<Ask> {
        self.link.poll_ask(Lane::Current)
    }

    /// An HTTP call was answered, or was not.
    pub(super) fn answer(&mut self, now: Instant, id: u64, done: Result<Brought, Box<str>>) -> Result<(), Failure> {
        self.teller.answered(now, &done, self.link.session())?;
        self.feed(now, ConnectionInput::Errand { id, done })
    }

    /// The connection has ended.
    pub(super) fn is_over(&self) -> bool {
        self.verdict.ended.is_some() || self.done
    }

    /// It is to be closed in order.
    pub(super) fn stop(&mut self, now: Instant, within: Duration) -> Result<(), Failure> {
        self.teller.stop_recording();
        self.input(now, Input::Stop(within, EndReason::Shutdown))
    }

    /// Where it waits, and what for.
    pub(super) fn waiting(&self, waits_word: &str) -> Option<String> {
        let unanswered: Vec<&str> = self.unanswered().take(SHOWN).collect();
        match self.link.session_waits() {
            Some(Waits { place, act, .. }) if act != SUBSCRIBE => {
                let wanted = Teller::wanted(&self.plan, place.at());
                let what = if wanted.is_empty() { String::new() } else { format!(" for {}", wanted.join(" | ")) };
                Some(format!("{place} ({act}) {waits_word}{what}"))
            }
            Some(_) | None if unanswered.is_empty() => None,
            Some(_) | None => Some(format!(
                "no answer about {} of {} keys: {}",
                self.unanswered().count(),
                self.keys.len(),
                unanswered.join(", ")
            )),
        }
    }

    fn unanswered(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().filter(|(_, state)| *state == State::Pending).map(|(key, _)| &**key)
    }

    /// Since when it is ready and all of its keys are answered.
    pub(super) fn done_at(&self) -> Option<Instant> {
        self.ready_at.filter(|_| self.unanswered().next().is_none())
    }

    /// What became of keys.
    fn follow_keys(&mut self, now: Instant, reached: Vec<Reached>) -> Result<(), Failure> {
        for Reached { place, state, why } in reached {
            let Some((key, before)) = usize::try_from(place).ok().and_then(|at| self.keys.get_mut(at)) else {
                continue;
            };
            if *before == state || self.done || state == State::Pending {
                continue;
            }
            *before = state;
            if self.ready_at.is_some() {
                self.ready_at = Some(now);
            }
            let key = Arc::clone(key);
            self.verdict.refused.retain(|refused| *refused != key);
            if state == State::Refused {
                self.verdict.refused.push(Arc::clone(&key));
            }
            let confirms = self.plan.subscriptions.as_ref().is_some_and(|plan| !plan.confirm.is_empty());
            self.teller.subscription(now, (&key, state, why.as_deref()), confirms, self.link.session())?;
        }
        Ok(())
    }

    pub(super) fn session(&self) -> Option<&Session> {
        self.link.session()
    }

    fn follow(&mut self, now: Instant, commands: Commands) -> Result<(), Failure> {
        self.tell_noted(now)?;
        for command in commands {
            match command {
                Command::Tell(Event::SessionReady { opening, .. }) => {
                    self.tell_steps(now, &opening.steps)?;
                    self.told.clear();
                    self.teller.ready(now, opening.took, opening.ran())?;
                    self.verdict.ready = Some((opening.took, opening.ran()));
                    self.ready_at = Some(now);
                }
                Command::Tell(Event::SessionFailed { opening, .. }) => {
                    self.tell_steps(now, &opening.steps)?;
                    self.told.clear();
                }
                Command::Tell(Event::Closed { closed, .. }) => self.verdict.ended = Some(Arc::unwrap_or_clone(closed)),
                Command::Tell(Event::DialFailed(failure)) => self.verdict.ended = Some(failure.closed()),
                Command::Tell(Event::Keepalive { answered }) => self.teller.keepalive(now, answered)?,
                Command::Hangup(_) | Command::GiveUp(_) => self.hangs_up = true,
                Command::Done => self.done = true,
                Command::Subscribed(reached) => self.follow_keys(now, reached)?,
                Command::Tell(_)
                | Command::Dial { .. }
                | Command::Switch
                | Command::Deliver { .. }
                | Command::Settle { .. }
                | Command::Keep(_)
                | Command::Mark { .. }
                | Command::Reply(_)
                | Command::Bury(_) => {}
            }
        }
        Ok(())
    }

    fn tell_noted(&mut self, now: Instant) -> Result<(), Failure> {
        let steps = self.link.session().map(|session| session.steps().to_vec()).unwrap_or_default();
        self.tell_steps(now, &steps)
    }

    fn tell_steps(&mut self, now: Instant, steps: &[Stepped]) -> Result<(), Failure> {
        for (at, step) in steps.iter().enumerate() {
            if step.result == StepResult::Underway || self.told.get(at) == Some(&true) {
                continue;
            }
            if self.told.len() <= at {
                self.told.resize(at.saturating_add(1), false);
            }
            self.told[at] = true;
            let now = step.began.checked_add(step.took).unwrap_or(now);
            self.teller.step(now, step, &self.plan, self.link.session())?;
        }
        Ok(())
    }
}
