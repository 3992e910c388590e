//! What a link counts, and the families that show it.
//!
//! Every label value that can be known beforehand is there from the start at zero, so that a rate over it has a first value; a histogram
//! is there from its first value on. Close codes are the exception: a peer chooses them, so they come as they come and only so
//! many are kept apart.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;

use super::{
    families::{Families, Key},
    number::{Counter, Gauge, Histogram, Seconds},
    text::{
        self, Family,
        Kind::{Counter as COUNTER, Gauge as GAUGE, Histogram as HISTOGRAM},
        Samples,
    },
};
use wskeeper_core::{
    close::{ABNORMAL, Cause, Closed, NO_STATUS},
    event::DialFailure,
    message::Kind,
    phase::Phase,
    receipt::{EndReason, State},
    run::Run,
    session::KEEPALIVE,
};

/// Private close codes (3000–4999) told apart in each handle; further ones count as `other`.
const PRIVATE_CODES: usize = 32;
/// Ends that happen to every link some day, at zero from the start.
const USUAL_CLOSES: [(u16, bool, Cause); 6] = [
    (1000, true, Cause::Remote),
    (1001, true, Cause::Remote),
    (NO_STATUS, true, Cause::Remote),
    (1000, true, Cause::Operator),
    (ABNORMAL, false, Cause::Reset),
    (ABNORMAL, false, Cause::PongTimeout),
];
/// 5 ms to 30 s: a dial, TLS included.
const CONNECT_BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// A second to a week: how long a connection lived.
const AGE_BUCKETS: &[f64] =
    &[1.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 7200.0, 21_600.0, 43_200.0, 86_400.0, 604_800.0];
/// 100 ms to ten minutes, the default probe of a parked link.
const DELAY_BUCKETS: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0];
/// Half a millisecond to ten seconds, the default heartbeat timeout.
const RTT_BUCKETS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// A millisecond to an hour: what a message waited in the outbox.
const WAIT_BUCKETS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 900.0, 3600.0];

/// What a link counts; shared by all links of an endpoint unless `per_link` asks for each.
#[derive(Debug)]
pub struct LinkMetrics {
    families: Arc<Families>,
    key: Key,
    labels: Box<str>,
    phases: [Gauge; Phase::ALL.len()],
    pub(super) attempts_ok: Counter,
    attempts_abandoned: Counter,
    attempts_failed: [Counter; Cause::ALL.len()],
    pub(super) connect_duration: Histogram,
    closes: Mutex<BTreeMap<(Code, bool, Cause), u64>>,
    pub(super) connection_age: Histogram,
    pub(super) reconnect_delay: Histogram,
    pub(super) pings_sent: Counter,
    pub(super) ping_rtt: Histogram,
    pub(super) pongs_refused: Counter,
    pub(super) heartbeat_timeouts: Counter,
    /// From the first session on: most endpoints have none.
    session: OnceLock<Box<SessionMetrics>>,
    received: Traffic,
    written: Traffic,
    pub(super) buffered_amount: Gauge,
    pub(super) outbox_limit_bytes: Gauge,
    pub(super) outbox_messages: Gauge,
    pub(super) outbox_limit_messages: Gauge,
    pub(super) outbox_wait: Histogram,
    /// From the first pause on: most endpoints are not paced.
    paced: OnceLock<Box<Seconds>>,
    receipts: [Counter; State::ALL.len()],
    lost: [Counter; EndReason::ALL.len()],
    pub(super) panics: Counter,
}

impl LinkMetrics {
    pub(super) fn new(families: &Arc<Families>, key: Key) -> Self {
        Self {
            labels: text::labels(&key.0, key.1),
            families: Arc::clone(families),
            key,
            phases: Default::default(),
            attempts_ok: Counter::default(),
            attempts_abandoned: Counter::default(),
            attempts_failed: Default::default(),
            connect_duration: Histogram::new(CONNECT_BUCKETS),
            closes: Mutex::new(USUAL_CLOSES.map(|(code, clean, cause)| ((Code::Known(code), clean, cause), 0)).into()),
            connection_age: Histogram::new(AGE_BUCKETS),
            reconnect_delay: Histogram::new(DELAY_BUCKETS),
            pings_sent: Counter::default(),
            ping_rtt: Histogram::new(RTT_BUCKETS),
            pongs_refused: Counter::default(),
            heartbeat_timeouts: Counter::default(),
            session: OnceLock::new(),
            received: Traffic::default(),
            written: Traffic::default(),
            buffered_amount: Gauge::default(),
            outbox_limit_bytes: Gauge::default(),
            outbox_messages: Gauge::default(),
            outbox_limit_messages: Gauge::default(),
            outbox_wait: Histogram::new(WAIT_BUCKETS),
            paced: OnceLock::new(),
            receipts: Default::default(),
            lost: Default::default(),
            panics: Counter::default(),
        }
    }

