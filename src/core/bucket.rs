//! How fast messages may leave: a token bucket of messages and one of bytes, each filled at its rate up to its burst.
//!
//! What a reader would get wrong: a bucket may be in debt. What does not wait (a ping) is counted though nothing is left, by a burst at most, and a
//! message larger than the burst leaves from a full bucket; what comes behind waits until that is paid. And it may stand in the future: where links take
//! turns, each turn is counted when it is given, so whoever asks next gets a later one.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::clock::Clock;

/// How fast, and how many at once.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pacing {
    /// Messages a second.
    pub rate: Option<f64>,
    /// So many of them at once; else as many as in a second.
    pub burst: Option<u32>,
    /// Application bytes a second.
    pub rate_bytes: Option<u64>,
    /// So many of them at once; else as many as in a second.
    pub burst_bytes: Option<u64>,
}

impl Pacing {
    /// Whether anything is to wait.
    pub fn is_limited(&self) -> bool {
        self.rate.is_some() || self.rate_bytes.is_some()
    }

    /// Messages at once; one at least.
    pub fn most_messages(&self) -> f64 {
        self.burst.map_or(self.rate.unwrap_or_default().floor(), f64::from).max(1.0)
    }

    /// Bytes at once.
    #[allow(clippy::cast_precision_loss, reason = "no burst is as large as the bytes that a double tells apart")]
    pub fn most_bytes(&self) -> f64 {
        self.burst_bytes.or(self.rate_bytes).unwrap_or_default().max(1) as f64
    }
}

/// What asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// A message of a session: it goes ahead of data. Its bytes count, and are not waited for: a large message may have left them far in debt.
    Ahead,
    /// Data, of so many bytes. It leaves the last message of a burst to what goes ahead.
    Data(u64),
}

/// A token bucket of messages, one of bytes, or both.
#[derive(Debug, Default)]
pub struct Bucket {
    pacing: Pacing,
    /// Messages, and bytes, that may leave at once. Less than nothing: debt.
    messages: f64,
    bytes: f64,
    /// When it was so; `None`: nothing has left yet.
    at: Option<Instant>,
}

/// Less than this is not waited for: it is the rounding of a double.
const SLACK: f64 = 1e-6;
/// Moments are told so much later, so that at them what was waited for is there.
const ROUNDING: Duration = Duration::from_micros(1);
/// Nothing is waited for longer at a time, however slow the rate.
const LONGEST: Duration = Duration::from_hours(24);

impl Bucket {
    /// A full one.
    pub fn new(pacing: Pacing) -> Self {
        Self { pacing, messages: pacing.most_messages(), bytes: pacing.most_bytes(), at: None }
    }

    /// Follows other rates: what has left stays counted.
    pub fn set(&mut self, pacing: Pacing) {
        let follow = |was: bool, level: f64, most: f64| if was { level.min(most) } else { most };
        self.messages = follow(self.pacing.rate.is_some(), self.messages, pacing.most_messages());
        self.bytes = follow(self.pacing.rate_bytes.is_some(), self.bytes, pacing.most_bytes());
        self.pacing = pacing;
    }

    /// The first moment from `now` on at which this may leave.
    pub fn next(&mut self, now: Instant, want: Want) -> Instant {
        let from = self.fill(now);
        let most = self.pacing.most_messages();
        let (messages, bytes) = match want {
            Want::Ahead => (1.0, None),
            Want::Data(bytes) => (if most < 2.0 { 1.0 } else { 2.0 }, Some(bytes)),
        };
        let of_messages = self.pacing.rate.map(|rate| wait(messages - self.messages, rate));
        let of_bytes = self
            .pacing
            .rate_bytes
            .zip(bytes)
            .map(|(rate, bytes)| wait(double(bytes).min(self.pacing.most_bytes()) - self.bytes, double(rate)));
        from.later(of_messages.into_iter().chain(of_bytes).max().unwrap_or_default())
    }

    /// So much leaves at this moment, which no later call may be before.
    pub fn take(&mut self, at: Instant, messages: u32, bytes: u64) {
        self.fill(at);
        self.messages -= f64::from(messages);
        self.bytes -= double(bytes);
    }

    /// One message of so many bytes leaves that has waited for nothing. All of these together make no more debt than a burst: others decide
    /// how many there are, and a server that counts has forgotten what is older.
    pub fn count(&mut self, at: Instant, bytes: u64) {
        self.fill(at);
        let count = |level: f64, taken: f64, most: f64| (level - taken).max(level.min(-most));
        self.messages = count(self.messages, 1.0, self.pacing.most_messages());
        self.bytes = count(self.bytes, double(bytes), self.pacing.most_bytes());
    }

    /// Brings it up to a moment; answers with that, or with where it stands already.
    fn fill(&mut self, now: Instant) -> Instant {
        let before = *self.at.get_or_insert(now);
        if now <= before {
            return before;
        }
        let seconds = now.saturating_duration_since(before).as_secs_f64();
        let fill = |level: f64, rate: f64, most: f64| rate.mul_add(seconds, level).min(most);
        self.messages = fill(self.messages, self.pacing.rate.unwrap_or_default(), self.pacing.most_messages());
        self.bytes = fill(self.bytes, self.pacing.rate_bytes.map_or(0.0, double), self.pacing.most_bytes());
        self.at = Some(now);
        now
    }
}

#[allow(clippy::cast_precision_loss, reason = "a rate or a size, not a count that must be exact")]
fn double(bytes: u64) -> f64 {
    bytes as f64
}

/// How long what is lacking takes to come.
fn wait(lacking: f64, rate: f64) -> Duration {
    if lacking <= SLACK {
        return Duration::ZERO;
    }
    let wait = Duration::try_from_secs_f64(lacking / rate).unwrap_or(LONGEST);
    wait.saturating_add(ROUNDING).min(LONGEST)
}

/// A bucket that several links share. Whoever makes it has the lock: the core has none.
pub trait SharedBucket: fmt::Debug + Send + Sync {
    /// Does something with it while nobody else does.
    fn lend(&self, act: &mut dyn FnMut(&mut Bucket));
}

#[cfg(test)]
mod tests;
