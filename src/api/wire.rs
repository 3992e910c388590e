//! The JSON of the local API: what goes over the wire, and nothing else.
//!
//! Keys are camelCase, as in the WebSocket API; times are RFC 3339 with milliseconds; a duration or size is a plain number
//! with its unit in the key. A value that does not exist now is `null`, so that a reader need not ask whether a key is there;
//! only an [`Event`] leaves out the keys that its type does not have.

mod bridge;
mod daemon;
mod dynamic;
mod endpoint;
mod explain;
mod frame;
mod kept;
mod push;
mod subscription;
mod traffic;

use std::{
    cell::RefCell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use wskeeper_core::clock;

pub use bridge::Bridge;
pub use daemon::{Access, Daemon, LastReload};
pub use dynamic::{EndpointPut, EndpointRemoved};
pub use endpoint::{BudgetState, Endpoint, EndpointConfig, Totals};
pub use explain::{AnswerHeader, Attempt, Explanation, Outage, Rejection, Ruling, SessionStep, Standing};
pub use frame::Frame;
pub use kept::{Count, DeadLetter, Orphans, Store};
pub use push::Push;
pub use subscription::{Holder, Subscription, SubscriptionCounts};
pub use traffic::{RequestCounts, StreamCounts};

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct List<T> {
    /// In order.
    pub items: Vec<T>,
    /// The value of `?after=` for the next page; `null` on the last.
    pub next: Option<String>,
}

/// A link as it is now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// The endpoint's name.
    pub endpoint: String,
    /// From 0.
    pub index: u32,
    /// Where its endpoint comes from: the `file`; or the API, which keeps it in `memory` or on `disk`.
    #[serde(default)]
    pub source: String,
    /// `waiting`, `connecting`, `opening`, `ready`, `closing`, `parked`, `paused`
    pub phase: String,
    /// WHATWG: 0 connecting, 1 open, 2 closing, 3 closed.
    pub ready_state: u8,
    /// The connection's number; 0 before the first.
    pub generation: u64,
    /// URL in use, without userinfo and query.
    pub url: String,
    /// Subprotocol in use, or empty.
    pub protocol: String,
    /// Extensions in use, with their parameters, or empty.
    pub extensions: String,
    /// The connection by HTTP/2 that it shares with other links; `null` where it has one of its own.
    #[serde(default)]
    pub http2: Option<Http2Connection>,
    /// Bytes accepted and not yet handed to the network.
    pub buffered_amount: u64,
    /// Messages accepted and not yet handed to the network.
    pub queued_messages: u64,
    /// What its outbox holds at most; `null` while its endpoint comes or goes.
    #[serde(default)]
    pub outbox_limit: Option<OutboxLimit>,
    /// When it came into its phase.
    pub since: String,
    /// Attempts since it was last stable.
    pub attempt: u32,
    /// When it will dial or probe by itself.
    pub next_attempt_at: Option<String>,
    /// Why it is in its phase: [the reasons](troubleshooting.md#what-the-reason-of-a-phase-means).
    pub phase_reason: String,
    /// The last round-trip time measured.
    pub rtt_ms: Option<f64>,
    /// How the last connection or attempt ended.
    pub last_close: Option<LastClose>,
    /// When anything last arrived.
    pub last_inbound_at: Option<String>,
    /// Messages that arrived since the link was made, over all its connections.
    #[serde(default)]
    pub received_messages: u64,
    /// Their application bytes.
    #[serde(default)]
    pub received_bytes: u64,
    /// Messages handed to the kernel in full since the link was made; one sent again counts again.
    #[serde(default)]
    pub sent_messages: u64,
    /// Their application bytes.
    #[serde(default)]
    pub sent_bytes: u64,
    /// Until when what is to leave waits for its turn, by the rates of `outbox`.
    #[serde(default)]
    pub paced_until: Option<String>,
    /// While a new connection is to take the place of this one, and until the old one is gone.
    #[serde(default)]
    pub rotation: Option<Rotation>,
    /// While it is ready at another URL than the first of its `urls`.
    #[serde(default)]
    pub away: Option<Away>,
}

