//! What is done outside for a step, and what its answer brings.
//!
//! What a reader would get wrong: an answer finds the steps that wait for it by its number, and where nothing waits for that any more (a
//! timer that was dropped, a farewell that has ended) it is nobody's.

use std::time::Instant;

use super::{Failure, Message, Outside, Session, Stage, Step, run::Run};
use crate::{
    clock::Clock,
    message::Payload,
    session::{Act, Answer, Ask, Brought, Call, Do, Errand, Made, Plan, Then, plan},
};

/// Which steps wait.
#[derive(Debug, Clone, Copy)]
enum Waiting {
    Open,
    Timer(usize),
    Leave,
}

impl Session {
    /// What is next to be done outside.
    pub fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    /// An errand is done, or why it is not.
    pub fn errand_done(&mut self, id: u64, done: Result<Brought, Box<str>>, outside: &mut Outside<'_>) {
        let plan = std::sync::Arc::clone(&self.start.plan);
        let Some(waiting) = self.waits_for(id) else { return };
        let gone_on = self.take(&plan, waiting, done, outside);
        self.settle(outside.now, gone_on);
    }

    /// Has a call made. The run waits for its answer.
    pub(super) fn call(&mut self, run: &mut Run, call: &Call, outside: &mut Outside<'_>) -> Step {
        let made = self.scene(outside).request(call);
        let request = made.map_err(|_| Failure::of("too_big", "an HTTP call of the session is too large to send"))?;
        self.ask(run, Errand::Call(Box::new(request)), outside.now.later(call.timeout));
        Ok(())
    }

    /// Has a value made that a step needs.
    pub(super) fn make(&mut self, run: &mut Run, made: &Made, outside: &mut Outside<'_>) -> Step {
        let recipe = self.scene(outside).recipe(&made.make);
        let recipe = recipe.map_err(|_| Failure::of("too_big", "what a value is made of is too large"))?;
        self.ask(run, Errand::Make(Box::new(recipe)), outside.now.later(made.timeout));
        Ok(())
    }

    fn ask(&mut self, run: &mut Run, errand: Errand, until: Instant) {
        self.asked = self.asked.saturating_add(1);
        run.pause = super::Pause::Errand(self.asked, until);
        self.asks.push_back(Ask { id: self.asked, errand });
    }

    fn waits_for(&self, id: u64) -> Option<Waiting> {
        match &self.stage {
            Stage::Opening(opening) => opening.run.is_out(id).then_some(Waiting::Open),
            Stage::Ready(keeping) => keeping.waits_for(id).map(Waiting::Timer),
            Stage::Leaving(leaving) => leaving.run.is_out(id).then_some(Waiting::Leave),
            Stage::Ended => None,
        }
    }

    fn take(
        &mut self,
        plan: &Plan,
        waiting: Waiting,
        done: Result<Brought, Box<str>>,
        outside: &mut Outside<'_>,
    ) -> Step {
        let Some((step, place)) = self.step_of(plan, waiting) else { return Ok(()) };
        let made = self.run_of(waiting).and_then(|run| step.makes.get(run.made));
        match (made, &step.act, done) {
            (Some(made), _, Ok(Brought::Made(text))) => {
                self.set(made.into, (&*text).into())?;
                if let Some(run) = self.run_of(waiting) {
                    (run.made, run.pause) = (run.made.saturating_add(1), super::Pause::None);
                }
                return self.go_on_with(plan, waiting, outside);
            }
            (Some(made), _, Err(why)) => return Err(self.unmade("value", &made.name, &place, &why)),
            (Some(made), _, Ok(Brought::Refused(why))) => {
                return Err(self.unmade("unauthorized", &made.name, &place, &why));
            }
            (None, Act::Http(_), Err(why)) => {
                let why = self.told(why.as_bytes());
                return Err(Failure::of("http", format!("the call of {place} failed: {why}")));
            }
            (None, Act::Http(call), Ok(Brought::Answer(answer))) => {
                let retry_after = answer.retry_after.filter(|_| matches!(answer.status, 429 | 503));
                let followed = self.follow_answer(call, &place, answer, outside);
                followed.map_err(|failure| Failure { retry_after, ..failure })?;
            }
            // It is an answer to something else.
            (Some(_) | None, _, Ok(_) | Err(_)) => return Ok(()),
        }
        // `restart` waits already.
        if let Some(run) = self.run_of(waiting)
            && matches!(run.pause, super::Pause::Errand(..))
        {
            run.step_done();
            return self.go_on_with(plan, waiting, outside);
        }
        Ok(())
    }

