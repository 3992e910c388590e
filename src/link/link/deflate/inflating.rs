//! A stream that hands out plain frames of what a server sends: a compressed message as one frame, or a longer one in pieces.
//!
//! What a reader would get wrong: this judges only what it inflates. A frame that is not of a compressed message passes as it is, whatever
//! is wrong with it; and what goes the other way does not concern it.

use std::{
    cell::RefCell,
    fmt, io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    COMPRESSED, Compressing, History,
    inflater::{Corrupt, HELD, Inflater},
};
use crate::endpoint::compression::Compression;
use wskeeper_core::{
    close,
    deflate::Agreement,
    frame::{self, FIN, MASKED},
};

/// Bytes read at once where some may be compressed.
const READ: usize = 16 << 10;
const OPCODE: u8 = 0x0F;
const CONTROL: u8 = 0x08;
/// RSV2 and RSV3.
const RESERVED: u8 = 0x30;
/// The longest head of a frame without a mask.
const HEAD: usize = 10;

thread_local! {
    static RAW: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A byte stream, and what was agreed on to be done with the messages in it.
#[derive(Debug)]
pub(in super::super) struct Inflating<S> {
    stream: S,
    /// In a box: on most links nothing was.
    deflate: Option<Box<Both>>,
}

/// What is kept of it while nothing is under way is small: ten thousand links may have it.
#[derive(Debug)]
pub(super) struct Both {
    /// The server's messages may refer to those before, so far back.
    keeps: bool,
    window_bits: u8,
    history: History,
    /// Where something has begun to arrive, and is not done with.
    coming: Option<Box<Coming>>,
    going: Compressing,
    /// Bytes that were read.
    read: u64,
}

/// A compressed message breaks the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct BadDeflate {
    pub(in super::super) code: u16,
    pub(in super::super) detail: &'static str,
}

impl fmt::Display for BadDeflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail)
    }
}

impl std::error::Error for BadDeflate {}

impl BadDeflate {
    fn protocol(detail: &'static str) -> Self {
        Self { code: close::PROTOCOL_ERROR, detail }
    }
}

impl From<Corrupt> for BadDeflate {
    fn from(Corrupt(detail): Corrupt) -> Self {
        Self { code: close::INVALID_DATA, detail }
    }
}

/// What is on its way here.
struct Coming {
    keeps: bool,
    window: usize,
    history: History,
    at: At,
    /// The head of the frame, as far as it is here.
    head: ([u8; HEAD], usize),
    /// A message that is not compressed has more fragments to come.
    is_plain_open: bool,
    /// The compressed message under way: its first byte of frames to come, without `FIN`.
    message: Option<(u8, Inflater)>,
    /// Read and not looked at.
    raw: BytesMut,
    /// To be handed out before all else.
    ready: BytesMut,
    fault: Option<BadDeflate>,
}

enum At {
    Head,
    /// So many bytes of a frame that passes as it is.
    Passing(u64),
    /// So many bytes of a compressed one, and whether it is the last of its message.
    Compressed(u64, bool),
    /// Behind the last byte of a message.
    End,
    /// Nothing is looked at any more.
    Blind,
}

impl fmt::Debug for Coming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Coming({} bytes not looked at)", self.raw.len())
    }
}

impl<S> Inflating<S> {
    /// A stream on which nothing was agreed.
    pub(in super::super) fn plain(stream: S) -> Self {
        Self { stream, deflate: None }
    }

    /// A stream of which somebody has read `early` already.
    pub(in super::super) fn new(stream: S, (settings, agreed): (Compression, Agreement), early: &[u8]) -> Self {
        let mut both = Both {
            keeps: agreed.keeps_theirs(),
            window_bits: agreed.their_bits(),
            history: History::default(),
            coming: None,
            going: Compressing::new(settings, agreed),
            read: early.len() as u64,
        };
        both.coming().raw = early.into();
        Self { stream, deflate: Some(Box::new(both)) }
    }

