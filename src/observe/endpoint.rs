//! The series that an endpoint has once, however many links it holds, also with `metrics.per_link`.
//!
//! Counters are pushed as things happen; gauges are set at each scrape from what the pool shows ([`EndpointGauges`]), so that
//! they cost a message nothing.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::{
    daemon::whole,
    families::Families,
    number::{Counter, Gauge, Histogram, Seconds},
    push::PushNumbers,
    text::{
        self, Family,
        Kind::{Counter as COUNTER, Gauge as GAUGE, Histogram as HISTOGRAM},
    },
};
use wskeeper_core::{event::Certificates, outbox::Refusal, subscriptions::State};
use wskeeper_link::observer::{EndpointGauges, EndpointObserver, Refused, Requested};

/// What an endpoint counts once, however many links it holds.
#[derive(Debug)]
pub struct EndpointMetrics {
    families: Arc<Families>,
    name: Arc<str>,
    labels: Box<str>,
    refused: [Counter; REASONS.len()],
    inbox_cursor: Gauge,
    inbox_unstored: Gauge,
    inbox_refused: Counter,
    variables_refused: Counter,
    consumers: Gauge,
    oldest_message: Seconds,
    longest_not_ready: Seconds,
    min_ready: Gauge,
    /// Most endpoints have one URL.
    away: Mutex<Option<u32>>,
    /// Most endpoints have none.
    budget: Mutex<Option<(u32, u32)>>,
    /// Most endpoints have none.
    subscriptions: Mutex<Option<[usize; State::ALL.len()]>>,
    /// Most endpoints have none.
    carriers: Mutex<Option<usize>>,
    /// Without TLS there is no such series: a date of 0 would have expired in 1970.
    certificates: Mutex<Certificates>,
    gaps: Counter,
    missed: Counter,
    requests: [Counter; OUTCOMES.len()],
    /// Most endpoints have none.
    pushes: Mutex<Vec<PushNumbers>>,
    request: Histogram,
}

/// A millisecond to a minute: a request and its reply.
const REQUEST_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

const OUTCOMES: [(Requested, &str); 4] = [
    (Requested::Reply, "reply"),
    (Requested::Error, "error"),
    (Requested::Lost, "lost"),
    (Requested::Timeout, "timeout"),
];

impl EndpointMetrics {
    pub(super) fn new(families: &Arc<Families>, name: Arc<str>) -> Self {
        Self {
            families: Arc::clone(families),
            labels: text::labels(&name, None),
            name,
            refused: Default::default(),
            inbox_cursor: Gauge::default(),
            inbox_unstored: Gauge::default(),
            inbox_refused: Counter::default(),
            variables_refused: Counter::default(),
            consumers: Gauge::default(),
            oldest_message: Seconds::default(),
            longest_not_ready: Seconds::default(),
            min_ready: Gauge::default(),
            away: Mutex::default(),
            budget: Mutex::default(),
            subscriptions: Mutex::default(),
            carriers: Mutex::default(),
            certificates: Mutex::default(),
            gaps: Counter::default(),
            missed: Counter::default(),
            requests: Default::default(),
            pushes: Mutex::default(),
            request: Histogram::new(REQUEST_BUCKETS),
        }
    }

    /// The endpoint's.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its pushes are these.
    pub(super) fn show_pushes(&self, now: Vec<PushNumbers>) {
        *self.pushes.lock() = now;
    }

    /// Each push with its name.
    pub(super) fn pushes(&self, mut each: impl FnMut(&str, &PushNumbers)) {
        let pushes = self.pushes.lock();
        pushes.iter().filter(|push| push.connected.is_none()).for_each(|push| each(&push.name, push));
    }

    /// Each bridge with its name.
    pub(super) fn bridges(&self, mut each: impl FnMut(&str, &PushNumbers)) {
        let pushes = self.pushes.lock();
        pushes.iter().filter(|push| push.connected.is_some()).for_each(|push| each(&push.name, push));
    }

