//! What goes into a link and what comes out of it.
//!
//! An [`Input`] says what happened, never what to do about it; a [`Command`] says what to do, and the driver has no choice.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{Policy, round::Round};
use crate::{
    body::Body,
    close::{Cause, CloseFrame},
    event::{DialFailure, Established, Event},
    message::{Message, MessageId, Payload},
    outbox::{Ended, Keep},
    phase::Reason,
    receipt::EndReason,
    requests::Reply,
    run::Run,
    session::{Brought, Start, Waits},
    subscriptions,
};

/// What an operator, or a local program through the API, may ask of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Close the connection (with this frame; `None`: a Close without a body) and stay `paused`.
    Close(Option<CloseFrame>),
    /// Close the connection, if any, and dial again at once; also out of `waiting`, `parked` and `paused`.
    Reconnect,
    /// As `Close` with 1000; no more attempts until `resume`.
    Pause,
    /// Leave `paused` or `parked` and dial; a wait, for the backoff or for admission, is cut short.
    Resume,
    /// Open a new connection beside the current one, switch to it between messages, then close the old one. Where none is
    /// open, or the policy wants no two at a time, as a change that needs a new connection.
    Rotate,
}

/// Which of a link's connections: there is one, and while it rotates another beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// The current one, or the attempt at it.
    Current,
    /// The one that is to come, or the one that was.
    Beside,
}

/// What happened to a link.
#[derive(Debug)]
pub enum Input {
    /// The link's task runs: begin.
    Start,
    /// The link's task runs, but is not to begin by itself for now, for this reason: rest, and probe slowly.
    Park(Reason),
    /// This happened to one of its connections, or to the attempt at it.
    Connection(Lane, ConnectionInput),
    /// Another link has got in at the server that had asked this one to come later, or at the one that it was sent to probe for others.
    ServerBack {
        /// It was sent to probe: its attempt was not its own, so it goes at once.
        was_sent: bool,
    },
    /// A file has changed that its credentials are read from.
    CredentialsChanged,
    /// The URL that the link would rather be at has been back for long enough.
    Return,
    /// An operator's word.
    Verb(Verb),
    /// The policy changed and applies to what comes.
    Policy(Arc<Policy>),
    /// Something changed that only a new connection can follow: rotate, or close and dial again, as the policy says.
    Renew,
    /// Close with 1001, dial no more, end within this time; what is still queued then is dropped with this end reason, unless it is
    /// on disk.
    Stop(Duration, EndReason),
    /// Someone waits for the proof of this message, which was accepted when nobody did.
    Want(MessageId),
    /// The peer's application has acknowledged the message of this key.
    Acknowledged(Box<str>),
    /// Somebody listens to what arrives, or nobody does any more. Only a lazy link needs to know.
    Listened(bool),
    /// What it is to ask its peers for has changed.
    Subscriptions(Box<[subscriptions::Change]>),
    /// The disk has the message of `Command::Keep`.
    Stored {
        /// Its place.
        place: u64,
        /// Its name.
        id: MessageId,
    },
    /// The disk could not take it.
    NotStored {
        /// Its place.
        place: u64,
        /// Its name.
        id: MessageId,
    },
    /// The disk has the marks of `Command::Mark`.
    Marked(Box<[MessageId]>),
}

