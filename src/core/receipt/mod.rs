//! What became of each accepted message.
//!
//! A receipt only ever climbs: the ledger refuses a state that is not further than the one reached.

mod expiry;
mod ledger;

use std::{fmt, sync::Arc, time::SystemTime};

use super::message::MessageId;

pub use self::ledger::{CLAIM, FAR, Ledger};

/// How far a message has come; the order of the variants up to `Confirmed` is the order of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Accepted and held.
    Queued,
    /// Accepted and on disk.
    Stored,
    /// Handed to the kernel. Final for at-most-once while the link is fine.
    Written,
    /// A pong that answers a ping sent after it has arrived: the peer's WebSocket stack has read it.
    Confirmed,
    /// It was given to the network, and the link was lost before it could be confirmed.
    Unknown,
    /// Its time to live ran out before it could be sent.
    Expired,
    /// Not sent, by policy or by an operator.
    Dropped,
    /// Moved to the dead letters.
    Dead,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Stored,
        Self::Written,
        Self::Confirmed,
        Self::Unknown,
        Self::Expired,
        Self::Dropped,
        Self::Dead,
    ];

    /// The word used in JSON and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Stored => "stored",
            Self::Written => "written",
            Self::Confirmed => "confirmed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Dropped => "dropped",
            Self::Dead => "dead",
        }
    }

    /// Reads the word of [`State::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether nothing more can happen to the message.
    pub const fn is_end(self) -> bool {
        match self {
            Self::Queued | Self::Stored | Self::Written => false,
            Self::Confirmed | Self::Unknown | Self::Expired | Self::Dropped | Self::Dead => true,
        }
    }

    /// Whether a message in this state can come into that one: never back, and never out of an end. What was written was
    /// not dropped and has not expired.
    pub const fn can_become(self, next: Self) -> bool {
        match self {
            Self::Queued => !matches!(next, Self::Queued),
            Self::Stored => !matches!(next, Self::Queued | Self::Stored),
            // Written again, on a later connection, at least once.
            Self::Written => matches!(next, Self::Written | Self::Confirmed | Self::Unknown | Self::Dead),
            Self::Confirmed | Self::Unknown | Self::Expired | Self::Dropped | Self::Dead => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a message ended other than by being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndReason {
    /// `on_full = "drop_oldest"`: it made room for a newer one.
    Evicted,
    /// `on_full = "drop_newest"`: there was no room for it.
    Overflow,
    /// `when_down = "drop"`: the link was not ready.
    Down,
    /// A newer message of the same key took its place.
    Conflated,
    /// Its time to live ran out.
    Ttl,
    /// The link was lost after it was given to the network.
    LinkLost,
    /// The link was taken out of the configuration.
    Removed,
    /// The daemon stopped before it could be sent.
    Shutdown,
    /// The peer closed the link on it three times in a row.
    Poison,
    /// The link's task panicked while it held the message.
    Panicked,
    /// The peer's application did not acknowledge it in time.
    AckTimeout,
    /// The disk could not keep it.
    Disk,
    /// The daemon ended without a word while it was under way.
    Crash,
    /// It was written, and too many after it without a proof of any: its own is no longer waited for.
    Unproven,
    /// The connection that it was bound to was gone, or replaced, before it could leave.
    Generation,
    /// A request with the caller's own id, which another had that got no reply in time: a late reply would be taken for its own.
    IdInUse,
    /// A request whose endpoint's `requests` were changed or taken away by a reload: no reply to it would be found.
    Reload,
}

impl EndReason {
    /// Every end reason.
    pub const ALL: [Self; 17] = [
        Self::Evicted,
        Self::Overflow,
        Self::Down,
        Self::Conflated,
        Self::Ttl,
        Self::LinkLost,
        Self::Removed,
        Self::Shutdown,
        Self::Poison,
        Self::Panicked,
        Self::AckTimeout,
        Self::Disk,
        Self::Crash,
        Self::Unproven,
        Self::Generation,
        Self::IdInUse,
        Self::Reload,
    ];

    /// The word used as `reason` in JSON and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::Overflow => "overflow",
            Self::Down => "down",
            Self::Conflated => "conflated",
            Self::Ttl => "ttl",
            Self::LinkLost => "link_lost",
            Self::Removed => "removed",
            Self::Shutdown => "shutdown",
            Self::Poison => "poison",
            Self::Panicked => "panicked",
            Self::AckTimeout => "ack_timeout",
            Self::Disk => "disk",
            Self::Crash => "crash",
            Self::Unproven => "unproven",
            Self::Generation => "generation",
            Self::IdInUse => "id_in_use",
            Self::Reload => "reload",
        }
    }

    /// Reads the word of [`EndReason::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|end_reason| end_reason.as_str() == word)
    }
}

/// What became of one accepted message, as it can be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The message.
    pub id: MessageId,
    /// Where it was sent.
    pub endpoint: Arc<str>,
    /// The link that holds or held it.
    pub link: u32,
    /// How far it has come.
    pub state: State,
    /// Its application bytes.
    pub bytes: u64,
    /// When it was accepted.
    pub accepted_at: SystemTime,
    /// When the state was reached.
    pub updated_at: SystemTime,
    /// The connection that it was written on.
    pub generation: Option<u64>,
    /// Why it ended so, where it was not sent.
    pub end_reason: Option<EndReason>,
}
