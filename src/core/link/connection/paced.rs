//! What leaves beside messages, against the rates of the outbox.
//!
//! What a reader would get wrong: pings and answers wait for nothing, but they count.

use std::time::Instant;

use super::Shared;
use crate::outbox::Outbox;

impl Shared {
    /// Whether something of a session may leave now. If it may, it must.
    pub(in crate::link) fn may_go_ahead(&mut self, now: Instant) -> bool {
        !self.is_paced() || self.outbox().may_go_ahead(now)
    }

    /// That leaves.
    pub(in crate::link) fn goes_ahead(&mut self, now: Instant, bytes: usize) {
        if self.is_paced() {
            self.outbox().goes_ahead(now, bytes);
        }
    }

    /// A message or control frame leaves that has waited for nothing.
    #[inline]
    pub(in crate::link) fn counts(&mut self, now: Instant, bytes: usize) {
        if self.is_paced() {
            self.outbox().counts(now, bytes);
        }
    }

    /// Whether what leaves is counted.
    pub(in crate::link) fn is_paced(&self) -> bool {
        self.policy.outbox.pacing.is_limited() || self.outbox.as_deref().is_some_and(Outbox::is_paced)
    }
}
