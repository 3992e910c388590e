//! What a session does by itself on the current connection: timers, and what must be heard.
//!
//! What a reader would get wrong: a session that is ready and not on the current connection has no timers here. They are armed when it
//! becomes the current one, or when it begins to ask for keys, which may take long; and dropped when it is the current one no more.

use std::time::{Duration, Instant};

use super::{
    Failure, INTERVAL_MAX, INTERVAL_MIN, KEEPALIVE, Message, Outside, STEPS_MAX, Session, Stage, Step, Verdict,
    run::{Pause, Run},
};
use crate::{
    clock::Clock,
    close::Cause,
    heartbeat::WhenIdle,
    session::{Every, First, Interval, Place, Plan, Then, Value},
};

/// How soon a timer that is due looks again whether it may ask.
const TURN: Duration = Duration::from_millis(50);

/// Timers that run.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    timers: Vec<Timer>,
    mute: Option<Muteness>,
    /// When it may be replaced, where the peer asks for that.
    stable_at: Option<Instant>,
    /// A timer is due, and waits for requests to be answered.
    is_held: bool,
    /// As many requests wait for a reply as may at once.
    is_busy: bool,
    /// They run already.
    is_armed: bool,
}

#[derive(Debug)]
struct Timer {
    due: Instant,
    /// Its steps, while they run.
    run: Option<Run>,
}

#[derive(Debug)]
struct Muteness {
    due: Instant,
    has_probed: bool,
}

impl Keeping {
    /// The timer whose steps wait for what is done outside under this number.
    pub(super) fn waits_for(&self, id: u64) -> Option<usize> {
        self.timers.iter().position(|timer| timer.run.as_ref().is_some_and(|run| run.is_out(id)))
    }

    pub(super) fn run(&mut self, place: usize) -> Option<&mut Run> {
        self.timers.get_mut(place)?.run.as_mut()
    }

    pub(super) fn next(&self, wants_rotation: bool) -> Option<Instant> {
        let timers = self.timers.iter().map(|timer| match &timer.run {
            Some(run) => run.pause.until().unwrap_or(timer.due),
            None => timer.due,
        });
        let rotation = self.stable_at.filter(|_| wants_rotation);
        timers.chain(self.mute.iter().map(|mute| mute.due)).chain(rotation).min()
    }
}

impl Session {
    /// It is on the current connection from now on.
    pub fn take_over(&mut self, outside: &mut Outside<'_>) {
        let plan = std::sync::Arc::clone(&self.start.plan);
        (self.heard, self.sent) = (outside.now, outside.now);
        let stable_at = Some(outside.now.later(outside.stable));
        if let Stage::Ready(keeping) = &mut self.stage
            && keeping.is_armed
        {
            keeping.stable_at = stable_at;
            return;
        }
        let armed = self.arm(&plan, outside).map(|keeping| Keeping { stable_at, ..keeping });
        match (armed, &mut self.stage) {
            (Ok(armed), Stage::Ready(keeping)) => **keeping = armed,
            (Ok(_), Stage::Opening(_) | Stage::Leaving(_) | Stage::Ended) => {}
            (Err(failure), _) => self.settle(outside.now, Err(failure)),
        }
    }

    /// Timers that wait for an answer.
    pub(crate) fn asks(&self) -> usize {
        let Stage::Ready(keeping) = &self.stage else { return 0 };
        keeping
            .timers
            .iter()
            .filter(|timer| timer.run.as_ref().is_some_and(|run| matches!(run.pause, Pause::Expect(_))))
            .count()
    }

    /// Whether a timer is to ask before any request does.
    pub(crate) fn waits_for_turn(&self) -> bool {
        matches!(&self.stage, Stage::Ready(keeping) if keeping.is_held)
    }

    /// Whether as many requests wait for a reply as may at once.
    pub(crate) fn set_busy(&mut self, is_busy: bool) {
        if let Stage::Ready(keeping) = &mut self.stage {
            keeping.is_busy = is_busy;
        }
    }

