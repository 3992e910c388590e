//! One supervised link as a value: it changes only by `handle`, `handle_timeout`, `poll_transmit` and `offer`.
//!
//! ```text
//!            Start            admitted          101              Close sent or received
//! (made) ──────────► dialing ◄────────► queued ──────► open ───────────────────────────► closing
//!                     ▲  │ failed                       │ transport gone                    │ transport gone
//!                     │  └───────────────┬──────────────┴───────────────────┬──────────────┘
//!                     │ retry      the outcome table                        │ an operator
//!                     ├──────── waiting, parked                             │
//!                     └──────────────────────────── resume ────────────── paused
//! ```
//! The driver feeds what happened and carries out the commands; it never decides. `Stop` leads to the end from anywhere,
//! in at most the time it names.

mod connection;
mod lifecycle;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    backoff::{self, Backoff},
    chance::Chance,
    close::{ABNORMAL, Cause, CloseFrame, Closed, NO_STATUS},
    event::{DialFailure, Established, Event},
    heartbeat::{self, Pings},
    message::{Message, Payload},
    outbox::{self, Outbox},
    outcome::{Rule, Streak},
    phase::{Phase, ReadyState, Reason},
    receipt::Fate,
    timers::{Timer, Timers},
};

/// Everything that steers a link. Built by the configuration, followed at once when it changes.
#[derive(Debug, Clone)]
pub struct Policy {
    /// How many URLs the endpoint has; at least 1.
    pub urls: usize,
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
    /// Delays.
    pub backoff: backoff::Policy,
    /// The endpoint's own rows before the built-in ones.
    pub outcomes: Vec<Rule>,
    /// Limits of the queue.
    pub outbox: outbox::Policy,
    /// The largest message that may arrive; a larger one fails the connection with 1009.
    pub max_inbound: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            urls: 1,
            connect_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            park_probe: Duration::from_mins(10),
            retry_after_max: Duration::from_mins(5),
            heartbeat: heartbeat::Policy::default(),
            backoff: backoff::Policy::default(),
            outcomes: Vec::new(),
            outbox: outbox::Policy::default(),
            max_inbound: 1 << 20,
        }
    }
}

/// What an operator, or a local program through the API, may ask of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Close the connection (with this frame; `None`: a Close without a body) and stay `paused`.
    Close(Option<CloseFrame>),
    /// Close the connection, if any, and dial again at once; also out of `waiting`, `parked` and `paused`.
    Reconnect,
    /// As `Close` with 1000; no more attempts until `resume`.
    Pause,
    /// Leave `paused` or `parked` and dial.
    Resume,
}

/// What happened to a link.
#[derive(Debug)]
pub enum Input {
    /// The link's task runs: begin.
    Start,
    /// The dial waits for admission; the attempt's clock stands still.
    Queued,
    /// The dial may go on.
    Admitted,
    /// The connection is OPEN.
    Dialled(Box<Established>),
    /// The attempt failed.
    DialFailed(Box<DialFailure>),
    /// Bytes arrived, a whole frame or not.
    Heard,
    /// The transport took bytes of what it was given.
    Moved,
    /// A whole message or control frame arrived.
    Received(Received),
    /// Everything pulled by `poll_transmit` so far has been handed to the kernel.
    Flushed,
    /// The peer broke the protocol or a limit: the connection is to be failed with this code (1002, 1007, 1009).
    Violation {
        /// The code to send.
        code: u16,
        /// `Protocol` or `TooBig`.
        cause: Cause,
        /// For people.
        detail: Box<str>,
    },
    /// The transport is gone. Every open connection ends with it, also after `Command::Hangup`.
    Ended {
        /// Bytes that the stream took since the last `Flushed`: frames that had not begun to leave may be sent again.
        escaped: u64,
        /// The error; empty for a plain end of stream.
        detail: Box<str>,
    },
    /// An operator's word.
    Verb(Verb),
    /// The policy changed and applies to what comes.
    Policy(Arc<Policy>),
    /// Something changed that only a new connection can follow.
    Redial,
    /// Close with 1001, dial no more, end within this time; what is still queued then is dropped with this fate.
    Stop(Duration, Fate),
}

/// What arrived on an open connection. Pings are answered below (tungstenite), and show here as `Heard` only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A data message.
    Message(Payload),
    /// A pong with its payload.
    Pong(Bytes),
    /// A Close frame; the reply is sent below (tungstenite).
    Close(Option<CloseFrame>),
}

