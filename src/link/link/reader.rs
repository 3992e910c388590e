//! The reader of frames: tungstenite, for what is no whole message, ping or pong. It is made when the first such thing arrives, or a
//! Close is to leave, and stays.
//!
//! What a reader would get wrong: it is given one frame at a time, however much is there. So between two messages it holds nothing, and
//! whole messages can be looked for again; and what it is given has been found to keep to the rules, byte by byte, while tungstenite looks at
//! whole frames only. What it writes by itself is put behind what waits in the stream, and leaves with a flush.

use std::{
    io::{self, Read, Write},
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncWrite as _, ReadBuf};
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext},
};

use super::{
    Wire,
    deflate::Inflating,
    frames::{Frames, Watcher},
    leaving::Leaving,
    pooled::PooledStream,
};
use wskeeper_core::{
    breach::Breach,
    close::CloseFrame as Said,
    frame::{CLOSE, OPCODE},
    rules::FrameRules,
};

/// What it reads at once where messages come in fragments. Not below 1 KiB: `BytesMut` remembers no smaller size when it has to begin a
/// new one, and then each message costs some allocations.
const BUFFER: usize = 1 << 10;
/// The same where only the end is left to read.
const LAST_BUFFER: usize = 64;
/// What may wait in it of its own answers, where there is no room in the stream.
const ANSWERS_MAX: usize = 4 << 10;

/// The stream under a link's WebSocket.
pub(super) type Stream<S> = PooledStream<Inflating<Leaving<S>>>;

/// tungstenite, and what it was given.
#[derive(Debug)]
pub(super) struct Reader {
    protocol: WebSocketContext,
    judged: Judged,
    frames: Frames,
}

/// What it was given, and the first breach in it.
#[derive(Debug)]
struct Judged {
    rules: FrameRules,
    found: Result<(), Breach>,
}

impl Judged {
    fn judge(&mut self, by: impl FnOnce(&mut FrameRules) -> Result<(), Breach>) {
        if self.found.is_ok() {
            self.found = by(&mut self.rules);
        }
    }
}

impl Watcher for Judged {
    fn begins(&mut self, first: u8) {
        self.judge(|rules| rules.first(first));
    }

    fn second(&mut self, first: u8, second: u8) {
        self.judge(|rules| rules.second(first, second));
    }

    fn length(&mut self, first: u8, length: u64, head: u8) {
        self.judge(|rules| rules.length(first, length, head.into()));
    }

    fn body(&mut self, first: u8, part: &[u8]) {
        self.judge(|rules| rules.body(first, part));
    }

    fn ends(&mut self, first: u8, _at: usize) {
        self.judge(|rules| rules.end(first));
    }
}

impl Reader {
    /// Where a frame begins, with these bytes of it. No message is longer than `max_inbound`.
    pub(super) fn new(ahead: &[u8], max_inbound: usize) -> Box<Self> {
        let is_last = ahead.first().is_none_or(|first| first & OPCODE == CLOSE);
        let config = WebSocketConfig::default()
            .read_buffer_size(if is_last { LAST_BUFFER } else { BUFFER })
            .write_buffer_size(0)
            .max_write_buffer_size(ANSWERS_MAX)
            .max_message_size(Some(max_inbound))
            .max_frame_size(Some(max_inbound));
        let protocol = WebSocketContext::new(Role::Client, Some(config));
        let judged = Judged { rules: FrameRules::new(max_inbound), found: Ok(()) };
        Box::new(Self { protocol, judged, frames: Frames::default() })
    }

    /// Whether all that it was given are whole messages.
    pub(super) fn is_between_messages(&self) -> bool {
        self.frames.is_between_messages()
    }

    /// What the last Close said that it was given.
    pub(super) fn said(&self) -> Option<Said> {
        self.judged.rules.close()
    }

    /// What it finds next.
    pub(super) fn poll_next<S: Wire>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream<S>,
    ) -> Poll<Result<Message, Error>> {
        let Self { protocol, judged, frames } = self;
        at_once(protocol.read(&mut Given { stream, judged, frames, cx: Some(cx) }))
    }

    /// Closes. Where the peer has closed before, its answer to that stands for this.
    pub(super) fn close<S: Wire>(&mut self, stream: &mut Stream<S>, frame: Option<CloseFrame>) -> Result<(), Error> {
        let Self { protocol, judged, frames } = self;
        match at_once(protocol.write(&mut Given { stream, judged, frames, cx: None }, Message::Close(frame))) {
            Poll::Ready(done) => done,
            // It waits in there.
            Poll::Pending => Ok(()),
        }
    }

    /// Puts its answers into the stream. Pending where there is no room: a flush of the stream makes some.
    pub(super) fn poll_answer<S: Wire>(&mut self, stream: &mut Stream<S>) -> Poll<Result<(), Error>> {
        let Self { protocol, judged, frames } = self;
        at_once(protocol.flush(&mut Given { stream, judged, frames, cx: None }))
    }
}

fn at_once<T>(done: Result<T, Error>) -> Poll<Result<T, Error>> {
    match done {
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        done => Poll::Ready(done),
    }
}

/// The stream as tungstenite sees it. Without a context it waits for nothing, and neither reads nor flushes.
struct Given<'a, 'b, S> {
    stream: &'a mut Stream<S>,
    judged: &'a mut Judged,
    frames: &'a mut Frames,
    cx: Option<&'a mut Context<'b>>,
}

impl<S: Wire> Read for Given<'_, '_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.cx.as_mut().map(|cx| self.stream.poll_fill(cx)) {
            Some(Poll::Ready(filled)) => filled?,
            Some(Poll::Pending) | None => return Err(io::ErrorKind::WouldBlock.into()),
        }
        let mut buffer = ReadBuf::new(buffer);
        self.stream.serve(self.frames.next_part(), &mut buffer);
        self.frames.follow(buffer.filled(), self.judged);
        match mem::replace(&mut self.judged.found, Ok(())) {
            Ok(()) => Ok(buffer.filled().len()),
            Err(breach) => Err(io::Error::new(io::ErrorKind::InvalidData, breach)),
        }
    }
}

impl<S: Wire> Write for Given<'_, '_, S> {
    fn write(&mut self, frames: &[u8]) -> io::Result<usize> {
        if self.stream.has_room() {
            self.stream.gather(frames);
            Ok(frames.len())
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.cx.as_mut().map(|cx| Pin::new(&mut *self.stream).poll_flush(cx)) {
            Some(Poll::Ready(flushed)) => flushed,
            Some(Poll::Pending) => Err(io::ErrorKind::WouldBlock.into()),
            None => Ok(()),
        }
    }
}
