//! What arrives on an open WebSocket, in the driver's words, and what tungstenite answers to it by itself.

use bytes::Bytes;
use tokio_tungstenite::tungstenite::{
    Error, Message,
    error::{CapacityError, ProtocolError},
    protocol::frame::coding::CloseCode,
};

use super::{
    deflate::BadDeflate,
    tail::{REPLACEMENT, Tail},
    tls,
};
use wskeeper_core::{
    close::{self, Cause, CloseFrame},
    message::Payload,
    run::Run,
};

const NO_ROOM: &str = "there is no room in memory for the rest of a message";

/// Whether the detail of an end says that there was no room for what arrived; else a message was larger than it may be.
pub fn lacked_room(detail: &str) -> bool {
    detail == NO_ROOM
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
    /// What tungstenite read. Of a Close with a code that it does not allow, `tail` says what was on the wire.
    pub(super) fn of(message: &Message, tail: &Tail) -> Self {
        match message {
            Message::Text(text) => Self::Messages((&Payload::checked_text(text.clone())).into()),
            Message::Binary(bytes) => Self::Messages((&Payload::binary(bytes.clone())).into()),
            Message::Pong(payload) => Self::Pong(payload.clone()),
            Message::Close(None) => Self::Close(None),
            Message::Close(Some(frame)) => {
                let replaced = frame.code == CloseCode::Protocol && frame.reason.as_str() == REPLACEMENT;
                let said = if replaced { tail.forbidden_close() } else { None };
                Self::of_close(
                    said.unwrap_or_else(|| CloseFrame {
                        code: frame.code.into(),
                        reason: frame.reason.as_str().into(),
                    }),
                )
            }
            Message::Ping(payload) => Self::Pinged(payload.clone()),
            Message::Frame(_) => Self::Nothing,
        }
    }

    /// A Close whose code may not be on the wire breaks the protocol (RFC 6455 §7.4.1 and §7.4.2).
    fn of_close(frame: CloseFrame) -> Self {
        let CloseFrame { code, reason } = &frame;
        if close::may_be_sent(*code) {
            return Self::Close(Some(frame));
        }
        let detail =
            format!("the peer sent a Close frame with code {code}, which no peer may send, and reason {reason:?}");
        Self::Violation { code: close::PROTOCOL_ERROR, cause: Cause::Protocol, detail: detail.into() }
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
            Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<BadDeflate>()) {
                Some(BadDeflate { code, detail }) => {
                    Self::Violation { code: *code, cause: Cause::Protocol, detail: (*detail).into() }
                }
                None => Self::Ended(tls::told(error).into()),
            },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_codes_those_that_the_rfc_and_the_registry_give_to_the_wire_are_taken_and_answered_in_kind() {
        // As Python's `websockets` has them: EXTERNAL_CLOSE_CODES and the ranges of RFC 6455 §7.4.2.
        let external = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
        for code in 0..=u16::MAX {
            let frame = CloseFrame { code, reason: "".into() };
            let is_allowed = external.contains(&code) || (3000..5000).contains(&code);
            assert_eq!(frame.answer(), if is_allowed { code } else { 1002 });
            match Arrival::of_close(frame) {
                Arrival::Close(Some(frame)) => assert!(is_allowed && frame.code == code, "{code}"),
                Arrival::Violation { code: 1002, cause: Cause::Protocol, .. } => assert!(!is_allowed, "{code}"),
                other => panic!("{code}: {other:?}"),
            }
        }
    }
}
