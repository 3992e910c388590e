//! A stream that reads through a scratch of its thread, and writes many frames at once.
//!
//! A WebSocket of its own keeps its buffers for life, idle or not; so those are small, and the large ones, which save system
//! calls on busy connections, belong to the thread. What a read brought beyond the small buffer waits here, and is served before
//! the stream is asked again. What is written waits here for the next flush, or until there is much of it.
//!
//! What a reader would get wrong: bytes count as written when the stream has taken them, not when they wait here.

use std::{
    cell::{Cell, RefCell},
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes taken from the kernel at once.
const SCRATCH: usize = 32 << 10;
/// Bytes given to the kernel at once, but for a frame that is longer.
const GATHERED_MAX: usize = 16 << 10;

thread_local! {
    static SCRATCH_OF_THREAD: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into());
    /// Empty, with room, unless a stream has it.
    static SPARE: Cell<BytesMut> = Cell::default();
}

/// A byte stream whose large buffers are lent by the thread. What is written must be flushed.
#[derive(Debug)]
pub struct PooledStream<S> {
    /// `None` once it was moved to another reader.
    stream: Option<S>,
    /// Read and not yet asked for.
    ahead: Bytes,
    /// To be written. Empty, and without room, between flushes.
    gathered: BytesMut,
    /// The stream would take no more of it.
    blocked: bool,
    read: u64,
    written: u64,
}

impl<S> PooledStream<S> {
    /// Nothing is held until something is read or written.
    pub fn new(stream: S) -> Self {
        Self {
            stream: Some(stream),
            ahead: Bytes::new(),
            gathered: BytesMut::new(),
            blocked: false,
            read: 0,
            written: 0,
        }
    }

    /// Moves the stream, and all that is known of it, to another reader. What is left fails.
    pub(super) fn take(&mut self) -> Self {
        Self {
            stream: self.stream.take(),
            ahead: mem::take(&mut self.ahead),
            gathered: mem::take(&mut self.gathered),
            blocked: self.blocked,
            read: self.read,
            written: self.written,
        }
    }

    /// Whether nothing waits here, in either direction.
    pub(super) fn is_empty(&self) -> bool {
        self.ahead.is_empty() && self.gathered.is_empty()
    }

    /// Bytes that the stream has given.
    pub fn read(&self) -> u64 {
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

    /// What lies below.
    pub(super) fn stream(&mut self) -> Option<&mut S> {
        self.stream.as_mut()
    }

    /// Serves from what was read ahead.
    fn serve(&mut self, buffer: &mut ReadBuf<'_>) {
        let part = self.ahead.split_to(self.ahead.len().min(buffer.remaining()));
        buffer.put_slice(&part);
        if self.ahead.is_empty() {
            self.ahead = Bytes::new();
        }
    }
}

fn stream<S: Unpin>(stream: &mut Option<S>) -> io::Result<Pin<&mut S>> {
    stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
}

impl<S: AsyncRead + Unpin> AsyncRead for PooledStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.ahead.is_empty() {
            this.serve(buffer);
            return Poll::Ready(Ok(()));
        }
        SCRATCH_OF_THREAD.with_borrow_mut(|scratch| {
            let mut arrived = ReadBuf::new(scratch);
            ready!(stream(&mut this.stream)?.poll_read(cx, &mut arrived))?;
            let arrived = arrived.filled();
            let (part, ahead) = arrived.split_at(arrived.len().min(buffer.remaining()));
            buffer.put_slice(part);
            this.read += arrived.len() as u64;
            this.ahead = Bytes::copy_from_slice(ahead);
            Poll::Ready(Ok(()))
        })
    }
}

impl<S: AsyncWrite + Unpin> PooledStream<S> {
    fn poll_give(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let given = stream(&mut self.stream)?.poll_write(cx, bytes);
        self.blocked = given.is_pending();
        let taken = ready!(given)?;
        self.written += taken as u64;
        Poll::Ready(Ok(taken))
    }

    /// Gives all that waits to the stream.
    fn poll_give_gathered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PooledStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.gathered.len() + bytes.len() > GATHERED_MAX {
            ready!(self.poll_give_gathered(cx))?;
        }
        if bytes.len() > GATHERED_MAX {
            return self.poll_give(cx, bytes);
        }
        if self.gathered.is_empty() {
            self.gathered = SPARE.take();
        }
        self.gathered.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_give_gathered(cx))?;
        stream(&mut self.stream)?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_give_gathered(cx))?;
        stream(&mut self.stream)?.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_was_read_ahead_comes_in_order_before_the_stream_is_asked_again() {
        let (mut peer, stream) = duplex(SCRATCH);
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
}