    fn follow_answer(&mut self, call: &Call, place: &str, answer: Answer, outside: &mut Outside<'_>) -> Step {
        let Answer { status, body, location, .. } = answer;
        let payload = Payload::text(body.clone()).unwrap_or_else(|_| Payload::binary(body));
        let message = Message::new(&payload, call.max_bytes);
        let found = call.expect.iter().find(|expected| {
            expected.status.contains(&status) && self.is_met(&expected.rule.matcher, &message, outside.now)
        });
        let nothing = Do::default();
        let (matcher, act) = match found {
            Some(expected) => (Some(&expected.rule.matcher), &expected.rule.act),
            None if call.expect.is_empty() && (200..300).contains(&status) => (None, &nothing),
            None => return Err(self.unexpected(place, (status, location.as_deref()), &message)),
        };
        if !matches!(act.then, Then::Fail(_)) {
            self.extract(&call.extract, &message)?;
            self.apply(matcher, act, &message, outside)?;
        }
        self.conclude(&act.then, &message, outside)
    }

    fn unmade(&self, label: &str, name: &str, place: &str, why: &str) -> Failure {
        Failure::of(label, format!("the value {name} of {place} was not made: {}", self.told(why.as_bytes())))
    }

    /// What a server says of its refusal is for people; the body of what was no refusal may be a secret.
    fn unexpected(&self, place: &str, (status, to): (u16, Option<&str>), message: &Message<'_>) -> Failure {
        let label = if matches!(status, 401 | 403) { "unauthorized" } else { "http" };
        let words = match status {
            300..400 => match to {
                Some(to) => format!(" to {}; redirects are not followed", self.told(to.as_bytes())),
                None => "; redirects are not followed".to_owned(),
            },
            400.. if !message.payload.is_empty() => format!(" and said: {}", self.words(message)),
            _ => String::new(),
        };
        Failure::of(label, format!("the call of {place} was answered with status {status}{words}"))
    }

    /// The step that waits, and its place for people.
    fn step_of<'p>(&mut self, plan: &'p Plan, waiting: Waiting) -> Option<(&'p plan::Step, String)> {
        let at = self.run_of(waiting)?.at;
        let (steps, place) = match waiting {
            Waiting::Open => {
                let Stage::Opening(opening) = &self.stage else { return None };
                (opening.whose.steps(plan), opening.whose.place(at).to_string())
            }
            Waiting::Timer(timer) => (&*plan.every.get(timer)?.steps, format!("every[{timer}]")),
            Waiting::Leave => (&*plan.leave, format!("leave[{at}]")),
        };
        Some((steps.get(at)?, place))
    }

    fn run_of(&mut self, waiting: Waiting) -> Option<&mut Run> {
        match (&mut self.stage, waiting) {
            (Stage::Opening(opening), Waiting::Open) => Some(&mut opening.run),
            (Stage::Ready(keeping), Waiting::Timer(place)) => keeping.run(place),
            (Stage::Leaving(leaving), Waiting::Leave) => Some(&mut leaving.run),
            (Stage::Opening(_) | Stage::Ready(_) | Stage::Leaving(_) | Stage::Ended, _) => None,
        }
    }

    fn go_on_with(&mut self, plan: &Plan, waiting: Waiting, outside: &mut Outside<'_>) -> Step {
        match waiting {
            Waiting::Open => self.advance_open(outside),
            Waiting::Timer(place) => match plan.every.get(place) {
                Some(every) => self.go_on(place, every, outside),
                None => Ok(()),
            },
            Waiting::Leave => self.advance_leave(plan, outside),
        }
    }
}
