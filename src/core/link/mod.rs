//! One supervised link as a value: it changes only by `handle`, `handle_timeout`, `poll_transmit` and `offer`.
//!
//! It has one connection, or an attempt at one (`connection` has the picture of that), and between two of them this:
//!
//! ```text
//!            Start              the transport is gone, or there was none to be had
//! (made) ──────────► active ─────────────────────────────────────────────────────► the outcome table, an operator
//!                      ▲                                                             │                   │
//!                      ├──────────── retry ───────────── waiting, parked ◄───────────┤                   │
//!                      └──────────── resume ──────────── paused ◄────────────────────┴───────────────────┘
//! ```
//! An open link can have another connection beside its own for a while: `rotation` has that picture.
//!
//! The driver feeds what happened and carries out the commands; it never decides. `Stop` leads to the end from anywhere,
//! in at most the time it names.

mod connection;
mod delivery;
mod exchange;
mod lazy;
mod lifecycle;
mod pace;
mod rotation;
mod round;
#[cfg(test)]
mod simulation;
mod state;
mod subscriptions;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    backoff,
    chance::Chance,
    close::{Cause, Closed},
    event::Established,
    heartbeat,
    message::Message,
    outbox::{self, Outbox},
    outcome::{Row, Rule},
    phase::{Phase, ReadyState, Reason},
    requests,
    session::{Ask, Kept, Session, Waits},
    timers::Timer,
};
use connection::{Change, Connection, Shared, Signs, Stage};
use lazy::Lazy;
use pace::Pace;
use rotation::Rotation;
use state::{State, Then};

pub use connection::SPACING;
pub use exchange::{Command, Commands, ConnectionInput, Frame, Input, Lane, Received, To, Verb};
pub use rotation::Rotating;
pub use round::{Round, UrlOrder};

/// Everything that steers a link. Built by the configuration, followed at once when it changes.
#[derive(Debug, Clone)]
pub struct Policy {
    /// How many URLs the endpoint has; at least 1.
    pub urls: usize,
    /// In which order they are tried.
    pub url_order: UrlOrder,
    /// A link goes back to the first of them, once its server has been back for a time; else it stays where it is.
    pub failback: bool,
    /// For how long that server is to have answered.
    pub failback_after: Duration,
    /// The whole attempt, all addresses, without the wait for admission.
    pub connect_timeout: Duration,
    /// The closing handshake, then TCP is aborted.
    pub close_timeout: Duration,
    /// A parked link probes this often.
    pub park_probe: Duration,
    /// `Retry-After` is obeyed up to this.
    pub retry_after_max: Duration,
    /// Ping and pong.
    pub heartbeat: heartbeat::Policy,
    /// Pings that ask for a confirmation are at least this far apart, for peers that count control frames; those that are not
    /// urgent at least [`SPACING`].
    pub confirm_interval: Duration,
    /// Delays.
    pub backoff: backoff::Policy,
    /// The endpoint's own rows before the built-in ones.
    pub outcomes: Vec<Rule>,
    /// Limits of the queue.
    pub outbox: Arc<outbox::Policy>,
    /// How requests and replies belong together.
    pub requests: requests::Policy,
    /// A new connection may be open beside the old one; else the old one is closed first.
    pub rotates: bool,
    /// After the switch, the old connection is read for so long before it is closed.
    pub overlap: Duration,
    /// A connection is replaced once it has been the current one for so long.
    pub rotate_after: Option<Duration>,
    /// A connection is replaced this long before a value ends that it was made with.
    pub rotate_before_expiry: Option<Duration>,
    /// The link is lazy: it has a connection only while somebody wants it, and for so long after that.
    pub idle_timeout: Option<Duration>,
    /// The largest message that may arrive; a larger one fails the connection with 1009.
    pub max_inbound: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            urls: 1,
            url_order: UrlOrder::Listed,
            failback: true,
            failback_after: Duration::from_mins(5),
            connect_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            park_probe: Duration::from_mins(10),
            retry_after_max: Duration::from_mins(5),
            heartbeat: heartbeat::Policy::default(),
            confirm_interval: Duration::ZERO,
            backoff: backoff::Policy::default(),
            outcomes: Vec::new(),
            outbox: Arc::default(),
            requests: requests::Policy::default(),
            rotates: true,
            overlap: Duration::from_secs(1),
            rotate_after: None,
            rotate_before_expiry: None,
            idle_timeout: None,
            max_inbound: 1 << 20,
        }
    }
}