/// What the outbox of a link holds at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct OutboxLimit {
    /// `outbox.max_messages`
    pub messages: u64,
    /// `outbox.max_bytes`: the limit of `bufferedAmount`.
    pub bytes: u64,
}

/// Where a link would rather be, and what is known of that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Away {
    /// The first of its URLs.
    pub home: String,
    /// It goes back there by itself (`failback`).
    pub returns: bool,
    /// Since when that has answered every probe.
    pub answers_since: Option<String>,
    /// When it goes back, if that goes on to answer.
    pub returns_at: Option<String>,
    /// When it is probed next.
    pub next_probe_at: Option<String>,
    /// Why the last probe failed.
    pub failure: Option<String>,
}

/// A connection by HTTP/2 that links share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Http2Connection {
    /// Its number, among those of the endpoint.
    pub connection: u64,
    /// Links on it.
    pub links: u32,
}

/// A rotation under way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// `waiting` for the next attempt, `dialing`, `opening` (the session of the new connection is not ready yet), `standby` (it is
    /// ready, the old one is to prove what has been
    /// read), `leaving` (the old one is on its way out)
    pub stage: String,
    /// Attempts so far.
    pub attempt: u32,
    /// When the next one is made.
    pub next_attempt_at: Option<String>,
    /// The number of the connection beside the current one.
    pub generation: Option<u64>,
    /// Why the last attempt failed.
    pub failure: Option<String>,
}

/// How a connection or an attempt ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LastClose {
    /// From the Close frame received; 1005 it had none, 1006 there was no Close frame.
    pub code: u16,
    /// From the same frame; empty if there was none.
    pub reason: String,
    /// The closing handshake completed.
    pub was_clean: bool,
    /// What ended it: [the causes](troubleshooting.md#what-last-close-means).
    pub cause: String,
    /// The code of the Close frame that was sent.
    pub sent_code: Option<u16>,
    /// The HTTP status of a refused upgrade.
    pub status: Option<u16>,
    /// What the session calls it, where a session ended it.
    pub label: Option<String>,
    /// A sentence for people.
    pub detail: String,
    /// When.
    pub at: String,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Receipt {
    /// Names the message.
    pub id: String,
    /// Where it was sent.
    pub endpoint: String,
    /// The link that holds or held it.
    pub link: u32,
    /// `queued`, `stored`, `written`, `confirmed`, `unknown`, `expired`, `dropped`, `dead`
    pub state: String,
    /// Its application bytes.
    pub bytes: u64,
    /// When it was accepted.
    #[serde(rename = "acceptedAt")]
    pub accepted_at: String,
    /// When the state was reached.
    #[serde(rename = "updatedAt")]
    pub updated_at: String,
    /// The connection that it was written on.
    pub generation: Option<u64>,
    /// Why it ended so, where it was not sent.
    pub reason: Option<String>,
}

/// Something happened; which keys there are depends on `type`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    /// `open`, `message`, `error`, `close`, `phase`, `gap`
    #[serde(rename = "type")]
    pub kind: String,
    /// Its number; give the last one seen as `?from=` to resume.
    pub cursor: u64,
    /// The endpoint's name. A `gap` of kind `lag` or `restart` on the pool's log has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Which link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<u32>,
    /// The connection it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// When it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// `message`: text as it is, binary in base64 or hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// `message`: `true` when it was binary.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub binary: bool,
    /// `open`: subprotocol in use, or empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// `open`: extensions in use, or empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extensions: Option<String>,
    /// `close`: the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// `close`: the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `close`: the closing handshake completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was_clean: Option<bool>,
    /// `close`, `error`: [what ended it](troubleshooting.md#what-last-close-means).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// `close`: what the session calls it, where a session ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// `close`, `error`: a sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// `phase`: the phase now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// `phase`: [why](troubleshooting.md#what-the-reason-of-a-phase-means).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase_reason: Option<String>,
    /// `gap`: `link` (it was down), `lag` (this consumer was too slow), `restart` (the cursor is of an earlier run); in a push also `refused` (its receiver refused it).
    #[serde(rename = "kind", skip_serializing_if = "Option::is_none")]
    pub gap: Option<String>,
    /// `gap`: how many events were missed, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
    /// `gap`: the first cursor missed; of kind `link`, when the link was last ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Edge>,
    /// `gap`: the last cursor missed; of kind `link`, when the link was ready again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Edge>,
}

