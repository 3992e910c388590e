//! Why an upgrade failed, in words for an operator.
//!
//! The peer's text appears in none of them: what it sent may be long, hostile, or an echo of our secrets.

use std::{io, sync::Arc};

use http::StatusCode;

use crate::link::tls::{self, Asked};
use wskeeper_core::{
    admission::Verdict,
    close::Cause,
    deflate::{NAME, NOT_OFFERED},
    event::RetryAfter,
    rejection::Rejection,
};

const REQUEST: &str = "the URL's";
const HUNG_UP: &str = "the connection was";
const NOTHING_ELSE: &str = ", and `http2 = \"require\"` allows nothing else";
const NEW_CARRIER: &str = "the server's new HTTP/2 connection";
/// What stands in the words of a reset of HTTP/2.
pub(in crate::link) const RESET: &str = "reset the HTTP/2 stream";
const NOT_VALID: &str = "the server's 101 is not valid";
const TOO_LONG: &str = "the head of the server's answer";

/// What kind of trouble a failure of the upgrade is that has no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradeTrouble {
    /// The request cannot be made.
    Request,
    /// The connection ended before an answer.
    HungUp,
    /// It has HTTP/2, and opened no stream of it.
    Stream,
    /// There was an answer, and its head has more bytes or lines than are read.
    TooLong,
    /// It was to be HTTP/2 and nothing else, which does not do there.
    Http2,
    /// There was an answer, and it uses an extension as nobody asked for.
    Extension,
    /// There was an answer, and it is not that of a WebSocket server.
    Answer,
}

impl UpgradeTrouble {
    /// Reads it from the detail of a failure.
    pub fn of(detail: &str) -> Self {
        if detail.starts_with(REQUEST) {
            Self::Request
        } else if detail.starts_with(NEW_CARRIER) || detail.contains(RESET) {
            Self::Stream
        } else if detail.starts_with(HUNG_UP) {
            Self::HungUp
        } else if detail.starts_with(TOO_LONG) {
            Self::TooLong
        } else if detail.ends_with(NOTHING_ELSE) {
            Self::Http2
        } else if detail.starts_with(NOT_VALID) && (detail.contains(NAME) || detail.ends_with(NOT_OFFERED)) {
            Self::Extension
        } else {
            Self::Answer
        }
    }
}

