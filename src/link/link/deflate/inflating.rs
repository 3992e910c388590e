//! A stream that hands out plain frames of what the other end sends: a compressed message as one frame, or a longer one in pieces.
//!
//! What a reader would get wrong: this judges only what would not be seen behind it. A frame that is not of a compressed message passes as it is, byte
//! by byte, whatever is wrong with it; and what goes the other way does not concern it. What a client sends is masked (RFC 6455 §5.3), so what is
//! inflated of it is handed out with a mask of zeros.

use std::{
    cell::RefCell,
    fmt, io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{COMPRESSED, Compressing, History, inflater::HELD, message::Message};
use crate::endpoint::compression::Compression;
use wskeeper_core::{
    breach::Breach,
    deflate::{Agreement, BothWays, OneWay},
    frame::{self, BINARY, CONTROL, FIN, MASKED, OPCODE, RESERVED, TEXT},
    rules::well_formed,
};

/// Bytes read at once where some may be compressed.
const READ: usize = 16 << 10;
/// The longest head of a frame.
const HEAD: usize = 14;
/// The mask of what is handed out, where there must be one.
const NO_MASK: [u8; 4] = [0; 4];
/// Bytes that are unmasked at once.
const UNMASKED: usize = 2 << 10;

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
    /// The other end's messages may refer to those before, so far back.
    theirs: OneWay,
    /// The other end is a client.
    is_masked: bool,
    history: History,
    /// Where something has begun to arrive, and is not done with.
    coming: Option<Box<Coming>>,
    going: Compressing,
    /// Bytes that were read.
    read: u64,
}

/// What is on its way here.
struct Coming {
    keeps: bool,
    window: usize,
    history: History,
    at: At,
    /// The head of the frame, as far as it is here.
    head: ([u8; HEAD], usize),
    /// The mask of what comes next of its body, where the other end masks.
    key: Option<[u8; 4]>,
    /// A message that is not compressed has more fragments to come.
    is_plain_open: bool,
    /// The compressed message under way.
    message: Option<Message>,
    /// Read and not looked at.
    raw: BytesMut,
    /// To be handed out before all else.
    ready: BytesMut,
    fault: Option<Breach>,
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

    /// That of a client, of which somebody has read `early` already.
    pub(in super::super) fn new(stream: S, (settings, agreed): (Compression, Agreement), early: &[u8]) -> Self {
        let mut both = Both::new(settings, settings.offer.as_client(agreed), false);
        both.read = early.len() as u64;
        both.coming().raw = early.into();
        Self { stream, deflate: Some(Box::new(both)) }
    }

    /// That of a server, whose frames come from a client.
    pub(in super::super) fn served(stream: S, (settings, agreed): (Compression, Agreement)) -> Self {
        Self { stream, deflate: Some(Box::new(Both::new(settings, agreed.as_server(), true))) }
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

    /// Bytes of the windows that are kept between messages, once they are full.
    pub(in super::super) fn windows(&self) -> u64 {
        self.deflate.as_deref().map_or(0, |both| both.theirs.window() + both.going.window())
    }

    /// Bytes of memory that a message needs that is not whole, the windows apart.
    pub(in super::super) fn held(&self) -> u64 {
        let coming = self.deflate.as_deref().and_then(|both| both.coming.as_deref());
        coming.map_or(0, |coming| {
            let inflater = if coming.message.is_some() { HELD } else { 0 };
            (inflater + coming.raw.len() + coming.ready.len()) as u64
        })
    }
}

impl Both {
    fn new(settings: Compression, BothWays { ours, theirs }: BothWays, is_masked: bool) -> Self {
        let going = Compressing::new(settings, ours);
        Self { theirs, is_masked, history: History::default(), coming: None, going, read: 0 }
    }

