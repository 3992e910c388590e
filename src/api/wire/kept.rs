//! The JSON of what is kept: the store, dead letters, orphans.
//!
//! A dead letter has its `data` where it is asked for alone; a list leaves it out.

use serde::{Deserialize, Serialize};

/// A message that its peer refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Names the message, as its receipt does.
    pub id: String,
    /// Where it was to go.
    pub endpoint: String,
    /// By which link.
    pub link: u32,
    /// Its ordering and conflation key.
    pub key: Option<String>,
    /// `text` or `binary`
    pub kind: String,
    /// Its application bytes.
    pub bytes: u64,
    /// Why it is dead: `poison`.
    pub reason: String,
    /// When it was accepted.
    pub accepted_at: String,
    /// When it was given up.
    pub died_at: String,
    /// Text as it is, binary in base64 or hex; only where one letter is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// Stored messages of a link that the configuration has no more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Orphans {
    /// Whose they are.
    pub endpoint: String,
    /// Which link's.
    pub link: u32,
    /// How many.
    pub messages: u64,
    /// Their application bytes.
    pub bytes: u64,
}

/// How many messages an operator's word concerned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Count {
    /// How many messages were moved or discarded.
    pub messages: u64,
}

/// How the store of durable outboxes and inboxes is, and what waits for an operator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Store {
    /// `unused` (no endpoint needs it), `ok`, or `failed`: durable messages are refused.
    pub state: String,
    /// Why it failed.
    pub failure: Option<String>,
    /// Bytes of its file that hold something.
    pub bytes: u64,
    /// `storage.max_bytes`
    pub limit_bytes: u64,
    /// Messages in it that have not ended, orphans among them.
    pub messages: u64,
    /// Those whose link is not in the configuration, of the endpoints that the caller may see.
    pub orphans: u64,
    /// Dead letters, those of memory outboxes among them, of the endpoints that the caller may see.
    pub dead_letters: u64,
    /// Bytes of durable inboxes.
    pub inbox_bytes: u64,
    /// Why the last write of a durable inbox was refused: it is kept in memory meanwhile, and after a restart its consumers
    /// get a gap.
    pub inbox_failure: Option<String>,
}
