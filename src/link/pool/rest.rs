//! How a link rests, and whether the first invariant allows it: it is connected, has a timer armed, waits for admission, or is parked or
//! paused with a reason.
//!
//! What a reader would get wrong: a link that is down and waits is well; one whose deadline passed long ago without anything done is not,
//! whatever its phase.

use std::time::{Duration, Instant};

use wskeeper_core::{
    link::Link,
    phase::{Phase, Reason},
};

/// How a link rests, as it shows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest {
    pub(super) phase: Phase,
    pub(super) reason: Reason,
    /// The next thing that it will do by itself.
    pub(super) due: Option<Instant>,
    /// Since when all this is so.
    pub(super) since: Instant,
}

impl Rest {
    /// The rest of a link whose task is to begin.
    pub(super) fn beginning() -> Self {
        let now = tokio::time::Instant::now().into_std();
        Self { phase: Phase::Waiting, reason: Reason::Starting, due: Some(now), since: now }
    }

    /// Brings it up to date.
    pub(super) fn follow(&mut self, link: &Link, now: Instant) {
        let due = link.poll_timeout().map(|(at, _)| at);
        if (self.phase, self.reason, self.due) != (link.phase(), link.reason(), due) {
            *self = Self { phase: link.phase(), reason: link.reason(), due, since: now };
        }
    }

    /// What the first invariant says of it. Less than `tolerance` is forgiven: it may be a moment between two states.
    pub(super) fn judge(self, now: Instant, tolerance: Duration) -> Soundness {
        let Self { phase, reason, due, since } = self;
        if let Some(due) = due {
            let late = now.saturating_duration_since(due);
            return if late > tolerance { Soundness::Overdue(late) } else { Soundness::Well };
        }
        if now.saturating_duration_since(since) <= tolerance {
            return Soundness::Well;
        }
        match (phase, reason) {
            (Phase::Paused, _) => Soundness::Well,
            (Phase::Waiting, Reason::Admission) => Soundness::AsksToBeLetIn,
            (
                Phase::Waiting | Phase::Connecting | Phase::Opening | Phase::Ready | Phase::Closing | Phase::Parked,
                _,
            ) => Soundness::Adrift,
        }
    }
}

/// What is to be said of a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Soundness {
    Well,
    Overdue(Duration),
    Adrift,
    /// Well, as long as admission knows of it.
    AsksToBeLetIn,
}
