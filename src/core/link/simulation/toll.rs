//! How often a link has dialled since it was last stable, and how often it may have.
//!
//! Delays are drawn from zero on, so no short story says anything: what is allowed is the schedule of the backoff with delays of a
//! fifth of the bounds, where half is the mean, and a few that chance may bring close together.

use std::time::{Duration, Instant};

use super::Policy;
use crate::backoff::{self, LEAST};

/// Attempts that chance may bring close together.
const CLOSE: u32 = 8;

/// The attempts of one link.
#[derive(Debug)]
pub(super) struct Toll {
    /// Since it was last stable, or began.
    since: Instant,
    pub(super) attempts: u32,
    /// What operators and reloads have asked for comes on top.
    pub(super) ordered: u32,
}

impl Toll {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, attempts: 0, ordered: 0 }
    }

    /// The link is stable.
    pub(super) fn start_over(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    pub(super) fn check(&self, policy: &Policy, now: Instant) {
        let elapsed = now - self.since;
        let round = u32::try_from(policy.urls).expect("few");
        // The first one and one `now`, and the round of the URLs but for the first.
        let most = CLOSE + 1 + round + self.ordered + scheduled(&policy.backoff, elapsed, self.attempts);
        assert!(self.attempts <= most, "{} attempts in {elapsed:?}, at most {most}", self.attempts);
    }
}

/// So many retries does the schedule have in this time, or more than are asked about.
fn scheduled(policy: &backoff::Policy, elapsed: Duration, enough: u32) -> u32 {
    let (mut gone, mut bound, mut count) = (policy.first / 5, policy.initial.max(LEAST), 0);
    while gone <= elapsed && count <= enough {
        gone += bound / 5;
        bound = bound.mul_f64(policy.multiplier.max(1.0)).min(policy.max.max(LEAST));
        count += 1;
    }
    count
}
