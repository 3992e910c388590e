//! How a server breaks the protocol, what it is told (RFC 6455 §7.4.1), and what people are.
//!
//! What a reader would get wrong: this is the only place that rules on it. Who finds a breach, where bytes arrive or where messages are
//! inflated, names it by one of these.

use std::fmt;

use super::close::{self, Cause, CloseFrame};

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breach {
    /// RSV1, RSV2 or RSV3 where nothing was agreed on that uses it (RFC 6455 §5.2, RFC 7692 §6).
    ReservedBits,
    /// An opcode that means nothing yet (§5.2).
    ReservedOpcode(u8),
    /// A server does not mask (§5.1).
    Masked,
    /// The length has a shorter form (§5.2).
    LongForm,
    /// The first bit of a length in eight bytes is not 0 (§5.2).
    FirstBit,
    /// A control frame in fragments (§5.5).
    FragmentedControl,
    /// A control frame of more than 125 bytes (§5.5).
    LongControl,
    /// A continuation of nothing (§5.4).
    NothingToContinue,
    /// A message between two fragments of another (§5.4).
    Interrupted,
    /// A text that is no UTF-8 (§8.1).
    NotUtf8,
    /// A Close with one byte, which is no code (§5.5.1).
    HalfCode,
    /// A Close with a code that may not be on the wire (§7.4).
    Code(CloseFrame),
    /// A Close whose reason is no UTF-8 (§5.5.1).
    Reason,
    /// A message that is longer than may be.
    TooBig {
        /// So many bytes may be.
        max: usize,
    },
    /// A compressed message that is no DEFLATE, or stops in the middle of it (RFC 7692 §7.2.2).
    Deflate(&'static str),
}

impl Breach {
    /// What the server is told.
    pub const fn code(&self) -> u16 {
        match self {
            Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::Masked
            | Self::LongForm
            | Self::FirstBit
            | Self::FragmentedControl
            | Self::LongControl
            | Self::NothingToContinue
            | Self::Interrupted
            | Self::HalfCode
            | Self::Code(_) => close::PROTOCOL_ERROR,
            Self::NotUtf8 | Self::Reason | Self::Deflate(_) => close::INVALID_DATA,
            Self::TooBig { .. } => close::TOO_BIG,
        }
    }

    /// What ends the connection.
    pub const fn cause(&self) -> Cause {
        match self {
            Self::TooBig { .. } => Cause::TooBig,
            Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::Masked
            | Self::LongForm
            | Self::FirstBit
            | Self::FragmentedControl
            | Self::LongControl
            | Self::NothingToContinue
            | Self::Interrupted
            | Self::NotUtf8
            | Self::HalfCode
            | Self::Code(_)
            | Self::Reason
            | Self::Deflate(_) => Cause::Protocol,
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer sent ")?;
        f.write_str(match self {
            Self::ReservedBits => "a frame with a reserved bit set, which no agreed extension uses there",
            Self::ReservedOpcode(opcode) => return write!(f, "a frame with opcode {opcode}, which is reserved"),
            Self::Masked => "a masked frame, which only a client may",
            Self::LongForm => "a frame whose length is written longer than it need be",
            Self::FirstBit => "a frame whose length begins with a bit that must be 0",
            Self::FragmentedControl => "a control frame (ping, pong or Close) that is not final",
            Self::LongControl => "a control frame (ping, pong or Close) of more than 125 bytes",
            Self::NothingToContinue => "a continuation frame, and no message had begun",
            Self::Interrupted => "a new message before the end of one in fragments",
            Self::NotUtf8 => "a text message that is not UTF-8",
            Self::HalfCode => "a Close frame with a body of one byte, which is no code",
            Self::Code(CloseFrame { code, reason }) => {
                return write!(f, "a Close frame with code {code}, which no peer may send, and reason {reason:?}");
            }
            Self::Reason => "a Close frame whose reason is not UTF-8",
            Self::TooBig { max } => {
                return write!(f, "a message of more than {max} bytes, the most that is taken (inbox.max_message)");
            }
            Self::Deflate(what) => what,
        })
    }
}

impl std::error::Error for Breach {}
