//! What a stream of frames says: read naively, a whole stream at once, compressed or not.

use std::fmt;

use super::hands::{Ending, Hand, Inflated};
use wskeeper_core::{
    close::{INVALID_DATA, PROTOCOL_ERROR},
    deflate::OneWay,
    frame::{CONTINUATION, CONTROL, CONTROL_MAX, FIN, MASKED, OPCODE, PONG, RESERVED, TEXT, mask},
};

const COMPRESSED: u8 = 0x40;

/// What is whole in a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// The first byte of a control frame, and its body.
    Control(u8, Plain),
    /// The opcode of a message, and all of it.
    Message(u8, Plain),
}

/// Bytes that are shown in short.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Plain(pub(super) Vec<u8>);

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(60)];
        write!(f, "{} bytes, \"{}\"", self.0.len(), shown.escape_ascii())
    }
}

/// What a stream says.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) items: Vec<Item>,
    /// What is there of a message that has begun, with its opcode.
    pub(super) open: Option<(u8, Plain)>,
    /// The bytes of a frame that is not whole and not of a compressed message.
    pub(super) tail: Vec<u8>,
    pub(super) end: End,
    /// What has begun is compressed.
    pub(super) is_open_compressed: bool,
    /// A message refers back beyond its window, maybe, behind a final block in its middle: it may be refused.
    pub(super) is_loose: bool,
    /// There is too much of it to be compared.
    pub(super) is_too_much: bool,
}

/// How it ends.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With the last byte.
    #[default]
    Clean,
    /// The shim refuses what comes next, with this code.
    Refused(u16),
    /// Who reads plain frames refuses it, so nothing is of interest any more.
    RefusedAbove,
    /// The message that is open is a text, and it is no UTF-8.
    NotUtf8,
}

/// A frame whose head is whole.
struct Frame<'a> {
    first: u8,
    length: u64,
    /// The length has its shortest form.
    is_well_formed: bool,
    /// What is there of its body, without its mask.
    body: Vec<u8>,
    is_whole: bool,
    rest: &'a [u8],
}

impl<'a> Frame<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let [first, second, rest @ ..] = bytes else { return None };
        let (length, rest, least) = match second & !MASKED {
            126 => {
                let (length, rest) = rest.split_first_chunk::<2>()?;
                (u64::from(u16::from_be_bytes(*length)), rest, 126)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk::<8>()?;
                (u64::from_be_bytes(*length), rest, 1 << 16)
            }
            short => (short.into(), rest, 0),
        };
        let (key, rest) = if second & MASKED == 0 {
            ([0; 4], rest)
        } else {
            rest.split_first_chunk().map(|(key, rest)| (*key, rest))?
        };
        let there = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
        let (body, rest) = rest.split_at(there);
        let mut body = body.to_vec();
        mask(&mut body, key);
        let is_whole = body.len() as u64 == length;
        let is_well_formed = length >= least && length >> 63 == 0;
        Some(Self { first: *first, length, is_well_formed, body, is_whole, rest })
    }
}

/// Whether it can be no text, however it may go on; where it does not go on, whether it is none.
fn is_no_text(opcode: u8, bytes: &[u8], is_whole: bool) -> bool {
    opcode == TEXT && std::str::from_utf8(bytes).is_err_and(|error| is_whole || error.error_len().is_some())
}

fn is_message(first: u8) -> bool {
    matches!(first & OPCODE, 1 | 2)
}

/// What plain frames say. All from what is no plain frame on is the tail.
pub(super) fn plain(mut bytes: &[u8]) -> Said {
    let mut said = Said::default();
    while let Some(frame) = Frame::read(bytes).filter(|frame| frame.is_whole && frame.first & RESERVED == 0) {
        bytes = frame.rest;
        said.add(&frame);
    }
    said.tail = bytes.to_vec();
    said
}

