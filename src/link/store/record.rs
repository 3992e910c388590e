//! What goes into the store and what comes out of it after a restart.
//!
//! Times are kept as whole milliseconds since 1970: a record that comes back has lost what is finer.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use super::{KeptInbox, Receiver, Segment, WriteError};
use wskeeper_core::{
    message::{MessageId, Payload},
    receipt::{EndReason, Receipt, State},
    session::Kept,
};

/// An accepted message that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub id: MessageId,
    /// Where it is sent.
    pub endpoint: Arc<str>,
    /// The link that holds it.
    pub link: u32,
    /// When it was accepted.
    pub accepted_at: SystemTime,
    /// Not sent after this.
    pub expires_at: Option<SystemTime>,
    /// Ordering and conflation key.
    pub key: Option<Box<str>>,
    /// A repeat of this is answered with the message's receipt.
    pub idempotency_key: Option<Box<str>>,
    /// What is sent.
    pub payload: Payload,
    /// At most once: its writing may have begun, so that after a crash it must not be sent again.
    pub marked: bool,
}

/// How far a message has come whose payload need not be kept for sending any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The message.
    pub id: MessageId,
    /// `Written` or an end; [`State::Dead`] moves the payload to the dead letters.
    pub state: State,
    /// Why, where it was not sent.
    pub end_reason: Option<EndReason>,
    /// The connection that it was written on.
    pub generation: Option<u64>,
    /// When the state was reached.
    pub updated_at: SystemTime,
    /// Until when the receipt can be looked up.
    pub keep_until: SystemTime,
    /// Until when a repeat of the message's idempotency key is answered with the receipt.
    pub claim_until: Option<SystemTime>,
}

/// A change to the store. Changes take effect in the order in which they are submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// A message is accepted once this is done. A message whose id is known already, held or
    /// ended, changes nothing.
    Append(Box<Record>),
    /// At most once: the writing of a message may have begun (`marked`), or has not after all.
    Mark {
        /// Which message; one that is not held is left alone.
        id: MessageId,
        /// Whether it may have begun.
        marked: bool,
    },
    /// A message's payload leaves, its receipt is kept. Of a message that is settled already, the receipt climbs, if it
    /// can. One that the store does not know is left alone.
    Settle(Box<Settled>),
    /// An operator's word: messages of a link that is gone go to another one, keeping their order by acceptance.
    Move {
        /// From where.
        from: (Arc<str>, u32),
        /// To where.
        to: (Arc<str>, u32),
    },
    /// An operator's word: messages of an endpoint that is gone, or of one of its links, are dropped; their receipts say
    /// `removed`.
    Discard {
        /// Whose.
        endpoint: Arc<str>,
        /// Which link; `None`: all.
        link: Option<u32>,
        /// When.
        at: SystemTime,
        /// Until when the receipts can be looked up.
        keep_until: SystemTime,
    },
    /// A dead letter becomes this new message, in one step: never both, never neither. Changes nothing where there is no
    /// such letter.
    Revive {
        /// The letter.
        letter: MessageId,
        /// The message, with an id of its own.
        record: Box<Record>,
    },
    /// A dead letter is removed.
    DropDead(MessageId),
    /// Entries of a durable inbox: how many were written. Refused where there is no room; what the inbox does not need any more
    /// goes all the same.
    Arrived(Box<Segment>),
    /// An inbox is not durable any more, or its endpoint is gone: how many segments were dropped.
    ForgetInbox(Arc<str>),
    /// What a link's session keeps, in the place of what it kept before.
    Remember {
        /// Whose: the endpoint and the link.
        of: (Arc<str>, u32),
        /// All of it.
        kept: Box<Kept>,
    },
    /// Variables are not durable any more, or their link is gone: how many links had some.
    ForgetVariables {
        /// Whose.
        endpoint: Arc<str>,
        /// Which link; `None`: all.
        link: Option<u32>,
    },
    /// A receiver has taken an inbox up to here.
    KeepCursor {
        /// Whose.
        of: Receiver,
        /// It has taken this.
        cursor: u64,
    },
    /// A receiver is gone: whether there was one.
    ForgetCursor(Receiver),
    /// Who holds a key of a subscription, in the place of who held it before; empty: nobody. How many keys changed.
    HoldKey {
        /// Which: the endpoint and the key.
        of: (Arc<str>, Arc<str>),
        /// As the pool writes it.
        kept: Box<[u8]>,
    },
    /// Keys are not durable any more, or their endpoint is gone: how many there were.
    ForgetKeys(Arc<str>),
}

impl Op {
    /// Whether it changes a note on a message and nothing else.
    pub(super) fn is_mark(&self) -> bool {
        match self {
            Self::Mark { .. } => true,
            Self::Append(_)
            | Self::Revive { .. }
            | Self::Settle(_)
            | Self::Move { .. }
            | Self::Discard { .. }
            | Self::DropDead(_)
            | Self::Arrived(_)
            | Self::ForgetInbox(_)
            | Self::Remember { .. }
            | Self::ForgetVariables { .. }
            | Self::KeepCursor { .. }
            | Self::ForgetCursor(_)
            | Self::HoldKey { .. }
            | Self::ForgetKeys(_) => false,
        }
    }

