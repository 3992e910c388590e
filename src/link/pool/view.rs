//! What can be seen of the pool, as plain values that hold nothing alive.

use std::{
    net::SocketAddr,
    num::NonZeroU64,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{endpoint::Endpoint, hub::StreamView};
use wskeeper_core::{
    close::{Cause, Closed},
    event::{LinkId, Timings},
    outcome::Row,
    phase::{Phase, ReadyState, Reason},
    rejection::Rejection,
    session::Waits,
};

/// A part of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// In order.
    pub items: Vec<T>,
    /// Whether there are more after the last one.
    pub more: bool,
}

/// A link as it is now.
#[derive(Debug, Clone)]
pub struct LinkView {
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// From 0.
    pub index: u32,
    /// Where it is.
    pub phase: Phase,
    /// The standard's number for the current connection.
    pub ready_state: ReadyState,
    /// The connection's number; 0 before the first.
    pub generation: u64,
    /// URL in use, without userinfo and query.
    pub url: Arc<str>,
    /// Subprotocol in use, or empty.
    pub protocol: Box<str>,
    /// Extensions in use, or empty.
    pub extensions: Box<str>,
    /// The connection by HTTP/2 that it shares.
    pub carrier: Option<CarrierView>,
    /// Bytes held.
    pub buffered_amount: u64,
    /// Messages held.
    pub queued_messages: u64,
    /// When it came into its phase.
    pub since: SystemTime,
    /// Attempts since it was last stable.
    pub attempt: u32,
    /// When it will dial or probe by itself.
    pub next_attempt_at: Option<SystemTime>,
    /// Why it is in its phase.
    pub reason: Reason,
    /// The row of the outcome table that decided last, and how many ends in a row.
    pub ruling: Option<(Row, u32)>,
    /// The last round-trip time measured.
    pub rtt: Option<Duration>,
    /// Pongs without the payload of a ping of ours, where a ping is still not answered.
    pub pongs_refused: u32,
    /// How the last connection or attempt ended.
    pub last_close: Option<Box<(Closed, SystemTime)>>,
    /// When anything last arrived.
    pub last_inbound_at: Option<SystemTime>,
    /// What has gone over its connections.
    pub traffic: Traffic,
    /// A new connection is to take the place of this one, or an old one is on its way out.
    pub rotation: Option<Box<RotationView>>,
    /// Where the session of its connection waits, until it is ready.
    pub waits: Option<Waits>,
    /// It is ready, and not at the first of its URLs.
    pub away: Option<Box<AwayView>>,
    /// Until when what is to leave waits for its turn.
    pub paced_until: Option<SystemTime>,
}

/// A link that another URL than its first has taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwayView {
    /// The first of its URLs, by index.
    pub home: usize,
    /// That URL, without userinfo and query.
    pub home_url: Arc<str>,
    /// It returns there by itself.
    pub returns: bool,
    /// Since when that has answered every probe.
    pub answers_since: Option<SystemTime>,
    /// When the link returns if it goes on to do so.
    pub returns_at: Option<SystemTime>,
    /// When it is probed next.
    pub next_probe_at: Option<SystemTime>,
    /// How long it is to have answered.
    pub wait: Duration,
    /// Why the last probe came to nothing.
    pub failure: Option<Box<str>>,
}

/// A connection by HTTP/2 that links share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CarrierView {
    /// Its number, among those of the endpoint.
    pub number: NonZeroU64,
    /// Links on it.
    pub links: u32,
}

/// A rotation under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationView {
    /// `waiting`, `dialing`, `opening`, `standby`, `leaving`
    pub stage: &'static str,
    /// Attempts so far.
    pub attempt: u32,
    /// When the next one is made.
    pub next_attempt_at: Option<SystemTime>,
    /// The number of the connection beside the current one.
    pub generation: Option<u64>,
    /// Why the last attempt came to nothing.
    pub failure: Option<Box<str>>,
}

/// Messages and their application bytes since the link was made, over all its connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages that arrived.
    pub received_messages: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Messages handed to the kernel in full; one sent again counts again.
    pub sent_messages: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// A message of some program has left on the current connection. A session's own do not count.
    pub has_spoken: bool,
    /// Connections in a row that the peer ended after a ping, before it had answered or sent anything.
    pub ended_after_ping: u32,
    /// Pings since the last pong, or since the connection began.
    pub unanswered_pings: u32,
    /// When the first of them left.
    pub unanswered_since: Option<SystemTime>,
}

/// A line of the flight recorder.
#[derive(Debug, Clone)]
pub struct HistoryEntry {
    /// When.
    pub at: SystemTime,
    /// `phase`, `dial`, `dial_failed`, `rotating`, `rotate_failed`, `rotated`, `open`, `session_ready`, `session_unready`, `keepalive_missed`, `close`, `pong_refused`, `heartbeat_timeout`, `chaos`, `panic`
    pub event: &'static str,
    /// The phase after it.
    pub phase: Phase,
    /// Why.
    pub reason: Reason,
    /// The connection it belongs to.
    pub generation: u64,
    /// Attempts since the link was last stable.
    pub attempt: u32,
    /// For people.
    pub detail: String,
    /// How long the steps of the attempt took.
    pub timings: Option<Timings>,
}

