//! The series that an endpoint has once, however many links it holds, also with `metrics.per_link`.
//!
//! Counters are pushed as things happen; gauges are set at each scrape from what the pool shows ([`EndpointGauges`]), so that
//! they cost a message nothing.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus::{Gauge, IntCounter, IntGauge};

use super::{
    families::{Families, whole},
    series::Taken,
};
use wskeeper_core::{event::Certificates, outbox::Refusal};

/// What an endpoint counts once, however many links it holds.
#[derive(Debug)]
pub struct EndpointMetrics {
    families: Arc<Families>,
    name: Arc<str>,
    taken: Taken,
    refused: [IntCounter; Refused::ALL.len()],
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

/// An endpoint as it is at a scrape.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndpointGauges {
    /// The newest cursor of its inbox.
    pub inbox_cursor: u64,
    /// Entries of a durable inbox that are not on disk yet.
    pub unstored: u64,
    /// Local consumers of it.
    pub consumers: u64,
    /// How long the message has been queued that has been for the longest.
    pub oldest_message: Duration,
    /// How long the link has not been ready that has not for the longest, those aside that an operator paused.
    pub longest_not_ready: Duration,
    /// Ready links that it needs, where it is critical.
    pub min_ready: u32,
    /// Of its links' certificates those that expire first.
    pub certificates: Certificates,
}

/// Why a message was refused, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The outbox said so.
    Outbox(Refusal),
    /// `limits.memory` is used up.
    Memory,
    /// A durable outbox, and the store cannot take the message.
    Store,
    /// The daemon is stopping.
    Draining,
}

impl EndpointMetrics {
    pub(super) fn new(families: &Arc<Families>, name: Arc<str>) -> Self {
        let mut taken = Taken::new(vec![name.to_string()]);
        let from = &families.endpoint;
        Self {
            refused: Refused::ALL.map(|reason| taken.take(&from.outbox_refused, &[reason.as_str()])),
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

    /// A message was not accepted; its sender was told.
    pub fn refused(&self, reason: Refused) {
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

    /// The endpoint as it is now.
    pub fn show(&self, now: EndpointGauges) {
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
        self.expiry.lock().unwrap_or_else(PoisonError::into_inner).show(&self.families, certificates);
    }

    /// The store refused to write entries of the inbox.
    pub fn inbox_refused(&self) {
        self.inbox_refused.inc();
    }

    /// A consumer was told of a gap of this many entries; `None` where nobody knows how many.
    pub fn gap(&self, missed: Option<u64>) {
        self.gaps.inc();
        self.missed.inc_by(missed.unwrap_or_default());
    }
}

impl Drop for EndpointMetrics {
    fn drop(&mut self) {
        let this: *const Self = self;
        let (taken, expiry) = (&mut self.taken, self.expiry.get_mut().unwrap_or_else(PoisonError::into_inner));
        self.families.release_endpoint(&self.name, this, || {
            taken.give_back();
            expiry.taken.give_back();
        });
    }
}

impl Refused {
    /// One of each label.
    const ALL: [Self; 6] = [
        Self::Outbox(Refusal::TooBig),
        Self::Outbox(Refusal::Full),
        Self::Outbox(Refusal::Down),
        Self::Memory,
        Self::Store,
        Self::Draining,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Outbox(Refusal::TooBig) => "too_big",
            Self::Outbox(Refusal::Full | Refusal::Wait) => "full",
            Self::Outbox(Refusal::Down) => "down",
            Self::Memory => "memory",
            Self::Store => "store",
            Self::Draining => "draining",
        }
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
