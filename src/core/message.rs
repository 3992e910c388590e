//! A message on its way out, and a payload on its way either side.
//!
//! Text stays text and binary stays binary: the kind travels with the bytes. Payloads are `Bytes`, so a copy is a count.

use std::{fmt, iter, str, time::Instant};

use bytes::Bytes;

use super::{body::Body, budget::Share, requests::Asked};

/// Names one accepted message for as long as its receipt is kept. Shown as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub u128);

/// The digits of each byte.
const PAIRS: [[u8; 2]; 256] = {
    let (mut pairs, mut byte, digits) = ([[0; 2]; 256], 0, b"0123456789abcdef");
    while byte < pairs.len() {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

impl MessageId {
    /// The name of the message so many places behind this one in its run.
    #[must_use]
    pub fn later(self, places: u32) -> Self {
        Self(self.0.saturating_add(places.into()))
    }

    /// Its digits: by table, for every answer to a send has them twice.
    pub fn digits(self) -> [u8; 32] {
        let mut digits = [0; 32];
        for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(self.0.to_be_bytes()) {
            *pair = PAIRS[usize::from(byte)];
        }
        digits
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

impl str::FromStr for MessageId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

/// The frame type of a message (RFC 6455 §5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Opcode 1: valid UTF-8.
    Text,
    /// Opcode 2: any bytes.
    Binary,
}

impl Kind {
    /// The word used in JSON and as the metric label `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Binary => "binary",
        }
    }
}

/// Application data with its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    kind: Kind,
    bytes: Bytes,
}

impl Payload {
    /// Text, if the bytes are UTF-8.
    pub fn text(bytes: Bytes) -> Result<Self, str::Utf8Error> {
        str::from_utf8(&bytes)?;
        Ok(Self { kind: Kind::Text, bytes })
    }

    /// Binary data.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self { kind: Kind::Binary, bytes: bytes.into() }
    }

    /// Text that another layer has already found to be UTF-8 (tungstenite checks what arrives), so that it is checked once.
    pub fn checked_text(bytes: impl Into<Bytes>) -> Self {
        Self { kind: Kind::Text, bytes: bytes.into() }
    }

    /// Text or binary.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The application data.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Bytes of application data: UTF-8 length for text, no framing.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no application data; an empty message is a message.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        Self { kind: Kind::Text, bytes: Bytes::copy_from_slice(text.as_bytes()) }
    }
}

/// A message that the outbox may take, or several that came together: then all that is said here is said of each.
#[derive(Debug, PartialEq)]
pub struct Message {
    /// Its name in receipts; of several the first one's, and the others' follow it.
    pub id: MessageId,
    /// What is sent.
    pub body: Body,
    /// What few messages have.
    pub extras: Option<Box<Extras>>,
    /// Not sent after this moment.
    pub expires_at: Option<Instant>,
    /// Its share of the process's byte budget, given back when the message is dropped.
    pub share: Share,
}

/// What few messages have. In a box, for the others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extras {
    /// Ordering and conflation key.
    pub key: Option<Box<str>>,
    /// The key by which the peer's application will acknowledge the message: no pong confirms it then.
    pub ack: Option<Box<str>>,
    /// Someone waits for `confirmed`: once it is written, ask the peer with a ping.
    pub wants_confirmation: bool,
    /// The number of the only connection that it may leave on.
    pub generation: Option<u64>,
    /// It waits for room where the policy would refuse it.
    pub waits: bool,
    /// It is a request, which its reply confirms.
    pub request: Option<Box<Asked>>,
}

impl Extras {
    /// In their box, if there are any.
    pub fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

impl Message {
    /// How many messages.
    #[inline]
    pub fn count(&self) -> u32 {
        self.body.count()
    }

    /// Whether this is its name, or one of its names.
    pub(crate) fn is_named(&self, id: MessageId) -> bool {
        id.0.checked_sub(self.id.0).is_some_and(|place| place < u128::from(self.count()))
    }

    /// Takes off the first `count`, with their share of the budget, where more are left than those.
    #[must_use]
    pub fn split_to(&mut self, count: u32) -> Option<Self> {
        let body = self.body.split_to(count)?;
        let first = Self {
            id: self.id,
            share: self.share.split(body.len() as u64),
            extras: self.extras.clone(),
            expires_at: self.expires_at,
            body,
        };
        self.id = self.id.later(count);
        Some(first)
    }

    /// Each for itself.
    pub(crate) fn singles(mut self: Box<Self>) -> impl Iterator<Item = Box<Self>> {
        let firsts: Vec<_> = iter::from_fn(|| self.split_to(1).map(Box::new)).collect();
        firsts.into_iter().chain(iter::once(self))
    }

    /// Ordering and conflation key.
    pub fn key(&self) -> Option<&str> {
        self.extras.as_deref()?.key.as_deref()
    }

    /// The key by which the peer's application will acknowledge it.
    pub fn ack(&self) -> Option<&str> {
        self.extras.as_deref()?.ack.as_deref()
    }

    /// The number of the only connection that it may leave on.
    pub fn generation(&self) -> Option<u64> {
        self.extras.as_deref()?.generation
    }

    /// What it has where it is a request.
    pub fn request(&self) -> Option<&Asked> {
        self.extras.as_deref()?.request.as_deref()
    }

    /// Whether it waits for room where the policy would refuse it.
    pub fn waits(&self) -> bool {
        self.extras.as_deref().is_some_and(|extras| extras.waits)
    }

    /// Someone waits for `confirmed` from now on.
    pub(crate) fn want_confirmation(&mut self) {
        self.extras.get_or_insert_default().wants_confirmation = true;
    }

    /// Whether someone waits for `confirmed`.
    pub fn wants_confirmation(&self) -> bool {
        self.extras.as_deref().is_some_and(|extras| extras.wants_confirmation)
    }
}

// A message is made by one thread and let go by another. Up to this size, glibc takes it back without locking the heap that the
// first thread is using, which is what keeping hundreds until they are confirmed cost most.
const _: () = assert!(size_of::<Message>() <= 96, "a message has grown");
