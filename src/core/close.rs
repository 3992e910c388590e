//! How a connection ended: close codes by RFC 6455 §7 and the cause that the standard hides from scripts.
//!
//! `code` and `reason` are what the *first Close frame received* said; what we sent is `sent_code`, a different fact.

use std::fmt;

/// What an end in order is closed with (RFC 6455 §7.4.1).
pub(crate) const NORMAL: u16 = 1000;
/// What a peer that breaks the protocol is told (RFC 6455 §7.4.1).
pub const PROTOCOL_ERROR: u16 = 1002;
/// What is in a message is not what its type says (RFC 6455 §7.4.1).
pub const INVALID_DATA: u16 = 1007;
/// A gateway had no answer from what is behind it; registered after the RFC.
pub const BAD_GATEWAY: u16 = 1014;
/// Larger than can be taken.
pub const TOO_BIG: u16 = 1009;
/// Close given without a code (RFC 6455 §7.1.5); never sent.
pub const NO_STATUS: u16 = 1005;
/// No Close frame was received (RFC 6455 §7.1.5); never sent.
pub const ABNORMAL: u16 = 1006;
/// What the daemon sends when it stops (RFC 6455 §7.4.1).
pub(crate) const GOING_AWAY: u16 = 1001;
/// The longest reason that fits a Close frame, in UTF-8 bytes (RFC 6455 §5.5).
pub const MAX_REASON_BYTES: usize = 123;

/// What ended a connection or an attempt. The failure classes of the contract, and who closed where nothing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The peer sent a Close frame.
    Remote,
    /// An operator or a local program closed it.
    Operator,
    /// A reload closed it.
    Reload,
    /// A new connection of the link has taken its place.
    Rotate,
    /// Nobody wanted the connection of a lazy link any more.
    Idle,
    /// The daemon is stopping.
    Shutdown,
    /// A secret that the URL or the headers need could not be read.
    Secret,
    /// The host name could not be resolved.
    Dns,
    /// No address accepted the TCP connection in time.
    Connect,
    /// The TLS handshake failed: certificate, name, protocol.
    Tls,
    /// The proxy was not reached, or refused.
    Proxy,
    /// The server answered the upgrade with something else than a valid 101.
    Upgrade,
    /// The server chose a subprotocol that was not offered, or none.
    Subprotocol,
    /// The session failed: what follows the opening, by the configuration.
    Session,
    /// Nothing was heard in time after a ping.
    PongTimeout,
    /// No matching data for too long.
    Mute,
    /// The peer broke RFC 6455.
    Protocol,
    /// A message larger than `inbox.max_message` arrived, or one for whose rest there was no room.
    TooBig,
    /// The TCP connection ended without a Close frame.
    Reset,
}

impl Cause {
    /// Every cause, for metrics that export known labels at zero.
    pub const ALL: [Self; 19] = [
        Self::Remote,
        Self::Operator,
        Self::Reload,
        Self::Rotate,
        Self::Idle,
        Self::Shutdown,
        Self::Secret,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Proxy,
        Self::Upgrade,
        Self::Subprotocol,
        Self::Session,
        Self::PongTimeout,
        Self::Mute,
        Self::Protocol,
        Self::TooBig,
        Self::Reset,
    ];

    /// The word used in configuration, JSON, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Remote => "remote",
            Self::Operator => "operator",
            Self::Reload => "reload",
            Self::Rotate => "rotate",
            Self::Idle => "idle",
            Self::Shutdown => "shutdown",
            Self::Secret => "secret",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Proxy => "proxy",
            Self::Upgrade => "upgrade",
            Self::Subprotocol => "subprotocol",
            Self::Session => "session",
            Self::PongTimeout => "pong_timeout",
            Self::Mute => "mute",
            Self::Protocol => "protocol",
            Self::TooBig => "too_big",
            Self::Reset => "reset",
        }
    }

    /// Reads the word of [`Cause::as_str`].
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == word)
    }

    /// Whether it ends attempts only: what ended had not been open.
    pub const fn is_of_attempt(self) -> bool {
        match self {
            Self::Secret | Self::Dns | Self::Connect | Self::Tls | Self::Proxy | Self::Upgrade | Self::Subprotocol => {
                true
            }
            Self::Remote
            | Self::Operator
            | Self::Reload
            | Self::Rotate
            | Self::Idle
            | Self::Shutdown
            | Self::Session
            | Self::PongTimeout
            | Self::Mute
            | Self::Protocol
            | Self::TooBig
            | Self::Reset => false,
        }
    }

    /// Whether the standard fires `error` before `close` for it: the connection was *failed* (WHATWG §4).
    pub const fn is_failure(self) -> bool {
        match self {
            Self::Remote | Self::Operator | Self::Reload | Self::Rotate | Self::Idle | Self::Shutdown => false,
            Self::Secret
            | Self::Dns
            | Self::Connect
            | Self::Tls
            | Self::Proxy
            | Self::Upgrade
            | Self::Subprotocol
            | Self::Session
            | Self::PongTimeout
            | Self::Mute
            | Self::Protocol
            | Self::TooBig
            | Self::Reset => true,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The body of a Close frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseFrame {
    /// The status code.
    pub code: u16,
    /// At most [`MAX_REASON_BYTES`] of UTF-8.
    pub reason: Box<str>,
}

/// Why a caller's close request is refused (WHATWG §3.1, `close(code, reason)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadClose {
    /// The standard's `InvalidAccessError`.
    Code(u16),
    /// A code that no peer may send.
    PeerCode(u16),
    /// The standard's `SyntaxError`.
    Reason(usize),
}

impl fmt::Display for BadClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "close code {code} is not allowed: use 1000 or 3000 to 4999"),
            Self::PeerCode(code) => {
                write!(f, "no peer may send close code {code}: use 1000 to 1003, 1007 to 1014 or 3000 to 4999")
            }
            Self::Reason(bytes) => write!(f, "close reason has {bytes} bytes of UTF-8: at most 123 fit a Close frame"),
        }
    }
}

