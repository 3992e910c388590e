//! The watch over the bucket: whether there is one, whether it can be believed, and when it is made again.
//!
//! What a reader would get wrong: a watch that tells of nothing looks like a bucket in which nothing happens. So it is believed only while the
//! own renewals come back through it, and made again where one that was answered does not come back within half a lease.

use std::time::{Duration, Instant};

use crate::{
    backoff::{self, Backoff},
    chance::Chance,
    clock::Clock as _,
};

/// The watch.
#[derive(Debug)]
pub(super) struct Lookout {
    lease: Duration,
    backoff: Backoff,
    policy: backoff::Policy,
    /// Counts the watches.
    number: u64,
    stage: Stage,
    /// The latest revision that this one has told of.
    top: u64,
    /// The revision of the renewal that was answered last.
    written: u64,
    /// Since when one has been answered that did not come back.
    missed: Option<Instant>,
    /// So many watches in a row did not tell of an answered renewal in time.
    stalls: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is to be made then.
    Wanted(Instant),
    /// It tells of what stands there.
    Filling(Instant),
    /// It tells of what is new.
    Current(Instant),
}

impl Lookout {
    pub(super) fn new(lease: Duration, now: Instant) -> Self {
        // Nothing is claimed before there is one again.
        let (initial, max) = (Duration::from_millis(100), Duration::from_secs(1));
        let policy = backoff::Policy { first: initial, initial, max, ..backoff::Policy::default() };
        Self {
            lease,
            backoff: Backoff::default(),
            policy,
            number: 0,
            stage: Stage::Wanted(now),
            top: 0,
            written: 0,
            missed: None,
            stalls: 0,
        }
    }

    /// Whether these are words of the watch that there is.
    pub(super) fn is(&self, number: u64) -> bool {
        number == self.number && !matches!(self.stage, Stage::Wanted(_))
    }

    /// The number of the watch.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Whether it has told of all that stood there.
    pub(super) fn is_current(&self) -> bool {
        matches!(self.stage, Stage::Current(_))
    }

    /// Whether it does not tell of the own renewals, though it was made again.
    pub(super) fn is_blind(&self) -> bool {
        self.stalls > 1
    }

    /// It has told of a revision.
    pub(super) fn note(&mut self, revision: u64) {
        self.top = self.top.max(revision);
    }

    /// It has told of all that stood there, up to this revision.
    pub(super) fn filled(&mut self, now: Instant) -> u64 {
        self.stage = Stage::Current(now);
        self.top
    }

    /// It has ended.
    pub(super) fn ended(&mut self, now: Instant, chance: &mut Chance) {
        self.stage = Stage::Wanted(now.later(self.backoff.next_delay(&self.policy, now, chance)));
    }

    /// Everything is to be told anew, at once.
    pub(super) fn start_over(&mut self, now: Instant) {
        (self.stage, self.missed, self.written, self.stalls) = (Stage::Wanted(now), None, 0, 0);
    }

    /// A renewal was answered.
    pub(super) fn renewed(&mut self, now: Instant, revision: u64) {
        if revision <= self.written {
            return;
        }
        self.written = self.written.max(revision);
        self.missed.get_or_insert(now);
    }

    /// The own record has come back with this revision. Says whether that is the one that was written last, as far as is known.
    pub(super) fn returned(&mut self, revision: u64) -> bool {
        if revision < self.written {
            return false;
        }
        // The answer may come later than this.
        (self.written, self.missed, self.stalls) = (revision, None, 0);
        if self.is_current() {
            self.backoff.reset();
        }
        true
    }

    fn stalls_at(&self) -> Option<Instant> {
        let since = match self.stage {
            Stage::Wanted(_) => return None,
            Stage::Filling(since) | Stage::Current(since) => since,
        };
        Some(self.missed?.max(since).later(self.lease / 2))
    }

    /// The number of the watch that is to be made now.
    pub(super) fn poll(&mut self, now: Instant) -> Option<u64> {
        if self.stalls_at().is_some_and(|at| at <= now) {
            self.stalls = self.stalls.saturating_add(1);
            (self.stage, self.missed) = (Stage::Wanted(now), None);
        }
        if !matches!(self.stage, Stage::Wanted(at) if at <= now) {
            return None;
        }
        (self.number, self.top, self.stage) = (self.number.saturating_add(1), 0, Stage::Filling(now));
        Some(self.number)
    }

    /// When to ask for that though nothing has happened.
    pub(super) fn next(&self) -> Option<Instant> {
        match self.stage {
            Stage::Wanted(at) => Some(at),
            Stage::Filling(_) | Stage::Current(_) => self.stalls_at(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(12);

    #[test]
    fn a_watch_through_which_an_answered_renewal_does_not_come_back_is_made_again() {
        let start = crate::epoch();
        let mut lookout = Lookout::new(LEASE, start);
        assert_eq!(lookout.poll(start), Some(1));
        lookout.filled(start);
        lookout.renewed(start, 5);
        assert!(lookout.returned(5));
        lookout.renewed(start + LEASE / 3, 6);
        assert!(!lookout.returned(5), "an older one is told of again");
        let stall = start + LEASE / 3 + LEASE / 2;
        assert_eq!(lookout.next(), Some(stall));
        assert_eq!((lookout.poll(stall), lookout.is_current()), (Some(2), false));
        assert!(!lookout.is(1) && lookout.is(2) && !lookout.is_blind());
        lookout.filled(stall);
        lookout.renewed(stall, 7);
        assert_eq!(lookout.poll(stall + LEASE / 2), Some(3));
        assert!(lookout.is_blind(), "nor did it come back through the next");
        assert!(!lookout.returned(6) && lookout.returned(7) && !lookout.is_blind());
    }

    #[test]
    fn a_watch_that_ends_again_and_again_is_made_ever_more_seldom() {
        let (start, mut chance) = (crate::epoch(), Chance::new(1));
        let mut lookout = Lookout::new(LEASE, start);
        let (mut now, mut made) = (start, 0);
        while now < start + Duration::from_mins(10) {
            if lookout.poll(now).is_some() {
                made += 1;
                lookout.ended(now, &mut chance);
            }
            now = lookout.next().unwrap();
        }
        assert!((800..2000).contains(&made), "{made}");
    }
}
