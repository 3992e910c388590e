//! Moments that spans are added to, without an end to fall off.
//!
//! A span may be a peer's or a file's number, and `Instant + Duration` panics where the sum has no name. So in all of `src` (clippy's
//! `arithmetic_side_effects` holds it to that) moments move by [`Clock`], which ends a century away.

use std::time::{Duration, Instant, SystemTime};

/// Further away than this nothing is waited for.
const FAR: Duration = Duration::from_hours(24 * 36_525);

/// A moment that can be moved by any span.
pub trait Clock: Sized + Copy {
    /// The moment this much later, where it has a name.
    fn checked_later(self, span: Duration) -> Option<Self>;
    /// The moment this much earlier, where it has a name.
    fn checked_earlier(self, span: Duration) -> Option<Self>;

    /// The moment this much later, or a century later where the span is longer.
    #[must_use]
    fn later(self, span: Duration) -> Self {
        self.checked_later(span.min(FAR)).unwrap_or(self)
    }

    /// The moment this much earlier, or this one where that has no name.
    #[must_use]
    fn earlier(self, span: Duration) -> Self {
        self.checked_earlier(span).unwrap_or(self)
    }
}

/// The moment so long after 1970, as it is kept in files: a date, and no span to wait for, so a century is not its end.
pub fn since_epoch(span: Duration) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(span).unwrap_or(SystemTime::UNIX_EPOCH)
}

impl Clock for Instant {
    fn checked_later(self, span: Duration) -> Option<Self> {
        self.checked_add(span)
    }

    fn checked_earlier(self, span: Duration) -> Option<Self> {
        self.checked_sub(span)
    }
}

impl Clock for SystemTime {
    fn checked_later(self, span: Duration) -> Option<Self> {
        self.checked_add(span)
    }

    fn checked_earlier(self, span: Duration) -> Option<Self> {
        self.checked_sub(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_span_is_too_long_to_be_added() {
        let now = crate::epoch();
        for span in [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_secs(1 << 62)] {
            assert_eq!(now.later(span), now + FAR);
            assert_eq!(now.later(span).later(span).later(span), now + FAR * 3);
            assert!(now.earlier(span) <= now);
            assert_eq!(SystemTime::UNIX_EPOCH.later(span), SystemTime::UNIX_EPOCH + FAR);
            assert!(SystemTime::UNIX_EPOCH.earlier(span) <= SystemTime::UNIX_EPOCH);
        }
    }

    #[test]
    fn a_date_is_as_far_away_as_it_says() {
        let date = Duration::from_millis(i64::MAX as u64);
        assert_eq!(since_epoch(date), SystemTime::UNIX_EPOCH + date);
        assert_eq!(since_epoch(Duration::MAX), SystemTime::UNIX_EPOCH);
    }

    #[test]
    fn a_span_of_use_is_added_as_it_is() {
        let (now, span) = (crate::epoch(), Duration::new(86_400 * 366, 7));
        assert_eq!((now.later(span), now.later(span).earlier(span)), (now + span, now));
    }
}
