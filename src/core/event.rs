//! Everything that can be known about a link, told once: one `Event` becomes one log line, one metric, one line of the
//! flight recorder and, where consumers care, one entry of the inbox.
//!
//! What a reader would get wrong: an event is to be looked at. What must become of messages and receipts hangs on none: that is a
//! `link::Command`. So a new one is met by who looks at all of them, the log and the flight recorder, and by nobody else.

use std::{
    fmt,
    net::SocketAddr,
    num::NonZeroU64,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    chaos::Fault,
    close::{ABNORMAL, Cause, Closed},
    deflate::Agreement,
    message::Kind,
    outbox::Sent,
    phase::{Phase, Reason},
    rejection::Rejection,
    session::Opening,
};

/// Names a link: `NAME/INDEX`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// From 0.
    pub index: u32,
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.endpoint, self.index)
    }
}

/// How long the steps of an attempt took; a step that was not reached, or not needed, is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Name resolution.
    pub dns: Option<Duration>,
    /// Waiting for admission to the address.
    pub admission: Option<Duration>,
    /// The TCP connection, proxy included.
    pub tcp: Option<Duration>,
    /// The TLS handshake.
    pub tls: Option<Duration>,
    /// The HTTP upgrade.
    pub upgrade: Option<Duration>,
    /// The whole attempt, without the wait for admission.
    pub total: Duration,
}

/// [`Timings`] in little room, to be kept: microseconds, each up to 71 minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps([u32; 6]);

impl Steps {
    /// A step that there was none of.
    const NONE: u32 = u32::MAX;
}

impl Default for Steps {
    fn default() -> Self {
        Timings::default().into()
    }
}

impl From<Timings> for Steps {
    fn from(Timings { dns, admission, tcp, tls, upgrade, total }: Timings) -> Self {
        let micros = |took: Duration| u32::try_from(took.as_micros()).unwrap_or(Self::NONE).min(Self::NONE - 1);
        Self([dns, admission, tcp, tls, upgrade, Some(total)].map(|took| took.map_or(Self::NONE, micros)))
    }
}

impl From<Steps> for Timings {
    fn from(Steps(steps): Steps) -> Self {
        let took = |micros: u32| (micros != Steps::NONE).then(|| Duration::from_micros(micros.into()));
        let [dns, admission, tcp, tls, upgrade, total] = steps.map(took);
        Self { dns, admission, tcp, tls, upgrade, total: total.unwrap_or_default() }
    }
}

/// When the certificates of a connection expire, in seconds since 1970; `None` where there is none, or none that can be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Certificates {
    /// The peer's own, without its chain.
    pub peer: Option<i64>,
    /// Ours, without its chain.
    pub client: Option<i64>,
}

impl Certificates {
    /// Of each kind the one that expires first.
    #[must_use]
    pub fn earliest(self, other: Self) -> Self {
        let first = |one: Option<i64>, other: Option<i64>| one.into_iter().chain(other).min();
        Self { peer: first(self.peer, other.peer), client: first(self.client, other.client) }
    }
}

/// A connection as it was established.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Established {
    /// The URL, without userinfo or query: safe to show.
    pub url: Arc<str>,
    /// The peer's address.
    pub address: Option<SocketAddr>,
    /// The subprotocol in use; empty where none is.
    pub protocol: Box<str>,
    /// What was agreed on for compression, where anything was.
    pub compression: Option<Agreement>,
    /// The connection by HTTP/2 that it shares, by its number among those of its endpoint.
    pub carrier: Option<NonZeroU64>,
    /// What TLS showed.
    pub certificates: Certificates,
    /// How long it took.
    pub timings: Steps,
}

impl Established {
    /// The extensions in use, as the standard has them; empty where none is.
    pub fn extensions(&self) -> Box<str> {
        self.compression.map(|agreed| agreed.to_string().into()).unwrap_or_default()
    }
}

/// What a peer asks for with `Retry-After`, as far as it is obeyed. It is capped where it comes in, so nobody who waits by it, the link
/// itself or the others of its endpoint, waits for longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryAfter(Duration);

impl RetryAfter {
    /// The peer asks for this; it is obeyed up to `max`.
    pub fn capped(asked: Duration, max: Duration) -> Self {
        Self(asked.min(max))
    }

