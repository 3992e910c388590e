//! A stream that reads through a chunk of memory of its thread, and writes many frames at once.
//!
//! A WebSocket of its own keeps its buffers for life, idle or not; so those are small, and the large ones, which save system
//! calls on busy connections, belong to the thread. What a read brought beyond what was asked for waits here, and is served before
//! the stream is asked again. What is written waits here for the next flush, or until there is much of it.
//!
//! What a reader would get wrong: bytes count as written when the stream has taken them, not when they wait here.

mod masked;
mod messages;

use std::{
    cell::{Cell, RefCell},
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use wskeeper_core::run::Marks;

pub(super) use self::messages::Found;

/// Bytes taken from the kernel at once, where messages are looked for in them.
const CHUNK: usize = 128 << 10;
/// The same for a reader of frames: what it does not ask for at once waits in the connection.
const AHEAD_MAX: usize = 32 << 10;
/// Bytes given to the kernel at once, but for a frame, or frames that came together, that are longer.
const GATHERED_MAX: usize = 16 << 10;

thread_local! {
    static READING: RefCell<Reading> = RefCell::default();
    /// Empty, with room, unless a stream has it.
    static SPARE: Cell<BytesMut> = Cell::default();
}

/// What a thread reads with, whoever it reads for.
#[derive(Default)]
struct Reading {
    chunk: BytesMut,
    marks: Marks,
}

/// A byte stream whose large buffers are lent by the thread. What is written must be flushed.
#[derive(Debug)]
pub(super) struct PooledStream<S> {
    stream: S,
    /// Read and not yet asked for. Without room where it is empty.
    ahead: BytesMut,
    /// To be written. Empty, and without room, between flushes.
    gathered: BytesMut,
    /// To be written behind it.
    frames: Bytes,
    /// The stream would take no more of it.
    blocked: bool,
    /// The last read took all that there was.
    drained: bool,
    /// Up to here what was read ahead is known to be whole characters, where it is the beginning of a text.
    text_until: u32,
    /// Reading failed, behind what has been read.
    failure: Option<io::Error>,
    read: u64,
    written: u64,
}

impl<S> PooledStream<S> {
    /// Nothing is held until something is read or written.
    pub(super) fn new(stream: S) -> Self {
        Self::with_early(stream, &[])
    }

    /// A stream of which somebody has read `early` already.
    pub(super) fn with_early(stream: S, early: &[u8]) -> Self {
        Self {
            stream,
            ahead: early.into(),
            gathered: BytesMut::new(),
            frames: Bytes::new(),
            blocked: false,
            drained: false,
            text_until: 0,
            failure: None,
            read: early.len() as u64,
            written: 0,
        }
    }

    /// Bytes that the stream has given.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// Bytes that the stream has taken.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Whether the stream would take no more when it was last asked to: there is no room until a flush.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Whether nothing is left of what was there at the last read. Whoever reads is woken when there is more.
    pub(super) fn is_drained(&self) -> bool {
        self.drained && self.ahead.is_empty()
    }

    /// What lies below, to be looked at.
    pub(super) fn below(&self) -> &S {
        &self.stream
    }

    /// What lies below.
    pub(super) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// What has been read and not asked for.
    pub(super) fn ahead(&self) -> &[u8] {
        &self.ahead
    }

    /// Serves from what was read ahead, at most so much.
    pub(super) fn serve(&mut self, most: usize, buffer: &mut ReadBuf<'_>) {
        let part = most.min(self.ahead.len()).min(buffer.remaining());
        buffer.put_slice(&self.ahead[..part]);
        self.advance(part);
    }

    /// Puts this behind what waits.
    pub(super) fn gather(&mut self, bytes: &[u8]) {
        if self.gathered.is_empty() {
            self.gathered = SPARE.take();
        }
        self.gathered.extend_from_slice(bytes);
    }

    fn advance(&mut self, count: usize) {
        self.text_until = 0;
        self.ahead.advance(count);
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
    }
}

impl<S: AsyncRead + Unpin> PooledStream<S> {
    /// Reads ahead, where nothing is there; nothing is there after it at the end of the stream only.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            READING.with_borrow_mut(|Reading { chunk, .. }| {
                ready!(self.poll_chunk(cx, chunk, AHEAD_MAX))?;
                self.ahead = (&chunk[..]).into();
                Poll::Ready(Ok(()))
            })
        } else {
            Poll::Ready(Ok(()))
        }
    }

    /// Reads what nobody looks at, and forgets it: how much.
    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.ahead = BytesMut::new();
        READING.with_borrow_mut(|Reading { chunk, .. }| self.poll_chunk(cx, chunk, CHUNK))
    }

    /// Reads what is there by now into the chunk, `most` bytes at most, behind what was read ahead, which stays where it is, too. Until
    /// it is half full: TLS gives one record at a time.
    fn poll_chunk(&mut self, cx: &mut Context<'_>, chunk: &mut BytesMut, most: usize) -> Poll<io::Result<usize>> {
        if let Some(error) = self.failure.take() {
            return Poll::Ready(Err(error));
        }
        self.drained = false;
        chunk.clear();
        if chunk.capacity() < CHUNK {
            *chunk = BytesMut::with_capacity(CHUNK);
        }
        chunk.extend_from_slice(&self.ahead);
        let mut read = 0;
        loop {
            match poll_read_buf(Pin::new(&mut self.stream), cx, &mut (&mut *chunk).limit(most - read)) {
                Poll::Ready(Ok(0)) => break,
                Poll::Ready(Ok(more)) => read += more,
                Poll::Ready(Err(error)) if read > 0 => {
                    self.failure = Some(error);
                    break;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if read > 0 => {
                    self.drained = true;
                    break;
                }
                Poll::Pending => return Poll::Pending,
            }
            if read == most || chunk.len() >= CHUNK / 2 {
                break;
            }
        }
        self.read += read as u64;
        Poll::Ready(Ok(read))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PooledStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.ahead.is_empty() {
            this.serve(usize::MAX, buffer);
            return Poll::Ready(Ok(()));
        }
        READING.with_borrow_mut(|Reading { chunk, .. }| {
            ready!(this.poll_chunk(cx, chunk, AHEAD_MAX))?;
            let (part, ahead) = chunk.split_at(chunk.len().min(buffer.remaining()));
            buffer.put_slice(part);
            this.ahead = ahead.into();
            Poll::Ready(Ok(()))
        })
    }
}

