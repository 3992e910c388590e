//! A push as the API shows it.

use serde::{Deserialize, Serialize};

/// Where messages of an endpoint go by themselves, and how that goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Push {
    /// What it is called.
    pub name: String,
    /// The URL without what is secret, or the program.
    pub to: String,
    /// `idle`, `sending`, `waiting` (for its next attempt) or `stopped` (until a reload changes it, or until a restart)
    pub state: String,
    /// Its receiver has everything up to here, except for the gaps that it was sent.
    pub cursor: u64,
    /// Entries of the inbox after its cursor, whether or not `match` selects them.
    pub behind: u64,
    /// It goes on from its cursor after a restart.
    pub durable: bool,
    /// Attempts of what is first in line.
    pub attempt: u32,
    /// When it tries again.
    pub next_attempt_at: Option<String>,
    /// Since when its receiver has taken nothing; `null` while it takes messages.
    pub failing_since: Option<String>,
    /// When it took something last.
    pub delivered_at: Option<String>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<String>,
    /// Why its cursor is not on disk, if it should be.
    pub not_kept: Option<String>,
    /// What its receiver has taken since it began.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Attempts after the first of a batch.
    pub retries: u64,
    /// Messages that its receiver refused and that were skipped.
    pub skipped: u64,
    /// Gaps that were sent to its receiver.
    pub gaps: u64,
}