/// Why an upgrade failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::link) enum UpgradeFault {
    /// The path or query cannot be sent.
    #[error("{} path or query cannot be sent in a request: percent-encode it", REQUEST)]
    RequestTarget,
    /// A header's evaluated value cannot be sent.
    #[error(
        "the evaluated header {0} cannot be sent: it has a control character (a line break at the end of a secret?)"
    )]
    HeaderValue(Box<str>),
    /// The answer is no HTTP.
    #[error("the server did not speak HTTP/1.1 ({0}): is this the right port, and the right one of ws and wss?")]
    NotHttp(String),
    /// The answer is none that HTTP/2 allows.
    #[error("the server's answer is refused: {0}")]
    NotAnswer(String),
    /// HTTP/2 is wanted, and does not do there.
    #[error("the server {0}{rest}", rest = NOTHING_ELSE)]
    NoHttp2(&'static str),
    /// By HTTP/2, and a connection that was just made takes no stream.
    #[error("{} takes no streams (SETTINGS_MAX_CONCURRENT_STREAMS is 0)", NEW_CARRIER)]
    NoStreams,
    /// The answer's head has no end.
    #[error("{} is larger than 16 KiB", TOO_LONG)]
    TooLarge,
    /// The answer's head has too many lines.
    #[error("{} has more than {} header lines", TOO_LONG, super::head::MOST_LINES)]
    TooManyLines,
    /// The connection ended first.
    #[error("{} closed by the server before the upgrade request was answered", HUNG_UP)]
    Ended,
    /// The connection broke first.
    #[error("{begun} broken before the upgrade request was answered: {0}", begun = HUNG_UP)]
    Broken(String),
    /// TLS ended, by an alert or when the server had asked for a certificate of ours. TLS 1.3 judges the client's certificate only after the client holds the handshake for done.
    #[error("{0}")]
    Alert(String),
    /// Another status than 101.
    #[error("the server answered the upgrade with status {status}, not with 101")]
    Status {
        /// The status.
        status: StatusCode,
        /// `Retry-After`
        retry_after: Option<RetryAfter>,
        /// `Location`, as sent.
        location: Option<String>,
        /// What a 401 asks for by Digest, as sent.
        asks: Option<Box<str>>,
        /// What it said beside.
        rejection: Option<Arc<Rejection>>,
    },
    /// A 101 that RFC 6455 §4.1 tells the client to fail on.
    #[error("{NOT_VALID}: {0}")]
    Invalid(&'static str),
    /// A subprotocol that was not offered, or none.
    #[error("{0}")]
    Subprotocol(&'static str),
}

impl UpgradeFault {
    /// Sorts what ended the stream: TLS by an alert, or something below it.
    pub(in crate::link) fn from_io(error: &io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(tls) => Self::Alert(tls::plain(tls)),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Ended,
            None => Self::Broken(tls::told(error)),
        }
    }

    /// The same, where the server may have asked for a certificate of ours: one that got none and hangs up wants one.
    pub(in crate::link) fn after(self, asked: Asked) -> Self {
        let may_be_that = asked == Asked::InVain && matches!(self, Self::Ended | Self::Broken(_));
        tls::unanswered(asked).filter(|_| may_be_that).map_or(self, Self::Alert)
    }

    /// Where it leads, if it is a redirect.
    pub(in crate::link) fn leads(&self) -> Option<(StatusCode, &str)> {
        let Self::Status { status, location: Some(location), .. } = self else { return None };
        matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308).then_some((*status, location))
    }

    /// What it asks for by Digest.
    pub(in crate::link) fn asks(&self) -> Option<&str> {
        let Self::Status { asks, .. } = self else { return None };
        asks.as_deref()
    }

    /// The same, where this was said beside.
    pub(in crate::link) fn saying(mut self, said: Arc<Rejection>) -> Self {
        if let Self::Status { rejection, .. } = &mut self {
            *rejection = Some(said);
        }
        self
    }

    /// What it says of the address. A refusal is an answer, unless it says that the service is not there, or asks to come later.
    pub(in crate::link) fn verdict(&self) -> Option<Verdict> {
        match self {
            Self::RequestTarget | Self::HeaderValue(_) => None,
            Self::Ended | Self::Broken(_) | Self::NoStreams => Some(Verdict::Failing(None)),
            Self::Status { status, retry_after, .. } => match status.as_u16() {
                429 | 502 | 503 | 504 => Some(Verdict::Failing(*retry_after)),
                _ => Some(Verdict::Up),
            },
            Self::NotHttp(_)
            | Self::NotAnswer(_)
            | Self::NoHttp2(_)
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
            | Self::NotAnswer(_)
            | Self::NoHttp2(_)
            | Self::NoStreams
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_hangs_up_after_it_asked_for_a_certificate_is_said_to_want_one() {
        let ended = || UpgradeFault::from_io(&io::ErrorKind::UnexpectedEof.into());
        assert_eq!(ended(), UpgradeFault::Ended);
        assert_eq!(ended().after(Asked::No), UpgradeFault::Ended);
        let fault = ended().after(Asked::InVain);
        assert!(fault.cause() == Cause::Tls && fault.to_string().contains("tls.cert"), "{fault}");
        assert_eq!(UpgradeFault::TooLarge.after(Asked::InVain), UpgradeFault::TooLarge);
    }

    #[test]
    fn what_kind_of_trouble_it_is_can_be_read_from_its_words() {
        let table = [
            (UpgradeFault::RequestTarget, UpgradeTrouble::Request),
            (UpgradeFault::Ended, UpgradeTrouble::HungUp),
            (UpgradeFault::Broken("reset".into()), UpgradeTrouble::HungUp),
            (UpgradeFault::NotHttp("x".into()), UpgradeTrouble::Answer),
            (UpgradeFault::Broken(format!("the server {RESET} (REFUSED_STREAM, 0x7)")), UpgradeTrouble::Stream),
            (UpgradeFault::NoStreams, UpgradeTrouble::Stream),
            (UpgradeFault::TooLarge, UpgradeTrouble::TooLong),
            (UpgradeFault::TooManyLines, UpgradeTrouble::TooLong),
            (UpgradeFault::NoHttp2("does not speak HTTP/2 (ALPN)"), UpgradeTrouble::Http2),
            (UpgradeFault::Invalid("it is not HTTP/1.1"), UpgradeTrouble::Answer),
            (UpgradeFault::Invalid(NOT_OFFERED), UpgradeTrouble::Extension),
            (UpgradeFault::Invalid("it uses permessage-deflate twice"), UpgradeTrouble::Extension),
        ];
        for (fault, trouble) in table {
            assert_eq!(UpgradeTrouble::of(&fault.to_string()), trouble, "{fault}");
        }
    }
}