    /// Those of each of its series.
    pub(super) fn labels(&self) -> &str {
        &self.labels
    }

    pub(super) fn phase(&self, phase: Phase) -> &Gauge {
        &self.phases[phase as usize]
    }

    pub(super) fn on_attempt_failed(&self, failure: &DialFailure) {
        let cause = failure.cause;
        if cause == Cause::Session {
            self.session().steps_failed.inc();
        }
        if cause.is_failure() { &self.attempts_failed[cause as usize] } else { &self.attempts_abandoned }.inc();
    }

    pub(super) fn on_closed(&self, closed: &Closed) {
        if closed.cause == Cause::Session && closed.label.as_deref() != Some(KEEPALIVE) {
            self.session().steps_failed.inc();
        }
        let mut seen = self.closes.lock();
        let key = (Code::of(closed.code, &seen), closed.was_clean, closed.cause);
        *seen.entry(key).or_default() += 1;
    }

    pub(super) fn session(&self) -> &SessionMetrics {
        self.session.get_or_init(Box::default)
    }

    pub(super) fn on_received(&self, messages: &Run) {
        for kind in [Kind::Text, Kind::Binary] {
            let sum = messages.sum(kind);
            self.received.add(kind, (sum.messages.into(), sum.bytes.into()));
        }
    }

    pub(super) fn on_hidden_messages(&self, messages: impl Iterator<Item = (Kind, usize)>) {
        self.received.count(messages.map(|(kind, bytes)| (kind, 1, bytes)));
    }

    pub(super) fn on_paced(&self, waited: Duration) {
        self.paced.get_or_init(Box::default).add(waited.as_secs_f64());
    }

    pub(super) fn on_written(&self, sent: impl Iterator<Item = (Kind, u64, usize)>) {
        self.written.count(sent);
    }

    pub(super) fn on_receipts(&self, state: State, end_reason: Option<EndReason>, count: u64) {
        self.receipts[state as usize].inc_by(count);
        if let Some(end_reason) = end_reason {
            self.lost[end_reason as usize].inc_by(count);
        }
    }
}

impl Drop for LinkMetrics {
    fn drop(&mut self) {
        self.families.release_link(&self.key, self);
    }
}

/// What sessions count.
#[derive(Debug)]
pub(super) struct SessionMetrics {
    pub(super) steps_ok: Counter,
    pub(super) steps_failed: Counter,
    pub(super) duration: Histogram,
    pub(super) keepalives_answered: Counter,
    pub(super) keepalives_missed: Counter,
}

impl Default for SessionMetrics {
    fn default() -> Self {
        Self {
            steps_ok: Counter::default(),
            steps_failed: Counter::default(),
            duration: Histogram::new(CONNECT_BUCKETS),
            keepalives_answered: Counter::default(),
            keepalives_missed: Counter::default(),
        }
    }
}

/// Messages and bytes in one direction.
#[derive(Debug, Default)]
struct Traffic {
    text: Amount,
    binary: Amount,
}

#[derive(Debug, Default)]
struct Amount {
    messages: Counter,
    bytes: Counter,
}

impl Traffic {
    /// Counts messages that passed together.
    fn count(&self, messages: impl Iterator<Item = (Kind, u64, usize)>) {
        let (mut text, mut binary) = ((0, 0), (0, 0));
        for (kind, messages, bytes) in messages {
            let (count, sum) = match kind {
                Kind::Text => &mut text,
                Kind::Binary => &mut binary,
            };
            *count += messages;
            *sum += bytes as u64;
        }
        self.add(Kind::Text, text);
        self.add(Kind::Binary, binary);
    }