/// A supervised link.
#[derive(Debug)]
pub struct Link {
    shared: Shared,
    state: State,
    phase: Phase,
    reason: Reason,
    since: Instant,
    /// What follows the end of the current connection.
    then: Then,
    /// When the next attempt is made, where one is waited for.
    retry: Option<Instant>,
    pace: Pace,
    attempt: u32,
    generation: u64,
    last_close: Option<Arc<(Arc<Closed>, Instant)>>,
    rotation: Option<Box<Rotation>>,
    lazy: Option<Box<Lazy>>,
}

impl Link {
    /// A link that waits for `Input::Start` or `Input::Park`. `seed` fixes all its chance.
    pub fn new(policy: Arc<Policy>, seed: u64, now: Instant) -> Self {
        Self {
            lazy: Lazy::of(&policy),
            shared: Shared {
                chance: Chance::new(seed),
                signs: Signs::default(),
                newest: 0,
                outbox: None,
                kept: None,
                wanted: None,
                policy,
            },
            state: State::Made,
            phase: Phase::Waiting,
            reason: Reason::Starting,
            since: now,
            then: Then::Outcome,
            retry: None,
            pace: Pace::default(),
            attempt: 0,
            generation: 0,
            last_close: None,
            rotation: None,
        }
    }

    /// Says which of the links of its endpoint it is, before the link starts: it begins with the URL that is its own.
    pub fn stand_at(&mut self, place: u32) {
        self.pace = Pace::of(place, &self.shared.policy);
    }

    /// Puts a message back that the disk kept, before the link starts.
    pub fn restore(&mut self, now: Instant, message: Box<Message>) {
        self.shared.outbox().restore(now, message);
    }

    /// Goes on with the numbers of connections that the link had in an earlier life: none is ever another one's.
    pub fn number_after(&mut self, generation: u64) {
        (self.generation, self.shared.newest) = (generation, generation);
    }

    /// Goes on with what sessions of an earlier life have left, before the link starts.
    pub fn recall(&mut self, kept: Kept) {
        self.shared.kept = Some(Box::new(kept));
    }

    /// Something happened.
    #[must_use]
    pub fn handle(&mut self, now: Instant, input: Input) -> Commands {
        let mut out = Commands::new();
        match input {
            Input::Start => self.on_start(now, &mut out),
            Input::Park(reason) => self.on_park(now, reason, &mut out),
            Input::Connection(lane, input) => self.on_connection(now, lane, input, &mut out),
            Input::ServerBack { was_sent } => self.on_server_back(now, was_sent, &mut out),
            Input::CredentialsChanged => self.on_credentials_changed(now, &mut out),
            Input::Return => self.on_return(now, &mut out),
            Input::Verb(verb) => self.on_verb(now, verb, &mut out),
            Input::Policy(policy) => self.on_policy(now, policy, &mut out),
            Input::Renew => self.on_renew(now, (Cause::Reload, Reason::Reload), &mut out),
            Input::Stop(within, end_reason) => self.on_stop(now, within, end_reason, &mut out),
            Input::Want(id) => self.on_want(id),
            Input::Acknowledged(key) => self.on_acknowledged(&key, &mut out),
            Input::Listened(is_heard) => self.on_listened(is_heard),
            Input::Subscriptions(changes) => self.on_subscriptions(now, &changes, &mut out),
            Input::Stored { place, id } => self.on_stored(place, id),
            Input::NotStored { place, id } => self.on_not_stored(place, id, &mut out),
            Input::Marked(ids) => self.on_marked(&ids),
        }
        if self.has_more_to_do() {
            self.follow_up(now, &mut out);
        }
        out
    }