    /// For how long it wants to be left alone.
    pub const fn span(self) -> Duration {
        self.0
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialFailure {
    /// The failure class.
    pub cause: Cause,
    /// The HTTP status of a refused upgrade.
    pub status: Option<u16>,
    /// What the peer asked for with `Retry-After`.
    pub retry_after: Option<RetryAfter>,
    /// What the session calls it, where its steps of `dial` failed.
    pub label: Option<Box<str>>,
    /// A sentence for people; holds no secret.
    pub detail: Box<str>,
    /// How far it came.
    pub timings: Timings,
    /// What the steps of `dial` did, where those failed.
    pub steps: Option<Box<Opening>>,
    /// What the server said, where it refused the upgrade.
    pub rejection: Option<Arc<Rejection>>,
}

impl DialFailure {
    /// One of which no more is known.
    pub fn of(cause: Cause, detail: impl Into<Box<str>>) -> Self {
        let (detail, timings) = (detail.into(), Timings::default());
        Self { cause, status: None, retry_after: None, label: None, detail, timings, steps: None, rejection: None }
    }

    /// The attempt as the end of a connection that never was: 1006, not clean (WHATWG §4).
    pub fn closed(&self) -> Closed {
        Closed {
            code: ABNORMAL,
            reason: "".into(),
            was_clean: false,
            cause: self.cause,
            sent_code: None,
            status: self.status,
            label: self.label.clone(),
            detail: self.detail.clone(),
        }
    }
}

/// A fact about a link.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The link went from one phase to another.
    Phase {
        /// Before.
        from: Phase,
        /// Now.
        to: Phase,
        /// Why.
        reason: Reason,
        /// When it will act by itself: the next attempt or probe.
        next_at: Option<Instant>,
        /// The delay drawn for the next attempt, where one was drawn.
        delay: Option<Duration>,
    },
    /// An attempt begins; `attempt` counts from 1 since the link was last stable.
    Dialing {
        /// Attempts since the link was last stable, this one included.
        attempt: u32,
        /// Which URL of the endpoint, from 0.
        url: usize,
    },
    /// An attempt failed.
    DialFailed(Box<DialFailure>),
    /// An attempt begins at a connection that is to take the place of the current one, which goes on meanwhile.
    Rotating {
        /// Attempts of this rotation, this one included.
        attempt: u32,
        /// Which URL of the endpoint, from 0.
        url: usize,
    },
    /// Such an attempt failed; nothing else has changed.
    RotateFailed {
        /// Why.
        failure: Box<DialFailure>,
        /// The delay drawn for the next one; none: the link is lost meanwhile, and dials by itself.
        delay: Option<Duration>,
    },
    /// The new connection has taken the place of the old one, between two messages.
    Rotated {
        /// The old connection.
        from: u64,
        /// The new one.
        to: u64,
    },
    /// A connection is OPEN.
    Opened {
        /// Its number.
        generation: u64,
        /// What was agreed.
        established: Arc<Established>,
    },
    /// An open connection ended.
    Closed {
        /// Its number.
        generation: u64,
        /// How.
        closed: Arc<Closed>,
        /// How long it was open.
        age: Duration,
    },
    /// The session of a connection is ready: from now on it may carry messages.
    SessionReady {
        /// The connection.
        generation: u64,
        /// What it did until then.
        opening: Box<Opening>,
    },
    /// A connection has ended whose session had not been ready.
    SessionFailed {
        /// The connection.
        generation: u64,
        /// What it did until then.
        opening: Box<Opening>,
    },
    /// What a timer of the session waited for has come, or has not come in time.
    Keepalive {
        /// It has.
        answered: bool,
    },
    /// Messages that consumers do not see, for a rule of the session says so: their type and size, at least one.
    Hidden(Vec<(Kind, usize)>),
    /// Messages had to wait for their turn, by the rates of the outbox.
    Paced {
        /// For so long.
        waited: Duration,
    },
    /// Messages were handed to the kernel in full, at least one.
    Written(Vec<Sent>),
    /// A ping left.
    PingSent,
    /// Its pong arrived.
    Pong {
        /// Round-trip time.
        rtt: Duration,
    },
    /// A pong answered no ping of ours, though one is out: it is no proof.
    PongRefused {
        /// None was refused on this connection before.
        first: bool,
    },
    /// Nothing was heard in time after a ping; the connection is given up.
    HeartbeatTimeout {
        /// How long nothing was heard.
        silent: Duration,
    },
    /// An operator put a fault under the connection: what follows is that fault's doing.
    Injected {
        /// The connection.
        generation: u64,
        /// Which fault.
        fault: Fault,
    },
    /// The link's task panicked and was started again or parked.
    Panicked {
        /// Panics within the budget's window, this one included.
        count: u32,
    },
}

impl Event {
    /// Whether the link goes on as before: messages and control frames pass.
    pub const fn is_passing(&self) -> bool {
        self.is_traffic()
            || matches!(
                self,
                Self::PingSent
                    | Self::Pong { .. }
                    | Self::PongRefused { .. }
                    | Self::Keepalive { answered: true }
                    | Self::Hidden(_)
                    | Self::Paced { .. }
            )
    }

    /// Whether it only says that messages passed: there may be very many, and nothing else that can be seen of a link changes.
    pub const fn is_traffic(&self) -> bool {
        matches!(self, Self::Written(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timings_come_back_as_they_were_to_the_microsecond() {
        let timings = Timings {
            dns: Some(Duration::from_micros(1)),
            admission: None,
            tcp: Some(Duration::ZERO),
            tls: Some(Duration::from_secs(2)),
            upgrade: None,
            total: Duration::from_millis(2001),
        };
        assert_eq!(Timings::from(Steps::from(timings)), timings);
        let endless = Timings { admission: Some(Duration::from_hours(9)), ..timings };
        assert!(Timings::from(Steps::from(endless)).admission.is_some_and(|wait| wait > Duration::from_mins(70)));
    }
}
