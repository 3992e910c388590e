//! How many attempts may begin within a time: what a service allows a client a day, say.
//!
//! What a reader would get wrong: no attempt has a moment of its own. They are counted in slots of a 24th of the time, and a slot counts until
//! the last attempt that may be in it is too old; so a window never has more than it may, and may have a 24th less.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::clock::Clock;

/// Slots of which a window is made.
const SLOTS: u32 = 24;
/// A window that begins anywhere touches one more.
const HELD: usize = SLOTS as usize + 1;
/// What a rotation or a probe leaves for links that are down: one attempt of so many, and one at least.
const SPARE: u32 = 10;

/// So many attempts within so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// How many.
    pub attempts: u32,
    /// Within this.
    pub per: Duration,
}

/// What an attempt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// A link that has no connection.
    Down,
    /// One that has: a new connection beside it, or a look whether a server is back. It leaves a tenth to the others.
    Spare,
}

/// What has been used.
#[derive(Debug)]
pub struct Allowance {
    limit: Limit,
    /// Where the slots are counted from.
    epoch: Instant,
    /// The slot that counts now, from there.
    slot: u64,
    /// Attempts in it, and in those before it.
    counts: [u32; HELD],
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What is allowed.
    pub limit: Limit,
    /// Attempts that count now.
    pub used: u32,
    /// When the next attempt may begin, where none may now.
    pub until: Option<Instant>,
}

/// One that several share: locks are not the core's business.
pub trait SharedAllowance: fmt::Debug + Send + Sync {
    /// Takes an attempt; else says when the next may begin, which is later than `now`.
    fn take(&self, now: Instant, what: For) -> Result<(), Instant>;

    /// When the next may begin, where none may now.
    fn until(&self, now: Instant, what: For) -> Option<Instant>;
}

impl Allowance {
    /// Nothing has been used.
    pub fn new(limit: Limit, now: Instant) -> Self {
        Self { limit, epoch: now, slot: 0, counts: [0; HELD] }
    }

    /// The limit.
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// Follows another limit. What has been used counts on; by a longer time, only what was still counted.
    pub fn set_limit(&mut self, now: Instant, limit: Limit) {
        if limit.per == self.limit.per {
            self.limit = limit;
        } else {
            let used = self.used(now);
            *self = Self::new(limit, now);
            self.restore(now, &used);
        }
    }

    /// Takes an attempt; else says when the next may begin.
    pub fn take(&mut self, now: Instant, what: For) -> Result<(), Instant> {
        match self.until(now, what) {
            None => {
                self.counts[0] = self.counts[0].saturating_add(1);
                Ok(())
            }
            Some(until) => Err(until),
        }
    }

    /// When the next attempt may begin, where none may now.
    pub fn until(&mut self, now: Instant, what: For) -> Option<Instant> {
        self.roll(now);
        let kept = match what {
            For::Down => 0,
            For::Spare => (self.limit.attempts / SPARE).max(1),
        };
        let most = self.limit.attempts.saturating_sub(kept);
        (self.sum() >= most).then(|| self.back_at(most))
    }

    /// How it stands.
    pub fn standing(&mut self, now: Instant) -> Standing {
        let until = self.until(now, For::Down);
        Standing { limit: self.limit, used: self.sum(), until }
    }

    /// What counts now: the ends of slots, the newest first, and how many attempts are in each.
    pub fn used(&mut self, now: Instant) -> Vec<(Instant, u32)> {
        self.roll(now);
        let counts = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        counts.map(|(place, count)| (self.end_of(self.slot.saturating_sub(place as u64)), *count)).collect()
    }

