//! The steps before `ready`: those of `dial`, before there is a connection, and those of `open`, on it.
//!
//! The two run in the same way, each by a machine of its own, for what dials and the connection are two things: what `dial` brings is handed
//! over as [`Dialled`]. What a reader would get wrong: a link may keep a variable that `dial` has set or let go of. It is written down by the
//! connection, so an attempt that fails leaves no trace.

use std::{
    collections::VecDeque,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Failure, Outside, Pause, Replay, SUBSCRIBE, Session, Stage, Step, Verdict, run::Run};
use crate::{
    clock::Clock,
    session::{
        Kept, Place, Plan, Start, StepResult, Stepped, Then, Value, Var, json, matcher::Message, plan, trace::Trace,
        variables::Variables,
    },
};

/// Where an opening waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// The step.
    pub place: Place,
    /// How many there are in its list.
    pub of: u16,
    /// What it does.
    pub act: &'static str,
}

/// What the steps of `dial` have brought.
#[derive(Clone, Default)]
pub struct Dialled {
    /// Variables that are others than those that the link keeps; `None`: let go of.
    set: Vec<(Var, Option<Value>)>,
    /// What was done.
    steps: Vec<Stepped>,
}

/// Variables may hold secrets.
impl fmt::Debug for Dialled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} variables", self.set.len())
    }
}

impl Dialled {
    /// What was done.
    pub fn steps(&self) -> &[Stepped] {
        &self.steps
    }

    /// Whether it has set a variable.
    pub fn has_set(&self) -> bool {
        self.set.iter().any(|(_, value)| value.is_some())
    }
}

impl Start {
    /// A variable of this name in a text, as `dial` has left it, else as the link keeps it.
    pub fn variable(&self, name: &str, kept: Option<&Kept>) -> Option<String> {
        let var = self.plan.names.find(name);
        let set = self.dialled.iter().flat_map(|dialled| &dialled.set).find(|(set, _)| Some(*set) == var);
        match set {
            Some((_, value)) => value.as_ref().map(|value| json::text(value).into_owned()),
            None => kept?.text(name),
        }
    }
}

/// Whose steps they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Dial,
    Open,
}

impl Whose {
    pub(super) fn steps(self, plan: &Plan) -> &[plan::Step] {
        match self {
            Self::Dial => &plan.dial,
            Self::Open => &plan.open,
        }
    }

    pub(super) const fn place(self, at: usize) -> Place {
        match self {
            Self::Dial => Place::Dial(at),
            Self::Open => Place::Open(at),
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Dial => "dial",
            Self::Open => "open",
        }
    }
}

#[derive(Debug)]
pub(super) struct Opening {
    pub(super) whose: Whose,
    pub(super) run: Run,
    pub(super) began: Instant,
    /// All must be over within this.
    within: Duration,
    pub(super) steps: u32,
    restarts: u32,
}

impl Opening {
    fn until(&self) -> Instant {
        self.began.later(self.within)
    }

    pub(super) fn due(&self) -> Instant {
        self.run.pause.until().map_or(self.until(), |at| at.min(self.until()))
    }
}

impl Session {
    /// Begins on a connection of this number, and runs up to the first step that waits.
    pub fn begin(mut start: Start, generation: u64, kept: Option<&Kept>, outside: &mut Outside<'_>) -> Self {
        let (dialled, within) = (start.dialled.take(), start.plan.timeout);
        let mut session = Self::made(start, generation, (Whose::Open, within), outside.now);
        let begun = session
            .recall(kept)
            .and_then(|()| dialled.map_or(Ok(()), |dialled| session.follow_dial(*dialled)))
            .and_then(|()| session.advance_open(outside));
        session.settle(outside.now, begun);
        session
    }

    /// Begins with what is done before there is a connection, within this time.
    pub fn dial(start: Start, kept: Option<&Kept>, within: Duration, outside: &mut Outside<'_>) -> Self {
        let mut session = Self::made(start, 0, (Whose::Dial, within), outside.now);
        let begun = session.recall(kept).and_then(|()| session.advance_open(outside));
        session.settle(outside.now, begun);
        session
    }

    /// What `dial` has brought goes to the connection that is made with it.
    pub fn into_start(mut self, kept: Option<&Kept>) -> Start {
        let plan = Arc::clone(&self.start.plan);
        let recalled =
            |var: Var| if plan.keeps(var) { kept.and_then(|kept| kept.get(plan.names.name(var))) } else { None };
        let vars = plan.names.iter().filter_map(|name| plan.names.find(name));
        let changed = vars.filter(|var| self.variables.get(*var) != recalled(*var));
        let set = changed.map(|var| (var, self.variables.get(var).cloned())).collect();
        self.start.dialled = Some(Box::new(Dialled { set, steps: self.trace.take() }));
        self.start
    }

    fn made(start: Start, generation: u64, (whose, within): (Whose, Duration), now: Instant) -> Self {
        let opening = Opening { whose, run: Run::default(), began: now, within, steps: 0, restarts: 0 };
        let asked_for = start.plan.subscriptions.is_some().then(Box::default);
        Self {
            variables: Variables::new(&start.plan.names),
            start,
            generation,
            changed: false,
            wants_rotation: false,
            seq: 0,
            stage: Stage::Opening(opening),
            queue: VecDeque::new(),
            queued: 0,
            asks: VecDeque::new(),
            asked: 0,
            verdicts: VecDeque::new(),
            due: None,
            trace: Trace::default(),
            began: now,
            was_ready: false,
            heard: now,
            sent: now,
            asked_for,
            replays: None,
            retry_after: None,
        }
    }

