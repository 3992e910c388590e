//! How many attempts may begin within a time, such as the connections that a service allows a client each day.
//!
//! What a reader would get wrong: attempts are not stored one by one. They are counted in slots of a 24th of the time, and a slot counts until
//! the newest attempt that it may hold is too old. So no window has more attempts than it may, and an attempt can count a 24th longer than it must.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::clock::Clock;

/// Slots of a window.
const SLOTS: u32 = 24;
/// A window that begins inside a slot touches one slot more.
const HELD: usize = SLOTS as usize + 1;
/// A rotation or a probe leaves one attempt of this many, and at least one, to links that are down.
const SPARE: u32 = 10;

/// At most so many attempts within a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Their number.
    pub attempts: u32,
    /// The time.
    pub per: Duration,
}

/// What an attempt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// A link that has no connection.
    Down,
    /// A second connection for a link that has one, or a probe of a server. It leaves a tenth to links that are down.
    Spare,
}

/// The attempts that have been used.
#[derive(Debug)]
pub struct Allowance {
    limit: Limit,
    /// The moment at which slot 0 begins.
    epoch: Instant,
    /// The number of the current slot.
    slot: u64,
    /// Attempts in the current slot and in those before it, the newest first.
    counts: [u32; HELD],
}

/// An allowance at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What is allowed.
    pub limit: Limit,
    /// Attempts that count.
    pub used: u32,
    /// When the next attempt may begin, if none may begin now.
    pub until: Option<Instant>,
}

/// An allowance that several links share. The core has no locks, so its user brings one.
pub trait SharedAllowance: fmt::Debug + Send + Sync {
    /// Takes an attempt. If there is none, returns when the next may begin, which is later than `now`.
    fn take(&self, now: Instant, what: For) -> Result<(), Instant>;

    /// When the next attempt may begin, if none may begin now.
    fn until(&self, now: Instant, what: For) -> Option<Instant>;
}

impl Allowance {
    /// An allowance of which nothing has been used.
    pub fn new(limit: Limit, now: Instant) -> Self {
        Self { limit, epoch: now, slot: 0, counts: [0; HELD] }
    }

    /// The limit.
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// Changes the limit. Attempts that still count keep counting, with a longer time for longer.
    pub fn set_limit(&mut self, now: Instant, limit: Limit) {
        if limit.per == self.limit.per {
            self.limit = limit;
        } else {
            let used = self.used(now);
            *self = Self::new(limit, now);
            self.restore(now, &used);
        }
    }

    /// Takes an attempt. If there is none, returns when the next may begin.
    pub fn take(&mut self, now: Instant, what: For) -> Result<(), Instant> {
        match self.until(now, what) {
            None => {
                self.counts[0] = self.counts[0].saturating_add(1);
                Ok(())
            }
            Some(until) => Err(until),
        }
    }

    /// When the next attempt may begin, if none may begin now.
    pub fn until(&mut self, now: Instant, what: For) -> Option<Instant> {
        self.roll(now);
        let kept = match what {
            For::Down => 0,
            For::Spare => (self.limit.attempts / SPARE).max(1),
        };
        let most = self.limit.attempts.saturating_sub(kept);
        (self.sum() >= most).then(|| self.back_at(most))
    }

    /// The allowance at this moment.
    pub fn standing(&mut self, now: Instant) -> Standing {
        let until = self.until(now, For::Down);
        Standing { limit: self.limit, used: self.sum(), until }
    }

    /// The slots that count: when each ends and how many attempts it has, the newest first.
    pub fn used(&mut self, now: Instant) -> Vec<(Instant, u32)> {
        self.roll(now);
        let counts = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        counts.map(|(place, count)| (self.end_of(self.slot.saturating_sub(place as u64)), *count)).collect()
    }

    /// Adds what an earlier allowance had used. Slots keep the rhythm of the earlier ones, so that attempts do not count longer after many restarts.
    pub fn restore(&mut self, now: Instant, used: &[(Instant, u32)]) {
        let width = self.width();
        let mut all = self.used(now);
        // After the clock was set back, no slot may end later than one that begins now.
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

    /// When at least one attempt less than `most` counts.
    fn back_at(&self, most: u32) -> Instant {
        let mut sum = self.sum();
        for place in (0..HELD).rev() {
            sum = sum.saturating_sub(self.counts.get(place).copied().unwrap_or_default());
            if sum < most {
                // Its attempts stop counting when the slot begins that is so many ahead.
                let ahead = (HELD - place) as u64;
                return self.end_of(self.slot.saturating_add(ahead).saturating_sub(1));
            }
        }
        // The limit allows none: look again after a whole window.
        self.end_of(self.slot.saturating_add(HELD as u64))
    }

    fn sum(&self) -> u32 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    fn width(&self) -> Duration {
        // Rounded up, so that all slots together are not shorter than the time.
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
