//! What arrives on an open WebSocket, in the driver's words, and what tungstenite answers to it by itself.

use std::io;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::{
    Error, Message,
    error::{CapacityError, ProtocolError},
};

use super::tls;
use wskeeper_core::{
    breach::Breach,
    close::{self, Cause, CloseFrame},
    message::Payload,
    run::Run,
};

const NO_ROOM: &str = "there is no room in memory for the rest of a message";

/// Whether the detail of an end says that there was no room for what arrived; else a message was larger than it may be.
pub fn lacked_room(detail: &str) -> bool {
    detail == NO_ROOM
}

/// The rule that was broken, where reading failed by that.
pub(super) fn breach_in(error: &io::Error) -> Option<&Breach> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// What a read gave.
#[derive(Debug)]
pub(super) enum Arrival {
    /// Data messages.
    Messages(Run),
    /// A pong with its payload.
    Pong(Bytes),
    /// A Close frame.
    Close(Option<CloseFrame>),
    /// A ping, which is answered below.
    Pinged(Bytes),
    /// A frame that concerns nobody above.
    Nothing,
    /// The peer broke the protocol or a limit.
    Violation {
        /// The Close code that says so.
        code: u16,
        /// `Protocol` or `TooBig`.
        cause: Cause,
        /// For people.
        detail: Box<str>,
    },
    /// The stream has ended; empty for a plain end.
    Ended(Box<str>),
}

impl Arrival {
    /// What tungstenite read. What a Close `said` it need not say: it puts its own answer in the place of one with a code that it does not know.
    pub(super) fn of(message: &Message, said: impl FnOnce() -> Option<CloseFrame>) -> Self {
        match message {
            Message::Text(text) => Self::Messages((&Payload::checked_text(text.clone())).into()),
            Message::Binary(bytes) => Self::Messages((&Payload::binary(bytes.clone())).into()),
            Message::Pong(payload) => Self::Pong(payload.clone()),
            Message::Close(_) => Self::Close(said()),
            Message::Ping(payload) => Self::Pinged(payload.clone()),
            Message::Frame(_) => Self::Nothing,
        }
    }

    /// A rule was broken.
    fn of_breach(breach: &Breach) -> Self {
        Self::Violation { code: breach.code(), cause: breach.cause(), detail: breach.to_string().into() }
    }

    /// A message that has begun cannot be kept (RFC 6455 §7.4.1: 1009).
    pub(super) fn without_room() -> Self {
        Self::Violation { code: close::TOO_BIG, cause: Cause::TooBig, detail: NO_ROOM.into() }
    }

    /// Why it could not go on reading.
    pub(super) fn of_error(error: &Error) -> Self {
        let violation = |code, cause| Self::Violation { code, cause, detail: error.to_string().into() };
        match error {
            Error::ConnectionClosed | Error::AlreadyClosed => Self::Ended("".into()),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::ReceivedAfterClosing) => {
                Self::Ended("".into())
            }
            Error::Io(error) => match breach_in(error) {
                Some(breach) => Self::of_breach(breach),
                None => Self::Ended(tls::told(error).into()),
            },
            // The rules find all of these before tungstenite does.
            Error::Capacity(CapacityError::MessageTooLong { .. }) => violation(close::TOO_BIG, Cause::TooBig),
            Error::Utf8(_) => violation(close::INVALID_DATA, Cause::Protocol),
            Error::Protocol(_) => violation(close::PROTOCOL_ERROR, Cause::Protocol),
            // None of these comes from reading frames.
            Error::Tls(_)
            | Error::Capacity(CapacityError::TooManyHeaders)
            | Error::WriteBufferFull(_)
            | Error::AttackAttempt
            | Error::Url(_)
            | Error::Http(_)
            | Error::HttpFormat(_) => Self::Ended(error.to_string().into()),
        }
    }
}

/// What tungstenite sends by itself.
#[derive(Debug)]
pub(super) enum Answer {
    /// To a ping.
    Pong(Bytes),
    /// To a Close.
    Close(Option<CloseFrame>),
}

impl Answer {
    /// As tungstenite answers a Close.
    pub(super) fn to_close(frame: Option<&CloseFrame>) -> Self {
        Self::Close(frame.map(|frame| CloseFrame { code: frame.answer(), reason: frame.reason.clone() }))
    }
}