    fn recall(&mut self, kept: Option<&Kept>) -> Step {
        let plan = Arc::clone(&self.start.plan);
        for var in &plan.keep {
            if let Some(value) = kept.and_then(|kept| kept.get(plan.names.name(*var))) {
                self.set(*var, value.clone())?;
            }
        }
        Ok(())
    }

    fn follow_dial(&mut self, dialled: Dialled) -> Step {
        for (var, value) in dialled.set {
            match value {
                Some(value) => self.set(var, value)?,
                None => self.forget(var),
            }
        }
        self.trace = Trace::of(dialled.steps);
        Ok(())
    }

    /// Where the opening waits.
    pub fn waits(&self) -> Option<Waits> {
        let short = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        if let (Some(_), Some(asked)) = (&self.replays, &self.asked_for) {
            let (so_far, all) = asked.progress();
            return Some(Waits { place: Place::Open(so_far), of: short(all), act: SUBSCRIBE });
        }
        let Stage::Opening(opening) = &self.stage else { return None };
        let (at, steps) = (opening.run.at, opening.whose.steps(&self.start.plan));
        let act = steps.get(at).map_or("", |step| step.act.as_str());
        Some(Waits { place: opening.whose.place(at), of: short(steps.len()), act })
    }

    /// Runs the steps up to the next one that waits, or to their end.
    pub(super) fn advance_open(&mut self, outside: &mut Outside<'_>) -> Step {
        let Stage::Opening(opening) = &mut self.stage else { return Ok(()) };
        let (whose, mut run) = (opening.whose, std::mem::take(&mut opening.run));
        let left = super::STEPS_MAX.saturating_sub(opening.steps);
        let plan = Arc::clone(&self.start.plan);
        let steps = whose.steps(&plan);
        let ran = self.advance(&mut run, (steps, |at| whose.place(at)), left, outside);
        let is_over = run.at >= steps.len();
        if let Stage::Opening(opening) = &mut self.stage {
            opening.run = run;
            opening.steps = opening.steps.saturating_add(*ran.as_ref().unwrap_or(&0));
        }
        ran?;
        if is_over { self.be_open(outside) } else { Ok(()) }
    }

    /// What `open` waits for may have come.
    pub(super) fn look_for_open(
        &mut self,
        plan: &Plan,
        message: &Message<'_>,
        hide: &mut bool,
        outside: &mut Outside<'_>,
    ) -> Step {
        let Stage::Opening(opening) = &self.stage else { return Ok(()) };
        let alternatives = opening.run.alternatives(opening.whose.steps(plan));
        let Some((place, rule)) = self.matching(alternatives, message, outside.now) else { return Ok(()) };
        self.trace.matched(place);
        *hide |= rule.act.hide;
        if !matches!(rule.act.then, Then::Fail(_)) {
            self.apply(Some(&rule.matcher), &rule.act, message, outside)?;
        }
        self.conclude(&rule.act.then, message, outside)?;
        if let (Stage::Opening(opening), Then::GoOn | Then::Rotate) = (&mut self.stage, &rule.act.then) {
            opening.run.step_done();
            self.advance_open(outside)?;
        }
        Ok(())
    }

    pub(super) fn on_opening_due(&mut self, plan: &Plan, outside: &mut Outside<'_>) -> Step {
        let Stage::Opening(opening) = &mut self.stage else { return Ok(()) };
        let (now, at, whose) = (outside.now, opening.run.at, opening.whose);
        if opening.until() <= now {
            let act = whose.steps(plan).get(at).map_or("", |step| step.act.as_str());
            let (place, name, within) = (whose.place(at), whose.as_str(), opening.within);
            let detail = format!("{name} took longer than {within:?}, and had come to {place} ({act})");
            return Err(Failure::of("timeout", detail));
        }
        match opening.run.pause {
            Pause::Expect(until) if until <= now => {
                Err(Failure::of("timeout", format!("what {} waits for did not come in time", whose.place(at))))
            }
            Pause::Wait(until) if until <= now => {
                opening.run.step_done();
                self.advance_open(outside)
            }
            Pause::Restart(until) if until <= now => {
                opening.run = Run::default();
                self.advance_open(outside)
            }
            Pause::Errand(_, until) if until <= now => Err(Failure::late(&whose.place(at).to_string())),
            Pause::None | Pause::Expect(_) | Pause::Wait(_) | Pause::Restart(_) | Pause::Errand(..) => Ok(()),
        }
    }

    /// The steps begin again, later and later.
    pub(super) fn restart(&mut self, outside: &Outside<'_>) {
        let Stage::Opening(opening) = &mut self.stage else { return };
        let delay = outside.pace.saturating_mul(1 << opening.restarts.min(16));
        opening.restarts = opening.restarts.saturating_add(1);
        opening.run.pause = Pause::Restart(outside.now.later(delay));
    }

    /// The steps are done.
    pub(super) fn be_open(&mut self, outside: &mut Outside<'_>) -> Step {
        let Stage::Opening(opening) = &self.stage else { return Ok(()) };
        let (whose, replay) = (opening.whose, (opening.began, opening.steps));
        self.stage = Stage::Ready(Box::default());
        if whose == Whose::Open && self.begins_to_subscribe(outside)? {
            let (began, steps) = replay;
            self.replays = Some(Replay { began, steps, is_handed_over: false });
            return self.subscribe(outside);
        }
        self.be_ready(replay, outside.now);
        Ok(())
    }

    pub(super) fn be_ready(&mut self, (began, steps): (Instant, u32), now: Instant) {
        self.was_ready = true;
        self.trace.end(StepResult::Done, now);
        self.decide(now, Verdict::Ready { took: now.saturating_duration_since(began), steps });
    }
}
