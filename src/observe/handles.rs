//! The series of one endpoint or link, resolved once and held.
//!
//! Every label value that can be known beforehand exists from the start at zero, so that a rate over it has a first value.
//! Close codes are the exception: a peer chooses them, so they are made as they come and only so many kept apart.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;
use prometheus::{Histogram, IntCounter, IntGauge};

use super::{
    families::{Families, Key},
    series::Taken,
};
use wskeeper_core::{
    close::{ABNORMAL, Cause, Closed, NO_STATUS},
    message::Kind,
    phase::Phase,
    receipt::{EndReason, State},
    run::Run,
    session::KEEPALIVE,
};

/// Private close codes (3000–4999) told apart in each handle; further ones count as `other`.
const PRIVATE_CODES: usize = 32;
/// Ends that happen to every link some day.
const USUAL_CLOSES: [(u16, bool, Cause); 6] = [
    (1000, true, Cause::Remote),
    (1001, true, Cause::Remote),
    (NO_STATUS, true, Cause::Remote),
    (1000, true, Cause::Operator),
    (ABNORMAL, false, Cause::Reset),
    (ABNORMAL, false, Cause::PongTimeout),
];

/// What a link counts; shared by all links of an endpoint unless `per_link` asks for each.
#[derive(Debug)]
pub struct LinkMetrics {
    families: Arc<Families>,
    key: Key,
    taken: Mutex<Taken>,
    phases: [IntGauge; 7],
    pub(super) attempts_ok: IntCounter,
    attempts_abandoned: IntCounter,
    attempts_failed: BTreeMap<Cause, IntCounter>,
    pub(super) connect_duration: Histogram,
    closes: Mutex<BTreeMap<(Code, bool, Cause), IntCounter>>,
    pub(super) connection_age: Histogram,
    pub(super) reconnect_delay: Histogram,
    pub(super) pings_sent: IntCounter,
    pub(super) ping_rtt: Histogram,
    pub(super) pongs_refused: IntCounter,
    pub(super) heartbeat_timeouts: IntCounter,
    /// From the first session on: most endpoints have none.
    session: OnceLock<Box<SessionMetrics>>,
    received: Traffic,
    written: Traffic,
    pub(super) buffered_amount: IntGauge,
    pub(super) outbox_limit_bytes: IntGauge,
    pub(super) outbox_messages: IntGauge,
    pub(super) outbox_limit_messages: IntGauge,
    pub(super) outbox_wait: Histogram,
    receipts: BTreeMap<State, IntCounter>,
    lost: BTreeMap<EndReason, IntCounter>,
    pub(super) panics: IntCounter,
}

impl LinkMetrics {
    pub(super) fn new(families: &Arc<Families>, key: Key) -> Self {
        let mut taken =
            Taken::new([key.0.to_string()].into_iter().chain(key.1.map(|index| index.to_string())).collect());
        let from = &families.link;
        let closes = USUAL_CLOSES
            .iter()
            .map(|&(code, clean, cause)| {
                let code = Code::Known(code);
                ((code, clean, cause), taken.take(&from.closes, &close_labels(&code.to_string(), clean, cause)))
            })
            .collect();
        Self {
            phases: Phase::ALL.map(|phase| taken.take(&from.links, &[phase.as_str()])),
            attempts_ok: taken.take(&from.connect_attempts, &["ok"]),
            attempts_abandoned: taken.take(&from.connect_attempts, &["abandoned"]),
            attempts_failed: Cause::ALL
                .into_iter()
                .filter(|cause| cause.is_failure())
                .map(|cause| (cause, taken.take(&from.connect_attempts, &[cause.as_str()])))
                .collect(),
            connect_duration: taken.take(&from.connect_duration, &[]),
            closes: Mutex::new(closes),
            connection_age: taken.take(&from.connection_age, &[]),
            reconnect_delay: taken.take(&from.reconnect_delay, &[]),
            pings_sent: taken.take(&from.pings_sent, &[]),
            ping_rtt: taken.take(&from.ping_rtt, &[]),
            pongs_refused: taken.take(&from.pongs_refused, &[]),
            heartbeat_timeouts: taken.take(&from.heartbeat_timeouts, &[]),
            session: OnceLock::new(),
            received: Traffic::new(&mut taken, families, "in"),
            written: Traffic::new(&mut taken, families, "out"),
            buffered_amount: taken.take(&from.buffered_amount, &[]),
            outbox_limit_bytes: taken.take(&from.outbox_limit_bytes, &[]),
            outbox_messages: taken.take(&from.outbox_messages, &[]),
            outbox_limit_messages: taken.take(&from.outbox_limit_messages, &[]),
            outbox_wait: taken.take(&from.outbox_wait, &[]),
            receipts: State::ALL
                .into_iter()
                .filter(|state| is_outcome(*state))
                .map(|state| (state, taken.take(&from.receipts, &[state.as_str()])))
                .collect(),
            lost: EndReason::ALL
                .into_iter()
                .map(|end_reason| (end_reason, taken.take(&from.messages_lost, &[end_reason.as_str()])))
                .collect(),
            panics: taken.take(&from.link_panics, &[]),
            families: Arc::clone(families),
            key,
            taken: Mutex::new(taken),
        }
    }