/// What frames say that the other end may have compressed, by this hand.
pub(super) fn compressed(mut bytes: &[u8], is_masked: bool, theirs: OneWay, hand: Hand) -> Said {
    let mut said = Said::default();
    let mut compression = Compression { theirs, hand, history: Vec::new(), raw: None };
    while let [first, after @ ..] = bytes {
        let is_open = said.open.is_some() || compression.raw.is_some();
        if is_message(*first) && is_open {
            said.end = End::Refused(PROTOCOL_ERROR);
            return said;
        }
        let is_compressed = if is_message(*first) {
            first & RESERVED == COMPRESSED
        } else {
            compression.raw.is_some() && first & !FIN == CONTINUATION
        };
        if !is_compressed && breaks_a_rule(*first, is_open) {
            said.end = End::RefusedAbove;
            return said;
        }
        if after.first().is_some_and(|second| (second & MASKED != 0) != is_masked) {
            said.tail = if is_compressed { Vec::new() } else { vec![*first] };
            said.end = End::Refused(PROTOCOL_ERROR);
            return said;
        }
        let Some(frame) = Frame::read(bytes) else {
            said.tail = if is_compressed { Vec::new() } else { bytes.to_vec() };
            return said;
        };
        if !is_compressed {
            if !frame.is_well_formed || (first & CONTROL != 0 && frame.length > CONTROL_MAX.into()) {
                said.end = End::RefusedAbove;
                return said;
            }
            if !frame.is_whole {
                said.tail = bytes.to_vec();
                return said;
            }
            bytes = frame.rest;
            said.add(&frame);
            continue;
        }
        if !frame.is_well_formed {
            said.end = End::Refused(PROTOCOL_ERROR);
            return said;
        }
        let is_over = compression.add(&mut said, &frame);
        if is_over || !frame.is_whole {
            return said;
        }
        bytes = frame.rest;
    }
    said
}

/// What is known of compressed messages.
struct Compression {
    theirs: OneWay,
    hand: Hand,
    /// What messages may refer to.
    history: Vec<u8>,
    /// What is there of one that has begun.
    raw: Option<Vec<u8>>,
}

impl Compression {
    /// A frame of a compressed message: whether nothing behind it is of interest.
    fn add(&mut self, said: &mut Said, frame: &Frame<'_>) -> bool {
        let window = 1 << self.theirs.window_bits;
        let opcode = if is_message(frame.first) {
            frame.first & OPCODE
        } else {
            said.open.take().map_or(0, |(opcode, _)| opcode)
        };
        let message = self.raw.get_or_insert_default();
        message.extend(&frame.body);
        let is_whole = frame.is_whole && frame.first & FIN != 0;
        let Inflated { plain, end, finals } = self.hand.inflate(message, is_whole, &self.history);
        said.is_loose |= finals > 0 && plain.len() > window;
        said.is_too_much |= end == Ending::TooMuch;
        let is_over = end == Ending::Wrong || is_no_text(opcode, &plain, is_whole) || said.is_too_much;
        if is_over {
            said.end = if end == Ending::Wrong { End::Refused(INVALID_DATA) } else { End::NotUtf8 };
        }
        if is_over || !is_whole {
            (said.open, said.is_open_compressed) = (Some((opcode, Plain(plain))), true);
            return is_over;
        }
        if self.theirs.keeps_context {
            self.history.extend(&plain);
            self.history.drain(..self.history.len().saturating_sub(window));
        }
        said.items.push(Item::Message(opcode, Plain(plain)));
        (self.raw, said.is_open_compressed) = (None, false);
        false
    }
}

/// Whether no plain frame may begin with this byte.
fn breaks_a_rule(first: u8, is_open: bool) -> bool {
    match first & OPCODE {
        _ if first & RESERVED != 0 => true,
        CONTINUATION => !is_open,
        1 | 2 => false,
        8..=PONG => first & FIN == 0,
        _ => true,
    }
}

impl Said {
    /// A plain frame.
    fn add(&mut self, frame: &Frame<'_>) {
        if frame.first & CONTROL != 0 {
            self.items.push(Item::Control(frame.first, Plain(frame.body.clone())));
            return;
        }
        let (_, open) = self.open.get_or_insert_with(|| (frame.first & OPCODE, Plain::default()));
        open.0.extend(&frame.body);
        if frame.first & FIN != 0
            && let Some((opcode, whole)) = self.open.take()
        {
            self.items.push(Item::Message(opcode, whole));
        }
    }
}
