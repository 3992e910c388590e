//! Until when a member may act on its links: asked before each write to a socket and before each publish.
//!
//! What a reader would get wrong: the deadline counts from when the renewal was *sent*. The answer may come late, and the others count from
//! when they saw the renewal, which is never earlier. So they find out that a member is dead after it has stopped by itself.

use std::time::{Duration, Instant};

use crate::clock::Clock as _;

/// Until when a member may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tenure {
    /// Always: there is no cluster.
    Solo,
    /// Before this moment.
    Until(Instant),
    /// Not now.
    Over,
}

impl Tenure {
    /// What a renewal gives that was sent then and was answered: nine tenths of a lease.
    pub(super) fn of(sent: Instant, lease: Duration) -> Self {
        Self::Until(sent.later(lease.saturating_sub(lease / 10)))
    }

    /// Whether its member may act now.
    #[inline]
    pub fn holds(self, now: Instant) -> bool {
        match self {
            Self::Solo => true,
            Self::Until(deadline) => now < deadline,
            Self::Over => false,
        }
    }

    /// When it ends by itself.
    pub fn deadline(self) -> Option<Instant> {
        match self {
            Self::Until(deadline) => Some(deadline),
            Self::Solo | Self::Over => None,
        }
    }

    /// The one that lasts longer: a late answer takes nothing away.
    #[must_use]
    pub(super) fn extended(self, by: Self) -> Self {
        match (self, by) {
            (Self::Until(one), Self::Until(other)) => Self::Until(one.max(other)),
            (Self::Solo, _) | (Self::Until(_), Self::Over) => self,
            (Self::Until(_) | Self::Over, _) => by,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    #[test]
    fn a_renewal_lasts_for_nine_tenths_of_a_lease_from_when_it_was_sent() {
        let sent = crate::epoch();
        let tenure = Tenure::of(sent, LEASE);
        assert!(tenure.holds(sent + Duration::from_millis(8_999)));
        assert!(!tenure.holds(sent + Duration::from_secs(9)));
        assert_eq!(tenure.deadline(), Some(sent + Duration::from_secs(9)));
    }

    #[test]
    fn an_answer_that_comes_late_takes_nothing_away() {
        let sent = crate::epoch();
        let (early, late) = (Tenure::of(sent, LEASE), Tenure::of(sent + LEASE, LEASE));
        assert_eq!(late.extended(early), late);
        assert_eq!(early.extended(late), late);
        assert_eq!(Tenure::Over.extended(early), early);
        assert_eq!(early.extended(Tenure::Over), early);
    }

    #[test]
    fn without_a_cluster_a_daemon_may_always_act() {
        let now = crate::epoch();
        assert!(Tenure::Solo.holds(now) && Tenure::Solo.extended(Tenure::Over).holds(now));
        assert!(!Tenure::Over.holds(now));
    }
}
