//! Whether the peer is still there: pings with a nonce, and what their pongs prove.
//!
//! A pong proves two things: the round trip, and that the peer's WebSocket stack has read every message sent before the
//! ping (frames are processed in order, RFC 6455 §5.4–5.5.3). It is the *hearing* of any byte that keeps a link alive;
//! the deadlines for that stand in the link's timers.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::chance::Chance;

/// By what a peer that is gone is found out. What it does not take is watched in any case, and TCP watches too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Pings, and what arrives after them.
    Pings(WhenIdle),
    /// No ping: what arrives, for a peer that is never silent for long.
    Silence,
    /// No ping, and no word from a peer that may be silent: TCP alone.
    Tcp,
}

impl Watch {
    /// What is said of a peer of which nothing was heard in time.
    pub(super) const fn silence(self) -> &'static str {
        match self {
            Self::Pings(_) => "nothing arrived in time after a ping",
            Self::Silence | Self::Tcp => "nothing arrived for longer than heartbeat.idle and heartbeat.timeout",
        }
    }
}

/// Whose silence brings a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenIdle {
    /// Nothing has arrived.
    In,
    /// Nothing was sent: some servers end a connection on which they receive nothing.
    Out,
    /// Either.
    Both,
}

impl WhenIdle {
    /// The word used in configuration and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Both => "both",
        }
    }
}

/// When to ping and when to give up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// By what a peer that is gone is found out.
    pub watch: Watch,
    /// A ping is sent after so much silence. Worst-case detection is `idle + timeout`.
    pub idle: Duration,
    /// Nothing at all arriving for this long after the ping ends the connection.
    pub timeout: Duration,
    /// The Close code sent then; `None` aborts TCP without one.
    pub abort_code: Option<u16>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            watch: Watch::Pings(WhenIdle::Both),
            idle: Duration::from_secs(20),
            timeout: Duration::from_secs(10),
            abort_code: None,
        }
    }
}

impl Policy {
    /// Whether pings may be sent, be it to ask for a proof.
    pub const fn pings(&self) -> bool {
        matches!(self.watch, Watch::Pings(_))
    }

    /// The longest that it takes to find out that the peer is gone.
    pub const fn detection(&self) -> Duration {
        self.idle.saturating_add(self.timeout)
    }
}

/// Pings remembered at most; the oldest is forgotten first, and a newer pong proves what an older one would have.
const REMEMBERED: usize = 4;

#[derive(Debug)]
struct Ping {
    nonce: u64,
    at: Instant,
    fence: u64,
}

/// The pings of one connection that have not been answered.
#[derive(Debug, Default)]
pub(crate) struct Pings {
    open: VecDeque<Ping>,
    /// Pongs that answered none of them, while there was one.
    refused: u32,
}

/// What a pong proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proof {
    /// Round-trip time.
    pub rtt: Duration,
    /// The outbox's mark from when the ping was made.
    pub fence: u64,
}

impl Pings {
    /// Makes a ping; `fence` is the outbox's mark of what precedes it in the stream.
    pub(crate) fn ping(&mut self, now: Instant, fence: u64, chance: &mut Chance) -> Bytes {
        if self.open.len() == REMEMBERED {
            self.open.pop_front();
        }
        let nonce = chance.bits();
        self.open.reserve_exact(1);
        self.open.push_back(Ping { nonce, at: now, fence });
        Bytes::copy_from_slice(&nonce.to_be_bytes())
    }

    /// A pong arrived. `None`: it answers no ping of ours (RFC 6455 §5.5.3 allows that).
    pub(crate) fn pong(&mut self, now: Instant, payload: &[u8]) -> Option<Proof> {
        let nonce = u64::from_be_bytes(payload.try_into().ok()?);
        let index = self.open.iter().position(|ping| ping.nonce == nonce)?;
        let answered = self.open.drain(..=index).next_back()?;
        if self.open.is_empty() {
            // Ten thousand idle links must not each keep the room of a ping.
            self.open = VecDeque::new();
        }
        Some(Proof { rtt: now.saturating_duration_since(answered.at), fence: answered.fence })
    }

    /// A pong answered no ping of ours. While one is out, that is no proof of it; else the peer is free to send some (RFC 6455
    /// §5.5.3). Answers with whether it is the first that is refused on this connection.
    pub(crate) fn refuse(&mut self) -> Option<bool> {
        if self.open.is_empty() {
            return None;
        }
        self.refused = self.refused.saturating_add(1);
        Some(self.refused == 1)
    }

    /// How many were refused on this connection, while a ping waits for its pong; else all is well again.
    pub(crate) fn refused(&self) -> u32 {
        if self.open.is_empty() { 0 } else { self.refused }
    }

    /// Whether a ping waits for its pong.
    pub(crate) fn is_outstanding(&self) -> bool {
        !self.open.is_empty()
    }

    /// The connection is gone.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pong_proves_its_ping_and_the_older_ones() {
        let start = crate::epoch();
        let (mut pings, mut chance) = (Pings::default(), Chance::new(1));
        let first = pings.ping(start, 1, &mut chance);
        let second = pings.ping(start + Duration::from_secs(1), 2, &mut chance);
        let third = pings.ping(start + Duration::from_secs(2), 3, &mut chance);
        let proof = pings.pong(start + Duration::from_secs(3), &second);
        assert_eq!(proof, Some(Proof { rtt: Duration::from_secs(2), fence: 2 }));
        assert_eq!(pings.pong(start + Duration::from_secs(3), &first), None);
        assert!(pings.is_outstanding());
        assert!(pings.pong(start + Duration::from_secs(3), &third).is_some());
        assert!(!pings.is_outstanding());
    }

    #[test]
    fn an_unsolicited_pong_proves_nothing() {
        let mut pings = Pings::default();
        assert_eq!(pings.pong(crate::epoch(), b""), None);
        assert_eq!(pings.pong(crate::epoch(), b"12345678"), None);
        assert_eq!(pings.pong(crate::epoch(), &[0; 125]), None);
    }

    #[test]
    fn a_pong_that_answers_nothing_is_refused_while_a_ping_is_out() {
        let (mut pings, mut chance) = (Pings::default(), Chance::new(1));
        assert_eq!(pings.refuse(), None);
        let ping = pings.ping(crate::epoch(), 1, &mut chance);
        assert_eq!([pings.refuse(), pings.refuse()], [Some(true), Some(false)]);
        assert_eq!(pings.refused(), 2);
        assert!(pings.pong(crate::epoch(), &ping).is_some());
        assert_eq!(pings.refused(), 0);
    }

    #[test]
    fn unanswered_pings_are_bounded() {
        let (mut pings, mut chance) = (Pings::default(), Chance::new(1));
        for fence in 0..100 {
            let _ = pings.ping(crate::epoch(), fence, &mut chance);
        }
        assert_eq!(pings.open.len(), REMEMBERED);
    }
}
