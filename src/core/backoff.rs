//! When to dial again: exponential growth by the `backoff` crate, full jitter by our own seed.
//!
//! The crate's own jitter is off: it exceeds its maximum and cannot be seeded. Its clock stands still, because it is asked
//! for growth only. The delay is drawn from *zero to the bound*, so the spread survives the cap; and the growth starts
//! over only when the caller says so, which is after the link has been ready for `stable`, never on open.

use std::time::{Duration, Instant};

use backoff::{Clock, backoff::Backoff as _, exponential::ExponentialBackoff};

use super::chance::Chance;

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

/// The state of one link's retries.
#[derive(Debug)]
pub struct Backoff {
    policy: Policy,
    growth: Option<ExponentialBackoff<Still>>,
}

impl Backoff {
    /// Starts at the first retry.
    pub fn new(policy: Policy) -> Self {
        Self { policy, growth: None }
    }

    /// The delay before the next attempt.
    pub fn next_delay(&mut self, now: Instant, chance: &mut Chance) -> Duration {
        let bound = match &mut self.growth {
            None => {
                self.growth = Some(growth(&self.policy, now));
                self.policy.first
            }
            Some(growth) => growth.next_backoff().unwrap_or(self.policy.max).min(self.policy.max),
        };
        chance.between(Duration::ZERO, bound)
    }

    /// The link has been stable: the next retry is a first one again.
    pub fn reset(&mut self) {
        self.growth = None;
    }

    /// Follows a new policy, keeping to the growth reached only as far as the new one knows it: it starts over.
    pub fn set_policy(&mut self, policy: Policy) {
        if self.policy != policy {
            *self = Self::new(policy);
        }
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}

fn growth(policy: &Policy, now: Instant) -> ExponentialBackoff<Still> {
    ExponentialBackoff {
        current_interval: policy.initial,
        initial_interval: policy.initial,
        randomization_factor: 0.0,
        multiplier: policy.multiplier,
        max_interval: policy.max,
        max_elapsed_time: None,
        start_time: now,
        clock: Still(now),
    }
}