    fn coming(&mut self) -> &mut Coming {
        self.coming.get_or_insert_with(|| {
            Box::new(Coming {
                keeps: self.theirs.keeps_context,
                window: 1 << self.theirs.window_bits,
                history: mem::take(&mut self.history),
                at: At::Head,
                head: ([0; HEAD], 0),
                key: self.is_masked.then_some(NO_MASK),
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
        loop {
            if !self.ready.is_empty() {
                let part = self.ready.len().min(out.remaining());
                out.put_slice(&self.ready[..part]);
                self.ready.advance(part);
                if !self.ready.is_empty() {
                    break;
                }
                self.ready = BytesMut::new();
            }
            if self.fault.is_some() {
                break;
            }
            match self.step(&raw[used..], out) {
                Ok(Some(more)) => used += more,
                Ok(None) => break,
                Err(fault) => self.fault = Some(fault),
            }
        }
        // What is wrong with a text that was inflated was wrong before what came behind it, however much of both came together.
        if let Some(Err(fault)) = self.message.as_mut().map(Message::look) {
            self.fault = Some(fault);
        }
        used
    }

    /// One step: how many bytes it has read. `None`: there is too little of them, or no room.
    fn step(&mut self, raw: &[u8], out: &mut ReadBuf<'_>) -> Result<Option<usize>, Breach> {
        match self.at {
            At::Head => {
                let [byte, ..] = raw else { return Ok(None) };
                let (head, length) = &mut self.head;
                head[*length] = *byte;
                *length += 1;
                let (head, length) = self.head;
                self.judge(&head[..length])?;
                if !self.is_compressed(head[0]) {
                    self.put(&[*byte], out);
                }
                if let Some(body) = body_length(&head[..length], self.key.is_some()) {
                    self.begin(body)?;
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
                // Whatever is wrong behind a frame is the second thing that is wrong.
                if let (false, Some(message)) = (is_last, &mut self.message) {
                    message.look()?;
                }
                Ok(Some(0))
            }
            At::Compressed(left, is_last) => {
                let most = raw.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                if most == 0 {
                    return Ok(None);
                }
                self.hand_out_full(out)?;
                let Some(read) = self.inflate(&raw[..most])? else { return Ok(None) };
                self.at = At::Compressed(left - read as u64, is_last);
                Ok(Some(read))
            }
            At::End => {
                let Some(Message { inflater, .. }) = self.message.as_mut() else { return Ok(None) };
                if inflater.finish()? {
                    self.hand_out_last(out);
                    self.at = At::Head;
                } else {
                    self.hand_out_full(out)?;
                }
                Ok(Some(0))
            }
        }
    }

    /// Inflates of these, which are masked where they are a client's: how many.
    fn inflate(&mut self, raw: &[u8]) -> Result<Option<usize>, Breach> {
        let Some(Message { inflater, .. }) = self.message.as_mut() else { return Ok(None) };
        let Some(key) = &mut self.key else { return inflater.read(raw, &self.history).map(Some) };
        let (mut plain, most) = ([0; UNMASKED], raw.len().min(UNMASKED));
        plain[..most].copy_from_slice(&raw[..most]);
        frame::mask(&mut plain[..most], *key);
        let read = inflater.read(&plain[..most], &self.history)?;
        key.rotate_left(read % NO_MASK.len());
        Ok(Some(read))
    }

    /// What can be wrong with the first bytes of a frame, where what is handed out would not show it.
    fn judge(&self, head: &[u8]) -> Result<(), Breach> {
        match head {
            [first] if is_message(*first) && (self.message.is_some() || self.is_plain_open) => Err(Breach::Interrupted),
            [_, second] if (second & MASKED != 0) != self.key.is_some() => {
                Err(if self.key.is_some() { Breach::Unmasked } else { Breach::Masked })
            }
            _ => Ok(()),
        }
    }

    /// Whether a frame is of a compressed message, by its first byte; all others pass as they come.
    fn is_compressed(&self, first: u8) -> bool {
        let begins = is_message(first) && first & RESERVED == COMPRESSED;
        begins || (self.message.is_some() && first & !FIN == frame::CONTINUATION)
    }

    /// The head of a frame is here, and its body has so many bytes.
    fn begin(&mut self, body: u64) -> Result<(), Breach> {
        let (head, length) = mem::replace(&mut self.head, ([0; HEAD], 0));
        let (first, is_last) = (head[0], head[0] & FIN != 0);
        if !self.is_compressed(first) {
            if first & CONTROL == 0 {
                self.is_plain_open = !is_last;
            }
            self.at = At::Passing(body);
            return Ok(());
        }
        if let (Some(key), Some(masked)) = (&mut self.key, head[..length].last_chunk()) {
            *key = *masked;
        }
        well_formed(body, length - self.key.map_or(0, |key| key.len()))?;
        if is_message(first) {
            let opcode = first & OPCODE;
            self.message = Some(Message::begin(opcode, &self.history));
        }
        self.at = At::Compressed(body, is_last);
        Ok(())
    }

    /// Puts what is to be handed out next, and keeps that for which there is no room.
    fn put(&mut self, bytes: &[u8], out: &mut ReadBuf<'_>) {
        let part = if self.ready.is_empty() { bytes.len().min(out.remaining()) } else { 0 };
        out.put_slice(&bytes[..part]);
        self.ready.extend_from_slice(&bytes[part..]);
    }

    /// A piece that is full is a fragment of its message.
    fn hand_out_full(&mut self, out: &mut ReadBuf<'_>) -> Result<(), Breach> {
        if let Some(mut message) = self.message.take_if(|message| message.inflater.is_full()) {
            message.look()?;
            self.hand_out_frame(message.first, message.inflater.piece(), out);
            // Behind a final block, it is wanted of any message.
            self.history.add(message.inflater.piece(), self.window);
            message.empty();
            self.message = Some(message);
        }
        Ok(())
    }

    fn hand_out_last(&mut self, out: &mut ReadBuf<'_>) {
        if let Some(Message { first, inflater, .. }) = self.message.take() {
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
        self.put(frame::Head::new(first, payload.len(), self.key.map(|_| NO_MASK)).bytes(), out);
        self.put(payload, out);
    }
}

/// Whether a message begins with this frame.
fn is_message(first: u8) -> bool {
    matches!(first & OPCODE, TEXT | BINARY)
}

/// The length of a frame's body, once its head is whole; with its mask, where there is to be one.
fn body_length(head: &[u8], is_masked: bool) -> Option<u64> {
    let [_, second, rest @ ..] = head else { return None };
    let (body, rest) = match second & !MASKED {
        126 => rest.split_first_chunk().map(|(length, rest)| (u16::from_be_bytes(*length).into(), rest))?,
        127 => rest.split_first_chunk().map(|(length, rest)| (u64::from_be_bytes(*length), rest))?,
        length => (length.into(), rest),
    };
    (!is_masked || rest.len() == NO_MASK.len()).then_some(body)
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
