//! The shim of permessage-deflate: what comes through it is what another hand makes of the same bytes, and what leaves by it is what was given.

use std::{
    cell::RefCell,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::BytesMut;
use futures_util::{FutureExt as _, future::poll_fn, task::noop_waker_ref};
use tokio::io::{AsyncRead, ReadBuf};
use zlib_rs::DeflateFlush;

use super::{
    Input, Script, cut,
    hands::{self, Hand},
    said::{self, End, Item, Plain, Said},
};
use crate::{
    endpoint::compression::Compression,
    link::{arrival::breach_in, deflate::Inflating, served::ServedStream, socket::Socket},
};
use wskeeper_core::{
    breach::Breach,
    deflate::{Agreement, BothWays, Proposal, Takeover},
    frame::{FIN, Head, mask},
    link::Frame,
    message::Payload,
    run::{Marks, Run},
};

/// A message that is longer than this when it is inflated is handed out in frames of this length.
const PIECE: usize = 16 << 10;
/// A byte of DEFLATE may stand for so many, some of which the inflater holds back while there is no room.
const MATCH: usize = 258;
/// Bytes that a message of an input is made longer to, at most.
const LONGEST: usize = 34 << 10;
/// Frames or messages of an input, at most.
const MOST: usize = 12;
/// Room for what is handed out at once.
const ROOMS: [usize; 8] = [1 << 17, 1, 7, 100, 1_000, PIECE, PIECE + 4, PIECE + 8];
/// The mask of a client's frames.
const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// The first two bytes say on which side and what was agreed on, the third how it comes in pieces, the others what is said.
pub fn deflate(data: &[u8]) {
    let mut input = Input(data);
    let side = Side::read(&mut input);
    if side.is_outbound {
        side.outbound(&mut input);
    } else {
        side.inbound(&mut input);
    }
}

/// One end of a connection, on which compression was agreed.
#[derive(Debug)]
struct Side {
    is_server: bool,
    is_outbound: bool,
    /// The rest of the input are the bytes on the wire.
    is_raw: bool,
    room: usize,
    cuts: u8,
    settings: Compression,
    agreed: Agreement,
}

impl Side {
    fn read(input: &mut Input<'_>) -> Self {
        let (flags, bits, cuts) = (input.byte(), input.byte(), input.byte());
        let is_server = flags & 1 != 0;
        let settings = Compression {
            is_offered: true,
            level: [1, 6, 3, 9][usize::from(bits >> 3 & 1) | usize::from(bits >> 6 & 2)],
            threshold: if flags & 16 == 0 { 0 } else { 256 },
            offer: Proposal { context: Takeover::Both, window_bits: 15 },
        };
        let mut text = "permessage-deflate".to_owned();
        for (bit, name) in [(2, "server"), (4, "client")] {
            if flags & bit == 0 {
                text.extend(["; ", name, "_no_context_takeover"]);
            }
        }
        for (bits, name) in [(bits & 7, "server"), (bits >> 4 & 7, "client")] {
            text.extend(["; ", name, "_max_window_bits=", &(15 - bits).to_string()]);
        }
        let agreed = if is_server {
            settings.offer.answer([text.as_bytes()])
        } else {
            settings.offer.judge([text.as_bytes()]).unwrap()
        };
        let room = ROOMS[usize::from(flags >> 5)];
        Self {
            is_server,
            is_outbound: flags & 8 != 0 && flags & 16 == 0 || cuts == 0xFF,
            is_raw: flags & 8 != 0 && flags & 16 != 0,
            room,
            cuts,
            settings,
            agreed: agreed.unwrap(),
        }
    }

    fn ways(&self) -> BothWays {
        if self.is_server { self.agreed.as_server() } else { self.settings.offer.as_client(self.agreed) }
    }

    fn inbound(&self, input: &mut Input<'_>) {
        let wire = if self.is_raw { input.0.to_vec() } else { self.wire(input) };
        let mut pieces = cut(&wire, self.cuts);
        let agreed = (self.settings, self.agreed);
        let (out, fault) = if self.is_server {
            let script = Script { pieces, pauses: self.cuts & 1 != 0, ..Script::default() };
            handed_out(Inflating::served(script, agreed), self.room)
        } else {
            let early = if self.cuts & 2 == 0 { Vec::new() } else { pieces.pop_front().unwrap_or_default() };
            let script = Script { pieces, pauses: self.cuts & 1 != 0, ..Script::default() };
            handed_out(Inflating::new(script, agreed, &early), self.room)
        };
        let (ours, code) = (said::plain(&out), fault.as_ref().map(Breach::code));
        let by = |hand| {
            let theirs = said::compressed(&wire, self.is_server, self.ways().theirs, hand);
            differ(&ours, code, &theirs).map(|what| (what, theirs))
        };
        // Where two libraries differ, ours is right as long as it says so at once too.
        if by(Hand::Miniz).is_some()
            && let Some((what, theirs)) = by(Hand::ZlibAtOnce)
        {
            panic!("{what}, by {self:?}\nof {wire:02x?}\nours: {fault:?} behind {ours:?}\nat once: {theirs:?}");
        }
    }

    /// Frames as the other end may send them, or nearly.
    fn wire(&self, input: &mut Input<'_>) -> Vec<u8> {
        let theirs = self.ways().theirs;
        let (mut wire, mut before) = (Vec::new(), Vec::new());
        for _ in 0..MOST {
            if input.is_empty() {
                break;
            }
            let what = input.byte();
            let first = match what & 7 {
                0 => 0xC1,
                1 => 0xC2,
                2 => 0x41,
                3 => 0x42,
                4 => 0x00,
                5 => 0x80,
                6 => 0x89,
                _ => input.byte(),
            };
            let mut body = if what & 8 == 0 {
                let length = input.byte();
                input.take(length.into()).to_vec()
            } else {
                let plain = longer(input);
                let flush = if what & 16 == 0 { DeflateFlush::SyncFlush } else { DeflateFlush::Finish };
                let body = hands::compressed(&plain, &before, flush);
                if theirs.keeps_context {
                    before.extend(plain);
                    before.drain(..before.len().saturating_sub(1 << theirs.window_bits));
                }
                body
            };
            if what & 32 != 0 && !body.is_empty() {
                let at = usize::from(input.byte()) % body.len();
                body[at] ^= input.byte();
            }
            if what & 64 != 0 {
                let at = usize::from(input.byte()).min(body.len());
                let behind = body.split_off(at);
                self.put(&mut wire, first & !FIN, &body);
                self.put(&mut wire, 0x89, b"?");
                self.put(&mut wire, first & FIN, &behind);
            } else {
                self.put(&mut wire, first, &body);
            }
        }
        wire
    }

    fn put(&self, wire: &mut Vec<u8>, first: u8, body: &[u8]) {
        wire.extend_from_slice(Head::new(first, body.len(), self.is_server.then_some(KEY)).bytes());
        let start = wire.len();
        wire.extend_from_slice(body);
        if self.is_server {
            mask(&mut wire[start..], KEY);
        }
    }

    fn outbound(&self, input: &mut Input<'_>) {
        let mut given = Vec::new();
        while !input.is_empty() && given.len() < MOST {
            given.push(longer(input));
        }
        let wire = if self.is_server { self.served(&given) } else { self.sent(&given) };
        let theirs = self.ways().ours;
        let items: Vec<Item> = given.into_iter().map(|plain| Item::Message(2, Plain(plain))).collect();
        let read = said::compressed(&wire, !self.is_server, theirs, Hand::Miniz);
        assert!(read.end == End::Clean && read.tail.is_empty(), "{:?} by {self:?}", read.end);
        assert!(read.open.is_none() && read.items == items, "{:?}\nis not {items:?} by {self:?}", read.items);
    }

    fn sent(&self, given: &[Vec<u8>]) -> Vec<u8> {
        let mut cx = Context::from_waker(noop_waker_ref());
        let mut socket = Socket::open(Script::default(), &[], 1 << 20, Some((self.settings, self.agreed)));
        for plain in given {
            while socket.poll_room(&mut cx).is_pending() {}
            socket.give(Frame::Data(Payload::binary(plain.clone()).into()));
        }
        while socket.poll_flush(&mut cx).is_pending() {}
        socket.wire().written.clone()
    }

    fn served(&self, given: &[Vec<u8>]) -> Vec<u8> {
        let mut stream = ServedStream::new(Script::default(), Some((self.settings, self.agreed)));
        // Some come together.
        for some in given.chunks(usize::from(self.cuts) % 3 + 1) {
            poll_fn(|cx| stream.poll_room(cx)).now_or_never().unwrap().unwrap();
            let payloads: Vec<Payload> = some.iter().map(|plain| Payload::binary(plain.clone())).collect();
            stream.give(&together(&payloads));
        }
        let flushed = poll_fn(|cx| tokio::io::AsyncWrite::poll_flush(Pin::new(&mut stream), cx));
        flushed.now_or_never().unwrap().unwrap();
        stream.below().written.clone()
    }
}

/// A few bytes, some times.
fn longer(input: &mut Input<'_>) -> Vec<u8> {
    let (length, times) = (input.byte(), usize::from(input.byte()));
    let part = input.take(length.into());
    // Many are short, some are longer than a piece or a fragment.
    let times = if times < 224 { times % 16 } else { (times - 223) * (times - 223) * 2 };
    let length = (part.len() * (times + 1)).min(LONGEST);
    part.iter().copied().cycle().take(length).collect()
}

/// Messages that came together.
pub(in super::super) fn together(payloads: &[Payload]) -> Run {
    let (mut bytes, mut marks) = (BytesMut::new(), Marks::default());
    for payload in payloads {
        bytes.extend_from_slice(&Run::from(payload).frames());
        marks.push(bytes.len() - payload.len(), payload.len(), payload.kind());
    }
    let room = bytes.capacity();
    marks.take(bytes.freeze(), room)
}

/// All that is handed out, `most` bytes at a time, and what ends it where that is no end in order.
pub(in super::super) fn handed_out<S: AsyncRead + Unpin>(
    mut stream: Inflating<S>,
    most: usize,
) -> (Vec<u8>, Option<Breach>) {
    thread_local! {
        static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    let mut cx = Context::from_waker(noop_waker_ref());
    ROOM.with_borrow_mut(|room| {
        let mut out = Vec::new();
        room.resize(ROOMS[0], 0);
        for read in 0_u32.. {
            // A little at a time, and much in time.
            let most = (most << (read / 64).min(17)).min(ROOMS[0]);
            let mut buffer = ReadBuf::new(&mut room[..most]);
            match Pin::new(&mut stream).poll_read(&mut cx, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return (out, None),
                Poll::Ready(Ok(())) => out.extend(buffer.filled()),
                Poll::Ready(Err(error)) => return (out, breach_in(&error).cloned()),
                Poll::Pending => {}
            }
        }
        unreachable!("it has an end")
    })
}

/// In what ours differs from what another hand makes of it.
fn differ(ours: &Said, fault: Option<u16>, theirs: &Said) -> Option<&'static str> {
    let is_begun = ours.items.starts_with(&theirs.items);
    if theirs.is_too_much || (theirs.is_loose && fault == Some(1007) && theirs.items.starts_with(&ours.items)) {
        return None;
    }
    match theirs.end {
        End::RefusedAbove => (!is_begun).then_some("what comes before a frame that is refused"),
        End::NotUtf8 => {
            let open = theirs.open.as_ref().map_or(&[][..], |(_, plain)| &plain.0);
            // Who reads the whole message refuses it.
            let is_handed_out = match ours.items.get(theirs.items.len()) {
                Some(Item::Message(1, whole)) => whole.0.starts_with(open),
                Some(_) => return Some("something else than the text that is no UTF-8"),
                None => false,
            };
            (!is_begun || !(is_handed_out || fault == Some(1007))).then_some("a text that is no UTF-8")
        }
        End::Clean | End::Refused(_) if ours.items != theirs.items => Some("what is whole"),
        End::Clean if fault.is_some() => Some("a refusal of what is right"),
        End::Refused(code) if fault != Some(code) => Some("a refusal of what is wrong"),
        End::Clean | End::Refused(_) if ours.tail != theirs.tail => Some("a frame that is not whole"),
        End::Clean | End::Refused(_) => open_differs(ours, theirs).then_some("a message that is not whole"),
    }
}

/// Of a compressed message that is not whole, whole pieces are handed out.
fn open_differs(ours: &Said, theirs: &Said) -> bool {
    let none = (0, Plain::default());
    let (kind, open) = ours.open.as_ref().unwrap_or(&none);
    let (other_kind, other) = theirs.open.as_ref().unwrap_or(&none);
    if !theirs.is_open_compressed {
        return (kind, open) != (other_kind, other);
    }
    let (open, other) = (&open.0, &other.0);
    // Where it goes wrong, one may have come further than the other.
    let is_less = other.starts_with(open) && (theirs.end != End::Clean || other.len() - open.len() <= PIECE + MATCH);
    let is_more = theirs.end != End::Clean && open.starts_with(other);
    open.len() % PIECE != 0 || !(is_less || is_more) || (ours.open.is_some() && kind != other_kind)
}
