//! One deadline per kind, in one table, each saying why it woke.

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The next attempt or probe.
    Retry,
    /// The attempt has taken too long.
    Connect,
    /// Nothing has arrived for `idle`: ping.
    Idle,
    /// Nothing has arrived since the ping.
    Pong,
    /// What we gave the transport has not left it.
    Stall,
    /// The link has been ready for `stable`.
    Stable,
    /// The closing handshake has taken too long.
    Close,
    /// A queued message expires.
    Expiry,
}