impl<S: AsyncWrite + Unpin> PooledStream<S> {
    /// Whether frames may be given. Where it is not ready, a flush makes room.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.frames.is_empty() { Poll::Ready(Ok(())) } else { self.poll_give_all(cx) }
    }

    /// Takes whole frames, after `poll_room`, to be written as they are with the next flush.
    pub(super) fn give(&mut self, frames: Bytes) {
        if self.gathered.len() + frames.len() <= GATHERED_MAX {
            self.gather(&frames);
        } else {
            self.frames = frames;
        }
    }

    fn poll_give(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let given = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.blocked = given.is_pending();
        let taken = ready!(given)?;
        self.written += taken as u64;
        Poll::Ready(Ok(taken))
    }

    /// Gives all that waits to the stream.
    fn poll_give_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let gathered = mem::take(&mut self.gathered);
            let given = self.poll_give(cx, &gathered);
            self.gathered = gathered;
            match ready!(given)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => self.gathered.advance(taken),
            }
        }
        if self.gathered.capacity() > 0 {
            self.gathered.clear();
            SPARE.set(mem::take(&mut self.gathered));
        }
        while !self.frames.is_empty() {
            let frames = mem::take(&mut self.frames);
            let given = self.poll_give(cx, &frames);
            self.frames = frames;
            match ready!(given)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => self.frames.advance(taken),
            }
        }
        // Empty, it would still keep what it was a part of.
        self.frames = Bytes::new();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PooledStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.frames.is_empty() || self.gathered.len() + bytes.len() > GATHERED_MAX {
            ready!(self.poll_give_all(cx))?;
        }
        if bytes.len() > GATHERED_MAX {
            return self.poll_give(cx, bytes);
        }
        self.gather(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_give_all(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_give_all(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_was_read_ahead_comes_in_order_before_the_stream_is_asked_again() {
        let (mut peer, stream) = duplex(AHEAD_MAX);
        let mut pooled = PooledStream::new(stream);
        let sent: Vec<u8> = (0..5_000_u32).map(|number| number.to_be_bytes()[3]).collect();
        peer.write_all(&sent).await.expect("there is room");
        let mut got = vec![0; 100];
        pooled.read_exact(&mut got).await.expect("it arrives");
        assert_eq!(pooled.read(), 5_000, "all that was there was taken at once");
        drop(peer);
        pooled.read_to_end(&mut got).await.expect("the stream ends in order");
        assert_eq!(got, sent);
        assert_eq!(pooled.read(), 5_000);
    }

    #[tokio::test]
    async fn what_is_written_leaves_with_the_flush_and_counts_when_it_has_left() {
        let (mut peer, stream) = duplex(100);
        let mut pooled = PooledStream::new(stream);
        for _ in 0..50 {
            pooled.write_all(b"four").await.expect("it waits here");
        }
        assert_eq!((pooled.written(), pooled.is_blocked()), (0, false));
        assert!(pooled.flush().now_or_never().is_none(), "only half of it fits");
        assert_eq!((pooled.written(), pooled.is_blocked()), (100, true));
        let mut got = vec![0; 200];
        let (flushed, read) = tokio::join!(pooled.flush(), peer.read_exact(&mut got));
        flushed.and(read).expect("all of it leaves");
        assert_eq!((pooled.written(), pooled.is_blocked()), (200, false));
        assert_eq!(got, b"four".repeat(50));
        assert_eq!(pooled.gathered.capacity(), 0, "an idle stream holds no buffer");
    }

    #[tokio::test]
    async fn a_long_frame_comes_behind_what_was_gathered() {
        let (mut peer, stream) = duplex(1 << 20);
        let mut pooled = PooledStream::new(stream);
        let long = vec![7; GATHERED_MAX + 1];
        pooled.write_all(b"first").await.expect("it waits here");
        pooled.write_all(&long).await.expect("there is room");
        assert_eq!(pooled.written(), 5 + long.len() as u64, "it would fill no buffer but its own");
        drop(pooled);
        let mut got = Vec::new();
        peer.read_to_end(&mut got).await.expect("the stream ends in order");
        assert_eq!(got, [b"first", &*long].concat());
    }

    #[tokio::test]
    async fn frames_keep_their_place_among_what_is_written_however_little_the_stream_takes() {
        let (mut peer, stream) = duplex(100);
        let mut pooled = PooledStream::new(stream);
        let mut sent = Vec::new();
        let writing = async move {
            for length in [3, GATHERED_MAX, 5, 3 * GATHERED_MAX, 7] {
                poll_fn(|cx| pooled.poll_room(cx)).await.expect("the stream is open");
                let frames = Bytes::from(vec![b'f'; length]);
                pooled.give(frames.clone());
                pooled.write_all(b"pong").await.expect("there is room");
                sent.extend([&frames[..], b"pong"].concat());
            }
            pooled.flush().await.expect("all of it leaves");
            assert_eq!(pooled.written(), sent.len() as u64);
            assert!(pooled.gathered.capacity() == 0 && pooled.frames.is_empty());
            sent
        };
        let mut got = Vec::new();
        let (sent, read) = tokio::join!(writing, peer.read_to_end(&mut got));
        read.expect("the stream ends in order");
        assert_eq!(got, sent);
    }
}
