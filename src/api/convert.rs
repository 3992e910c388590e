//! From what the pool shows to the JSON of the wire: the only place where the two meet.

mod endpoint;

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;

use super::wire;
use crate::{
    config::{InForce, LinkChange, ReloadPlan},
    push::{PushView, Writing},
};
use wskeeper_core::{
    close::Closed,
    event::Timings,
    message::{Kind, Payload},
    receipt::{EndReason, Receipt},
    subscriptions::Holder,
};
use wskeeper_link::{
    hub::{Entry, Item},
    pool::{BudgetView, DeadLetter, HistoryEntry, HolderView, LinkView, Orphans, SubscriptionView, local::Lag},
};

pub(super) use endpoint::{endpoint, requests, stream};

/// Room for a receipt.
const RECEIPT: usize = 384;

/// How binary data is written in JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum BinaryType {
    #[default]
    Base64,
    Hex,
}

impl BinaryType {
    pub(super) fn from_word(word: &str) -> Option<Self> {
        match word {
            "base64" => Some(Self::Base64),
            "hex" => Some(Self::Hex),
            _ => None,
        }
    }

    pub(crate) fn write(self, bytes: &[u8]) -> String {
        match self {
            Self::Base64 => STANDARD.encode(bytes),
            Self::Hex => bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
                hex.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')));
                hex
            }),
        }
    }
}

pub(super) fn subscription(view: &SubscriptionView) -> wire::Subscription {
    let holder = |HolderView { holder, until }: &HolderView| {
        let (kind, name) = match holder {
            Holder::Configuration => ("configuration", None),
            Holder::Named(name) => ("program", Some(name.to_string()).filter(|name| !name.is_empty())),
            Holder::Socket(_) => ("websocket", None),
        };
        wire::Holder { kind: kind.into(), name, lease_until: until.map(wire::time) }
    };
    wire::Subscription {
        key: view.key.to_string(),
        state: view.state.as_str().into(),
        why: view.why.as_ref().map(ToString::to_string),
        link: view.link,
        holders: view.holders.iter().map(holder).collect(),
        advice: None,
    }
}

/// How many keys are in each state.
pub(super) fn subscriptions([pending, active, refused]: [usize; 3]) -> wire::SubscriptionCounts {
    wire::SubscriptionCounts { pending: pending as u64, active: active as u64, refused: refused as u64 }
}

/// What is used of a budget of attempts.
pub(super) fn budget(view: BudgetView) -> wire::BudgetState {
    let BudgetView { attempts, per, used, is_kept, until } = view;
    wire::BudgetState {
        attempts,
        per_ms: u64::try_from(per.as_millis()).unwrap_or(u64::MAX),
        used,
        kept: is_kept,
        until: until.map(wire::time),
    }
}

/// `source` says where its endpoint is from.
pub(super) fn link(view: &LinkView, config: &InForce) -> wire::Link {
    wire::Link {
        endpoint: view.endpoint.to_string(),
        index: view.index,
        source: config.source(&view.endpoint).into(),
        phase: view.phase.to_string(),
        ready_state: view.ready_state.number(),
        generation: view.generation,
        url: view.url.to_string(),
        protocol: view.protocol.to_string(),
        extensions: view.extensions.to_string(),
        http2: view
            .carrier
            .map(|carrier| wire::Http2Connection { connection: carrier.number.get(), links: carrier.links }),
        buffered_amount: view.buffered_amount,
        queued_messages: view.queued_messages,
        outbox_limit: config
            .outbox(&view.endpoint)
            .map(|outbox| wire::OutboxLimit { messages: outbox.max_messages as u64, bytes: outbox.max_bytes }),
        since: wire::time(view.since),
        attempt: view.attempt,
        next_attempt_at: view.next_attempt_at.map(wire::time),
        phase_reason: view.reason.to_string(),
        rtt_ms: view.rtt.map(millis),
        last_close: view.last_close.as_deref().map(|(closed, at)| close(closed, *at)),
        last_inbound_at: view.last_inbound_at.map(wire::time),
        received_messages: view.traffic.received_messages,
        received_bytes: view.traffic.received_bytes,
        sent_messages: view.traffic.sent_messages,
        sent_bytes: view.traffic.sent_bytes,
        paced_until: view.paced_until.map(wire::time),
        rotation: view.rotation.as_deref().map(|rotation| wire::Rotation {
            stage: rotation.stage.to_owned(),
            attempt: rotation.attempt,
            next_attempt_at: rotation.next_attempt_at.map(wire::time),
            generation: rotation.generation,
            failure: rotation.failure.as_deref().map(str::to_owned),
        }),
        away: view.away.as_deref().map(|away| wire::Away {
            home: away.home_url.to_string(),
            returns: away.returns,
            answers_since: away.answers_since.map(wire::time),
            returns_at: away.returns_at.map(wire::time),
            next_probe_at: away.next_probe_at.map(wire::time),
            failure: away.failure.as_deref().map(str::to_owned),
        }),
    }
}

