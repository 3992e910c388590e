//! An endpoint as the API shows it: its whole configuration in force, and what it is doing.
//!
//! The keys are those of the configuration in camelCase, units added; a table of rows stands as rows. Text that may be
//! secret is left out: references stand as they are written, never as what they evaluate to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Link, List};

/// An endpoint: its configuration without what is secret, and sums over its links.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Endpoint {
    /// The name.
    pub name: String,
    /// What is in force, defaults included.
    pub config: EndpointConfig,
    /// Sums over its links.
    pub totals: Totals,
    /// The first 1000 of them, and where `GET /v1/links` goes on; in a list of endpoints there is no such key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<List<Link>>,
}

/// An endpoint's configuration in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EndpointConfig {
    /// `url` or `urls`, with references as they are written, without userinfo and query.
    pub urls: Vec<String>,
    /// How many links it holds.
    pub links: u32,
    /// Subprotocols offered, in order.
    pub protocols: Vec<String>,
    /// A server that chooses none of them is accepted.
    pub protocols_optional: bool,
    /// Headers of the upgrade request; what may be secret is `***`.
    pub headers: Vec<Header>,
    /// Redirects followed.
    pub redirects: u32,
    /// The whole attempt.
    pub connect_timeout_ms: u64,
    /// The closing handshake.
    pub close_timeout_ms: u64,
    /// Counts for `/readyz?links`.
    pub critical: bool,
    /// Links that must be ready then.
    pub min_ready: u32,
    /// `heartbeat`
    pub heartbeat: Heartbeat,
    /// `reconnect`
    pub reconnect: Reconnect,
    /// `rotation`
    pub rotation: RotationKeys,
    /// Rows before the built-in table, in order; `reconnect.on_clean_close = "stay_closed"` stands as rows at their end.
    pub outcomes: Vec<Outcome>,
    /// `outbox`
    pub outbox: Outbox,
    /// `inbox`
    pub inbox: Inbox,
    /// `tls`
    pub tls: Tls,
    /// `receipts`
    pub receipts: Receipts,
}

/// A header as configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value, redacted.
    pub value: String,
}

/// `heartbeat`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// Whether pings are sent.
    pub ping: bool,
    /// Whose silence brings a ping: `in`, `out` or `both`.
    pub when_idle: String,
    /// A ping after so much silence.
    pub idle_ms: u64,
    /// The end after so much more; `null`: without pings, silence ends nothing.
    pub timeout_ms: Option<u64>,
    /// Close code sent then; `null`: TCP is aborted.
    pub abort_code: Option<u16>,
}

/// `reconnect`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Reconnect {
    /// The first retry comes within this.
    pub first_ms: u64,
    /// The bound of the second.
    pub initial_ms: u64,
    /// Growth of the bound.
    pub multiplier: f64,
    /// The bound's bound.
    pub max_ms: u64,
    /// Ready for so long, it starts over.
    pub stable_ms: u64,
    /// A parked link tries this often.
    pub park_probe_ms: u64,
    /// `Retry-After` counts up to this.
    pub retry_after_max_ms: u64,
}

/// `rotation`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RotationKeys {
    /// A new connection may be open beside the old one.
    pub enabled: bool,
    /// The old one is read for so long after the switch.
    pub overlap_ms: u64,
}

/// A row of `outcomes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Outcome {
    /// All that is not `null` must match.
    #[serde(rename = "match")]
    pub when: Match,
    /// `backoff`, `now`, `slow`, `park`, `refresh`, `next_url`, `stay_closed`
    pub then: String,
    /// From this many such ends in a row on.
    pub after: u32,
}

/// What a row looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Match {
    /// A close code, or a range such as `4000-4099`.
    pub code: Option<String>,
    /// A regular expression over the close reason.
    pub reason: Option<String>,
    /// An HTTP status, or a range.
    pub status: Option<String>,
    /// A failure class; `remote`: the server closed.
    pub class: Option<String>,
}

/// `outbox`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Outbox {
    /// Messages held at most, by each link.
    pub max_messages: usize,
    /// Bytes held at most, by each link.
    pub max_bytes: u64,
    /// The largest message.
    pub max_message_bytes: usize,
    /// A message that brings none lives so long; `null`: for ever.
    pub ttl_ms: Option<u64>,
    /// `reject`, `drop_oldest`, `drop_newest`, `wait`
    pub on_full: String,
    /// `hold`, `reject`, `drop`
    pub when_down: String,
    /// Only the newest of a key is kept.
    pub conflate: bool,
    /// `at_most_once`, `at_least_once`
    pub delivery: String,
    /// How the peer's application acknowledges messages; `null`: a pong confirms them.
    pub ack: Option<Ack>,
    /// An acknowledgement is waited for so long.
    pub ack_timeout_ms: Option<u64>,
    /// `memory`, `disk`
    pub durability: String,
    /// Pings that ask for a confirmation are at least this far apart.
    pub confirm_interval_ms: u64,
}

/// `outbox.ack`: JSON pointers (RFC 6901) to the value that a message and its acknowledgement share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Ack {
    /// Into what is sent.
    pub outgoing: String,
    /// Into what arrives.
    pub incoming: String,
}

/// `inbox`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Inbox {
    /// Messages kept at most.
    pub max_messages: usize,
    /// Bytes kept at most.
    pub max_bytes: u64,
    /// The largest message that may arrive.
    pub max_message_bytes: usize,
    /// `memory`, or `disk`: consumers resume by cursor after a restart of the daemon.
    pub durability: String,
}

/// `tls`; files are named, not shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Authorities trusted instead of the platform's.
    pub ca: Option<String>,
    /// The client's certificate chain.
    pub cert: Option<String>,
    /// Its key.
    pub key: Option<String>,
    /// The name to verify.
    pub server_name: Option<String>,
    /// Any certificate is accepted.
    pub insecure: bool,
}

/// `receipts`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Receipts {
    /// After a message's end.
    pub keep_ms: u64,
}

/// Sums over an endpoint's links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Links by phase; every phase is there.
    pub phases: BTreeMap<String, u32>,
    /// Bytes held.
    pub buffered_amount: u64,
    /// Messages held.
    pub queued_messages: u64,
    /// The newest cursor of its inbox.
    pub inbox_cursor: u64,
    /// Local subscribers.
    pub consumers: u64,
}