    /// Time passed: does what is due. Afterwards the next deadline is later than `now`.
    #[must_use]
    pub fn handle_timeout(&mut self, now: Instant) -> Commands {
        let mut out = Commands::new();
        self.expire(now, &mut out);
        self.miss_replies(now, &mut out);
        self.miss_acks(now, &mut out);
        self.end_pause(now, &mut out);
        if self.rotation.is_some() {
            self.settle(now, &mut out);
            self.on_rotation_due(now, &mut out);
        }
        if self.retry.is_some_and(|at| at <= now) {
            self.dial_if_wanted(now, Reason::Underway, &mut out);
        }
        if self.lazy.is_some() {
            self.fall_asleep(now, &mut out);
        }
        while let Some((connection, shared)) = self.connection(Lane::Current)
            && let Some(change) = connection.handle_timeout(now, shared, &mut out)
        {
            self.on_change(now, Lane::Current, change, &mut out);
        }
        if self.has_more_to_do() {
            self.follow_up(now, &mut out);
        }
        out
    }

    /// When to call `handle_timeout`, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        let own = match &self.state {
            State::Active(connection) => connection.poll_timeout(),
            State::Made | State::Waiting | State::Parked | State::Asleep | State::Paused | State::Stopped(_) => {
                self.retry.map(|at| (at, Timer::Retry))
            }
        };
        let of_messages = self.shared.outbox.as_deref().and_then(|outbox| self.next_of_messages(outbox));
        let first = own.into_iter().chain(of_messages).min();
        if self.rotation.is_none() && self.lazy.is_none() {
            return first;
        }
        let rotation = self.rotation_due().map(|at| (at, Timer::Rotate));
        let sleep = self.sleep_due().map(|at| (at, Timer::Sleep));
        first.into_iter().chain(rotation).chain(sleep).min()
    }

    /// Where the link is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The standard's number for the current connection.
    pub fn ready_state(&self) -> ReadyState {
        match self.state.connection().map(|connection| &connection.stage) {
            None => ReadyState::Closed,
            Some(Stage::Dialing { .. }) => ReadyState::Connecting,
            Some(Stage::Open(_)) => ReadyState::Open,
            Some(Stage::Closing(_)) => ReadyState::Closing,
        }
    }

    /// The next frame of a connection, pulled when its transport has room. For one that is not the current one, a Close is all that
    /// there may be.
    pub fn poll_transmit(&mut self, now: Instant, lane: Lane) -> Option<Frame> {
        let is_held = self.has_standby();
        let (connection, shared) = self.connection(lane)?;
        connection.poll_transmit(now, is_held, shared)
    }

    /// What the session of a connection wants to have done outside; what comes of it is an input of the same connection.
    pub fn poll_ask(&mut self, lane: Lane) -> Option<Ask> {
        self.connection(lane)?.0.next_ask()
    }

    /// The current connection's number; 0 before the first.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Attempts since the link was last stable.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// When it will dial or probe by itself.
    pub fn next_attempt_at(&self) -> Option<Instant> {
        self.retry
    }

    /// The row of the outcome table that decided last, and how many ends in a row.
    pub fn ruling(&self) -> Option<(Row, u32)> {
        self.pace.ruling()
    }

    /// When it came into its phase.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// What was agreed with the peer of the current connection.
    pub fn established(&self) -> Option<&Arc<Established>> {
        Some(&self.state.connection()?.open()?.established)
    }

    /// Where the session of the current connection waits, until it is ready.
    pub fn session_waits(&self) -> Option<Waits> {
        self.state.connection()?.waits()
    }

    /// The session of the current connection, for who looks on.
    pub fn session(&self) -> Option<&Session> {
        self.state.connection()?.session()
    }

    /// Whether a session runs on this connection that is not ready yet.
    pub fn is_opening(&self, lane: Lane) -> bool {
        let connection = match lane {
            Lane::Current => self.state.connection(),
            Lane::Beside => self.rotation.as_deref().and_then(Rotation::connection),
        };
        connection.is_some_and(|connection| connection.phase() == Phase::Opening)
    }

    /// What sessions have left to those that follow.
    pub fn kept(&self) -> Option<&Kept> {
        self.shared.kept.as_deref()
    }

    /// The URL to use, or in use, by index.
    pub fn url(&self) -> usize {
        self.pace.url()
    }

    /// How the last connection or attempt ended, and when.
    pub fn last_close(&self) -> Option<&Arc<(Arc<Closed>, Instant)>> {
        self.last_close.as_ref()
    }

    /// The last round-trip time measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.shared.signs.rtt
    }

    /// Pongs on this connection that answered no ping of ours, while one was out: none of them is a proof.
    pub fn pongs_refused(&self) -> u32 {
        self.state.connection().map_or(0, Connection::pongs_refused)
    }

    /// When anything last arrived on any connection.
    pub fn last_heard(&self) -> Option<Instant> {
        self.shared.signs.heard
    }

    /// Bytes accepted and not yet handed to the network.
    pub fn buffered_amount(&self) -> u64 {
        self.shared.outbox.as_deref().map_or(0, Outbox::buffered_amount)
    }

    /// Messages accepted and not yet handed to the network.
    pub fn queued_messages(&self) -> usize {
        self.shared.outbox.as_deref().map_or(0, Outbox::len)
    }

    /// When the message was accepted, or read from the disk, that has been queued for the longest.
    pub fn oldest_queued_at(&self) -> Option<Instant> {
        self.shared.outbox.as_deref()?.oldest_at()
    }

    /// Messages handed to the network and kept until they are confirmed.
    pub fn unconfirmed_messages(&self) -> usize {
        self.shared.outbox.as_deref().map_or(0, Outbox::unconfirmed)
    }

    /// The largest message that may arrive.
    pub fn max_inbound(&self) -> usize {
        self.shared.policy.max_inbound
    }

    /// The limits of its queue.
    pub fn outbox_policy(&self) -> &Arc<outbox::Policy> {
        &self.shared.policy.outbox
    }

    /// Whether anything is there that may have to follow what happened. One question for all of it: hardly any link has any, and all that
    /// happens asks.
    #[inline]
    fn has_more_to_do(&self) -> bool {
        self.rotation.is_some() | self.shared.wanted.is_some() | self.lazy.is_some() | self.has_apart()
    }

    #[inline]
    fn has_apart(&self) -> bool {
        self.shared.outbox.as_deref().is_some_and(Outbox::has_apart)
    }

    #[inline(never)]
    fn follow_up(&mut self, now: Instant, out: &mut Commands) {
        self.hand_keys_over(now, out);
        if self.rotation.is_some() {
            self.settle(now, out);
        }
        self.mark(out);
        self.unbind(out);
        self.tell_subscriptions(out);
        self.follow_wishes(now, out);
    }

    /// One of its connections, and what it shares with the link.
    #[inline]
    fn connection(&mut self, lane: Lane) -> Option<(&mut Connection, &mut Shared)> {
        let connection = match lane {
            Lane::Current => self.state.connection_mut()?,
            Lane::Beside => self.rotation.as_deref_mut()?.connection_mut()?,
        };
        Some((connection, &mut self.shared))
    }

    fn on_connection(&mut self, now: Instant, lane: Lane, input: ConnectionInput, out: &mut Commands) {
        if self.rotation.is_some() && !self.attends(now, lane, &input) {
            return;
        }
        let Some((connection, shared)) = self.connection(lane) else { return };
        if let Some(change) = connection.handle(now, input, shared, out) {
            self.on_change(now, lane, change, out);
        }
    }

    fn on_change(&mut self, now: Instant, lane: Lane, change: Change, out: &mut Commands) {
        let is_aborted = matches!(change, Change::Aborted);
        match lane {
            Lane::Current => self.on_change_current(now, change, out),
            Lane::Beside => self.on_change_beside(now, change, out),
        }
        if is_aborted {
            out.push(Command::Hangup(lane));
        }
    }
}