    fn add(&self, kind: Kind, (count, sum): (u64, u64)) {
        if count > 0 {
            let Amount { messages, bytes } = self.of(kind);
            messages.inc_by(count);
            bytes.inc_by(sum);
        }
    }

    const fn of(&self, kind: Kind) -> &Amount {
        match kind {
            Kind::Text => &self.text,
            Kind::Binary => &self.binary,
        }
    }
}

/// A close code as a label: a bounded set, whatever peers send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Code {
    Known(u16),
    Other,
}

impl Code {
    fn of(code: u16, seen: &BTreeMap<(Self, bool, Cause), u64>) -> Self {
        let this = Self::Known(code);
        let is_private = |code: u16| (3000..=4999).contains(&code);
        if (1000..=1015).contains(&code) || seen.keys().any(|(known, ..)| *known == this) {
            return this;
        }
        let mut private: Vec<Self> = seen
            .keys()
            .map(|key| key.0)
            .filter(|known| matches!(known, Self::Known(code) if is_private(*code)))
            .collect();
        private.dedup();
        if is_private(code) && private.len() < PRIVATE_CODES { this } else { Self::Other }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Known(code) => write!(f, "{code}"),
            Self::Other => f.write_str("other"),
        }
    }
}

/// Whether `receipts_total` counts the state: the ends, and `written`, where an at-most-once message may rest.
const fn is_outcome(state: State) -> bool {
    match state {
        State::Queued | State::Stored => false,
        State::Written | State::Confirmed | State::Unknown | State::Expired | State::Dropped | State::Dead => true,
    }
}

