//! What a session has done on its connection, step by step: for spans, and for who rehearses it.
//!
//! The steps of `dial` and `open` are always noted, for there are few of them; rules and timers only where someone looks on ([`super::Start`]'s
//! `is_watched`), for they act as long as the connection lasts. What a reader would get wrong: names of variables are here, values never.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// Steps that are noted for one who looks on, before no more are.
const NOTED_MAX: usize = 4096;

/// What `dial` and `open` did, as far as they came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Opening {
    /// When the connection was OPEN; where there was none, when it began.
    pub began: Option<Instant>,
    /// How long it took from then on.
    pub took: Duration,
    /// In the order in which they began.
    pub steps: Vec<Stepped>,
}

impl Opening {
    /// How many of its steps ran.
    pub fn ran(&self) -> usize {
        let is_step = |step: &&Stepped| {
            matches!(step.place, Place::Dial(_) | Place::Open(_)) && step.result != StepResult::LeftOut
        };
        self.steps.iter().filter(is_step).count()
    }
}

/// A step that was done, or a rule that acted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stepped {
    /// Where it stands.
    pub place: Place,
    /// What it does: the word of the configuration; `match` is a rule's.
    pub act: &'static str,
    /// When it began, on the connection's clock.
    pub began: Instant,
    /// How long it took; while it is under way, nothing.
    pub took: Duration,
    /// What became of it.
    pub result: StepResult,
    /// Which alternative matched, from 0.
    pub alternative: Option<usize>,
    /// Variables that it set, by name.
    pub set: Vec<Box<str>>,
}

/// Where a step or a rule stands: in which list, and at which place of it, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A step of `dial`.
    Dial(usize),
    /// A step of `open`.
    Open(usize),
    /// A rule of `on`.
    On(usize),
    /// A timer of `every`, whichever of its steps.
    Every(usize),
    /// A step of `leave`.
    Leave(usize),
}

impl Place {
    /// The place in its list.
    pub const fn at(self) -> usize {
        match self {
            Self::Dial(at) | Self::Open(at) | Self::On(at) | Self::Every(at) | Self::Leave(at) => at,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(at) => write!(f, "dial[{at}]"),
            Self::Open(at) => write!(f, "open[{at}]"),
            Self::On(at) => write!(f, "on[{at}]"),
            Self::Every(at) => write!(f, "every[{at}]"),
            Self::Leave(at) => write!(f, "leave[{at}]"),
        }
    }
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepResult {
    /// It is under way.
    Underway,
    /// It is done.
    Done,
    /// Its `when` did not hold.
    LeftOut,
    /// The session ended with it.
    Failed,
}

impl StepResult {
    /// As one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Underway => "underway",
            Self::Done => "done",
            Self::LeftOut => "left_out",
            Self::Failed => "failed",
        }
    }
}

/// What has been noted.
#[derive(Debug, Default)]
pub(super) struct Trace {
    steps: Vec<Stepped>,
    /// The one under way.
    current: Option<usize>,
}

impl Trace {
    /// One that goes on behind these.
    pub(super) fn of(steps: Vec<Stepped>) -> Self {
        Self { steps, current: None }
    }

    pub(super) fn steps(&self) -> &[Stepped] {
        &self.steps
    }

    /// A step begins; the one before it is done.
    pub(super) fn begin(&mut self, place: Place, act: &'static str, now: Instant) {
        self.end(StepResult::Done, now);
        self.current = self.note(place, act, StepResult::Underway, now);
    }

    /// The step under way is over.
    pub(super) fn end(&mut self, result: StepResult, now: Instant) {
        if let Some(step) = self.current.take().and_then(|at| self.steps.get_mut(at)) {
            (step.took, step.result) = (now.saturating_duration_since(step.began), result);
        }
    }

    /// Something that takes no time.
    pub(super) fn note(&mut self, place: Place, act: &'static str, result: StepResult, now: Instant) -> Option<usize> {
        let at = self.steps.len();
        let step = Stepped { place, act, began: now, took: Duration::ZERO, result, alternative: None, set: Vec::new() };
        (at < NOTED_MAX).then(|| {
            self.steps.push(step);
            at
        })
    }

    /// What is set now is set by this one; answers which one it was before.
    pub(super) fn stand_in(&mut self, at: Option<usize>) -> Option<usize> {
        std::mem::replace(&mut self.current, at)
    }

    pub(super) fn matched(&mut self, alternative: usize) {
        if let Some(step) = self.current.and_then(|at| self.steps.get_mut(at)) {
            step.alternative = Some(alternative);
        }
    }

    pub(super) fn set(&mut self, name: &str) {
        if let Some(step) = self.current.and_then(|at| self.steps.get_mut(at))
            && !step.set.iter().any(|known| **known == *name)
        {
            step.set.push(name.into());
        }
    }

    pub(super) fn take(&mut self) -> Vec<Stepped> {
        self.current = None;
        std::mem::take(&mut self.steps)
    }
}
