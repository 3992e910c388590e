//! The runtime's clock: its moments move as all others do.
//!
//! [`wskeeper_core::clock::Clock`] is of another package, and so is tokio's `Instant`: that it may be moved too needs a name of our own.

use std::time::Duration;

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