pub(super) fn close(closed: &Closed, at: SystemTime) -> wire::LastClose {
    wire::LastClose {
        code: closed.code,
        reason: closed.reason.to_string(),
        was_clean: closed.was_clean,
        cause: closed.cause.to_string(),
        sent_code: closed.sent_code,
        status: closed.status,
        label: closed.label.as_deref().map(str::to_owned),
        detail: closed.detail.to_string(),
        at: wire::time(at),
    }
}

/// What is written as a [`wire::Receipt`].
#[derive(Debug)]
pub(super) struct Told<'a>(&'a Receipt);

pub(super) fn receipt(receipt: &Receipt) -> Told<'_> {
    Told(receipt)
}

impl Told<'_> {
    /// By hand: there is one for every message, and almost nothing in it could need an escape.
    pub(super) fn write(&self, json: &mut Vec<u8>) {
        let Receipt { id, endpoint, link, state, bytes, accepted_at, updated_at, generation, end_reason } = self.0;
        let accepted = wire::time(*accepted_at);
        // What has just been accepted has seen no change.
        let changed = (updated_at != accepted_at).then(|| wire::time(*updated_at));
        let updated = changed.as_deref().unwrap_or(&accepted);
        json.reserve(RECEIPT);
        put(json, &[b"{\"id\":\"", &id.digits(), b"\",\"endpoint\":"]);
        put_value(json, &**endpoint);
        put(json, &[b",\"link\":"]);
        put_value(json, link);
        put(json, &[b",\"state\":\"", state.as_str().as_bytes(), b"\",\"bytes\":"]);
        put_value(json, bytes);
        put(json, &[b",\"acceptedAt\":\"", accepted.as_bytes(), b"\",\"updatedAt\":\"", updated.as_bytes()]);
        put(json, &[b"\",\"generation\":"]);
        put_value(json, generation);
        put(json, &[b",\"reason\":"]);
        put_value(json, &end_reason.map(EndReason::as_str));
        json.push(b'}');
    }

    /// The text alone.
    pub(super) fn json(&self) -> Vec<u8> {
        let mut json = Vec::new();
        self.write(&mut json);
        json
    }
}

fn put(json: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        json.extend_from_slice(part);
    }
}

fn put_value(json: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // Writing a number or a string to memory does not fail.
    let _ = serde_json::to_writer(json, value);
}