    /// What lies below.
    pub(in super::super) fn below(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Nothing is inflated any more: what comes is of no use.
    pub(in super::super) fn look_away(&mut self) {
        if let Some(both) = &mut self.deflate {
            both.coming().look_away();
        }
    }

    /// How messages of ours are compressed, where they are.
    pub(in super::super) fn compressing(&mut self) -> Option<&mut Compressing> {
        self.deflate.as_deref_mut().map(|both| &mut both.going)
    }

    /// Bytes that were read below, where they are not those that are handed out.
    pub(in super::super) fn read(&self) -> u64 {
        self.deflate.as_deref().map_or(0, |both| both.read)
    }

    /// Whether nothing is under way.
    #[cfg(test)]
    pub(super) fn is_at_rest(&self) -> bool {
        self.deflate.as_ref().is_none_or(|both| both.coming.is_none())
    }

    /// Bytes of memory that it holds.
    pub(in super::super) fn held(&self) -> u64 {
        let Some(both) = self.deflate.as_deref() else { return 0 };
        let coming = both.coming.as_deref().map_or(0, |coming| {
            let message = if coming.message.is_some() { HELD } else { 0 };
            message + coming.history.held() + coming.raw.len() + coming.ready.len()
        });
        (coming + both.history.held() + both.going.held()) as u64
    }
}

impl Both {
    fn coming(&mut self) -> &mut Coming {
        self.coming.get_or_insert_with(|| {
            Box::new(Coming {
                keeps: self.keeps,
                window: 1 << self.window_bits,
                history: mem::take(&mut self.history),
                at: At::Head,
                head: ([0; HEAD], 0),
                is_plain_open: false,
                message: None,
                raw: BytesMut::new(),
                ready: BytesMut::new(),
                fault: None,
            })
        })
    }

    /// Where nothing is under way, nothing of it is kept.
    fn rest(&mut self) {
        if let Some(mut coming) = self.coming.take_if(|coming| coming.is_idle()) {
            self.history = mem::take(&mut coming.history);
        }
    }

    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let Some(coming) = &mut self.coming {
            coming.hand_out(buffer);
        }
        loop {
            if buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            if let Some(fault) = self.coming.as_mut().and_then(|coming| coming.fault.take()) {
                self.coming().look_away();
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault)));
            }
            let read = RAW.with_borrow_mut(|raw| {
                raw.resize(READ, 0);
                let mut raw = ReadBuf::new(raw);
                ready!(Pin::new(&mut *stream).poll_read(cx, &mut raw))?;
                let (raw, coming) = (raw.filled(), self.coming());
                let used = coming.follow(raw, buffer);
                coming.raw.extend_from_slice(&raw[used..]);
                Poll::Ready(Ok::<_, io::Error>(raw.len()))
            });
            match ready!(read)? {
                0 => return Poll::Ready(Ok(())),
                read => self.read += read as u64,
            }
        }
    }
}

impl Coming {
    fn is_idle(&self) -> bool {
        let is_between = matches!(self.at, At::Head | At::Passing(0)) && self.head.1 == 0 && self.message.is_none();
        is_between && !self.is_plain_open && self.raw.is_empty() && self.ready.is_empty() && self.fault.is_none()
    }

    fn look_away(&mut self) {
        (self.at, self.message, self.fault) = (At::Blind, None, None);
        self.ready = BytesMut::new();
    }

    /// Hands out what follows from what is there, as far as there is room; a fault waits until all before it has been handed out.
    fn hand_out(&mut self, out: &mut ReadBuf<'_>) {
        let mut raw = mem::take(&mut self.raw);
        let used = self.follow(&raw, out);
        raw.advance(used);
        if !raw.is_empty() {
            self.raw = raw;
        }
    }

    /// The same of these bytes: how many of them are done with.
    fn follow(&mut self, raw: &[u8], out: &mut ReadBuf<'_>) -> usize {
        let mut used = 0;
        while self.fault.is_none() {
            if !self.ready.is_empty() {
                let part = self.ready.len().min(out.remaining());
                out.put_slice(&self.ready[..part]);
                self.ready.advance(part);
                if !self.ready.is_empty() {
                    break;
                }
                self.ready = BytesMut::new();
            }
            match self.step(&raw[used..], out) {
                Ok(Some(more)) => used += more,
                Ok(None) => break,
                Err(fault) => self.fault = Some(fault),
            }
        }
        used
    }

    /// One step: how many bytes it has read. `None`: there is too little of them, or no room.
    fn step(&mut self, raw: &[u8], out: &mut ReadBuf<'_>) -> Result<Option<usize>, BadDeflate> {
        match self.at {
            At::Head => {
                let [byte, ..] = raw else { return Ok(None) };
                let (head, length) = &mut self.head;
                head[*length] = *byte;
                *length += 1;
                if let Some(body) = body_length(&head[..*length]) {
                    self.begin(body, out)?;
                }
                Ok(Some(1))
            }
            At::Passing(0) => {
                self.at = At::Head;
                Ok(Some(0))
            }
            At::Passing(_) | At::Blind => {
                let most = if let At::Passing(left) = self.at { left } else { u64::MAX };
                let part = raw.len().min(out.remaining()).min(usize::try_from(most).unwrap_or(usize::MAX));
                out.put_slice(&raw[..part]);
                if let At::Passing(left) = &mut self.at {
                    *left -= part as u64;
                }
                Ok((part > 0).then_some(part))
            }
            At::Compressed(0, is_last) => {
                self.at = if is_last { At::End } else { At::Head };
                Ok(Some(0))
            }
            At::Compressed(left, is_last) => {
                let most = raw.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                if most == 0 {
                    return Ok(None);
                }
                self.hand_out_full(out);
                let Some((_, inflater)) = self.message.as_mut() else { return Ok(None) };
                let read = inflater.read(&raw[..most], &self.history)?;
                self.at = At::Compressed(left - read as u64, is_last);
                Ok(Some(read))
            }
            At::End => {
                let Some((_, inflater)) = self.message.as_mut() else { return Ok(None) };
                if inflater.finish()? {
                    self.hand_out_last(out);
                    self.at = At::Head;
                } else {
                    self.hand_out_full(out);
                }
                Ok(Some(0))
            }
        }
    }

