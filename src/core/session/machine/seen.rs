//! What may be seen of a session: the steps that it has done, and its variables and messages without what is secret.
//!
//! What a reader would get wrong: a variable is secret where any step of the plan sets it from a secret, or from a variable that is; what
//! a peer has sent is not, but for secrets in it.

use std::time::Instant;

use super::Session;
use crate::{
    clock::Clock,
    confidences::{Confidences, HIDDEN},
    session::{Act, Every, Json, Opening, Place, Plan, Source, StepResult, Stepped, Text, TextPart, Var},
};

/// Characters of a value that are shown.
const VALUE_MAX: usize = 120;

impl Session {
    /// The steps that have been noted.
    pub fn steps(&self) -> &[Stepped] {
        self.trace.steps()
    }

    /// What `dial` and `open` did, once.
    pub fn take_opening(&mut self, now: Instant) -> Opening {
        self.trace.end(StepResult::Failed, now);
        let steps = self.trace.take();
        let ended = steps.iter().map(|step| step.began.later(step.took)).max().unwrap_or(self.began);
        Opening { began: Some(self.began), took: ended.saturating_duration_since(self.began), steps }
    }

    /// Whether it has never been ready.
    pub(crate) fn is_unready(&self) -> bool {
        !self.was_ready
    }

    /// What a variable holds, as people may see it; nothing where it is not set.
    pub fn shown(&self, name: &str) -> Option<String> {
        let var = self.start.plan.names.find(name)?;
        let value = self.variables.get(var)?;
        if secrets(&self.start.plan).contains(&var) {
            return Some(HIDDEN.into());
        }
        let text = self.without_secrets(&value.to_string());
        let mut shown: String = text.chars().take(VALUE_MAX).collect();
        if text.chars().count() > VALUE_MAX {
            shown.push('…');
        }
        Some(shown)
    }

    /// A text without secrets and without what variables hold that came from one.
    pub fn without_secrets(&self, text: &str) -> String {
        let secret = secrets(&self.start.plan);
        let variables = secret.iter().filter_map(|var| self.variables.get(*var)?.as_str());
        Confidences::of(self.start.secrets.iter().map(|secret| &**secret).chain(variables)).hide(text, false)
    }

    /// A step begins. Of timers and farewells only for who looks on.
    pub(super) fn step_begins(&mut self, place: Place, act: &'static str, now: Instant) {
        match place {
            Place::Dial(_) | Place::Open(_) => self.trace.begin(place, act, now),
            // What it waits for is noted when it comes.
            Place::On(_) | Place::Every(_) | Place::Leave(_) if self.start.is_watched && act != "expect" => {
                self.trace.note(place, act, StepResult::Done, now);
            }
            Place::On(_) | Place::Every(_) | Place::Leave(_) => {}
        }
    }

    /// A step does not run.
    pub(super) fn left_out(&mut self, place: Place, act: &'static str, now: Instant) {
        if self.start.is_watched {
            self.trace.note(place, act, StepResult::LeftOut, now);
        }
    }

    /// Something acts beside the step of `open` that is under way, which is answered with.
    pub(super) fn stand_aside(&mut self, place: Place, act: &'static str, now: Instant) -> Option<usize> {
        let noted = if self.start.is_watched { self.trace.note(place, act, StepResult::Done, now) } else { None };
        self.trace.stand_in(noted)
    }
}

/// Variables that hold what came from a secret, wherever that is done.
fn secrets(plan: &Plan) -> Vec<Var> {
    let before = plan.dial.iter().chain(&plan.open);
    let steps = before.chain(plan.every.iter().flat_map(|Every { steps, .. }| steps)).chain(&plan.leave);
    let mut sets: Vec<&(Var, Json)> = plan.on.list().iter().flat_map(|rule| &rule.act.set).collect();
    let mut secret = Vec::new();
    for step in steps {
        secret.extend(step.makes.iter().map(|made| made.into));
        match &step.act {
            Act::Set(set) => sets.extend(set),
            Act::Expect { alternatives, .. } => sets.extend(alternatives.iter().flat_map(|rule| &rule.act.set)),
            Act::Http(call) => {
                // What one asks for by HTTP is mostly a token.
                let expected = call.expect.iter().map(|expected| &expected.rule.act);
                sets.extend(expected.clone().flat_map(|act| &act.set));
                let extracts = call.extract.iter().chain(expected.flat_map(|act| &act.extract));
                secret.extend(extracts.map(|(var, _)| *var));
            }
            Act::Send(_) | Act::Forget(_) | Act::Wait(_) => {}
        }
    }
    loop {
        let known = secret.len();
        for (var, json) in sets.iter().copied() {
            if !secret.contains(var) && is_secret(json, &secret) {
                secret.push(*var);
            }
        }
        if secret.len() == known {
            return secret;
        }
    }
}

fn is_secret(json: &Json, known: &[Var]) -> bool {
    let source = |source: &Source| match source {
        Source::Secret(_) => true,
        Source::Var(var, _) => known.contains(var),
        Source::Seq
        | Source::Uuid
        | Source::Now
        | Source::NowMillis
        | Source::NowRfc3339
        | Source::Endpoint
        | Source::Link
        | Source::Generation
        | Source::Key
        | Source::Keys => false,
    };
    match json {
        Json::Literal(_) => false,
        Json::Value(value) => source(value),
        Json::Text(Text(parts)) => parts.iter().any(|part| match part {
            TextPart::Literal(_) => false,
            TextPart::Value(value) => source(value),
        }),
        Json::List(list) => list.iter().any(|json| is_secret(json, known)),
        Json::Object(members) => members.iter().any(|(_, json)| is_secret(json, known)),
    }
}