    /// Counts what an earlier one had used. Slots begin when its slots did, so that nothing counts for longer however often that happens.
    pub fn restore(&mut self, now: Instant, used: &[(Instant, u32)]) {
        let width = self.width();
        let mut all = self.used(now);
        // A clock that was set back moves none of them into the future.
        all.extend(used.iter().map(|(end, count)| ((*end).min(now.later(width)), *count)));
        let Some(newest) = all.iter().map(|(end, _)| *end).max() else { return };
        let since = now.saturating_duration_since(newest);
        let left = match (newest.saturating_duration_since(now), remainder(since, width)) {
            (Duration::ZERO, past) => width.saturating_sub(past),
            (left, _) => left,
        };
        self.epoch = now.later(left).earlier(width.saturating_mul(SLOTS + 2));
        (self.slot, self.counts) = (u64::from(SLOTS) + 1, [0; HELD]);
        for (end, count) in all {
            let left = end.later(self.limit.per).saturating_duration_since(now.later(left));
            if end.later(self.limit.per) <= now {
                continue;
            }
            let slots = left.as_nanos().div_ceil(width.as_nanos().max(1));
            let place = usize::try_from(slots).unwrap_or(HELD).min(HELD - 1);
            let held = &mut self.counts[HELD - 1 - place];
            *held = held.saturating_add(count);
        }
    }

    /// When so few are counted that one more makes at most this.
    fn back_at(&self, most: u32) -> Instant {
        let mut sum = self.sum();
        for place in (0..HELD).rev() {
            sum = sum.saturating_sub(self.counts.get(place).copied().unwrap_or_default());
            if sum < most {
                // It is let go when a slot begins that is so far ahead.
                let ahead = (HELD - place) as u64;
                return self.end_of(self.slot.saturating_add(ahead).saturating_sub(1));
            }
        }
        // None ever may: look again after a whole window.
        self.end_of(self.slot.saturating_add(HELD as u64))
    }

    fn sum(&self) -> u32 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    fn width(&self) -> Duration {
        // Rounded up: all slots together are no shorter than the time.
        (self.limit.per.saturating_add(Duration::from_nanos(SLOTS.into())) / SLOTS).max(Duration::from_millis(1))
    }