    pub(super) fn phase(&self, phase: Phase) -> &IntGauge {
        let [waiting, connecting, opening, ready, closing, parked, paused] = &self.phases;
        match phase {
            Phase::Waiting => waiting,
            Phase::Connecting => connecting,
            Phase::Opening => opening,
            Phase::Ready => ready,
            Phase::Closing => closing,
            Phase::Parked => parked,
            Phase::Paused => paused,
        }
    }

    pub(super) fn on_attempt_failed(&self, cause: Cause) {
        self.attempts_failed.get(&cause).unwrap_or(&self.attempts_abandoned).inc();
    }

    pub(super) fn on_closed(&self, closed: &Closed) {
        if closed.cause == Cause::Session && closed.label.as_deref() != Some(KEEPALIVE) {
            self.session().steps_failed.inc();
        }
        let mut seen = self.closes.lock();
        let key = (Code::of(closed.code, &seen), closed.was_clean, closed.cause);
        seen.entry(key)
            .or_insert_with(|| {
                let mut taken = self.taken.lock();
                taken.take(&self.families.link.closes, &close_labels(&key.0.to_string(), key.1, key.2))
            })
            .inc();
    }

    pub(super) fn session(&self) -> &SessionMetrics {
        self.session.get_or_init(|| {
            let mut taken = self.taken.lock();
            Box::new(SessionMetrics::new(&mut taken, &self.families))
        })
    }

    pub(super) fn on_received(&self, messages: &Run) {
        for kind in [Kind::Text, Kind::Binary] {
            let sum = messages.sum(kind);
            self.received.add(kind, (sum.messages.into(), sum.bytes.into()));
        }
    }

    pub(super) fn on_hidden_messages(&self, messages: impl Iterator<Item = (Kind, usize)>) {
        self.received.count(messages);
    }

    pub(super) fn on_written(&self, messages: impl Iterator<Item = (Kind, usize)>) {
        self.written.count(messages);
    }

    pub(super) fn on_receipt(&self, state: State, end_reason: Option<EndReason>) {
        if let Some(outcome) = self.receipts.get(&state) {
            outcome.inc();
        }
        if let Some(lost) = end_reason.and_then(|end_reason| self.lost.get(&end_reason)) {
            lost.inc();
        }
    }
}

impl Drop for LinkMetrics {
    fn drop(&mut self) {
        let this: *const Self = self;
        let taken = self.taken.get_mut();
        self.families.release_link(&self.key, this, || taken.give_back());
    }
}

/// What sessions count.
#[derive(Debug)]
pub(super) struct SessionMetrics {
    pub(super) steps_ok: IntCounter,
    pub(super) steps_failed: IntCounter,
    pub(super) duration: Histogram,
    pub(super) keepalives_answered: IntCounter,
    pub(super) keepalives_missed: IntCounter,
}

impl SessionMetrics {
    fn new(taken: &mut Taken, families: &Families) -> Self {
        let from = &families.link;
        Self {
            steps_ok: taken.take(&from.session_steps, &["ok"]),
            steps_failed: taken.take(&from.session_steps, &["failed"]),
            duration: taken.take(&from.session_duration, &[]),
            keepalives_answered: taken.take(&from.keepalives, &["answered"]),
            keepalives_missed: taken.take(&from.keepalives, &["missed"]),
        }
    }
}

/// Messages and bytes in one direction.
#[derive(Debug)]
struct Traffic {
    text: (IntCounter, IntCounter),
    binary: (IntCounter, IntCounter),
}

impl Traffic {
    fn new(taken: &mut Taken, families: &Families, direction: &str) -> Self {
        let mut pair = |kind: Kind| {
            let labels = [direction, kind.as_str()];
            (taken.take(&families.link.messages, &labels), taken.take(&families.link.message_bytes, &labels))
        };
        Self { text: pair(Kind::Text), binary: pair(Kind::Binary) }
    }

    /// Counts messages that passed together.
    fn count(&self, messages: impl Iterator<Item = (Kind, usize)>) {
        let (mut text, mut binary) = ((0, 0), (0, 0));
        for (kind, bytes) in messages {
            let (count, sum) = match kind {
                Kind::Text => &mut text,
                Kind::Binary => &mut binary,
            };
            *count += 1;
            *sum += bytes as u64;
        }
        self.add(Kind::Text, text);
        self.add(Kind::Binary, binary);
    }

    fn add(&self, kind: Kind, (count, sum): (u64, u64)) {
        let (messages, bytes) = match kind {
            Kind::Text => &self.text,
            Kind::Binary => &self.binary,
        };
        if count > 0 {
            messages.inc_by(count);
            bytes.inc_by(sum);
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
    fn of(code: u16, seen: &BTreeMap<(Self, bool, Cause), IntCounter>) -> Self {
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

fn close_labels(code: &str, clean: bool, cause: Cause) -> [&str; 3] {
    [code, if clean { "true" } else { "false" }, cause.as_str()]
}

/// Whether `receipts_total` counts the state: the ends, and `written`, where an at-most-once message may rest.
const fn is_outcome(state: State) -> bool {
    match state {
        State::Queued | State::Stored => false,
        State::Written | State::Confirmed | State::Unknown | State::Expired | State::Dropped | State::Dead => true,
    }
}
