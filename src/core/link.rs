//! One supervised link as a value: it changes only by `handle`, `handle_timeout`, `poll_transmit` and `offer`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    backoff,
    close::{Cause, CloseFrame, Closed},
    event::{DialFailure, Established, Event},
    heartbeat,
    message::{Message, Payload},
    outbox,
    outcome::Rule,
    phase::{Phase, ReadyState, Reason},
    timers::Timer,
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
}

/// What an operator, or a local program through the API, may ask of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Close the connection (with this frame; `None`: a Close without a body) and stay `paused`.
    Close(Option<CloseFrame>),
    /// Close the connection, if any, and dial again at once.
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
    /// Close with 1001, dial no more, end within this time.
    Stop(Duration),
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
    /// Drop the dial or the connection at once, aborting TCP. For an open connection `Input::Ended` must follow in the same turn.
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

/// A supervised link.
#[derive(Debug)]
pub struct Link {}

impl Link {
    /// A link that waits for `Input::Start`. `seed` fixes all its chance.
    pub fn new(policy: Arc<Policy>, seed: u64, now: Instant) -> Self {
        let _ = (policy, seed, now);
        unimplemented!()
    }

    /// Something happened.
    #[must_use]
    pub fn handle(&mut self, now: Instant, input: Input) -> Commands {
        let _ = (now, input);
        unimplemented!()
    }

    /// Time passed: does what is due. Afterwards the next deadline is later than `now`.
    #[must_use]
    pub fn handle_timeout(&mut self, now: Instant) -> Commands {
        let _ = now;
        unimplemented!()
    }

    /// When to call `handle_timeout`, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        unimplemented!()
    }

    /// The next frame, pulled when the transport has room.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Frame> {
        let _ = now;
        unimplemented!()
    }

    /// Offers a message to the outbox. A refused message comes back with why.
    pub fn offer(&mut self, now: Instant, message: Message) -> (Result<(), (Message, outbox::Refusal)>, Commands) {
        let _ = (now, message);
        unimplemented!()
    }

    /// Where the link is.
    pub fn phase(&self) -> Phase {
        unimplemented!()
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        unimplemented!()
    }

    /// The standard's number for the current connection.
    pub fn ready_state(&self) -> ReadyState {
        unimplemented!()
    }

    /// The current connection's number; 0 before the first.
    pub fn generation(&self) -> u64 {
        unimplemented!()
    }

    /// Attempts since the link was last stable.
    pub fn attempt(&self) -> u32 {
        unimplemented!()
    }

    /// When it will dial or probe by itself.
    pub fn next_attempt_at(&self) -> Option<Instant> {
        unimplemented!()
    }

    /// When it came into its phase.
    pub fn since(&self) -> Instant {
        unimplemented!()
    }

    /// What was agreed with the peer of the current connection.
    pub fn established(&self) -> Option<&Established> {
        unimplemented!()
    }

    /// The URL to use, or in use, by index.
    pub fn url(&self) -> usize {
        unimplemented!()
    }

    /// How the last connection or attempt ended, and when.
    pub fn last_close(&self) -> Option<&(Closed, Instant)> {
        unimplemented!()
    }

    /// The last round-trip time measured.
    pub fn rtt(&self) -> Option<Duration> {
        unimplemented!()
    }

    /// When anything last arrived on any connection.
    pub fn last_heard(&self) -> Option<Instant> {
        unimplemented!()
    }

    /// Bytes accepted and not yet handed to the network.
    pub fn buffered_amount(&self) -> u64 {
        unimplemented!()
    }

    /// Messages accepted and not yet handed to the network.
    pub fn queued_messages(&self) -> usize {
        unimplemented!()
    }
}
