//! One deadline per kind, in one table, each saying why it woke.
//!
//! The table is that of one connection. A stage of it arms only its own timers: what enters a stage clears the table first.

use std::time::{Duration, Instant};

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The attempt has taken too long.
    Connect,
    /// Nothing has arrived for `idle`: ping.
    Idle,
    /// Nothing has arrived since the ping.
    Pong,
    /// What we gave the transport has not left it.
    Stall,
    /// The connection has been the current one for `stable`.
    Stable,
    /// The closing handshake has taken too long.
    Close,
    /// A ping may ask for the next confirmation.
    Confirm,
    /// The connection is to be replaced for its age, or for that of a value that it was made with.
    Age,
    /// Something of the session is due. Kept by it: not in the table, as those below.
    Session,
    /// The next attempt or probe. Kept by the link.
    Retry,
    /// An acknowledgement has not come in time. Kept by the outbox.
    Ack,
    /// A queued message expires. Kept by the outbox.
    Expiry,
    /// The next step of a rotation. Kept by it.
    Rotate,
    /// What is paced may leave. Kept by the outbox.
    Pace,
    /// Nobody has wanted the link for long enough. Kept by the link.
    Sleep,
}

impl Timer {
    /// The timers of the table.
    const TABLE: [Self; 8] =
        [Self::Connect, Self::Idle, Self::Pong, Self::Stall, Self::Stable, Self::Close, Self::Confirm, Self::Age];
}

/// The armed deadlines.
#[derive(Debug)]
pub(crate) struct Timers {
    /// What was armed first: the others are counted from there, in half the room.
    base: Option<Instant>,
    /// Nanoseconds from there; [`Self::UNARMED`] where it is not armed.
    at: [i64; Timer::TABLE.len()],
}

impl Default for Timers {
    fn default() -> Self {
        Self { base: None, at: [Self::UNARMED; Timer::TABLE.len()] }
    }
}

impl Timers {
    /// A deadline that there is none of.
    const UNARMED: i64 = i64::MAX;

    /// Arms `timer`, replacing its deadline.
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        let base = *self.base.get_or_insert(at);
        let nanos = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(Self::UNARMED - 1);
        self.at[timer as usize] = match at.checked_duration_since(base) {
            Some(later) => nanos(later).min(Self::UNARMED - 1),
            None => -nanos(base.saturating_duration_since(at)),
        };
    }

    /// Arms `timer` unless it is armed.
    pub(crate) fn set_if_unarmed(&mut self, timer: Timer, at: impl FnOnce() -> Instant) {
        if !self.is_armed(timer) {
            self.set(timer, at());
        }
    }

    /// Whether `timer` is armed. Cheaper than when it fires.
    #[inline]
    pub(crate) fn is_armed(&self, timer: Timer) -> bool {
        self.at[timer as usize] != Self::UNARMED
    }

    /// Disarms `timer`.
    #[inline]
    pub(crate) fn stop(&mut self, timer: Timer) {
        self.at[timer as usize] = Self::UNARMED;
    }

    /// Disarms all.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// When `timer` fires.
    pub(crate) fn get(&self, timer: Timer) -> Option<Instant> {
        self.instant(self.at[timer as usize])
    }

    /// The earliest deadline, and whose it is; of equal ones, the first of the table.
    #[inline]
    pub(crate) fn next(&self) -> Option<(Instant, Timer)> {
        let mut first = (Self::UNARMED, Timer::Connect);
        for timer in Timer::TABLE {
            let at = self.at[timer as usize];
            if at < first.0 {
                first = (at, timer);
            }
        }
        Some((self.instant(first.0)?, first.1))
    }

    fn instant(&self, at: i64) -> Option<Instant> {
        let span = Duration::from_nanos(at.unsigned_abs());
        let base = self.base.filter(|_| at != Self::UNARMED)?;
        if at < 0 { base.checked_sub(span) } else { base.checked_add(span) }
    }

    /// Disarms and returns the earliest timer that is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let (at, timer) = self.next()?;
        (at <= now).then(|| {
            self.stop(timer);
            timer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_timers_come_in_the_order_of_their_deadlines_and_once() {
        let start = crate::epoch();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timers = Timers::default();
        timers.set(Timer::Close, at(1));
        timers.set(Timer::Connect, at(2));
        timers.set(Timer::Idle, at(9));
        assert_eq!(timers.pop_due(at(0)), None);
        assert_eq!(timers.pop_due(at(3)), Some(Timer::Close));
        assert_eq!(timers.pop_due(at(3)), Some(Timer::Connect));
        assert_eq!(timers.pop_due(at(3)), None);
        assert_eq!(timers.next(), Some((at(9), Timer::Idle)));
    }

    #[test]
    fn arming_twice_keeps_the_first_deadline_only_when_asked_to() {
        let start = crate::epoch();
        let mut timers = Timers::default();
        timers.set(Timer::Pong, start);
        timers.set_if_unarmed(Timer::Pong, || start + Duration::from_secs(1));
        assert_eq!(timers.get(Timer::Pong), Some(start));
        timers.set(Timer::Pong, start + Duration::from_secs(1));
        assert_eq!(timers.get(Timer::Pong), Some(start + Duration::from_secs(1)));
    }

    #[test]
    fn a_deadline_comes_back_as_it_was_set_also_one_before_the_first() {
        let before = crate::epoch();
        let start = before + Duration::new(7, 13);
        let mut timers = Timers::default();
        let deadlines = [
            (Timer::Idle, start),
            (Timer::Connect, before),
            (Timer::Close, start + Duration::from_hours(24 * 365 * 20) + Duration::from_nanos(1)),
        ];
        for (timer, at) in deadlines {
            timers.set(timer, at);
        }
        for (timer, at) in deadlines {
            assert_eq!(timers.get(timer), Some(at));
        }
        assert_eq!(timers.next(), Some((deadlines[1].1, Timer::Connect)));
    }
}
