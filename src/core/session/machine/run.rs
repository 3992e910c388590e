//! Steps that run one after the other: those of `dial` and `open`, of a timer and of `leave`.
//!
//! What a reader would get wrong: a run that waits stands at the step that waits; `step_done` is said by whoever saw that the wait is over.

use std::time::Instant;

use super::{Failure, Outside, STEPS_MAX, Session};
use crate::{
    clock::Clock,
    session::{Act, Place, Rule, plan},
};

/// How far it has come.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// The step that is next, or that waits.
    pub(super) at: usize,
    /// How many of the values that it needs are made.
    pub(super) made: usize,
    pub(super) pause: Pause,
}

/// What it waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Pause {
    #[default]
    None,
    /// A message, until then.
    Expect(Instant),
    /// That moment.
    Wait(Instant),
    /// That moment, to begin again.
    Restart(Instant),
    /// What is done outside under this number, until then.
    Errand(u64, Instant),
}

impl Pause {
    pub(super) fn until(self) -> Option<Instant> {
        match self {
            Self::None => None,
            Self::Expect(at) | Self::Wait(at) | Self::Restart(at) | Self::Errand(_, at) => Some(at),
        }
    }
}

impl Run {
    /// What it waits for, where that is a message.
    pub(super) fn alternatives<'s>(&self, steps: &'s [plan::Step]) -> &'s [Rule] {
        match (self.pause, steps.get(self.at).map(|step| &step.act)) {
            (Pause::Expect(_), Some(Act::Expect { alternatives, .. })) => alternatives,
            (Pause::None | Pause::Expect(_) | Pause::Wait(_) | Pause::Restart(_) | Pause::Errand(..), _) => &[],
        }
    }

    /// Whether it waits for what is done outside under this number.
    pub(super) fn is_out(&self, id: u64) -> bool {
        matches!(self.pause, Pause::Errand(out, _) if out == id)
    }

    pub(super) fn step_done(&mut self) {
        (self.at, self.made, self.pause) = (self.at.saturating_add(1), 0, Pause::None);
    }
}

impl Session {
    /// Runs steps until one waits, `left` at most. Answers how many ran.
    pub(super) fn advance(
        &mut self,
        run: &mut Run,
        (steps, place): (&[plan::Step], impl Fn(usize) -> Place),
        left: u32,
        outside: &mut Outside<'_>,
    ) -> Result<u32, Failure> {
        let mut ran = 0_u32;
        while let Some(step) = steps.get(run.at) {
            if !self.holds(step.when) {
                self.left_out(place(run.at), step.act.as_str(), outside.now);
                run.step_done();
                continue;
            }
            if let Some(made) = step.makes.get(run.made) {
                self.make(run, made, outside)?;
                return Ok(ran);
            }
            if ran >= left {
                return Err(Failure::of(
                    "loop",
                    format!("{} was the last of {STEPS_MAX} steps, and there is no end", place(run.at)),
                ));
            }
            ran = ran.saturating_add(1);
            self.step_begins(place(run.at), step.act.as_str(), outside.now);
            match &step.act {
                Act::Send(send) => self.send(send, outside)?,
                Act::Set(set) => self.set_all(set, outside)?,
                Act::Forget(forget) => forget.iter().for_each(|var| self.forget(*var)),
                Act::Wait(span) => {
                    run.pause = Pause::Wait(outside.now.later(*span));
                    return Ok(ran);
                }
                Act::Http(call) => {
                    self.call(run, call, outside)?;
                    return Ok(ran);
                }
                Act::Expect { timeout, .. } => {
                    run.pause = Pause::Expect(outside.now.later(*timeout));
                    return Ok(ran);
                }
            }
            run.step_done();
        }
        Ok(ran)
    }
}
