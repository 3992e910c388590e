//! Why an upgrade failed, in words for an operator.
//!
//! The peer's text appears in none of them: what it sent may be long, hostile, or an echo of our secrets.

use std::{io, time::Duration};

use http::StatusCode;

use crate::core::{close::Cause, door::Verdict};

/// Why an upgrade failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::link) enum UpgradeFault {
    /// The path or query cannot be sent.
    #[error("the URL's path or query cannot be sent in a request: percent-encode it")]
    RequestTarget,
    /// A header's evaluated value cannot be sent.
    #[error(
        "the value of header {0} has a control character (a line break at the end of a secret?) and cannot be sent"
    )]
    HeaderValue(Box<str>),
    /// The answer is no HTTP.
    #[error("the server did not speak HTTP/1.1 ({0}): is this the right port, and the right one of ws and wss?")]
    NotHttp(String),
    /// The answer's head has no end.
    #[error("the head of the server's answer is larger than 16 KiB")]
    TooLarge,
    /// The answer's head has too many lines.
    #[error("the server's answer has more than {} header lines", super::head::MOST_LINES)]
    TooManyLines,
    /// The connection ended first.
    #[error("the server closed the connection before it answered the upgrade request")]
    Ended,
    /// The connection broke first.
    #[error("the connection broke before the upgrade was answered: {0}")]
    Broken(String),
    /// TLS ended by an alert. TLS 1.3 judges the client's certificate only after the client holds the handshake for done.
    #[error(
        "the server ended TLS after the handshake ({0}): does it want another client certificate (tls.cert, tls.key)?"
    )]
    Alert(String),
    /// Another status than 101.
    #[error("the server answered the upgrade with status {status}, not with 101")]
    Status {
        /// The status.
        status: StatusCode,
        /// `Retry-After`, already a delay.
        retry_after: Option<Duration>,
        /// `Location`, as sent.
        location: Option<String>,
    },
    /// A 101 that RFC 6455 §4.1 tells the client to fail on.
    #[error("the server's 101 is not valid: {0}")]
    Invalid(&'static str),
    /// A subprotocol that was not offered, or none.
    #[error("{0}")]
    Subprotocol(&'static str),
}

impl UpgradeFault {
    /// Sorts what ended the stream: TLS by an alert, or something below it.
    pub(super) fn from_io(error: &io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        tls.map_or_else(|| Self::Broken(error.to_string()), |tls| Self::Alert(tls.to_string()))
    }

    /// What it says of the address. A refusal is an answer, unless it says that the service is not there, or asks to come later.
    pub(in crate::link) fn verdict(&self) -> Option<Verdict> {
        match self {
            Self::RequestTarget | Self::HeaderValue(_) => None,
            Self::Ended | Self::Broken(_) => Some(Verdict::Failing(None)),
            Self::Status { status, retry_after, .. } => match status.as_u16() {
                429 | 502 | 503 | 504 => Some(Verdict::Failing(*retry_after)),
                _ => Some(Verdict::Up),
            },
            Self::NotHttp(_)
            | Self::TooLarge
            | Self::TooManyLines
            | Self::Alert(_)
            | Self::Invalid(_)
            | Self::Subprotocol(_) => Some(Verdict::Up),
        }
    }

    /// The failure class.
    pub(in crate::link) fn cause(&self) -> Cause {
        match self {
            Self::RequestTarget
            | Self::NotHttp(_)
            | Self::TooLarge
            | Self::TooManyLines
            | Self::Ended
            | Self::Broken(_)
            | Self::Status { .. }
            | Self::Invalid(_) => Cause::Upgrade,
            Self::Alert(_) => Cause::Tls,
            Self::HeaderValue(_) => Cause::Secret,
            Self::Subprotocol(_) => Cause::Subprotocol,
        }
    }
}