/// An attempt, as far as it is remembered.
#[derive(Debug, Clone)]
pub struct AttemptView {
    /// When it began.
    pub at: SystemTime,
    /// Its number since the link was last stable.
    pub attempt: u32,
    /// Which URL of the endpoint.
    pub url: usize,
    /// `None`: it is under way, or was given up for something else.
    pub end: Option<AttemptEnd>,
    /// How long its steps took.
    pub timings: Option<Timings>,
    /// The wait drawn after it, or after the connection that it made.
    pub then: Option<Duration>,
}

/// What a server said when it refused an upgrade.
#[derive(Debug, Clone)]
pub struct RejectionView {
    /// When.
    pub at: SystemTime,
    /// The HTTP status.
    pub status: Option<u16>,
    /// Headers and body.
    pub said: Arc<Rejection>,
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub enum AttemptEnd {
    /// With a connection.
    Open {
        /// To whom.
        address: Option<SocketAddr>,
    },
    /// Without.
    Failed {
        /// The failure class.
        cause: Cause,
        /// The HTTP status of a refused upgrade.
        status: Option<u16>,
        /// For people.
        detail: Box<str>,
    },
}

/// A place in the line for admission.
#[derive(Debug, Clone)]
pub struct StandingView {
    /// Attempts that come before it.
    pub ahead: usize,
    /// Links that dial one of its addresses now, not all where there are many.
    pub holders: Vec<LinkId>,
    /// Attempts under way in the whole pool.
    pub connecting: usize,
    /// The rate alone holds it back.
    pub held_by_rate: bool,
    /// Since when its addresses have been known to be down, where that is why: one link at a time looks whether they are back.
    pub down_since: Option<SystemTime>,
    /// Then: the link that looks now, or who looked last and when the next look is due.
    pub awaited: Option<(LinkId, Option<SystemTime>)>,
}

/// All that explains where a link is.
#[derive(Debug, Clone)]
pub struct Explained {
    /// The link.
    pub view: LinkView,
    /// Its endpoint's configuration.
    pub config: Arc<Endpoint>,
    /// Since when there is no connection, and how the one before ended, where there was one; `None` while there is one.
    pub outage: Option<(SystemTime, Option<Arc<Closed>>)>,
    /// Where it stands in line.
    pub standing: Option<StandingView>,
    /// The last attempts, oldest first.
    pub attempts: Vec<AttemptView>,
    /// Messages that have left and are kept, at least once, until the peer has proved that it has read them.
    pub unconfirmed: u64,
    /// What a server said that refused its upgrade, the last time.
    pub rejection: Option<Box<RejectionView>>,
    /// When it was so.
    pub at: SystemTime,
    /// Its keys in each state, in the order of `subscriptions::State::ALL`, where the endpoint has subscriptions.
    pub subscriptions: Option<[usize; 3]>,
    /// So many keys the endpoint has, and may have, where those are more.
    pub surplus: Option<(usize, usize)>,
    /// Its requests, where the endpoint has them.
    pub requests: Option<RequestsView>,
    /// The streams of its endpoint.
    pub streams: Vec<StreamView>,
    /// Cookies of servers that it keeps, where it keeps any.
    pub cookies: Option<usize>,
    /// The attempts of its endpoint, where they are counted.
    pub budget: Option<BudgetView>,
}

/// Attempts of an endpoint's links, where they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetView {
    /// So many may begin.
    pub attempts: u32,
    /// Within any time as long as this.
    pub per: Duration,
    /// So many have begun and count.
    pub used: u32,
    /// A store is open that keeps the count.
    pub is_kept: bool,
    /// When the next may begin, where none may now.
    pub until: Option<SystemTime>,
}

/// Requests that have not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestsView {
    /// To be sent.
    pub waiting: u64,
    /// Sent, and not answered.
    pub asked: u64,
}

/// Sums over an endpoint's links.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Links by phase, in the order of [`Phase::ALL`].
    pub phases: [u32; 7],
    /// Of those that are paused, so many are so because nobody wants them.
    pub asleep: u32,
    /// Bytes held.
    pub buffered_amount: u64,
    /// Messages held.
    pub queued_messages: u64,
    /// The newest cursor of its inbox.
    pub inbox_cursor: u64,
    /// Local subscribers.
    pub consumers: u64,
    /// Keys in each state, in the order of `subscriptions::State::ALL`, where it has subscriptions.
    pub subscriptions: Option<[usize; 3]>,
    /// Its attempts, where they are counted.
    pub budget: Option<BudgetView>,
}

/// An endpoint as it is now.
#[derive(Debug, Clone)]
pub struct EndpointView {
    /// Its configuration; secrets are still templates.
    pub config: Arc<Endpoint>,
    /// Sums over its links.
    pub totals: Totals,
}