/// The families, in the order of `/metrics`.
#[rustfmt::skip]
pub(super) const FAMILIES: &[Family<LinkMetrics>] = &[
    Family { name: "wskeeper_links", help: "Links by phase.", kind: GAUGE, samples: |of, to| {
        for phase in Phase::ALL {
            to.number(&[("phase", phase.as_str())], of.phase(phase).get());
        }
    } },
    Family { name: "wskeeper_connect_attempts_total", help: "Attempts to connect, by result: ok or the class of the failure.", kind: COUNTER, samples: |of, to| {
        to.number(&[("result", "ok")], of.attempts_ok.get());
        to.number(&[("result", "abandoned")], of.attempts_abandoned.get());
        for cause in Cause::ALL.into_iter().filter(|cause| cause.is_failure()) {
            to.number(&[("result", cause.as_str())], of.attempts_failed[cause as usize].get());
        }
    } },
    Family { name: "wskeeper_connect_duration_seconds", help: "Time to a connection: DNS, TCP, TLS, upgrade; without the wait for admission.", kind: HISTOGRAM, samples: |of, to| to.histogram(&of.connect_duration) },
    Family { name: "wskeeper_closes_total", help: "Connections that ended, by close code received, whether clean, and cause.", kind: COUNTER, samples: |of, to| {
        for ((code, clean, cause), count) in &*of.closes.lock() {
            let clean = if *clean { "true" } else { "false" };
            to.number(&[("cause", cause.as_str()), ("clean", clean), ("code", &code.to_string())], count);
        }
    } },
    Family { name: "wskeeper_connection_age_seconds", help: "Age of connections at their end.", kind: HISTOGRAM, samples: |of, to| to.histogram(&of.connection_age) },
    Family { name: "wskeeper_reconnect_delay_seconds", help: "Delays drawn before attempts.", kind: HISTOGRAM, samples: |of, to| to.histogram(&of.reconnect_delay) },
    Family { name: "wskeeper_pings_sent_total", help: "Pings sent.", kind: COUNTER, samples: |of, to| to.number(&[], of.pings_sent.get()) },
    Family { name: "wskeeper_ping_rtt_seconds", help: "Round-trip times of pings.", kind: HISTOGRAM, samples: |of, to| to.histogram(&of.ping_rtt) },
    Family { name: "wskeeper_pongs_refused_total", help: "Pongs without the payload of a ping that was out: no proof of anything.", kind: COUNTER, samples: |of, to| to.number(&[], of.pongs_refused.get()) },
    Family { name: "wskeeper_heartbeat_timeouts_total", help: "Connections given up because nothing was heard after a ping.", kind: COUNTER, samples: |of, to| to.number(&[], of.heartbeat_timeouts.get()) },
    Family { name: "wskeeper_session_steps_total", help: "Steps of sessions that ran until they were ready, and sessions that failed.", kind: COUNTER, samples: |of, to| {
        if let Some(session) = of.session.get() {
            to.number(&[("result", "ok")], session.steps_ok.get());
            to.number(&[("result", "failed")], session.steps_failed.get());
        }
    } },
    Family { name: "wskeeper_session_duration_seconds", help: "Time from OPEN to ready, where there is a session.", kind: HISTOGRAM, samples: |of, to| {
        if let Some(session) = of.session.get() {
            to.histogram(&session.duration);
        }
    } },
    Family { name: "wskeeper_keepalives_total", help: "Answers that timers of sessions waited for, whether they came in time.", kind: COUNTER, samples: |of, to| {
        if let Some(session) = of.session.get() {
            to.number(&[("result", "answered")], session.keepalives_answered.get());
            to.number(&[("result", "missed")], session.keepalives_missed.get());
        }
    } },
    Family { name: "wskeeper_messages_total", help: "Messages received from and written to peers.", kind: COUNTER, samples: |of, to| of.traffic(to, |amount| &amount.messages) },
    Family { name: "wskeeper_message_bytes_total", help: "Application bytes received from and written to peers, without framing.", kind: COUNTER, samples: |of, to| of.traffic(to, |amount| &amount.bytes) },
    Family { name: "wskeeper_buffered_amount_bytes", help: "Application bytes accepted and not yet handed to the network.", kind: GAUGE, samples: |of, to| to.number(&[], of.buffered_amount.get()) },
    Family { name: "wskeeper_outbox_limit_bytes", help: "Application bytes that the outboxes may hold.", kind: GAUGE, samples: |of, to| to.number(&[], of.outbox_limit_bytes.get()) },
    Family { name: "wskeeper_outbox_messages", help: "Messages accepted and not yet handed to the network.", kind: GAUGE, samples: |of, to| to.number(&[], of.outbox_messages.get()) },
    Family { name: "wskeeper_outbox_limit_messages", help: "Messages that the outboxes may hold.", kind: GAUGE, samples: |of, to| to.number(&[], of.outbox_limit_messages.get()) },
    Family { name: "wskeeper_outbox_wait_seconds", help: "Time that written messages were held in the outbox.", kind: HISTOGRAM, samples: |of, to| to.histogram(&of.outbox_wait) },
    Family { name: "wskeeper_outbox_paced_seconds_total", help: "Time for which links held messages back by the rates of their outbox.", kind: COUNTER, samples: |of, to| {
        if let Some(paced) = of.paced.get() {
            to.number(&[], paced.get());
        }
    } },
    Family { name: "wskeeper_receipts_total", help: "Messages by outcome of their receipt; written ones count again when confirmed or unknown.", kind: COUNTER, samples: |of, to| {
        for state in State::ALL.into_iter().filter(|state| is_outcome(*state)) {
            to.number(&[("outcome", state.as_str())], of.receipts[state as usize].get());
        }
    } },
    Family { name: "wskeeper_messages_lost_total", help: "Accepted messages that are not known to have been delivered, by reason.", kind: COUNTER, samples: |of, to| {
        for reason in EndReason::ALL {
            to.number(&[("reason", reason.as_str())], of.lost[reason as usize].get());
        }
    } },
    Family { name: "wskeeper_link_panics_total", help: "Panics of link tasks.", kind: COUNTER, samples: |of, to| to.number(&[], of.panics.get()) },
];

impl LinkMetrics {
    fn traffic(&self, to: &mut Samples<'_>, number: fn(&Amount) -> &Counter) {
        for (direction, traffic) in [("in", &self.received), ("out", &self.written)] {
            for kind in [Kind::Text, Kind::Binary] {
                to.number(&[("direction", direction), ("type", kind.as_str())], number(traffic.of(kind)).get());
            }
        }
    }
}
