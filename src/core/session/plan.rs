//! A session as data: what the configuration makes once, and every connection of the endpoint runs.
//!
//! What a reader would get wrong: a timer's `send` and `expect` are steps as those of `open` are; there is one kind of step and one way to
//! run them.

use std::time::Duration;

use super::{Call, Made, Matcher, Names, Pointer, Rules, Send, Subscribing, Var, template::Json};

/// A session.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The names of its variables.
    pub names: Names,
    /// Those that the link keeps over a reconnect.
    pub keep: Box<[Var]>,
    /// Those among them that are to outlive the process: whoever holds the link writes them down.
    pub durable: Box<[Var]>,
    /// Before an attempt connects.
    pub dial: Box<[Step]>,
    /// From OPEN to `ready`.
    pub open: Box<[Step]>,
    /// The whole of `open` must end within this.
    pub timeout: Duration,
    /// What looks at every message.
    pub on: Rules,
    /// What is done again and again while it is the current connection.
    pub every: Box<[Every]>,
    /// What must be heard.
    pub mute: Option<Mute>,
    /// What is done before an orderly close.
    pub leave: Box<[Step]>,
    /// How keys are asked for, where the endpoint has subscriptions.
    pub subscriptions: Option<Box<Subscribing>>,
    /// A longer message is not looked at as JSON.
    pub max_json: usize,
}

/// A step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// It is left out where this does not hold.
    pub when: Option<When>,
    /// What is made for it before, in this order.
    pub makes: Box<[Made]>,
    /// What is done.
    pub act: Act,
}

impl Step {
    /// One that is done in any case, and needs nothing made.
    pub fn of(act: Act) -> Self {
        Self { when: None, makes: [].into(), act }
    }
}

/// Whether a variable is set, or is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When {
    /// Which.
    pub var: Var,
    /// Set, or not.
    pub is_set: bool,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Sends a message.
    Send(Box<Send>),
    /// Waits for a message that one of these matches.
    Expect {
        /// In order; the first that matches acts.
        alternatives: Box<[Rule]>,
        /// For how long.
        timeout: Duration,
    },
    /// Sets variables.
    Set(Box<[(Var, Json)]>),
    /// Lets go of variables.
    Forget(Box<[Var]>),
    /// Waits.
    Wait(Duration),
    /// Calls by HTTP.
    Http(Box<Call>),
}

impl Act {
    /// The word of the configuration.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Send(_) => "send",
            Self::Expect { .. } => "expect",
            Self::Set(_) => "set",
            Self::Forget(_) => "forget",
            Self::Wait(_) => "wait",
            Self::Http(_) => "http",
        }
    }
}

/// What looks at messages, and what it does about one that matches.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// What it looks for.
    pub matcher: Matcher,
    /// What it does.
    pub act: Do,
}

impl Rule {
    fn sets(&self, var: Var) -> bool {
        let Do { extract, set, .. } = &self.act;
        let groups = self.matcher.regex.as_ref().map_or(&[][..], |(_, groups)| groups);
        extract.iter().any(|(of, _)| *of == var) || set.iter().any(|(of, _)| *of == var) || groups.contains(&var)
    }
}

/// What follows a match, in this order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Do {
    /// Variables that are taken out of the message; one that is not in it stays as it is.
    pub extract: Box<[(Var, Pointer)]>,
    /// Variables that are set.
    pub set: Box<[(Var, Json)]>,
    /// Variables that are let go of.
    pub forget: Box<[Var]>,
    /// What is sent.
    pub send: Option<Box<Send>>,
    /// Consumers do not see the message.
    pub hide: bool,
    /// What becomes of the connection.
    pub then: Then,
}

/// What becomes of the connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Then {
    /// It goes on.
    #[default]
    GoOn,
    /// `open` is over.
    Ready,
    /// `open` begins again, after a delay.
    Restart,
    /// Another one is to take its place.
    Rotate,
    /// It is closed, and the link comes back as the outcome table says.
    Reconnect(Option<u16>),
    /// It is closed, and the link parked.
    Park,
    /// It fails, for this reason.
    Fail(Box<str>),
}

/// How long something takes: as written, or as a variable says.
#[derive(Debug, Clone, PartialEq)]
pub enum Interval {
    /// As written.
    Fixed(Duration),
    /// So many of this unit.
    Var(Var, Duration),
}

/// When a timer is due first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum First {
    /// After an interval.
    #[default]
    After,
    /// At once.
    Now,
    /// After a random part of an interval.
    Random,
}

/// A timer.
#[derive(Debug, Clone, PartialEq)]
pub struct Every {
    /// How far apart.
    pub every: Interval,
    /// When first.
    pub first: First,
    /// Only where this side has been silent for so long.
    pub when_idle: Option<crate::heartbeat::WhenIdle>,
    /// What is done.
    pub steps: Box<[Step]>,
}

impl Every {
    /// Whether it waits for an answer.
    pub(crate) fn asks(&self) -> bool {
        self.steps.iter().any(|step| match &step.act {
            Act::Expect { .. } => true,
            Act::Send(_) | Act::Set(_) | Act::Forget(_) | Act::Wait(_) | Act::Http(_) => false,
        })
    }
}

/// What must be heard.
#[derive(Debug, Clone, PartialEq)]
pub struct Mute {
    /// For so long there may be none.
    pub after: Interval,
    /// Of what.
    pub matcher: Matcher,
    /// What is sent then, with as long again for an answer.
    pub probe: Option<Box<Send>>,
}

impl Plan {
    /// Whether a step of `dial` sets a variable of this name.
    pub fn dials(&self, name: &str) -> bool {
        let Some(var) = self.names.find(name) else { return false };
        self.dial.iter().any(|step| match &step.act {
            Act::Set(set) => set.iter().any(|(set, _)| *set == var),
            Act::Http(call) => {
                let of_answers = call.expect.iter().any(|expected| expected.rule.sets(var));
                of_answers || call.extract.iter().any(|(set, _)| *set == var)
            }
            Act::Send(_) | Act::Expect { .. } | Act::Forget(_) | Act::Wait(_) => false,
        })
    }

    /// Whether a call of `dial` goes over TLS.
    pub fn dials_by_tls(&self) -> bool {
        self.dial.iter().any(|step| match &step.act {
            Act::Http(call) => {
                matches!(call.url.0.first(), Some(super::TextPart::Literal(text)) if text.starts_with("https:"))
            }
            Act::Send(_) | Act::Expect { .. } | Act::Set(_) | Act::Forget(_) | Act::Wait(_) => false,
        })
    }

    /// Whether the link keeps a variable over a reconnect.
    pub(super) fn keeps(&self, var: Var) -> bool {
        self.keep.contains(&var)
    }
}
