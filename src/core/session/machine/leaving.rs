//! What a session does before an orderly close: a farewell of the application's, with an answer where one is waited for.
//!
//! What a reader would get wrong: the Close waits for it, and never for long. Whatever goes wrong here ends the farewell and nothing else.

use std::time::{Duration, Instant};

use super::{
    Message, Outside, Session, Stage, Step,
    run::{Pause, Run},
};
use crate::{
    clock::Clock,
    session::{Place, Plan, Then},
};

/// A farewell under way.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) run: Run,
    until: Instant,
}

impl Leaving {
    pub(super) fn due(&self) -> Instant {
        self.run.pause.until().map_or(self.until, |at| at.min(self.until))
    }
}

impl Session {
    /// The connection is to be closed in order: says farewell where it is ready, within this time.
    pub fn leave(&mut self, within: Duration, outside: &mut Outside<'_>) {
        let plan = std::sync::Arc::clone(&self.start.plan);
        if self.is_ready() && !plan.leave.is_empty() {
            self.stage = Stage::Leaving(Leaving { run: Run::default(), until: outside.now.later(within) });
            let left = self.advance_leave(&plan, outside);
            self.settle(outside.now, left);
        } else {
            self.stage = Stage::Ended;
            self.drop_messages();
        }
    }

    /// Whether the Close is to wait.
    pub fn is_leaving(&self) -> bool {
        match self.stage {
            Stage::Leaving(_) => true,
            Stage::Opening(_) | Stage::Ready(_) => false,
            Stage::Ended => self.has_messages(),
        }
    }

    pub(super) fn look_for_leave(&mut self, plan: &Plan, message: &Message<'_>, outside: &mut Outside<'_>) -> Step {
        let Stage::Leaving(leaving) = &self.stage else { return Ok(()) };
        let found = self.matching(leaving.run.alternatives(&plan.leave), message, outside.now);
        let Some((_, rule)) = found else { return Ok(()) };
        self.apply(Some(&rule.matcher), &rule.act, message, outside)?;
        match &rule.act.then {
            Then::GoOn => {}
            // There is nothing to go on for.
            Then::Ready | Then::Restart | Then::Rotate | Then::Reconnect(_) | Then::Park | Then::Fail(_) => {
                self.stage = Stage::Ended;
                return Ok(());
            }
        }
        if let Stage::Leaving(leaving) = &mut self.stage {
            leaving.run.step_done();
        }
        self.advance_leave(plan, outside)
    }

    pub(super) fn on_leaving_due(&mut self, plan: &Plan, outside: &mut Outside<'_>) -> Step {
        let Stage::Leaving(leaving) = &mut self.stage else { return Ok(()) };
        match leaving.run.pause {
            Pause::Wait(until) if until <= outside.now && leaving.until > outside.now => {
                leaving.run.step_done();
                self.advance_leave(plan, outside)
            }
            Pause::None | Pause::Wait(_) | Pause::Expect(_) | Pause::Restart(_) | Pause::Errand(..)
                if leaving.due() > outside.now =>
            {
                Ok(())
            }
            Pause::None | Pause::Wait(_) | Pause::Expect(_) | Pause::Restart(_) | Pause::Errand(..) => {
                self.stage = Stage::Ended;
                self.drop_messages();
                Ok(())
            }
        }
    }

    pub(super) fn advance_leave(&mut self, plan: &Plan, outside: &mut Outside<'_>) -> Step {
        let Stage::Leaving(leaving) = &mut self.stage else { return Ok(()) };
        let mut run = std::mem::take(&mut leaving.run);
        self.advance(&mut run, (&plan.leave, Place::Leave), super::STEPS_MAX, outside)?;
        if run.at >= plan.leave.len() {
            self.stage = Stage::Ended;
        } else if let Stage::Leaving(leaving) = &mut self.stage {
            leaving.run = run;
        }
        Ok(())
    }
}
