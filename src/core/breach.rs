//! The ways in which a server can break the protocol, with the Close code (RFC 6455 §7.4.1), the cause and the words for each.
//!
//! What a reader would get wrong: this is the only place that decides codes and words. Code that finds a breach, in arriving bytes or while it
//! inflates, returns one of these.

use std::fmt;

use super::close::{self, Cause, CloseFrame};

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breach {
    /// RSV1, RSV2 or RSV3 is set, and no agreed extension uses it there (RFC 6455 §5.2, RFC 7692 §6).
    ReservedBits,
    /// A reserved opcode (§5.2).
    ReservedOpcode(u8),
    /// A masked frame: a server must not mask (§5.1).
    Masked,
    /// A frame without a mask: a client must mask (§5.1).
    Unmasked,
    /// The length has a shorter form (§5.2).
    LongForm,
    /// The first bit of a length in eight bytes is not 0 (§5.2).
    FirstBit,
    /// A control frame in fragments (§5.5).
    FragmentedControl,
    /// A control frame of more than 125 bytes (§5.5).
    LongControl,
    /// A continuation frame, and no message has begun (§5.4).
    NothingToContinue,
    /// A message between two fragments of another (§5.4).
    Interrupted,
    /// A text that is not UTF-8 (§8.1).
    NotUtf8,
    /// A Close with a body of one byte, which is too short for a code (§5.5.1).
    HalfCode,
    /// A Close with a code that may not be on the wire (§7.4).
    Code(CloseFrame),
    /// A Close whose reason is not UTF-8 (§5.5.1).
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
    /// The code of the Close frame that the server gets.
    pub const fn code(&self) -> u16 {
        self.ruling().0
    }

    /// The cause that people see.
    pub const fn cause(&self) -> Cause {
        self.ruling().1
    }

    const fn ruling(&self) -> (u16, Cause) {
        match self {
            Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::Masked
            | Self::Unmasked
            | Self::LongForm
            | Self::FirstBit
            | Self::FragmentedControl
            | Self::LongControl
            | Self::NothingToContinue
            | Self::Interrupted
            | Self::HalfCode
            | Self::Code(_) => (close::PROTOCOL_ERROR, Cause::Protocol),
            Self::NotUtf8 | Self::Reason | Self::Deflate(_) => (close::INVALID_DATA, Cause::Protocol),
            Self::TooBig { .. } => (close::TOO_BIG, Cause::TooBig),
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer sent ")?;
        f.write_str(match self {
            Self::ReservedBits => "a frame with a reserved bit set, which no agreed extension uses there",
            Self::ReservedOpcode(opcode) => return write!(f, "a frame with opcode {opcode}, which is reserved"),
            Self::Masked => "a masked frame, which only a client may send",
            Self::Unmasked => "a frame without a mask, which only a server may send",
            Self::LongForm => "a frame whose length is not in its shortest form",
            Self::FirstBit => "a frame whose length has its highest bit set",
            Self::FragmentedControl => "a control frame (ping, pong or Close) that is not final",
            Self::LongControl => "a control frame (ping, pong or Close) of more than 125 bytes",
            Self::NothingToContinue => "a continuation frame without a message that it could continue",
            Self::Interrupted => "a new message before the end of a fragmented one",
            Self::NotUtf8 => "a text message that is not UTF-8",
            Self::HalfCode => "a Close frame with a body of one byte, which is too short for a code",
            Self::Code(CloseFrame { code, reason }) => {
                return write!(f, "a Close frame with code {code}, which no peer may send, and reason {reason:?}");
            }
            Self::Reason => "a Close frame whose reason is not UTF-8",
            Self::TooBig { max } => {
                return write!(f, "a message of more than {max} bytes (inbox.max_message)");
            }
            Self::Deflate(what) => what,
        })
    }
}

impl std::error::Error for Breach {}
