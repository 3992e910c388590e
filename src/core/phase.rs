//! Where a link is, and why: the words that the API, the metrics and the logs share.
//!
//! A phase belongs to the link, which outlives connections; `ReadyState` is the WHATWG number of the current connection.

use std::fmt;

/// Where a link is in its life. Every link is always in exactly one phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Between attempts: a backoff runs, or admission has not let it dial yet.
    Waiting,
    /// A dial is under way: DNS, TCP, TLS, upgrade.
    Connecting,
    /// The connection is OPEN and the opening script runs.
    Opening,
    /// The connection carries messages.
    Ready,
    /// The closing handshake is under way.
    Closing,
    /// The peer refuses us for good, it seems; a slow probe goes on.
    Parked,
    /// Stopped by an operator until `resume`, or asleep until somebody wants it.
    Paused,
}

impl Phase {
    /// Every phase, in the order of a link's life.
    pub const ALL: [Self; 7] =
        [Self::Waiting, Self::Connecting, Self::Opening, Self::Ready, Self::Closing, Self::Parked, Self::Paused];

    /// The word used in JSON, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Connecting => "connecting",
            Self::Opening => "opening",
            Self::Ready => "ready",
            Self::Closing => "closing",
            Self::Parked => "parked",
            Self::Paused => "paused",
        }
    }

    /// Reads the word of [`Phase::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == word)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The `readyState` of a link's current connection (WHATWG WebSockets §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ReadyState {
    /// 0: not established yet.
    Connecting = 0,
    /// 1: established, messages may flow.
    Open = 1,
    /// 2: the closing handshake has started.
    Closing = 2,
    /// 3: closed, or could not be opened.
    Closed = 3,
}

impl ReadyState {
    /// The standard's number.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// Why a link is in its phase: a closed set, so that it can be a label and be translated into advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The link has just been made.
    Starting,
    /// The pool's admission limits have not let it dial yet.
    Admission,
    /// It dials, opens, or is ready: nothing is in the way.
    Underway,
    /// Exponential backoff after a failed attempt or a lost connection.
    Backoff,
    /// The peer asked for this delay (`Retry-After`).
    RetryAfter,
    /// The peer restarts (close code 1012): a random 5–30 s.
    ServiceRestart,
    /// The outcome table says to dial again at once.
    Immediate,
    /// The outcome table says to wait long.
    Slow,
    /// The credentials are read anew for one more try.
    Refresh,
    /// The next URL of the endpoint is tried.
    NextUrl,
    /// An operator or a local program asked for it.
    Operator,
    /// The link is lazy, and nobody sends, subscribes or listens.
    Asleep,
    /// All attempts that the endpoint's budget allows have been made.
    Budget,
    /// The policy says that this close is not followed by a reconnect.
    StayClosed,
    /// Refused for lack of credentials (HTTP 401/403, close 4401/4403).
    Unauthorized,
    /// Refused in the same way too many times in a row.
    Refused,
    /// The link's own task panicked too often: a bug in wskeeper.
    Panicked,
    /// A changed configuration asks for a new connection.
    Reload,
    /// The old connection ends first after all, and the new one that is open already takes its place.
    Rotate,
    /// The daemon is stopping.
    Shutdown,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 20] = [
        Self::Starting,
        Self::Admission,
        Self::Underway,
        Self::Backoff,
        Self::RetryAfter,
        Self::ServiceRestart,
        Self::Immediate,
        Self::Slow,
        Self::Refresh,
        Self::NextUrl,
        Self::Operator,
        Self::Asleep,
        Self::Budget,
        Self::StayClosed,
        Self::Unauthorized,
        Self::Refused,
        Self::Panicked,
        Self::Reload,
        Self::Rotate,
        Self::Shutdown,
    ];

    /// The word used in JSON and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Admission => "admission",
            Self::Underway => "underway",
            Self::Backoff => "backoff",
            Self::RetryAfter => "retry_after",
            Self::ServiceRestart => "service_restart",
            Self::Immediate => "immediate",
            Self::Slow => "slow",
            Self::Refresh => "refresh",
            Self::NextUrl => "next_url",
            Self::Operator => "operator",
            Self::Asleep => "asleep",
            Self::Budget => "budget",
            Self::StayClosed => "stay_closed",
            Self::Unauthorized => "unauthorized",
            Self::Refused => "refused",
            Self::Panicked => "panicked",
            Self::Reload => "reload",
            Self::Rotate => "rotate",
            Self::Shutdown => "shutdown",
        }
    }

    /// Reads the word of [`Reason::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