impl Serialize for Told<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_slice::<&RawValue>(&self.json()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

/// Without its data.
pub(super) fn dead_letter(letter: &DeadLetter) -> wire::DeadLetter {
    wire::DeadLetter {
        id: letter.id.to_string(),
        endpoint: letter.endpoint.to_string(),
        link: letter.link,
        key: letter.key.as_deref().map(str::to_owned),
        kind: letter.payload.kind().as_str().to_owned(),
        bytes: letter.payload.len() as u64,
        reason: letter.end_reason.as_str().to_owned(),
        accepted_at: wire::time(letter.accepted_at),
        died_at: wire::time(letter.died_at),
        data: None,
    }
}

pub(super) fn orphans(orphans: &Orphans) -> wire::Orphans {
    let Orphans { endpoint, link, messages, bytes } = orphans;
    wire::Orphans { endpoint: endpoint.to_string(), link: *link, messages: *messages, bytes: *bytes }
}

pub(super) fn history(entry: &HistoryEntry) -> wire::HistoryEntry {
    wire::HistoryEntry {
        at: wire::time(entry.at),
        event: entry.event.to_owned(),
        phase: entry.phase.to_string(),
        phase_reason: entry.reason.to_string(),
        generation: entry.generation,
        attempt: entry.attempt,
        detail: entry.detail.clone(),
        timings: entry.timings.as_ref().map(timings),
    }
}

pub(super) fn timings(timings: &Timings) -> wire::Timings {
    wire::Timings {
        dns_ms: timings.dns.map(millis),
        admission_ms: timings.admission.map(millis),
        tcp_ms: timings.tcp.map(millis),
        tls_ms: timings.tls.map(millis),
        upgrade_ms: timings.upgrade.map(millis),
        total_ms: millis(timings.total),
    }
}

pub(super) fn push(view: &PushView) -> wire::Push {
    let PushView { error, counts, .. } = view;
    wire::Push {
        name: view.name.to_string(),
        to: view.to.clone(),
        state: view.state.to_owned(),
        cursor: view.cursor,
        behind: view.behind,
        durable: view.durable,
        attempt: view.tries,
        next_attempt_at: view.next_at.map(wire::time),
        failing_since: view.failing_since.map(wire::time),
        delivered_at: view.delivered_at.map(wire::time),
        last_error: error.as_ref().map(|(why, _)| why.to_string()),
        last_error_at: error.as_ref().map(|(_, at)| wire::time(*at)),
        not_kept: view.unkept.as_deref().map(str::to_owned),
        delivered: counts.delivered,
        failed: counts.failed,
        retries: counts.retries,
        skipped: counts.skipped,
        gaps: counts.gaps,
    }
}

pub(super) fn bridge(view: &PushView) -> wire::Bridge {
    let wire::Push {
        name,
        to,
        state,
        cursor,
        behind,
        durable,
        attempt,
        next_attempt_at,
        failing_since,
        delivered_at,
        last_error,
        last_error_at,
        not_kept,
        delivered,
        failed,
        retries,
        skipped,
        gaps,
    } = push(view);
    wire::Bridge {
        name,
        broker: view.broker.as_deref().unwrap_or_default().to_owned(),
        direction: "out".to_owned(),
        subject: to,
        state,
        connected_since: view.connected_since.map(wire::time),
        cursor,
        behind,
        durable,
        attempt,
        next_attempt_at,
        failing_since,
        delivered_at,
        last_error,
        last_error_at,
        not_kept,
        delivered,
        failed,
        retries,
        skipped,
        gaps,
    }
}

pub(super) fn change(change: LinkChange) -> wire::Change {
    wire::Change {
        link: format!("{}/{}", change.endpoint, change.index),
        action: change.action.as_str().to_owned(),
        why: change.why.into_iter().map(str::to_owned).collect(),
    }
}

pub(super) fn plan(plan: &ReloadPlan) -> wire::Plan {
    let keys = |keys: &[&'static str]| keys.iter().map(|key| (*key).to_owned()).collect();
    wire::Plan {
        changes: plan.changes().map(change).collect(),
        live: keys(&plan.live),
        restart: keys(&plan.restart),
        warnings: plan.warnings.clone(),
    }
}

pub(crate) fn event(entry: &Entry, binary: BinaryType) -> wire::Event {
    let base = wire::Event {
        cursor: entry.cursor,
        endpoint: Some(entry.link.endpoint.to_string()),
        link: Some(entry.link.index),
        generation: Some(entry.generation),
        at: Some(wire::time(entry.at)),
        ..wire::Event::default()
    };
    match &entry.item {
        Item::Open { protocol, extensions } => wire::Event {
            kind: "open".into(),
            protocol: Some(protocol.to_string()),
            extensions: Some(extensions.to_string()),
            ..base
        },
        Item::Message(payload) => wire::Event {
            kind: "message".into(),
            data: Some(data(payload, binary)),
            binary: payload.kind() == Kind::Binary,
            ..base
        },
        Item::Error { cause, detail } => wire::Event {
            kind: "error".into(),
            cause: Some(cause.to_string()),
            detail: Some(detail.to_string()),
            ..base
        },
        Item::Close(closed) => wire::Event {
            kind: "close".into(),
            code: Some(closed.code),
            reason: Some(closed.reason.to_string()),
            was_clean: Some(closed.was_clean),
            cause: Some(closed.cause.to_string()),
            label: closed.label.as_deref().map(str::to_owned),
            detail: Some(closed.detail.to_string()),
            ..base
        },
        Item::Phase { phase, reason } => wire::Event {
            kind: "phase".into(),
            phase: Some(phase.to_string()),
            phase_reason: Some(reason.to_string()),
            ..base
        },
        Item::LinkGap { from, to } => wire::Event {
            kind: "gap".into(),
            gap: Some("link".into()),
            from: Some(wire::Edge::Time(wire::time(*from))),
            to: Some(wire::Edge::Time(wire::time(*to))),
            ..base
        },
    }
}

/// A consumer's own gap: of kind `lag`, or `restart` where nobody knows how much was missed.
pub(crate) fn lag(endpoint: Option<&str>, lag: Lag) -> wire::Event {
    let Lag { missed, from, to } = lag;
    wire::Event {
        kind: "gap".into(),
        cursor: to,
        endpoint: endpoint.map(str::to_owned),
        gap: Some(if missed.is_some() { "lag" } else { "restart" }.into()),
        missed,
        from: Some(wire::Edge::Cursor(from)),
        to: Some(wire::Edge::Cursor(to)),
        ..wire::Event::default()
    }
}

/// How receivers of pushes are told what consumers are told.
pub const WRITING: Writing = Writing {
    entry: |entry| line(&event(entry, BinaryType::Base64)),
    gap: |endpoint, gap, kind| line(&wire::Event { gap: Some(kind.into()), ..lag(Some(endpoint), gap) }),
};

fn line(event: &wire::Event) -> Vec<u8> {
    // Writing to memory does not fail.
    serde_json::to_vec(event).unwrap_or_default()
}

/// Text as it is, binary as the caller wants it.
pub(super) fn data(payload: &Payload, binary: BinaryType) -> String {
    match payload.kind() {
        Kind::Text => String::from_utf8_lossy(payload.bytes()).into_owned(),
        Kind::Binary => binary.write(payload.bytes()),
    }
}

pub(super) fn millis(duration: Duration) -> f64 {
    // Whole microseconds: what is beyond is noise.
    let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    f64::from(micros) / 1000.0
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use wskeeper_core::{message::MessageId, receipt::State};

    #[test]
    fn a_receipt_is_written_as_the_document_says() {
        let (accepted_at, updated_at) = (UNIX_EPOCH, UNIX_EPOCH + Duration::from_millis(1_767_225_600_250));
        for (state, generation, end_reason) in
            [(State::Written, Some(3), None), (State::Expired, None, Some(EndReason::Ttl))]
        {
            let (id, endpoint) = (MessageId(0xfe), "feed \"é\"".into());
            let given =
                Receipt { id, endpoint, link: 7, state, bytes: 64, accepted_at, updated_at, generation, end_reason };
            let shown = wire::Receipt {
                id: "000000000000000000000000000000fe".into(),
                endpoint: "feed \"é\"".into(),
                link: 7,
                state: state.to_string(),
                bytes: 64,
                accepted_at: "1970-01-01T00:00:00.000Z".into(),
                updated_at: "2026-01-01T00:00:00.250Z".into(),
                generation,
                reason: end_reason.map(|end_reason| end_reason.as_str().into()),
            };
            assert_eq!(String::from_utf8(receipt(&given).json()).unwrap(), serde_json::to_string(&shown).unwrap());
            assert_eq!(serde_json::to_value(receipt(&given)).unwrap(), serde_json::to_value(&shown).unwrap());
        }
    }
}
