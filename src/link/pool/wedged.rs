//! What can be wrong with the daemon itself, and what the last look at it has found.

use std::{
    fmt,
    time::{Duration, Instant},
};

use wskeeper_core::{
    event::LinkId,
    phase::{Phase, Reason},
};

/// What is wrong with the daemon itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wedged {
    /// A deadline passed so long ago, and nothing was done.
    Overdue(LinkId, Duration),
    /// No timer is armed, and none of the allowed reasons is there.
    Adrift(LinkId, Phase, Reason),
    /// It waits for an admission that it has not asked for.
    Forgotten(LinkId),
    /// Its task has ended, and the link has not.
    Ended(LinkId),
    /// Its task does not answer.
    Deaf(LinkId),
    /// A task that serves all links has ended.
    Servant(&'static str),
    /// A reload, or an operator's change of the store, has not moved for so long.
    Reload(Duration),
}

impl fmt::Display for Wedged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overdue(link, late) => write!(f, "{link} should have acted {} s ago", late.as_secs()),
            Self::Adrift(link, phase, reason) => write!(f, "{link} is {phase} ({reason}) with no timer armed"),
            Self::Forgotten(link) => write!(f, "{link} waits for an admission that nobody will give"),
            Self::Ended(link) => write!(f, "the task of {link} has ended"),
            Self::Deaf(link) => write!(f, "the task of {link} does not answer"),
            Self::Servant(name) => write!(f, "the task that {name} has ended"),
            Self::Reload(since) => write!(f, "a change of the pool has not moved for {} s", since.as_secs()),
        }
    }
}

/// The outcome of the last look.
#[derive(Debug)]
pub(super) struct LastLook {
    pub(super) at: Instant,
    /// A look must follow within this.
    pub(super) within: Duration,
    pub(super) wedged: Option<Wedged>,
}
