//! A byte stream whose writes may not stand still for ever.
//!
//! A slow reader is fine, and so is one that sleeps for a while: only one that has taken *nothing* for the whole limit is cut
//! off. This holds on unix sockets too, where no kernel timeout would. While a write waits, the connection is not idle: the end
//! of an answer may leave long after its request is over.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::busy::{Busy, Visits};

/// Up to so many bytes are written in one piece: to copy them costs less than to tell the system of several.
const PIECE: usize = 1 << 10;

/// A stream with a limit to how long a write may wait.
#[derive(Debug)]
pub(super) struct Stall<S> {
    stream: S,
    limit: Duration,
    visits: Arc<Visits>,
    /// Armed while the peer takes nothing.
    until: Option<(Pin<Box<Sleep>>, Busy)>,
}

impl<S> Stall<S> {
    pub(super) fn new(stream: S, limit: Duration, visits: Arc<Visits>) -> Self {
        Self { stream, limit, visits, until: None }
    }

    /// The outcome of a write, unless the peer has had its time.
    fn judge<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.until = None;
            return written;
        }
        let Self { limit, visits, until, .. } = self;
        let (until, _) = until.get_or_insert_with(|| (Box::pin(sleep(*limit)), visits.begin()));
        ready!(until.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

/// All of them in one, where they are few bytes.
fn joined<'a>(slices: &[io::IoSlice<'_>], piece: &'a mut [u8; PIECE]) -> Option<&'a [u8]> {
    let mut end = 0;
    for slice in slices {
        let start = end;
        end += slice.len();
        piece.get_mut(start..end)?.copy_from_slice(slice);
    }
    Some(&piece[..end])
}

impl<S: AsyncRead + Unpin> AsyncRead for Stall<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stall<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut piece = [0; PIECE];
        let written = match joined(slices, &mut piece) {
            Some(bytes) => Pin::new(&mut self.stream).poll_write(cx, bytes),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, slices),
        };
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
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
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::Instant,
    };

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_cut_off_at_the_limit() {
        let (near, _far) = duplex(4);
        let visits = Visits::new();
        let mut stream = Stall::new(near, LIMIT, Arc::clone(&visits));
        let began = Instant::now();
        let error = stream.write_all(b"too much").await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed()), (io::ErrorKind::TimedOut, LIMIT));
    }

    #[tokio::test]
    async fn what_is_written_in_parts_arrives_in_order_however_long_it_is() {
        for long in [1, PIECE - 3, PIECE - 2, PIECE * 2] {
            let (near, mut far) = duplex(PIECE * 4);
            let (mut stream, rest) = (Stall::new(near, LIMIT, Visits::new()), "x".repeat(long));
            let parts = ["", "ab", &rest].map(|part| io::IoSlice::new(part.as_bytes()));
            let written = stream.write_vectored(&parts).await.unwrap();
            drop(stream);
            let mut read = String::new();
            far.read_to_string(&mut read).await.unwrap();
            assert_eq!(read, format!("ab{rest}")[..written]);
            assert!(written > 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_peer_is_waited_for_as_long_as_it_takes_anything() {
        let (near, mut far) = duplex(1);
        let mut stream = Stall::new(near, LIMIT, Visits::new());
        let reader = tokio::spawn(async move {
            for _ in 0..8 {
                sleep(LIMIT / 2).await;
                far.read_u8().await.unwrap();
            }
        });
        stream.write_all(b"too much").await.unwrap();
        reader.await.unwrap();
    }
}