    /// Those of each of its series.
    pub(super) fn labels(&self) -> &str {
        &self.labels
    }
}

#[deny(clippy::missing_trait_methods, reason = "each is to be told")]
impl EndpointObserver for EndpointMetrics {
    fn refused(&self, reason: Refused) {
        let [too_big, full, down, generation, memory, store, draining] = &self.refused;
        match reason {
            Refused::Outbox(Refusal::TooBig) => too_big,
            // A caller that waited for room and was refused after all met a full outbox.
            Refused::Outbox(Refusal::Full | Refusal::Wait) => full,
            Refused::Outbox(Refusal::Down) => down,
            Refused::Outbox(Refusal::Generation) => generation,
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
            subscriptions,
            away,
            budget,
            certificates,
            carriers,
        } = now;
        self.inbox_cursor.set(whole(inbox_cursor));
        self.inbox_unstored.set(whole(unstored));
        self.consumers.set(whole(consumers));
        self.oldest_message.set(oldest_message.as_secs_f64());
        self.longest_not_ready.set(longest_not_ready.as_secs_f64());
        self.min_ready.set(min_ready.into());
        *self.subscriptions.lock() = subscriptions;
        *self.away.lock() = away;
        *self.budget.lock() = budget;
        *self.certificates.lock() = certificates;
        *self.carriers.lock() = carriers;
    }

    fn requested(&self, outcome: Requested, took: Duration) {
        let found = OUTCOMES.iter().zip(&self.requests).find(|((of, _), _)| *of == outcome);
        if let Some((_, count)) = found {
            count.inc();
        }
        self.request.observe(took.as_secs_f64());
    }

    fn inbox_refused(&self) {
        self.inbox_refused.inc();
    }

    fn variables_refused(&self) {
        self.variables_refused.inc();
    }

    fn gap(&self, missed: Option<u64>) {
        self.gaps.inc();
        self.missed.inc_by(missed.unwrap_or_default());
    }
}

impl Drop for EndpointMetrics {
    fn drop(&mut self) {
        self.families.release_endpoint(&self.name, self);
    }
}

/// One of each label.
const REASONS: [Refused; 7] = [
    Refused::Outbox(Refusal::TooBig),
    Refused::Outbox(Refusal::Full),
    Refused::Outbox(Refusal::Down),
    Refused::Outbox(Refusal::Generation),
    Refused::Memory,
    Refused::Store,
    Refused::Draining,
];

const fn label(reason: Refused) -> &'static str {
    match reason {
        Refused::Outbox(Refusal::TooBig) => "too_big",
        Refused::Outbox(Refusal::Full | Refusal::Wait) => "full",
        Refused::Outbox(Refusal::Down) => "down",
        Refused::Outbox(Refusal::Generation) => "generation",
        Refused::Memory => "memory",
        Refused::Store => "store",
        Refused::Draining => "draining",
    }
}

