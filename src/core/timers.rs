//! One deadline per kind, in one table, each saying why it woke.
//!
//! A state of the link arms only its own timers: entering a state clears the table first, so that no timer of another
//! state can revive a link that has stopped.

use std::time::Instant;

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The next attempt or probe.
    Retry,
    /// The attempt has taken too long.
    Connect,
    /// Nothing has arrived for `idle`: ping.
    Idle,
    /// Nothing has arrived since the ping.
    Pong,
    /// What we gave the transport has not left it.
    Stall,
    /// The link has been ready for `stable`.
    Stable,
    /// The closing handshake has taken too long.
    Close,
    /// A ping may ask for the next confirmation.
    Confirm,
    /// An acknowledgement has not come in time. Kept by the outbox, not in the table.
    Ack,
    /// A queued message expires. Kept by the outbox, not in the table.
    Expiry,
    /// The next step of a rotation. Kept by it, not in the table.
    Rotate,
}

impl Timer {
    /// The timers of the table.
    const TABLE: [Self; 8] =
        [Self::Retry, Self::Connect, Self::Idle, Self::Pong, Self::Stall, Self::Stable, Self::Close, Self::Confirm];
}

/// The armed deadlines.
#[derive(Debug, Default)]
pub struct Timers([Option<Instant>; Timer::TABLE.len()]);

impl Timers {
    /// Arms `timer`, replacing its deadline.
    pub fn set(&mut self, timer: Timer, at: Instant) {
        self.0[timer as usize] = Some(at);
    }

    /// Arms `timer` unless it is armed.
    pub fn set_if_unarmed(&mut self, timer: Timer, at: Instant) {
        self.0[timer as usize].get_or_insert(at);
    }

    /// Disarms `timer`, and says when it would have fired.
    pub fn stop(&mut self, timer: Timer) -> Option<Instant> {
        self.0[timer as usize].take()
    }

    /// Disarms all.
    pub fn clear(&mut self) {
        self.0 = Default::default();
    }

    /// When `timer` fires.
    pub fn get(&self, timer: Timer) -> Option<Instant> {
        self.0[timer as usize]
    }

    /// The earliest deadline, and whose it is; of equal ones, the first of the table.
    pub fn next(&self) -> Option<(Instant, Timer)> {
        let mut first: Option<(Instant, Timer)> = None;
        for timer in Timer::TABLE {
            if let Some(at) = self.get(timer)
                && first.is_none_or(|(earliest, _)| at < earliest)
            {
                first = Some((at, timer));
            }
        }
        first
    }

    /// Disarms and returns the earliest timer that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let (at, timer) = self.next()?;
        (at <= now).then(|| {
            self.stop(timer);
            timer
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn due_timers_come_in_the_order_of_their_deadlines_and_once() {
        let start = crate::core::epoch();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timers = Timers::default();
        timers.set(Timer::Close, at(1));
        timers.set(Timer::Retry, at(2));
        timers.set(Timer::Idle, at(9));
        assert_eq!(timers.pop_due(at(0)), None);
        assert_eq!(timers.pop_due(at(3)), Some(Timer::Close));
        assert_eq!(timers.pop_due(at(3)), Some(Timer::Retry));
        assert_eq!(timers.pop_due(at(3)), None);
        assert_eq!(timers.next(), Some((at(9), Timer::Idle)));
    }

    #[test]
    fn arming_twice_keeps_the_first_deadline_only_when_asked_to() {
        let start = crate::core::epoch();
        let mut timers = Timers::default();
        timers.set(Timer::Pong, start);
        timers.set_if_unarmed(Timer::Pong, start + Duration::from_secs(1));
        assert_eq!(timers.get(Timer::Pong), Some(start));
        timers.set(Timer::Pong, start + Duration::from_secs(1));
        assert_eq!(timers.get(Timer::Pong), Some(start + Duration::from_secs(1)));
    }
}