impl std::error::Error for BadClose {}

impl CloseFrame {
    /// That code, and no reason.
    pub fn of(code: u16) -> Self {
        Self { code, reason: "".into() }
    }

    /// What a caller may ask for: code 1000 or 3000–4999, a reason of at most 123 bytes, a reason only with a code
    /// (a reason alone is sent with 1000). `None`: a Close frame without a body.
    pub fn from_caller(code: Option<u16>, reason: Option<&str>) -> Result<Option<Self>, BadClose> {
        if let Some(code) = code
            && code != 1000
            && !(3000..=4999).contains(&code)
        {
            return Err(BadClose::Code(code));
        }
        let reason = reason.unwrap_or_default();
        if reason.len() > MAX_REASON_BYTES {
            return Err(BadClose::Reason(reason.len()));
        }
        if code.is_none() && reason.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self { code: code.unwrap_or(1000), reason: reason.into() }))
    }

    /// The code of the answer to it: the same, or 1002 where that one may not be sent.
    pub const fn answer(&self) -> u16 {
        if may_be_sent(self.code) { self.code } else { PROTOCOL_ERROR }
    }
}

/// Whether a Close frame may have this code (RFC 6455 §7.4): one that the RFC or the registry defines for the wire, or one of the
/// ranges for libraries and applications.
pub const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// How a connection, or an attempt at one, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// From the first Close frame received; 1005 it had none, 1006 there was no Close frame.
    pub code: u16,
    /// From the same frame; empty if there was none.
    pub reason: Box<str>,
    /// The closing handshake completed before TCP ended (RFC 6455 §7.1.4).
    pub was_clean: bool,
    /// What ended it.
    pub cause: Cause,
    /// The code of the Close frame that we sent, if we sent one with a code.
    pub sent_code: Option<u16>,
    /// The HTTP status of a refused upgrade.
    pub status: Option<u16>,
    /// What a session calls the failure, where one failed.
    pub label: Option<Box<str>>,
    /// A sentence for people: the error of the transport, the HTTP status. Never a secret, never a metric label.
    pub detail: Box<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_may_send_1000_and_3000_to_4999_only() {
        for code in [1000, 3000, 4999] {
            assert!(CloseFrame::from_caller(Some(code), None).is_ok());
        }
        for code in [0, 999, 1001, 1005, 1006, 1011, 1015, 2999, 5000] {
            assert_eq!(CloseFrame::from_caller(Some(code), None), Err(BadClose::Code(code)));
        }
    }

    #[test]
    fn the_code_is_judged_before_the_reason_and_neither_means_no_body() {
        let long = "x".repeat(124);
        assert_eq!(CloseFrame::from_caller(Some(1), Some(&long)), Err(BadClose::Code(1)));
        assert_eq!(CloseFrame::from_caller(Some(1000), Some(&long)), Err(BadClose::Reason(124)));
        assert!(CloseFrame::from_caller(Some(1000), Some(&"x".repeat(123))).is_ok());
        assert_eq!(CloseFrame::from_caller(None, None), Ok(None));
    }

    #[test]
    fn every_cause_reads_back_from_its_word() {
        for cause in Cause::ALL {
            assert_eq!(Cause::from_word(cause.as_str()), Some(cause));
        }
    }
}
