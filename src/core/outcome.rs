//! What follows a close: a table of data, walked by one function.
//!
//! An endpoint's own rules stand before the built-in ones; the first that matches decides. Nothing else in wskeeper looks
//! at a close code or an HTTP status to decide anything.

use std::{fmt, ops::RangeInclusive, sync::Arc, time::Duration};

use super::close::Cause;

/// What a rule looks at; all parts given must match.
#[derive(Debug, Clone, Default)]
pub struct Match {
    /// Close code, 1005 and 1006 included.
    pub code: Option<RangeInclusive<u16>>,
    /// Text found in the Close frame's reason.
    pub reason: Option<Arc<dyn Pattern>>,
    /// HTTP status of a refused upgrade.
    pub status: Option<RangeInclusive<u16>>,
    /// Failure class.
    pub class: Option<Cause>,
}

/// A pattern over a close reason. The configuration brings a regular expression; the core needs only the answer.
pub trait Pattern: fmt::Debug + Send + Sync {
    /// Whether the reason matches.
    fn is_match(&self, reason: &str) -> bool;
    /// The pattern as it was written.
    fn source(&self) -> &str;
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Exponential backoff.
    Backoff,
    /// At once, for a connection that had been stable; else exponential backoff (a storm is never the answer).
    Now,
    /// Near the cap of the backoff, whatever the attempt.
    Slow,
    /// Park, with slow probes.
    Park,
    /// Evaluate the credentials again and try once; if that ends the same way, park.
    Refresh,
    /// The next URL of the endpoint, with backoff once all have been tried.
    NextUrl,
    /// Stay closed until an operator resumes the link.
    StayClosed,
    /// A random delay from this range (1012: 5–30 s).
    Within(Duration, Duration),
    /// What `Retry-After` says, else exponential backoff.
    RetryAfter,
}

/// A row of the table.
#[derive(Debug, Clone)]
pub struct Rule {
    /// What it looks at.
    pub when: Match,
    /// What follows.
    pub then: Action,
    /// Only from this many such ends in a row on; exponential backoff before. 1: at once.
    pub after: u32,
}
