//! Steps, timers, and what must be heard.

use std::time::Duration;

use config::ValueKind;
use wskeeper_core::{
    heartbeat::WhenIdle,
    session::{Act, Every, First, INTERVAL_MIN, Interval, Mute, Rule, Step, Then, Var, When},
};

use super::{Reader, act::Whose};
use crate::config::check::{
    MAX_DURATION,
    item::Item,
    section::{Section, join},
};

/// What a step does, of which one is given.
const ACTS: [&str; 6] = ["send", "expect", "set", "forget", "wait", "http"];

/// How long a message is waited for.
pub(super) const EXPECT_WAIT: Duration = Duration::from_secs(10);

/// The shortest wait.
pub(super) const LEAST: Duration = Duration::from_millis(1);

impl Reader<'_> {
    /// `dial`
    pub(super) fn dial(&self, item: &Item<'_>, within: Duration) -> Vec<Step> {
        let items = item.list().unwrap_or_default();
        let hint = "write a shorter one, or a longer connect_timeout";
        look_at_waits(&items, within, ("is as long as the whole attempt may take, or longer", hint));
        for item in &items {
            let section = Section::of(item);
            for key in ["send", "expect"] {
                if section.has(key) {
                    let hint = "move the step to session.open, or call by HTTP: http = { url = \"https://…\" }";
                    section.fault(key, "has no connection here: the steps of `dial` run before there is one", hint);
                }
            }
        }
        self.steps(&items, Whose::Dial)
    }

    /// `open`
    pub(super) fn open(&self, item: &Item<'_>, within: Duration) -> Vec<Step> {
        let items = item.list().unwrap_or_default();
        let hint = "write a shorter one, or a longer session.timeout";
        look_at_waits(&items, within, ("is as long as the whole of `open` may take, or longer", hint));
        self.steps(&items, Whose::Open)
    }

    /// `leave`
    pub(super) fn leave(&self, item: &Item<'_>) -> Vec<Step> {
        self.steps(&item.list().unwrap_or_default(), Whose::Leaving)
    }

    fn steps(&self, items: &[Item<'_>], whose: Whose) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut is_reached = true;
        for (at, item) in items.iter().enumerate() {
            let Some(step) = self.step(item, whose) else { continue };
            if is_reached
                && step.when.is_none()
                && never_goes_on(&step.act)
                && let Some(next) = items.get(at.saturating_add(1))
            {
                is_reached = false;
                next.fault(
                    "is never reached: whatever comes in the step before it ends them there",
                    "take the `then` or `fail` from one of the alternatives before it, or leave this step out",
                );
            }
            steps.push(step);
        }
        steps
    }

    fn step(&self, item: &Item<'_>, whose: Whose) -> Option<Step> {
        let step = self.step_without_makes(item, whose);
        let makes = self.makes();
        step.map(|step| Step { makes, ..step })
    }

    fn step_without_makes(&self, item: &Item<'_>, whose: Whose) -> Option<Step> {
        let section = Section::of(item);
        let when = section.get("when").and_then(|item| self.when(&item));
        let given: Vec<&str> = ACTS.into_iter().filter(|act| section.has(act)).collect();
        let send = section.get("send").map(|item| self.send(&item).map(|send| Act::Send(Box::new(send))));
        let expect = section.get("expect").map(|item| Some(self.expect(&section, &item, whose)));
        let set = section.get("set").map(|item| Some(Act::Set(self.set(&item).into())));
        let forget = section.get("forget").map(|item| Some(Act::Forget(self.variables(&item).into())));
        let wait = section.get("wait").map(|item| item.duration(LEAST..=MAX_DURATION).map(Act::Wait));
        let http = section.get("http").map(|item| self.call(&item, whose).map(|call| Act::Http(Box::new(call))));
        for key in ["timeout", "hide"] {
            section.expect(key);
            if section.has(key) && !section.has("expect") && !given.is_empty() {
                section.fault(key, "is a word about what `expect` waits for, which is not there", "leave it out");
            }
        }
        section.finish();
        match given.as_slice() {
            [] => {
                // An unknown key has been told of, and may be what was meant.
                let is_section = matches!(item.value.kind, ValueKind::Table(_));
                if is_section && section.names().all(|name| ["when", "timeout", "hide"].contains(&name)) {
                    item.fault("does nothing", "write one of `send`, `expect`, `set`, `forget`, `wait` and `http`");
                }
                return None;
            }
            [_] => {}
            [one, other, ..] => {
                let problem = format!("stands beside `{one}`, and a step does one thing");
                section.fault(other, problem, "make two steps of it, in the order that is meant");
                return None;
            }
        }
        let act = [send, expect, set, forget, wait, http].into_iter().flatten().next().flatten()?;
        Some(Step { when, ..Step::of(act) })
    }

    fn expect(&self, section: &Section<'_>, item: &Item<'_>, whose: Whose) -> Act {
        let hide = section.get("hide").and_then(|item| item.bool()).unwrap_or_default();
        let timeout = section.get("timeout").and_then(|item| item.duration(LEAST..=MAX_DURATION));
        let alternatives = self.alternatives(item, whose, hide).into();
        Act::Expect { alternatives, timeout: timeout.unwrap_or(EXPECT_WAIT) }
    }

    /// Variables and what they are set to.
    pub(super) fn set(&self, item: &Item<'_>) -> Vec<(Var, wskeeper_core::session::Json)> {
        let entries = Section::of(item).entries();
        let entry = |(name, item): (&str, Item<'_>)| {
            let (var, json) = (self.setting(&item, name), self.json(&item));
            Some((var?, json?))
        };
        entries.into_iter().filter_map(entry).collect()
    }

    /// `"name"` or `"!name"`
    pub(super) fn when(&self, item: &Item<'_>) -> Option<When> {
        let text = item.text()?;
        let (name, is_set) = text.strip_prefix('!').map_or((text, true), |name| (name, false));
        Some(When { var: self.variable(item, name)?, is_set })
    }

    /// `every`
    pub(super) fn timers(&self, item: &Item<'_>) -> Vec<Every> {
        item.list().unwrap_or_default().iter().filter_map(|item| self.timer(item)).collect()
    }

    fn timer(&self, item: &Item<'_>) -> Option<Every> {
        const FIRSTS: [(&str, First); 3] = [("after", First::After), ("now", First::Now), ("random", First::Random)];
        let words = [WhenIdle::In, WhenIdle::Out, WhenIdle::Both].map(|when| (when.as_str(), when));
        let section = Section::of(item);
        let every = section.get("every").and_then(|item| self.interval(&item));
        let first = section.get("first").and_then(|item| item.word(&FIRSTS)).unwrap_or_default();
        let when_idle = section.get("when_idle").and_then(|item| item.word(&words));
        let own = self.steps_of_timer(&section);
        let steps = section.get("steps").and_then(|item| item.list()).map(|items| self.steps(&items, Whose::Timer));
        section.finish();
        if !section.has("every") {
            section.fault("every", "is missing", "say how far apart: every = \"30s\"");
        }
        if section.has("steps") && (section.has("send") || section.has("expect")) {
            section.fault("steps", "stands beside `send` or `expect`", "make steps of those too");
        } else if !["steps", "send", "expect"].iter().any(|key| section.has(key)) {
            item.fault("does nothing", "write `send`, or `steps`");
        }
        Some(Every { every: every?, first, when_idle, steps: steps.unwrap_or(own).into() })
    }

    /// A timer's own `send` and `expect`, which are its steps.
    fn steps_of_timer(&self, section: &Section<'_>) -> Vec<Step> {
        let send = section.get("send").and_then(|item| self.send(&item)).map(|send| Act::Send(Box::new(send)));
        let expect = section.get("expect").map(|item| self.expect(section, &item, Whose::Timer));
        for key in ["timeout", "hide"] {
            section.expect(key);
            if section.has(key) && !section.has("expect") {
                section.fault(key, "is a word about what `expect` waits for, which is not there", "leave it out");
            }
        }
        let mut steps: Vec<Step> = send.into_iter().chain(expect).map(Step::of).collect();
        let makes = self.makes();
        if let Some(first) = steps.first_mut() {
            first.makes = makes;
        }
        steps
    }

    /// A duration, or `"${var:NAME}ms"`.
    fn interval(&self, item: &Item<'_>) -> Option<Interval> {
        const UNITS: [(&str, Duration); 4] = [
            ("ms", Duration::from_millis(1)),
            ("s", Duration::from_secs(1)),
            ("min", Duration::from_mins(1)),
            ("h", Duration::from_hours(1)),
        ];
        const FORM: &str = "write a duration such as \"30s\", or a variable with its unit: \"${var:beat}ms\"; units are ms, s, min and h";
        let ValueKind::String(text) = &item.value.kind else {
            return item.duration(INTERVAL_MIN..=MAX_DURATION).map(Interval::Fixed);
        };
        if !text.contains("${") {
            return item.duration(INTERVAL_MIN..=MAX_DURATION).map(Interval::Fixed);
        }
        let parsed = text.trim().strip_prefix("${var:").and_then(|rest| rest.split_once('}'));
        let unit = parsed.and_then(|(_, unit)| UNITS.iter().find(|(word, _)| *word == unit.trim()));
        let (Some((name, _)), Some((_, unit))) = (parsed, unit) else {
            item.fault("is neither a duration nor a variable with a unit", FORM);
            return None;
        };
        Some(Interval::Var(self.variable(item, name)?, *unit))
    }

    /// `mute`
    pub(super) fn mute(&self, item: &Item<'_>) -> Option<Mute> {
        let section = Section::of(item);
        let after = section.get("after").and_then(|item| self.interval(&item));
        let matching = section.section("match");
        let matcher = self.matcher(&matching);
        matching.finish();
        let probe = section.get("probe").map(|item| self.send(&item).map(Box::new));
        section.finish();
        self.refuse_makes(item);
        if matches!(item.value.kind, ValueKind::Table(_)) && !section.has("after") {
            let place = join(&section.path, "after");
            item.report.fault(item.value.origin(), &place, "is missing", "say how long: after = \"1min\"");
        }
        Some(Mute { after: after?, matcher, probe: probe.flatten() })
    }
}

/// A pause that is as long as all of the steps may take.
fn look_at_waits(items: &[Item<'_>], within: Duration, (problem, hint): (&'static str, &'static str)) {
    for item in items {
        let section = Section::of(item);
        let Some(wait) = section.get("wait") else { continue };
        if let ValueKind::String(text) = &wait.value.kind
            && humantime::parse_duration(text).is_ok_and(|wait| wait >= within)
        {
            wait.fault(problem, hint);
        }
    }
}

/// Whatever it waits for is the end of the steps.
fn never_goes_on(act: &Act) -> bool {
    let ends = |rule: &Rule| match rule.act.then {
        Then::GoOn | Then::Rotate => false,
        Then::Ready | Then::Restart | Then::Reconnect(_) | Then::Park | Then::Fail(_) => true,
    };
    match act {
        Act::Expect { alternatives, .. } => !alternatives.is_empty() && alternatives.iter().all(ends),
        Act::Http(call) => !call.expect.is_empty() && call.expect.iter().all(|expected| ends(&expected.rule)),
        Act::Send(_) | Act::Set(_) | Act::Forget(_) | Act::Wait(_) => false,
    }
}