    /// Whether it is about an inbox.
    pub(super) fn is_inbox(&self) -> bool {
        match self {
            Self::Arrived(_) | Self::ForgetInbox(_) => true,
            Self::Append(_)
            | Self::Revive { .. }
            | Self::Mark { .. }
            | Self::Settle(_)
            | Self::Move { .. }
            | Self::Discard { .. }
            | Self::DropDead(_)
            | Self::Remember { .. }
            | Self::ForgetVariables { .. }
            | Self::KeepCursor { .. }
            | Self::ForgetCursor(_)
            | Self::HoldKey { .. }
            | Self::ForgetKeys(_) => false,
        }
    }

    /// Whether it is about an inbox, variables, a cursor or keys: it gives way to all others, and says nothing about room for messages.
    pub(super) fn is_guest(&self) -> bool {
        match self {
            Self::Remember { .. }
            | Self::ForgetVariables { .. }
            | Self::KeepCursor { .. }
            | Self::ForgetCursor(_)
            | Self::HoldKey { .. }
            | Self::ForgetKeys(_) => true,
            Self::Append(_)
            | Self::Revive { .. }
            | Self::Mark { .. }
            | Self::Settle(_)
            | Self::Move { .. }
            | Self::Discard { .. }
            | Self::DropDead(_)
            | Self::Arrived(_)
            | Self::ForgetInbox(_) => self.is_inbox(),
        }
    }

    /// Whether it is a message that needs room: refused when there is none, and not tried again.
    pub(super) fn is_append(&self) -> bool {
        match self {
            Self::Append(_) | Self::Revive { .. } => true,
            Self::Mark { .. }
            | Self::Settle(_)
            | Self::Move { .. }
            | Self::Discard { .. }
            | Self::DropDead(_)
            | Self::Arrived(_)
            | Self::ForgetInbox(_)
            | Self::Remember { .. }
            | Self::ForgetVariables { .. }
            | Self::KeepCursor { .. }
            | Self::ForgetCursor(_)
            | Self::HoldKey { .. }
            | Self::ForgetKeys(_) => false,
        }
    }

    /// Whether it is a fact that must come to be known, and so is tried again until it is.
    pub(super) fn is_fact(&self) -> bool {
        match self {
            Self::Mark { .. } | Self::Settle(_) => true,
            Self::Append(_)
            | Self::Revive { .. }
            | Self::Move { .. }
            | Self::Discard { .. }
            | Self::DropDead(_)
            | Self::Arrived(_)
            | Self::ForgetInbox(_)
            | Self::Remember { .. }
            | Self::ForgetVariables { .. }
            | Self::KeepCursor { .. }
            | Self::ForgetCursor(_)
            | Self::HoldKey { .. }
            | Self::ForgetKeys(_) => false,
        }
    }

    /// Bytes of payload that it brings.
    pub(super) fn payload_len(&self) -> usize {
        match self {
            Self::Append(record) | Self::Revive { record, .. } => record.payload.len(),
            Self::Arrived(segment) => segment.payload_len(),
            Self::Remember { kept, .. } => kept.weight(),
            Self::HoldKey { kept, .. } => kept.len(),
            Self::Mark { .. }
            | Self::Settle(_)
            | Self::Move { .. }
            | Self::Discard { .. }
            | Self::DropDead(_)
            | Self::ForgetInbox(_)
            | Self::ForgetVariables { .. }
            | Self::KeepCursor { .. }
            | Self::ForgetCursor(_)
            | Self::ForgetKeys(_) => 0,
        }
    }
}

/// Told on the writer's thread once an op is on disk, with the number of messages or letters that it changed (0: there was
/// no such one), or once it is known that it will not be. Must not wait for anything.
pub type Done = Box<dyn FnOnce(Result<u64, WriteError>) + Send>;

/// Keys of an endpoint, and of each what the pool wrote.
pub type KeptKeys = BTreeMap<Arc<str>, Box<[u8]>>;

/// What the store held when it was opened.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Messages that have not ended, in the order of acceptance.
    pub messages: Vec<Record>,
    /// Receipts of messages that came to rest, still to be kept.
    pub receipts: Vec<KeptReceipt>,
    /// Durable inboxes, by endpoint.
    pub inboxes: BTreeMap<Arc<str>, KeptInbox>,
    /// Durable variables of sessions, by endpoint and link.
    pub variables: BTreeMap<(Arc<str>, u32), Kept>,
    /// How far receivers have come.
    pub cursors: BTreeMap<Receiver, u64>,
    /// Keys of subscriptions and who holds each, as the pool wrote it, by endpoint.
    pub keys: BTreeMap<Arc<str>, KeptKeys>,
}

/// A receipt with what the ledger needs to know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptReceipt {
    /// What became of the message.
    pub receipt: Receipt,
    /// Until when it can be looked up.
    pub keep_until: SystemTime,
    /// The idempotency key that leads to it, and until when.
    pub claim: Option<(Box<str>, SystemTime)>,
}

/// A message that is kept because it could not be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The message's id.
    pub id: MessageId,
    /// Where it was to go.
    pub endpoint: Arc<str>,
    /// The link that held it.
    pub link: u32,
    /// When it was accepted.
    pub accepted_at: SystemTime,
    /// When it was given up.
    pub died_at: SystemTime,
    /// Why.
    pub end_reason: Option<EndReason>,
    /// Its ordering key.
    pub key: Option<Box<str>>,
    /// What it said.
    pub payload: Payload,
}