/// The families, in the order of `/metrics`.
#[rustfmt::skip]
pub(super) const FAMILIES: &[Family<EndpointMetrics>] = &[
    Family { name: "wskeeper_outbox_refused_total", help: "Messages refused, by reason; their senders were told.", kind: COUNTER, samples: |of, to| {
        REASONS.into_iter().zip(&of.refused).for_each(|(reason, count)| to.number(&[("reason", label(reason))], count.get()));
    } },
    Family { name: "wskeeper_requests_total", help: "Requests, by how they ended.", kind: COUNTER, samples: |of, to| {
        if of.requests.iter().any(|count| count.get() > 0) {
            OUTCOMES.iter().zip(&of.requests).for_each(|((_, outcome), count)| to.number(&[("outcome", outcome)], count.get()));
        }
    } },
    Family { name: "wskeeper_request_seconds", help: "Time from a request to its end.", kind: HISTOGRAM, samples: |of, to| to.histogram(&of.request) },
    Family { name: "wskeeper_inbox_cursor", help: "Cursor of the newest entry of the inbox.", kind: GAUGE, samples: |of, to| to.number(&[], of.inbox_cursor.get()) },
    Family { name: "wskeeper_inbox_unstored_entries", help: "Entries of a durable inbox that are not on disk yet.", kind: GAUGE, samples: |of, to| to.number(&[], of.inbox_unstored.get()) },
    Family { name: "wskeeper_inbox_store_refused_total", help: "Writes of a durable inbox that the store refused; it is kept in memory meanwhile.", kind: COUNTER, samples: |of, to| to.number(&[], of.inbox_refused.get()) },
    Family { name: "wskeeper_session_variables_refused_total", help: "Writes of durable variables of sessions that the store refused; they are kept in memory meanwhile.", kind: COUNTER, samples: |of, to| to.number(&[], of.variables_refused.get()) },
    Family { name: "wskeeper_consumers", help: "Local consumers of the inbox.", kind: GAUGE, samples: |of, to| to.number(&[], of.consumers.get()) },
    Family { name: "wskeeper_consumer_gaps_total", help: "Gaps told to consumers that fell out of the retained window.", kind: COUNTER, samples: |of, to| to.number(&[], of.gaps.get()) },
    Family { name: "wskeeper_consumer_missed_total", help: "Inbox entries that consumers missed in gaps.", kind: COUNTER, samples: |of, to| to.number(&[], of.missed.get()) },
    Family { name: "wskeeper_subscriptions", help: "Keys that links are to have asked their peers for, by state.", kind: GAUGE, samples: |of, to| {
        let counts = of.subscriptions.lock().into_iter().flatten();
        State::ALL.into_iter().zip(counts).for_each(|(state, count)| to.number(&[("state", state.as_str())], count));
    } },
    Family { name: "wskeeper_http2_connections", help: "Connections by HTTP/2 that links share.", kind: GAUGE, samples: |of, to| {
        of.carriers.lock().iter().for_each(|count| to.number(&[], count));
    } },
    Family { name: "wskeeper_outbox_oldest_message_age_seconds", help: "How long the oldest message has been queued; 0 where none is.", kind: GAUGE, samples: |of, to| to.number(&[], of.oldest_message.get()) },
    Family { name: "wskeeper_links_longest_not_ready_seconds", help: "How long the link has not been ready that has not for the longest; 0 where all are, or are paused.", kind: GAUGE, samples: |of, to| to.number(&[], of.longest_not_ready.get()) },
    Family { name: "wskeeper_links_min_ready", help: "Ready links that the endpoint needs: min_ready where it is critical, else 0.", kind: GAUGE, samples: |of, to| to.number(&[], of.min_ready.get()) },
    Family { name: "wskeeper_links_away", help: "Ready links that are not at the first of their URLs.", kind: GAUGE, samples: |of, to| {
        if let Some(away) = *of.away.lock() {
            to.number(&[], away);
        }
    } },
    Family { name: "wskeeper_reconnect_budget_attempts", help: "Attempts that reconnect.budget allows the endpoint's links within its time.", kind: GAUGE, samples: |of, to| {
        if let Some((_, attempts)) = *of.budget.lock() {
            to.number(&[], attempts);
        }
    } },
    Family { name: "wskeeper_reconnect_budget_used_attempts", help: "Attempts within that time so far.", kind: GAUGE, samples: |of, to| {
        if let Some((used, _)) = *of.budget.lock() {
            to.number(&[], used);
        }
    } },
    Family { name: "wskeeper_certificate_not_after_timestamp_seconds", help: "When the certificate expires that does first, of the peers or of the client, in seconds since 1970.", kind: GAUGE, samples: |of, to| {
        let Certificates { peer, client } = *of.certificates.lock();
        for (kind, not_after) in [("peer", peer), ("client", client)] {
            if let Some(not_after) = not_after {
                to.number(&[("kind", kind)], not_after);
            }
        }
    } },
];
