//! What consumers of an inbox read: a numbered fact about a link.
//!
//! The number is all that a consumer keeps. It is never given to another entry, not even by a later run of the daemon.

use std::time::SystemTime;

use super::{
    close::{Cause, Closed},
    event::LinkId,
    message::Payload,
    phase::{Phase, Reason},
};

/// A numbered fact that consumers may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the hub: 1 more than the one before, in one run of the daemon. A run starts at a number drawn from the
    /// wall clock, above every cursor of an earlier one.
    pub cursor: u64,
    /// When it happened.
    pub at: SystemTime,
    /// Whose fact.
    pub link: LinkId,
    /// The connection it belongs to; the last one where none is open.
    pub generation: u64,
    /// What happened.
    pub item: Item,
}

/// What happened, in the words of the WHATWG standard and of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A connection is OPEN.
    Open {
        /// Subprotocol in use, or empty.
        protocol: Box<str>,
        /// Extensions in use, or empty.
        extensions: Box<str>,
    },
    /// A message arrived.
    Message(Payload),
    /// A connection or an attempt failed; `close` follows.
    Error {
        /// Why.
        cause: Cause,
        /// For people.
        detail: Box<str>,
    },
    /// A connection or an attempt ended.
    Close(Box<Closed>),
    /// The link's phase changed.
    Phase {
        /// Now.
        phase: Phase,
        /// Why.
        reason: Reason,
    },
    /// The link was down: what the peer sent meanwhile was not heard.
    LinkGap {
        /// When it was last ready.
        from: SystemTime,
        /// When it was ready again.
        to: SystemTime,
    },
}

impl Item {
    /// Bytes of application data, for a message.
    pub fn message_len(&self) -> Option<usize> {
        match self {
            Self::Message(payload) => Some(payload.len()),
            Self::Open { .. } | Self::Error { .. } | Self::Close(_) | Self::Phase { .. } | Self::LinkGap { .. } => None,
        }
    }
}
