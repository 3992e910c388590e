//! The series that an endpoint has once, however many links it holds, also with `metrics.per_link`.
//!
//! Counters are pushed as things happen; gauges are set at each scrape from what the pool shows ([`EndpointGauges`]), so that
//! they cost a message nothing.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{Gauge, IntCounter, IntGauge};

use super::{
    families::{Families, whole},
    series::Taken,
};
use wskeeper_core::{event::Certificates, outbox::Refusal};
use wskeeper_link::observer::{EndpointGauges, EndpointObserver, Refused};

/// What an endpoint counts once, however many links it holds.
#[derive(Debug)]
pub struct EndpointMetrics {
    families: Arc<Families>,
    name: Arc<str>,
    taken: Taken,
    refused: [IntCounter; REASONS.len()],
    inbox_cursor: IntGauge,
    inbox_unstored: IntGauge,
    inbox_refused: IntCounter,
    consumers: IntGauge,
    oldest_message: Gauge,
    longest_not_ready: Gauge,
    min_ready: IntGauge,
    expiry: Mutex<Expiry>,
    gaps: IntCounter,
    missed: IntCounter,
}

impl EndpointMetrics {
    pub(super) fn new(families: &Arc<Families>, name: Arc<str>) -> Self {
        let mut taken = Taken::new(vec![name.to_string()]);
        let from = &families.endpoint;
        Self {
            refused: REASONS.map(|reason| taken.take(&from.outbox_refused, &[label(reason)])),
            inbox_cursor: taken.take(&from.inbox_cursor, &[]),
            inbox_unstored: taken.take(&from.inbox_unstored, &[]),
            inbox_refused: taken.take(&from.inbox_refused, &[]),
            consumers: taken.take(&from.consumers, &[]),
            gaps: taken.take(&from.consumer_gaps, &[]),
            missed: taken.take(&from.consumer_missed, &[]),
            oldest_message: taken.take(&from.outbox_oldest_message_age, &[]),
            longest_not_ready: taken.take(&from.links_longest_not_ready, &[]),
            min_ready: taken.take(&from.links_min_ready, &[]),
            expiry: Mutex::new(Expiry { taken: Taken::new(vec![name.to_string()]), shown: None }),
            families: Arc::clone(families),
            name,
            taken,
        }
    }
}

#[deny(clippy::missing_trait_methods, reason = "each is to be told")]
impl EndpointObserver for EndpointMetrics {
    fn refused(&self, reason: Refused) {
        let [too_big, full, down, memory, store, draining] = &self.refused;
        match reason {
            Refused::Outbox(Refusal::TooBig) => too_big,
            // A caller that waited for room and was refused after all met a full outbox.
            Refused::Outbox(Refusal::Full | Refusal::Wait) => full,
            Refused::Outbox(Refusal::Down) => down,
            Refused::Memory => memory,
            Refused::Store => store,
            Refused::Draining => draining,
        }
        .inc();
    }

    fn show(&self, now: EndpointGauges) {
        let EndpointGauges {
            inbox_cursor,
            unstored,
            consumers,
            oldest_message,
            longest_not_ready,
            min_ready,
            certificates,
        } = now;
        self.inbox_cursor.set(whole(inbox_cursor));
        self.inbox_unstored.set(whole(unstored));
        self.consumers.set(whole(consumers));
        self.oldest_message.set(oldest_message.as_secs_f64());
        self.longest_not_ready.set(longest_not_ready.as_secs_f64());
        self.min_ready.set(min_ready.into());
        self.expiry.lock().show(&self.families, certificates);
    }

    fn inbox_refused(&self) {
        self.inbox_refused.inc();
    }

    fn gap(&self, missed: Option<u64>) {
        self.gaps.inc();
        self.missed.inc_by(missed.unwrap_or_default());
    }
}

impl Drop for EndpointMetrics {
    fn drop(&mut self) {
        let this: *const Self = self;
        let (taken, expiry) = (&mut self.taken, self.expiry.get_mut());
        self.families.release_endpoint(&self.name, this, || {
            taken.give_back();
            expiry.taken.give_back();
        });
    }
}

/// One of each label.
const REASONS: [Refused; 6] = [
    Refused::Outbox(Refusal::TooBig),
    Refused::Outbox(Refusal::Full),
    Refused::Outbox(Refusal::Down),
    Refused::Memory,
    Refused::Store,
    Refused::Draining,
];

const fn label(reason: Refused) -> &'static str {
    match reason {
        Refused::Outbox(Refusal::TooBig) => "too_big",
        Refused::Outbox(Refusal::Full | Refusal::Wait) => "full",
        Refused::Outbox(Refusal::Down) => "down",
        Refused::Memory => "memory",
        Refused::Store => "store",
        Refused::Draining => "draining",
    }
}

/// When certificates expire. Without TLS there is no such series: a date of 0 would have expired in 1970.
#[derive(Debug)]
struct Expiry {
    taken: Taken,
    shown: Option<Certificates>,
}

impl Expiry {
    fn show(&mut self, families: &Families, certificates: Certificates) {
        if self.shown == Some(certificates) {
            return;
        }
        self.shown = Some(certificates);
        // Given back and taken in one step under the lock; a scrape between the two sees it at the next.
        self.taken.give_back();
        let Certificates { peer, client } = certificates;
        for (kind, not_after) in [("peer", peer), ("client", client)] {
            if let Some(not_after) = not_after {
                self.taken.take(&families.endpoint.certificate_not_after, &[kind]).set(not_after);
            }
        }
    }
}