/// What happened to a connection, or to the attempt at it.
#[derive(Debug)]
pub enum ConnectionInput {
    /// The dial waits for admission; the attempt's clock stands still.
    Queued,
    /// The dial may go on.
    Admitted,
    /// The server of its URL is known to be down, so the dial goes on with this one instead of waiting.
    PassedOver(usize),
    /// Where the steps of `dial` wait; `None`: they are over.
    Waits(Option<Box<Waits>>),
    /// What is to be done on the connection before it is ready, and while it is. Comes before `Dialled`.
    Session(Box<Start>),
    /// The connection is OPEN.
    Dialled(Box<Established>),
    /// A value that it was made with is good until then. Comes after `Dialled`.
    Expires(Instant),
    /// The attempt failed.
    DialFailed(Box<DialFailure>),
    /// Bytes arrived, a whole frame or not.
    Heard,
    /// The peer has pinged, and an answer has been made below. To be told where [`super::Link::is_paced`] says so.
    Pinged,
    /// The kernel has taken bytes, of what was pulled or of an answer made below; by it, so many more messages have left whole, and
    /// so many pings.
    Left {
        /// Messages that have left whole.
        messages: usize,
        /// Pings that have.
        pings: u32,
        /// Application bytes that have left of the message behind those.
        part: usize,
    },
    /// A Close frame has been handed to the kernel, ours or the answer to the peer's; with this code, if it has one.
    CloseSent(Option<u16>),
    /// Whole messages or a control frame arrived.
    Received(Received),
    /// What the session had asked for is done, or why it is not.
    Errand {
        /// Which.
        id: u64,
        /// What came of it; an error is for people, and may hold what is secret.
        done: Result<Brought, Box<str>>,
    },
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
        /// Messages that have begun to leave and have not left whole; those behind them may be sent again.
        begun: usize,
        /// The error; empty for a plain end of stream.
        detail: Box<str>,
    },
}

/// What arrived on an open connection. Pings are answered below (tungstenite), and show here as `Heard` only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// Data messages that arrived together.
    Messages(Run),
    /// A pong with its payload.
    Pong(Bytes),
    /// A Close frame; the reply is sent below (tungstenite).
    Close(Option<CloseFrame>),
}

/// Where an attempt leads, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct To {
    /// The index of the URL.
    pub url: usize,
    /// Where it goes on to where the server of that URL is known to be down; `None`: it fails then.
    pub round: Option<Round>,
    /// By an operator's word: it waits for admission alone, and not for another link to look whether the server is back.
    pub urgent: bool,
    /// The server has refused what was evaluated before: values that are kept are to be made anew.
    pub refused: Option<Instant>,
}

/// What the driver must do.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Begin an attempt.
    Dial {
        /// At which connection.
        lane: Lane,
        /// Where it leads, and how.
        to: To,
    },
    /// The attempt has taken too long: drop it and feed `Input::DialFailed`, which says how far it came, in the same turn.
    GiveUp(Lane),
    /// Drop the dial or the connection at once, aborting TCP. For a connection `Input::Ended` must follow in the same turn.
    Hangup(Lane),
    /// What was beside is now the current one, and the reverse.
    Switch,
    /// Tell the world.
    Tell(Event),
    /// Hand messages that arrived to consumers.
    Deliver {
        /// The connection they arrived on.
        generation: u64,
        /// The messages.
        run: Run,
    },
    /// This is the reply to a request. The receipt of the request is told behind it.
    Reply(Box<Reply>),
    /// Note that messages reached other states of their receipts, in this order, at least one.
    Settle {
        /// Which, and what became of them.
        reached: Vec<Ended>,
        /// The connection concerned.
        generation: Option<u64>,
    },
    /// Put this message on disk and answer with `Input::Stored` or `Input::NotStored`. Orders of one link stay in order.
    Keep(Box<Keep>),
    /// Note on disk that these may have begun to leave, and answer with `Input::Marked`; or take that note back.
    Mark {
        /// Which messages.
        ids: Box<[MessageId]>,
        /// The note, or its end, which needs no answer.
        marked: bool,
    },
    /// Keys have come so far on the current connection, or there is none.
    Subscribed(Vec<subscriptions::Reached>),
    /// The message is dead: its receipt has been told, and here it is.
    Bury(Box<Message>),
    /// The link has stopped; its task may end.
    Done,
}

/// Commands, in order.
pub type Commands = Vec<Command>;

/// A frame for the transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A data message, or several.
    Data(Body),
    /// A data message of the session's, which may hold secrets: not to be shown.
    Session(Payload),
    /// A ping with its payload.
    Ping(Bytes),
    /// A Close frame, with or without a body. Nothing follows it.
    Close(Option<CloseFrame>),
}
