//! The JSON of what programs have under way at an endpoint: requests that wait, streams and who reads them.

use serde::{Deserialize, Serialize};

/// Requests that have not ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RequestCounts {
    /// Not sent yet.
    pub waiting: u64,
    /// Sent, and not answered.
    pub asked: u64,
    /// At most this many at once, including those of the session's timers; `null`: no limit.
    pub in_flight: Option<u32>,
}

/// A named part of an inbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct StreamCounts {
    /// Its name.
    pub name: String,
    /// The cursor of its newest entry.
    pub cursor: u64,
    /// What it holds, with what is beside messages.
    pub bytes: u64,
    /// How many read it.
    pub readers: u64,
    /// How far behind the newest entry the reader is that is furthest behind.
    pub behind: u64,
    /// Entries that those who read it now have missed.
    pub lost: u64,
}