    /// When the slot of this number ends.
    fn end_of(&self, slot: u64) -> Instant {
        let nanos = self.width().as_nanos().saturating_mul(u128::from(slot.saturating_add(1)));
        self.epoch.later(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    fn roll(&mut self, now: Instant) {
        let nanos = now.saturating_duration_since(self.epoch).as_nanos() / self.width().as_nanos().max(1);
        let slot = u64::try_from(nanos).unwrap_or(u64::MAX);
        let gone = usize::try_from(slot.saturating_sub(self.slot)).unwrap_or(HELD).min(HELD);
        self.counts.copy_within(..HELD - gone, gone);
        self.counts[..gone].fill(0);
        self.slot = self.slot.max(slot);
    }
}

fn remainder(of: Duration, by: Duration) -> Duration {
    let nanos = of.as_nanos() % by.as_nanos().max(1);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limit(attempts: u32, secs: u64) -> Limit {
        Limit { attempts, per: Duration::from_secs(secs) }
    }

    #[test]
    fn what_is_spent_comes_back_when_the_window_has_passed_it() {
        let start = crate::epoch();
        let mut allowance = Allowance::new(limit(3, 24), start);
        for _ in 0..3 {
            assert_eq!(allowance.take(start, For::Down), Ok(()));
        }
        let until = allowance.take(start, For::Down).unwrap_err();
        assert_eq!((until - start).as_millis(), 25_000);
        assert_eq!(allowance.standing(start), Standing { limit: limit(3, 24), used: 3, until: Some(until) });
        assert!(allowance.take(start + Duration::from_millis(24_999), For::Down).is_err());
        assert_eq!(allowance.take(until, For::Down), Ok(()));
        assert_eq!(allowance.standing(until).used, 1);
    }

    #[test]
    fn a_rotation_leaves_a_tenth_to_links_that_are_down() {
        let start = crate::epoch();
        let mut allowance = Allowance::new(limit(20, 60), start);
        for _ in 0..18 {
            assert_eq!(allowance.take(start, For::Spare), Ok(()));
        }
        assert!(allowance.take(start, For::Spare).is_err_and(|until| until > start));
        assert_eq!(allowance.take(start, For::Down), Ok(()));
        let mut only_one = Allowance::new(limit(1, 60), start);
        assert!(only_one.take(start, For::Spare).is_err_and(|until| until > start));
        assert_eq!(only_one.take(start, For::Down), Ok(()));
    }

    #[test]
    fn a_longer_time_keeps_what_was_counted_and_a_larger_number_helps_at_once() {
        let start = crate::epoch();
        let mut allowance = Allowance::new(limit(2, 60), start);
        let _ = (allowance.take(start, For::Down), allowance.take(start, For::Down));
        allowance.set_limit(start, limit(2, 3600));
        assert!(allowance.take(start + Duration::from_mins(50), For::Down).is_err());
        allowance.set_limit(start, limit(3, 3600));
        assert_eq!(allowance.take(start + Duration::from_mins(50), For::Down), Ok(()));
    }

    #[test]
    fn what_was_used_is_let_go_in_time_however_often_it_begins_again() {
        let start = crate::epoch();
        let mut allowance = Allowance::new(limit(3, 24), start);
        let _ = allowance.take(start + Duration::from_millis(300), For::Down);
        let mut now = start;
        for _ in 0..49 {
            assert_eq!(allowance.standing(now).used, 1, "{:?}", now - start);
            now += Duration::from_millis(510);
            let used = allowance.used(now);
            allowance = Allowance::new(limit(3, 24), now);
            allowance.restore(now, &used);
        }
        now = start + Duration::from_millis(25_100);
        assert_eq!((allowance.standing(now).used, allowance.used(now)), (0, Vec::new()));
    }

    #[test]
    fn a_clock_that_was_set_back_has_nothing_count_for_longer_than_the_time() {
        let start = crate::epoch();
        let mut allowance = Allowance::new(limit(1, 24), start);
        allowance.restore(start, &[(start + Duration::from_hours(9), 1)]);
        let until = allowance.until(start, For::Down).unwrap();
        assert_eq!(until - start, Duration::from_secs(25) + Duration::from_nanos(25));
    }

    /// What happens to an allowance.
    #[derive(Debug, Clone)]
    enum Step {
        Take(u64, bool),
        /// The daemon starts again so much later.
        Restart(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (0..4000_u64, any::<bool>()).prop_map(|(millis, spare)| Step::Take(millis, spare)),
            1 => (0..90_000_u64).prop_map(Step::Restart),
        ];
        proptest::collection::vec(step, 1..300)
    }

    proptest! {
        #[test]
        fn no_window_has_more_attempts_than_it_may_and_all_wait_for_a_bound(
            attempts in 1..30_u32, secs in 1..100_u64, steps in steps(),
        ) {
            let per = Duration::from_secs(secs);
            let (mut now, mut taken) = (crate::epoch(), Vec::new());
            let mut allowance = Allowance::new(limit(attempts, secs), now);
            for step in steps {
                match step {
                    Step::Take(millis, spare) => {
                        now += Duration::from_millis(millis);
                        match allowance.take(now, if spare { For::Spare } else { For::Down }) {
                            Ok(()) => taken.push(now),
                            Err(until) => {
                                prop_assert!(until > now && until - now <= per + per / 12 + Duration::from_millis(50));
                                prop_assert!(spare || allowance.standing(now).until == Some(until));
                            }
                        }
                    }
                    Step::Restart(millis) => {
                        let used = allowance.used(now);
                        now += Duration::from_millis(millis);
                        allowance = Allowance::new(limit(attempts, secs), now);
                        allowance.restore(now, &used);
                    }
                }
            }
            for (place, at) in taken.iter().enumerate() {
                let within = taken[place..].iter().take_while(|other| **other - *at < per).count();
                prop_assert!(within <= attempts as usize, "{within} in a window of {per:?}");
            }
        }
    }
}