    /// The head of a frame is here, and its body has so many bytes.
    fn begin(&mut self, body: u64, out: &mut ReadBuf<'_>) -> Result<(), BadDeflate> {
        let (head, length) = mem::replace(&mut self.head, ([0; HEAD], 0));
        let (first, second) = (head[0], head[1]);
        let (is_control, is_last, opcode) = (first & CONTROL != 0, first & FIN != 0, first & OPCODE);
        let is_begun = self.message.is_some();
        let begins = matches!(opcode, 1 | 2) && first & (COMPRESSED | RESERVED) == COMPRESSED && !self.is_plain_open;
        let goes_on = first & !FIN == frame::CONTINUATION && is_begun;
        if second & MASKED != 0 {
            // tungstenite refuses it.
            self.at = At::Blind;
        } else if is_begun && matches!(opcode, 1 | 2) {
            return Err(BadDeflate::protocol("a message begins before the end of a compressed one"));
        } else if begins || goes_on {
            if !is_shortest(body, length) {
                return Err(BadDeflate::protocol("a frame has its length in a form that it may not have"));
            }
            if begins {
                self.message = Some((opcode, Inflater::borrow(&self.history)));
            }
            self.at = At::Compressed(body, is_last);
            return Ok(());
        } else {
            if !is_control {
                self.is_plain_open = !is_last;
            }
            self.at = At::Passing(body);
        }
        self.put(&head[..length], out);
        Ok(())
    }

    /// Puts what is to be handed out next, and keeps that for which there is no room.
    fn put(&mut self, bytes: &[u8], out: &mut ReadBuf<'_>) {
        let part = if self.ready.is_empty() { bytes.len().min(out.remaining()) } else { 0 };
        out.put_slice(&bytes[..part]);
        self.ready.extend_from_slice(&bytes[part..]);
    }

    /// A piece that is full is a fragment of its message.
    fn hand_out_full(&mut self, out: &mut ReadBuf<'_>) {
        if let Some((first, mut inflater)) = self.message.take_if(|(_, inflater)| inflater.is_full()) {
            self.hand_out_frame(first, inflater.piece(), out);
            // Behind a final block, it is wanted of any message.
            self.history.add(inflater.piece(), self.window);
            inflater.empty();
            self.message = Some((frame::CONTINUATION, inflater));
        }
    }

    fn hand_out_last(&mut self, out: &mut ReadBuf<'_>) {
        if let Some((first, inflater)) = self.message.take() {
            self.hand_out_frame(FIN | first, inflater.piece(), out);
            if self.keeps {
                self.history.add(inflater.piece(), self.window);
            } else {
                self.history = History::default();
            }
            inflater.give_back();
        }
    }

    fn hand_out_frame(&mut self, first: u8, payload: &[u8], out: &mut ReadBuf<'_>) {
        self.put(frame::Head::new(first, payload.len(), None).bytes(), out);
        self.put(payload, out);
    }
}

/// The length of a frame's body, once its head is whole.
fn body_length(head: &[u8]) -> Option<u64> {
    let [_, second, rest @ ..] = head else { return None };
    match second & !MASKED {
        126 => rest.first_chunk().map(|length| u16::from_be_bytes(*length).into()),
        127 => rest.first_chunk().map(|length| u64::from_be_bytes(*length)),
        length => Some(length.into()),
    }
}

/// Whether a head of this length is the shortest that says so (RFC 6455 §5.2).
fn is_shortest(body: u64, head: usize) -> bool {
    usize::try_from(body).is_ok_and(|body| frame::Head::new(0, body, None).bytes().len() == head) && body >> 63 == 0
}

impl<S: AsyncRead + Unpin> AsyncRead for Inflating<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, deflate } = &mut *self;
        let Some(both) = deflate else { return Pin::new(stream).poll_read(cx, buffer) };
        let read = both.poll_read(stream, cx, buffer);
        both.rest();
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Inflating<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
