//! What is known at a scrape only: gauges that nothing pushes.
//!
//! A link's task notes when its oldest message was queued and since when it is not ready; ages are reckoned when somebody asks.
//! So a message costs nothing, and a link that hangs still grows old.

use std::time::{Duration, Instant};

use super::{handle::Pool, runtime::EndpointRuntime};
use crate::observer::{EndpointGauges, StoreGauges};
use wskeeper_core::{link::Link, phase::Phase};

impl Pool {
    /// Brings gauges that nothing pushes up to date; to be called before metrics are rendered.
    pub fn observe(&self) {
        let now = tokio::time::Instant::now().into_std();
        let runtimes = self.inner.parts.endpoints.all();
        for runtime in runtimes {
            runtime.observer.show(runtime.gauges(now));
        }
        self.inner.parts.observer.payload(self.inner.parts.budget.used(), self.inner.parts.budget.limit());
        let store = self.inner.parts.spool.view().map(|view| {
            let status = view.status.unwrap_or_default();
            StoreGauges {
                needed: true,
                up: view.failure.is_none(),
                bytes: status.bytes,
                limit_bytes: status.limit,
                messages: status.messages as u64,
                inbox_bytes: status.inbox_bytes,
                orphans: self.inner.parts.spool.orphans().iter().map(|orphans| orphans.messages).sum(),
            }
        });
        self.inner.parts.observer.store(store.unwrap_or_default(), self.inner.parts.dead.len());
    }
}

impl EndpointRuntime {
    fn gauges(&self, now: Instant) -> EndpointGauges {
        let config = self.config();
        let mut gauges = EndpointGauges {
            inbox_cursor: self.sinks.inbox.cursor(),
            unstored: self.behind() as u64,
            consumers: self.sinks.readers() as u64,
            subscriptions: self.sinks.subscriptions.counts(),
            carriers: self.sinks.carriers.get().map(|carriers| carriers.count()),
            min_ready: if config.critical { config.min_ready } else { 0 },
            budget: self.attempts().map(|budget| (budget.used, budget.attempts)),
            away: (config.urls.len() > 1).then_some(0),
            ..EndpointGauges::default()
        };
        let age = |since: Option<Instant>| since.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        for slot in self.slots() {
            let (Vitals { oldest_queued, not_ready }, certificates) = slot.vitals();
            gauges.oldest_message = gauges.oldest_message.max(age(oldest_queued));
            gauges.longest_not_ready = gauges.longest_not_ready.max(age(not_ready));
            if slot.load().is_asleep {
                // It is as good as ready: who needs it wakes it.
                gauges.min_ready = gauges.min_ready.saturating_sub(1);
            }
            if let Some(away) = gauges.away.as_mut().filter(|_| slot.is_away()) {
                *away = away.saturating_add(1);
            }
            gauges.certificates = gauges.certificates.earliest(certificates);
        }
        gauges
    }
}

/// What a slot notes of its link for a scrape.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Vitals {
    /// When its oldest message was queued.
    pub(super) oldest_queued: Option<Instant>,
    /// Since when it is not ready, and should be.
    not_ready: Option<Instant>,
}

impl Vitals {
    /// The link is so now.
    pub(super) fn follow(&mut self, link: &Link, now: Instant) {
        self.oldest_queued = link.oldest_queued_at();
        self.not_ready = match link.phase() {
            Phase::Ready | Phase::Paused => None,
            Phase::Waiting | Phase::Connecting | Phase::Opening | Phase::Closing | Phase::Parked => {
                self.not_ready.or(Some(now))
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use wskeeper_core::link::{Input, Policy, Verb};

    #[test]
    fn a_link_is_not_ready_from_its_start_until_it_is_or_an_operator_pauses_it() {
        let start = tokio::time::Instant::now().into_std();
        let mut link = Link::new(Arc::new(Policy::default()), 1, start);
        let mut vitals = Vitals::default();
        let _dials = link.handle(start, Input::Start);
        vitals.follow(&link, start);
        vitals.follow(&link, start + Duration::from_secs(5));
        assert_eq!(vitals.not_ready, Some(start), "it goes on from the first moment");
        let _ends = link.handle(start, Input::Verb(Verb::Pause));
        vitals.follow(&link, start + Duration::from_secs(6));
        assert_eq!(vitals.not_ready, None);
    }
}