    /// The next number of the connection, for a request.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.pass_over_names();
        self.seq = self.seq.saturating_add(1);
        self.seq
    }

    /// It is so no more.
    pub fn step_aside(&mut self) {
        if let Stage::Ready(keeping) = &mut self.stage {
            **keeping = Keeping::default();
        }
    }

    /// Timers run from now on, though the connection is not ready.
    pub(super) fn arm_early(&mut self, outside: &mut Outside<'_>) -> Step {
        let plan = std::sync::Arc::clone(&self.start.plan);
        let armed = self.arm(&plan, outside)?;
        if let Stage::Ready(keeping) = &mut self.stage {
            **keeping = armed;
        }
        Ok(())
    }

    fn arm(&self, plan: &Plan, outside: &mut Outside<'_>) -> Result<Keeping, Failure> {
        let mut keeping = Keeping { is_armed: true, ..Keeping::default() };
        for (place, every) in plan.every.iter().enumerate() {
            let interval = self.interval(&every.every, || format!("every[{place}]"))?;
            let first = match every.first {
                First::After => interval,
                First::Now => Duration::ZERO,
                First::Random => outside.chance.between(Duration::ZERO, interval),
            };
            keeping.timers.push(Timer { due: outside.now.later(first), run: None });
        }
        if let Some(mute) = &plan.mute {
            let after = self.interval(&mute.after, || "mute".into())?;
            keeping.mute = Some(Muteness { due: outside.now.later(after), has_probed: false });
        }
        Ok(keeping)
    }

    /// How long an interval is now. A peer's number is taken for no less than it may be.
    fn interval(&self, interval: &Interval, place: impl Fn() -> String) -> Result<Duration, Failure> {
        let (var, unit) = match interval {
            Interval::Fixed(span) => return Ok(*span),
            Interval::Var(var, unit) => (*var, *unit),
        };
        let number = self.variables.get(var).and_then(|value| match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        });
        let number = number.filter(|number: &f64| number.is_finite() && *number > 0.0).ok_or_else(|| {
            let name = self.start.plan.names.name(var);
            Failure::of(
                "value",
                format!("{} has no interval: the variable {name} is not set, or is no number above 0", place()),
            )
        })?;
        let span = Duration::try_from_secs_f64(unit.as_secs_f64() * number).unwrap_or(INTERVAL_MAX);
        Ok(span.clamp(INTERVAL_MIN, INTERVAL_MAX))
    }

    pub(super) fn on_keeping_due(&mut self, plan: &Plan, outside: &mut Outside<'_>) -> Step {
        if let Stage::Ready(keeping) = &self.stage
            && self.wants_rotation
            && keeping.stable_at.is_some_and(|at| at <= outside.now)
        {
            self.wants_rotation = false;
            self.decide(outside.now, Verdict::Rotate);
        }
        for (place, every) in plan.every.iter().enumerate() {
            self.on_timer_due(place, every, outside)?;
        }
        self.on_mute_due(plan, outside)
    }

    fn timer(&mut self, place: usize) -> Option<&mut Timer> {
        match &mut self.stage {
            Stage::Ready(keeping) => keeping.timers.get_mut(place),
            Stage::Opening(_) | Stage::Leaving(_) | Stage::Ended => None,
        }
    }

    fn on_timer_due(&mut self, place: usize, every: &Every, outside: &mut Outside<'_>) -> Step {
        let now = outside.now;
        let Some(timer) = self.timer(place) else { return Ok(()) };
        match &mut timer.run {
            Some(run) => match run.pause {
                Pause::Expect(until) if until <= now => {
                    let detail = format!("what every[{place}] waits for did not come in time");
                    return Err(Failure { is_silence: true, ..Failure::of(KEEPALIVE, detail) });
                }
                Pause::Wait(until) if until <= now => {
                    run.step_done();
                    return self.go_on(place, every, outside);
                }
                Pause::Errand(_, until) if until <= now => return Err(Failure::late(&format!("every[{place}]"))),
                Pause::None | Pause::Expect(_) | Pause::Wait(_) | Pause::Restart(_) | Pause::Errand(..) => {
                    return Ok(());
                }
            },
            None if timer.due > now => return Ok(()),
            None => {}
        }
        let interval = self.interval(&every.every, || format!("every[{place}]"))?;
        let quiet_since = match every.when_idle {
            None => None,
            Some(WhenIdle::In) => Some(self.heard),
            Some(WhenIdle::Out) => Some(self.sent),
            Some(WhenIdle::Both) => Some(self.heard.min(self.sent)),
        };
        let idle_at = quiet_since.map(|since| since.later(interval)).filter(|at| *at > now);
        let is_held = every.asks() && matches!(&self.stage, Stage::Ready(keeping) if keeping.is_busy);
        let Some(timer) = self.timer(place) else { return Ok(()) };
        if let Some(at) = idle_at {
            timer.due = at;
            return Ok(());
        }
        timer.due = now.later(if is_held { TURN } else { interval });
        if !is_held {
            timer.run = Some(Run::default());
        }
        if let Stage::Ready(keeping) = &mut self.stage {
            keeping.is_held = is_held;
        }
        if is_held {
            return Ok(());
        }
        self.go_on(place, every, outside)
    }

    /// Runs a timer's steps up to the next one that waits, or to their end.
    pub(super) fn go_on(&mut self, place: usize, every: &Every, outside: &mut Outside<'_>) -> Step {
        let Some(mut run) = self.timer(place).and_then(|timer| timer.run.take()) else { return Ok(()) };
        self.advance(&mut run, (&every.steps, |_| Place::Every(place)), STEPS_MAX, outside)?;
        if run.at < every.steps.len()
            && let Some(timer) = self.timer(place)
        {
            timer.run = Some(run);
            return Ok(());
        }
        // While its steps ran it was not due.
        if let Some(timer) = self.timer(place) {
            timer.due = timer.due.max(outside.now.later(INTERVAL_MIN));
        }
        Ok(())
    }

    /// What timers wait for may have come, and what must be heard.
    pub(super) fn look_for_timers(
        &mut self,
        plan: &Plan,
        message: &Message<'_>,
        hide: &mut bool,
        outside: &mut Outside<'_>,
    ) -> Step {
        for (place, every) in plan.every.iter().enumerate() {
            let Some(Timer { run: Some(run), .. }) = self.timer(place) else { continue };
            let alternatives = run.alternatives(&every.steps);
            let Some((alternative, rule)) = self.matching(alternatives, message, outside.now) else { continue };
            *hide |= rule.act.hide;
            let step = self.stand_aside(Place::Every(place), "match", outside.now);
            self.trace.matched(alternative);
            let acted = self.apply(Some(&rule.matcher), &rule.act, message, outside);
            self.trace.stand_in(step);
            acted?;
            self.conclude(&rule.act.then, message, outside)?;
            if matches!(rule.act.then, Then::GoOn) {
                self.decide(outside.now, Verdict::Answered);
            }
            if let Some(Timer { run: Some(run), .. }) = self.timer(place) {
                run.step_done();
            }
            self.go_on(place, every, outside)?;
        }
        let Some(mute) = &plan.mute else { return Ok(()) };
        if matches!(&self.stage, Stage::Ready(keeping) if keeping.mute.is_some())
            && self.is_met(&mute.matcher, message, outside.now)
        {
            let after = self.interval(&mute.after, || "mute".into())?;
            if let Stage::Ready(keeping) = &mut self.stage {
                keeping.mute = Some(Muteness { due: outside.now.later(after), has_probed: false });
            }
        }
        Ok(())
    }

    fn on_mute_due(&mut self, plan: &Plan, outside: &mut Outside<'_>) -> Step {
        let (Stage::Ready(keeping), Some(mute)) = (&self.stage, &plan.mute) else { return Ok(()) };
        let Some(state) = keeping.mute.as_ref().filter(|state| state.due <= outside.now) else { return Ok(()) };
        let Some(probe) = mute.probe.as_ref().filter(|_| !state.has_probed) else {
            let detail = "nothing came for too long that `mute` looks for";
            return Err(Failure { cause: Cause::Mute, is_silence: true, ..Failure::of("mute", detail) });
        };
        let after = self.interval(&mute.after, || "mute".into())?;
        if let Stage::Ready(keeping) = &mut self.stage {
            keeping.mute = Some(Muteness { due: outside.now.later(after), has_probed: true });
        }
        self.send(probe, outside)
    }
}
