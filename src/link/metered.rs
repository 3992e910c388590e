//! A stream that counts what passes, and reads through a scratch of its thread.
//!
//! A WebSocket of its own keeps its read buffer for life, idle or not; so that buffer is small, and the large one, which
//! saves system calls on busy links, belongs to the thread. What a read brought beyond the small buffer waits here, and is
//! served before the stream is asked again.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{faulty::Faulty, tail::Tail};

/// Bytes taken from the kernel at once.
const SCRATCH: usize = 32 << 10;

thread_local! {
    static SCRATCH_OF_THREAD: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into());
}

/// A stream that counts what passes.
#[derive(Debug)]
pub(super) struct Metered<S> {
    stream: Faulty<S>,
    /// Read and not yet asked for.
    ahead: Bytes,
    read: u64,
    written: u64,
    tail: Tail,
}

impl<S> Metered<S> {
    /// `early` are bytes that somebody read already, and hands on himself.
    pub(super) fn new(stream: S, early: &[u8]) -> Self {
        let mut tail = Tail::default();
        tail.push(early);
        Self { stream: Faulty::new(stream), ahead: Bytes::new(), read: early.len() as u64, written: 0, tail }
    }

    /// Bytes that have arrived.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// Bytes that the stream has taken.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// The stream, for something to be made to go wrong with it.
    pub(super) fn faulty(&mut self) -> &mut Faulty<S> {
        &mut self.stream
    }

    /// The end of what was handed out.
    pub(super) fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Serves from what was read ahead.
    fn serve(&mut self, buffer: &mut ReadBuf<'_>) {
        let part = self.ahead.split_to(self.ahead.len().min(buffer.remaining()));
        buffer.put_slice(&part);
        self.tail.push(&part);
        if self.ahead.is_empty() {
            self.ahead = Bytes::new();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.ahead.is_empty() {
            this.serve(buffer);
            return Poll::Ready(Ok(()));
        }
        SCRATCH_OF_THREAD.with_borrow_mut(|scratch| {
            let mut arrived = ReadBuf::new(scratch);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut arrived))?;
            let arrived = arrived.filled();
            let (part, ahead) = arrived.split_at(arrived.len().min(buffer.remaining()));
            buffer.put_slice(part);
            this.read += arrived.len() as u64;
            this.tail.push(part);
            this.ahead = Bytes::copy_from_slice(ahead);
            Poll::Ready(Ok(()))
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.written += taken as u64;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_was_read_ahead_comes_in_order_before_the_stream_is_asked_again() {
        let (mut peer, stream) = duplex(SCRATCH);
        let mut metered = Metered::new(stream, b"");
        let sent: Vec<u8> = (0..5_000_u32).map(|number| number.to_be_bytes()[3]).collect();
        peer.write_all(&sent).await.expect("there is room");
        let mut got = vec![0; 100];
        metered.read_exact(&mut got).await.expect("it arrives");
        assert_eq!(metered.read(), 5_000, "all that was there was taken at once");
        drop(peer);
        metered.read_to_end(&mut got).await.expect("the stream ends in order");
        assert_eq!(got, sent);
        assert_eq!(metered.read(), 5_000);
    }
}