/// What the driver must do.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Begin an attempt at the URL of this index.
    Dial {
        /// From 0.
        url: usize,
    },
    /// The attempt has taken too long: drop it and feed `Input::DialFailed`, which says how far it came, in the same turn.
    GiveUp,
    /// Drop the dial or the connection at once, aborting TCP. For a connection `Input::Ended` must follow in the same turn.
    Hangup,
    /// Tell the world.
    Tell(Event),
    /// The link has stopped; its task may end.
    Done,
}

/// Commands, in order.
pub type Commands = Vec<Command>;

/// A frame for the transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A data message.
    Data(Payload),
    /// A ping with its payload.
    Ping(Bytes),
    /// A Close frame, with or without a body. Nothing follows it.
    Close(Option<CloseFrame>),
}

#[derive(Debug)]
enum State {
    /// Made, not started.
    Made,
    /// The retry timer runs.
    Waiting,
    /// An attempt is under way; while it is queued for admission its remaining time is kept here.
    Dialing { queued: Option<Duration> },
    /// OPEN and ready.
    Open(Open),
    /// The closing handshake, or the wait for the transport's end.
    Closing(Closing),
    /// The retry timer runs, slowly.
    Parked,
    /// Until an operator's word.
    Paused,
    /// The end.
    Stopped,
}

impl State {
    fn phase(&self) -> Phase {
        match self {
            Self::Made | Self::Waiting | Self::Dialing { queued: Some(_) } => Phase::Waiting,
            Self::Dialing { queued: None } => Phase::Connecting,
            Self::Open(_) => Phase::Ready,
            Self::Closing(_) => Phase::Closing,
            Self::Parked => Phase::Parked,
            Self::Paused | Self::Stopped => Phase::Paused,
        }
    }
}

#[derive(Debug)]
struct Open {
    established: Box<Established>,
    since: Instant,
}

#[derive(Debug)]
struct Closing {
    open: Open,
    ending: Ending,
    /// The code of the Close frame that left.
    sent_code: Option<u16>,
    /// The first Close frame received.
    #[allow(clippy::option_option, reason = "no frame, a frame without a body, one with a body: three things")]
    received: Option<Option<CloseFrame>>,
}

/// Why and how an open connection is brought to its end.
#[derive(Debug)]
struct Ending {
    /// A Close frame that still has to leave; `None` where there is none to send, or the peer's is answered below.
    #[allow(clippy::option_option, reason = "no frame, a frame without a body, one with a body: three things")]
    owed: Option<Option<CloseFrame>>,
    cause: Cause,
    detail: Box<str>,
    then: Then,
}

impl Closing {
    /// The facts of the connection, now that its transport is gone.
    fn closed(&self) -> Closed {
        let (code, reason) = match &self.received {
            Some(Some(frame)) => (frame.code, frame.reason.clone()),
            Some(None) => (NO_STATUS, "".into()),
            None => (ABNORMAL, "".into()),
        };
        Closed {
            code,
            reason,
            was_clean: self.received.is_some(),
            cause: self.ending.cause,
            sent_code: self.sent_code,
            detail: self.ending.detail.clone(),
        }
    }
}

/// What follows the end of a connection that is closing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The outcome table decides.
    Outcome,
    /// Dial again at once.
    Redial(Reason),
    /// Rest until an operator's word.
    Pause,
    /// The end.
    Stop(Fate),
}

/// A supervised link.
#[derive(Debug)]
pub struct Link {
    policy: Arc<Policy>,
    chance: Chance,
    state: State,
    phase: Phase,
    reason: Reason,
    since: Instant,
    timers: Timers,
    backoff: Backoff,
    streak: Streak,
    attempt: u32,
    generation: u64,
    url: usize,
    /// URLs tried since one of them opened.
    urls_tried: usize,
    outbox: Outbox,
    pings: Pings,
    owes_ping: bool,
    unflushed_pings: u32,
    rtt: Option<Duration>,
    heard: Option<Instant>,
    last_close: Option<Box<(Closed, Instant)>>,
}

impl Link {
    /// A link that waits for `Input::Start`. `seed` fixes all its chance.
    pub fn new(policy: Arc<Policy>, seed: u64, now: Instant) -> Self {
        Self {
            chance: Chance::new(seed),
            state: State::Made,
            phase: Phase::Waiting,
            reason: Reason::Starting,
            since: now,
            timers: Timers::default(),
            backoff: Backoff::new(policy.backoff.clone()),
            streak: Streak::default(),
            attempt: 0,
            generation: 0,
            url: 0,
            urls_tried: 0,
            outbox: Outbox::new(policy.outbox.clone()),
            pings: Pings::default(),
            owes_ping: false,
            unflushed_pings: 0,
            rtt: None,
            heard: None,
            last_close: None,
            policy,
        }
    }

