//! When to dial again: exponential growth by the `backoff` crate, full jitter by our own seed.
//!
//! The crate's own jitter is off: it exceeds its maximum and cannot be seeded. Its clock stands still, because it is asked
//! for growth only. The delay is drawn from *zero to the bound*, so the spread survives the cap; and the growth starts
//! over only when the caller says so, which is after the link has been ready for `stable`, never on open.

use std::time::{Duration, Instant};

use backoff::{Clock, backoff::Backoff as _, exponential::ExponentialBackoff};

use super::chance::Chance;

/// No bound of a delay is less than this, whatever the policy says: without it zeros would make a tight loop.
pub const LEAST: Duration = Duration::from_millis(10);
/// Nor is a link stable sooner than this, for then everything starts over.
pub const LEAST_STABLE: Duration = Duration::from_secs(1);

/// How delays grow.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The first retry comes after a random delay of zero to this (RFC 6455 §7.2.3).
    pub first: Duration,
    /// The bound of the second retry's delay.
    pub initial: Duration,
    /// What the bound is multiplied with for each further retry; at least 1.
    pub multiplier: f64,
    /// The bound never exceeds this.
    pub max: Duration,
    /// The growth starts over after the link has been ready for this long.
    pub stable: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(5),
            initial: Duration::from_millis(500),
            multiplier: 2.0,
            max: Duration::from_mins(1),
            stable: Duration::from_secs(30),
        }
    }
}

/// A clock that stands still: growth is all that is asked of the crate.
#[derive(Debug, Clone)]
struct Still(Instant);

impl Clock for Still {
    fn now(&self) -> Instant {
        self.0
    }
}

/// The state of one link's retries: how far they have grown. The policy is the link's, and all its links share it.
#[derive(Debug, Default)]
pub struct Backoff {
    /// The bound of the next retry, unless that is a first one.
    reached: Option<Duration>,
}

impl Backoff {
    /// The delay before the next attempt.
    pub fn next_delay(&mut self, policy: &Policy, now: Instant, chance: &mut Chance) -> Duration {
        let bound = match self.reached {
            None => {
                self.reached = Some(policy.initial.max(LEAST));
                policy.first
            }
            Some(reached) => {
                let mut growth = growth(policy, reached, now);
                let bound = growth.next_backoff().unwrap_or(policy.max).min(policy.max);
                self.reached = Some(growth.current_interval);
                bound
            }
        };
        chance.between(Duration::ZERO, bound.max(LEAST))
    }

    /// The link has been stable, or follows another policy: the next retry is a first one again.
    pub fn reset(&mut self) {
        self.reached = None;
    }
}

fn growth(policy: &Policy, reached: Duration, now: Instant) -> ExponentialBackoff<Still> {
    ExponentialBackoff {
        current_interval: reached,
        initial_interval: policy.initial,
        randomization_factor: 0.0,
        multiplier: policy.multiplier.max(1.0),
        max_interval: policy.max,
        max_elapsed_time: None,
        start_time: now,
        clock: Still(now),
    }
}
