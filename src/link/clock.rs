//! The runtime's clock, whose moments move as all others do, and the calendar, which says what the date is.
//!
//! [`wskeeper_core::clock::Clock`] is of another package, and so is tokio's `Instant`: that it may be moved too needs a name of our own.
//! What a reader would get wrong: the two are strangers. A date may jump in either direction, so nothing waits by it.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;
use wskeeper_core::clock::Clock as _;

/// A moment of the runtime, moved by any span.
pub trait Moment {
    /// The moment this much later, or a century later where the span is longer.
    #[must_use]
    fn later(self, span: Duration) -> Self;
    /// The moment this much earlier, or this one where that has no name.
    #[must_use]
    fn earlier(self, span: Duration) -> Self;
}

impl Moment for Instant {
    fn later(self, span: Duration) -> Self {
        self.into_std().later(span).into()
    }

    fn earlier(self, span: Duration) -> Self {
        self.into_std().earlier(span).into()
    }
}

/// Where the date is read: that of the system, unless somebody else gives it. Cheap to clone.
#[derive(Clone)]
pub struct Calendar(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Calendar {
    /// The dates that `read` gives.
    pub fn new(read: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The date.
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }

    /// The date of a moment of the runtime, which is `now`.
    pub fn date(&self, at: std::time::Instant, now: std::time::Instant) -> SystemTime {
        match at.checked_duration_since(now) {
            Some(ahead) => self.now().later(ahead),
            None => self.now().earlier(now.saturating_duration_since(at)),
        }
    }

    /// How long ago it was 1970.
    pub fn since_epoch(&self) -> Duration {
        self.now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// The system's.
impl Default for Calendar {
    #[allow(clippy::disallowed_methods, reason = "all others read it here")]
    fn default() -> Self {
        Self::new(SystemTime::now)
    }
}

impl fmt::Debug for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Calendar")
    }
}