    /// Something happened.
    #[must_use]
    pub fn handle(&mut self, now: Instant, input: Input) -> Commands {
        let mut out = Commands::new();
        match input {
            Input::Start => self.on_start(now, &mut out),
            Input::Queued => self.on_queued(now, &mut out),
            Input::Admitted => self.on_admitted(now, &mut out),
            Input::Dialled(established) => self.on_dialled(now, established, &mut out),
            Input::DialFailed(failure) => self.on_dial_failed(now, failure, &mut out),
            Input::Heard => self.on_heard(now),
            Input::Moved => self.on_moved(now),
            Input::Received(Received::Message(payload)) => self.on_message(payload, &mut out),
            Input::Received(Received::Pong(payload)) => self.on_pong(now, &payload, &mut out),
            Input::Received(Received::Close(frame)) => self.on_close(now, frame, &mut out),
            Input::Flushed => self.on_flushed(now, &mut out),
            Input::Violation { code, cause, detail } => self.on_violation(now, code, cause, detail, &mut out),
            Input::Ended { escaped, detail } => self.on_ended(now, escaped, detail, &mut out),
            Input::Verb(verb) => self.on_verb(now, verb, &mut out),
            Input::Policy(policy) => self.on_policy(policy),
            Input::Redial => self.on_redial(now, &mut out),
            Input::Stop(within, fate) => self.on_stop(now, within, fate, &mut out),
        }
        out
    }

    /// Time passed: does what is due. Afterwards the next deadline is later than `now`.
    #[must_use]
    pub fn handle_timeout(&mut self, now: Instant) -> Commands {
        let mut out = Commands::new();
        self.expire(now, &mut out);
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Retry => self.dial(now, Reason::Underway, &mut out),
                Timer::Connect => out.push(Command::GiveUp),
                Timer::Idle => self.on_idle(now),
                Timer::Pong => self.on_silence(now, "nothing arrived in time after a ping", &mut out),
                Timer::Stall => self.on_silence(now, "the peer takes nothing that is sent", &mut out),
                Timer::Stable => self.on_stable(),
                Timer::Close => out.push(Command::Hangup),
                Timer::Expiry => {}
            }
        }
        out
    }

    /// When to call `handle_timeout`, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        let expiry = self.outbox.next_expiry().map(|at| (at, Timer::Expiry));
        self.timers.next().into_iter().chain(expiry).min()
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
        match &self.state {
            State::Dialing { .. } => ReadyState::Connecting,
            State::Open(_) => ReadyState::Open,
            State::Closing(_) => ReadyState::Closing,
            State::Made | State::Waiting | State::Parked | State::Paused | State::Stopped => ReadyState::Closed,
        }
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
        self.timers.get(Timer::Retry)
    }

    /// When it came into its phase.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// What was agreed with the peer of the current connection.
    pub fn established(&self) -> Option<&Established> {
        match &self.state {
            State::Open(open) | State::Closing(Closing { open, .. }) => Some(&open.established),
            State::Made | State::Waiting | State::Dialing { .. } | State::Parked | State::Paused | State::Stopped => {
                None
            }
        }
    }

    /// The URL to use, or in use, by index.
    pub fn url(&self) -> usize {
        self.url
    }

    /// How the last connection or attempt ended, and when.
    pub fn last_close(&self) -> Option<&(Closed, Instant)> {
        self.last_close.as_deref()
    }

    /// The last round-trip time measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// When anything last arrived on any connection.
    pub fn last_heard(&self) -> Option<Instant> {
        self.heard
    }

    /// Bytes accepted and not yet handed to the network.
    pub fn buffered_amount(&self) -> u64 {
        self.outbox.buffered_amount()
    }

    /// Messages accepted and not yet handed to the network.
    pub fn queued_messages(&self) -> usize {
        self.outbox.len()
    }

    /// The largest message that may arrive.
    pub fn max_inbound(&self) -> usize {
        self.policy.max_inbound
    }

    /// The limits of its queue.
    pub fn outbox_policy(&self) -> &outbox::Policy {
        &self.policy.outbox
    }

    /// Offers a message to the outbox. A refused message comes back with why. A stopped link takes none: nothing would
    /// ever end it.
    pub fn offer(
        &mut self,
        now: Instant,
        message: Box<Message>,
    ) -> (Result<(), (Box<Message>, outbox::Refusal)>, Commands) {
        if matches!(self.state, State::Stopped) {
            return (Err((message, outbox::Refusal::Down)), Commands::new());
        }
        let (mut out, mut ended) = (Commands::new(), Vec::new());
        let ready = matches!(self.state, State::Open(_));
        let answer = self.outbox.offer(now, message, ready, &mut ended);
        self.tell_receipts(ended, &mut out);
        (answer, out)
    }
}