/// An end of a gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum Edge {
    /// A cursor.
    Cursor(u64),
    /// A time.
    Time(String),
}

/// A line of the flight recorder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// When.
    pub at: String,
    /// `phase`, `dial`, `dial_failed`, `open`, `close`, `pong_refused`, `heartbeat_timeout`, `chaos`, `panic`
    pub event: String,
    /// The phase after it.
    pub phase: String,
    /// Why.
    pub phase_reason: String,
    /// The connection it belongs to.
    pub generation: u64,
    /// Attempts since the link was last stable.
    pub attempt: u32,
    /// For people.
    pub detail: String,
    /// How long the steps of the attempt took.
    pub timings: Option<Timings>,
}

/// How long the steps of an attempt took; `null` for a step not reached or not needed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Timings {
    /// Name resolution.
    pub dns_ms: Option<f64>,
    /// Waiting for admission.
    pub admission_ms: Option<f64>,
    /// The TCP connection, proxy included.
    pub tcp_ms: Option<f64>,
    /// The TLS handshake.
    pub tls_ms: Option<f64>,
    /// The HTTP upgrade.
    pub upgrade_ms: Option<f64>,
    /// The whole attempt, without the wait for admission.
    pub total_ms: f64,
}

/// What a reload does to a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Change {
    /// `NAME/INDEX`
    pub link: String,
    /// `unchanged`, `applied live`, `rotate`, `reconnect`, `added`, `removed`
    pub action: String,
    /// Which keys of the endpoint changed; `endpoint` for all of it, `links` for their number.
    pub why: Vec<String>,
}

/// What a reload does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Plan {
    /// Link by link, in order of endpoint and index.
    pub changes: Vec<Change>,
    /// Keys outside of the endpoints that are followed at once.
    pub live: Vec<String>,
    /// Keys that are not followed before a restart.
    pub restart: Vec<String>,
    /// Settings of the new configuration that may be mistakes.
    pub warnings: Vec<String>,
}

/// The daemon's own state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// `alive` or `ready`
    pub status: String,
    /// How many endpoints there are; `/livez` only, as what follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<usize>,
    /// The daemon's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Since its API began to answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_seconds: Option<u64>,
}

/// What went wrong (RFC 9457). Further members depend on the type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Problem {
    /// `urn:wskeeper:problem:NAME`
    #[serde(rename = "type")]
    pub kind: String,
    /// One line.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened and what to do.
    pub detail: String,
    /// What happened to the message, if one was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

/// RFC 3339 with milliseconds, in UTC.
pub fn time(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    // The calendar is asked once a second, and not for each message of it.
    SECOND.with_borrow_mut(|(second, until_seconds)| {
        if *second != Some(since.as_secs()) {
            *second = Some(since.as_secs());
            let whole = clock::since_epoch(Duration::from_secs(since.as_secs()));
            *until_seconds = humantime::format_rfc3339_seconds(whole).to_string();
            // Its `Z`.
            until_seconds.pop();
        }
        let mut text = String::with_capacity(TIME);
        text.push_str(until_seconds);
        text.push('.');
        let millis = since.subsec_millis();
        text.extend(
            [millis / 100, millis / 10 % 10, millis % 10].map(|digit| char::from_digit(digit, 10).unwrap_or('0')),
        );
        text.push('Z');
        text
    })
}

/// Bytes of a time.
const TIME: usize = "2026-01-01T00:00:00.000Z".len();

thread_local! {
    /// The last second that was written, and the text of a time in it before its fraction.
    static SECOND: RefCell<(Option<u64>, String)> = const { RefCell::new((None, String::new())) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_the_same_whatever_was_written_before() {
        for millis in [0, 999, 1000, 1_767_225_600_250, 1_767_225_600_007, 1_767_225_601_000, 1000] {
            let at = UNIX_EPOCH + Duration::from_millis(millis);
            assert_eq!(time(at), humantime::format_rfc3339_millis(at).to_string());
        }
    }
}
