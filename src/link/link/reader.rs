//! The reader of frames: tungstenite, for what is no whole message, ping or pong. It is made when the first such thing arrives, or a
//! Close is to leave, and stays.
//!
//! What a reader would get wrong: it is given one frame at a time, however much is there. So between two messages it holds nothing, and
//! whole messages can be looked for again. What it writes by itself is put behind what waits in the stream, and leaves with a flush.

use std::{
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncWrite as _, ReadBuf};
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext},
};

use super::{Wire, deflate::Inflating, frames::Frames, leaving::Leaving, pooled::PooledStream, tail::Tail};

/// What it reads at once where messages come in fragments. Not below 1 KiB: `BytesMut` remembers no smaller size when it has to begin a
/// new one, and then each message costs some allocations.
const BUFFER: usize = 1 << 10;
/// The same where only the end is left to read.
const LAST_BUFFER: usize = 64;
const OPCODE: u8 = 0x0F;
const CLOSE: u8 = 0x8;
/// What may wait in it of its own answers, where there is no room in the stream.
const ANSWERS_MAX: usize = 4 << 10;

/// The stream under a link's WebSocket.
pub(super) type Stream<S> = PooledStream<Inflating<Leaving<S>>>;

/// tungstenite, and what it was given.
#[derive(Debug)]
pub(super) struct Reader {
    protocol: WebSocketContext,
    tail: Tail,
    frames: Frames,
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
        Box::new(Self { protocol, tail: Tail::default(), frames: Frames::default() })
    }

    /// Whether all that it was given are whole messages.
    pub(super) fn is_between_messages(&self) -> bool {
        self.frames.is_between_messages()
    }

    /// The last Close that it was given.
    pub(super) fn tail(&self) -> &Tail {
        &self.tail
    }

    /// What it finds next.
    pub(super) fn poll_next<S: Wire>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream<S>,
    ) -> Poll<Result<Message, Error>> {
        let Self { protocol, tail, frames } = self;
        at_once(protocol.read(&mut Given { stream, tail, frames, cx: Some(cx) }))
    }

    /// Closes. Where the peer has closed before, its answer to that stands for this.
    pub(super) fn close<S: Wire>(&mut self, stream: &mut Stream<S>, frame: Option<CloseFrame>) -> Result<(), Error> {
        let Self { protocol, tail, frames } = self;
        match at_once(protocol.write(&mut Given { stream, tail, frames, cx: None }, Message::Close(frame))) {
            Poll::Ready(done) => done,
            // It waits in there.
            Poll::Pending => Ok(()),
        }
    }

    /// Puts its answers into the stream. Pending where there is no room: a flush of the stream makes some.
    pub(super) fn poll_answer<S: Wire>(&mut self, stream: &mut Stream<S>) -> Poll<Result<(), Error>> {
        let Self { protocol, tail, frames } = self;
        at_once(protocol.flush(&mut Given { stream, tail, frames, cx: None }))
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
    tail: &'a mut Tail,
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
        self.frames.follow(buffer.filled(), self.tail);
        Ok(buffer.filled().len())
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
