//! Whether the peer of a carrier is still there: an HTTP/2 PING where nothing has arrived for long, and the end where nothing follows.
//!
//! What a reader would get wrong: links ping on their own as well. One that is silent by its peer's choice says nothing of the others; this
//! ends them all at once.

use std::time::{Duration, Instant};

use crate::clock::Clock;

/// What a carrier is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Look again then.
    At(Instant),
    /// Ping.
    Ping,
    /// Give it up: nothing has arrived for this long.
    Lost(Duration),
}

/// When a carrier was last heard, and whether it is being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse {
    heard: Instant,
    pinged: Option<Instant>,
}

impl Pulse {
    /// It is heard now.
    pub const fn new(now: Instant) -> Self {
        Self { heard: now, pinged: None }
    }

    /// Something has arrived.
    pub const fn hear(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// What is to be done now: a ping after `idle` without a word, the end after `timeout` more.
    pub fn beat(&mut self, now: Instant, idle: Duration, timeout: Duration) -> Beat {
        match self.pinged {
            None if self.heard.later(idle) <= now => {
                self.pinged = Some(now);
                Beat::Ping
            }
            None => Beat::At(self.heard.later(idle)),
            Some(at) if at.later(timeout) <= now => Beat::Lost(now.saturating_duration_since(self.heard)),
            Some(at) => Beat::At(at.later(timeout)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::epoch;

    const IDLE: Duration = Duration::from_secs(20);
    const TIMEOUT: Duration = Duration::from_secs(10);

    #[test]
    fn a_silent_peer_is_asked_once_and_then_given_up() {
        let start = epoch();
        let at = |seconds| start.later(Duration::from_secs(seconds));
        let mut pulse = Pulse::new(start);
        assert_eq!(pulse.beat(at(19), IDLE, TIMEOUT), Beat::At(at(20)));
        assert_eq!(pulse.beat(at(20), IDLE, TIMEOUT), Beat::Ping);
        assert_eq!(pulse.beat(at(29), IDLE, TIMEOUT), Beat::At(at(30)));
        assert_eq!(pulse.beat(at(30), IDLE, TIMEOUT), Beat::Lost(Duration::from_secs(30)));
        pulse.hear(at(31));
        assert_eq!(pulse.beat(at(31), IDLE, TIMEOUT), Beat::At(at(51)));
    }

    proptest! {
        #[test]
        fn whoever_is_heard_at_least_every_timeout_is_never_given_up_and_whoever_is_not_is_given_up_in_time(
            steps in prop::collection::vec(0_u64..9_000, 1..200), deaf_at in 0_usize..200
        ) {
            let mut now = epoch();
            let (mut pulse, mut heard, mut lost) = (Pulse::new(now), now, None);
            for (index, step) in steps.iter().enumerate() {
                now = now.later(Duration::from_millis(*step));
                if index < deaf_at {
                    pulse.hear(now);
                    heard = now;
                }
                let beat = pulse.beat(now, IDLE, TIMEOUT);
                if let Beat::At(next) = beat {
                    prop_assert!(next > now && next <= now.later(IDLE.max(TIMEOUT)));
                }
                if let Beat::Lost(silent) = beat {
                    prop_assert!(silent >= IDLE + TIMEOUT);
                    lost = Some(now);
                    break;
                }
            }
            // A turn can be as late as one step.
            let late = IDLE + TIMEOUT + Duration::from_secs(18);
            prop_assert!(lost.is_some() || now.saturating_duration_since(heard) <= late);
        }
    }
}
