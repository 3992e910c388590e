//! A stream with whose bytes something may be made to go wrong.
//!
//! It stands below everything that counts and times, so an injected fault is met by the same code as a real one. Without a
//! fault it costs one look at a pointer for each call.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::Wire;

/// A stream, and what is wrong with it.
#[derive(Debug)]
pub(super) struct Faulty<S> {
    stream: S,
    fault: Option<Box<Ailment>>,
}

#[derive(Debug)]
enum Ailment {
    Reset,
    /// Nothing moves until then. Reads and writes come from one task, so one waker is enough.
    Stalled(Pin<Box<Sleep>>),
    Vanishing,
}

impl<S> Faulty<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, fault: None }
    }

    /// The stream itself.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn inner(&self) -> &S {
        &self.stream
    }

    /// Nothing moves for this long.
    pub(super) fn stall(&mut self, lasting: Duration) {
        self.fall_ill(Ailment::Stalled(Box::pin(sleep(lasting))));
    }

    /// What is written vanishes and nothing arrives.
    pub(super) fn half_open(&mut self) {
        self.fall_ill(Ailment::Vanishing);
    }

    /// A stream whose bytes have vanished has holes: it never gets well, and can only get worse.
    fn fall_ill(&mut self, new: Ailment) {
        match (self.fault.as_deref(), &new) {
            (Some(Ailment::Reset), _) | (Some(Ailment::Vanishing), Ailment::Stalled(_)) => {}
            (None | Some(Ailment::Stalled(_) | Ailment::Vanishing), _) => self.fault = Some(Box::new(new)),
        }
    }

    /// Whether the stream may be used now; `Some`: what it answers in its place.
    fn poll_ailment(&mut self, cx: &mut Context<'_>) -> Option<Poll<io::Result<()>>> {
        match self.fault.as_deref_mut()? {
            Ailment::Reset => {
                Some(Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, "connection reset on request"))))
            }
            Ailment::Vanishing => Some(Poll::Ready(Ok(()))),
            Ailment::Stalled(until) => {
                if until.as_mut().poll(cx).is_pending() {
                    return Some(Poll::Pending);
                }
                self.fault = None;
                None
            }
        }
    }
}

impl<S: Wire> Faulty<S> {
    /// At most so many of the bytes that it took may not be with the kernel yet.
    pub(super) fn unsent(&self) -> usize {
        self.stream.unsent()
    }

    /// The connection is reset, now and for the peer too.
    pub(super) fn reset(&mut self) {
        self.stream.abort();
        self.fall_ill(Ailment::Reset);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Faulty<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(answer) = self.poll_ailment(cx) {
            ready!(answer)?;
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Faulty<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(answer) = self.poll_ailment(cx) {
            ready!(answer)?;
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_ailment(cx) {
            Some(answer) => answer,
            None => Pin::new(&mut self.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_ailment(cx) {
            Some(answer) => answer,
            None => Pin::new(&mut self.stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::{Instant, timeout},
    };

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn a_stalled_stream_loses_nothing_and_goes_on_when_its_time_is_over() {
        let (near, mut far) = duplex(64);
        let mut stream = Faulty::new(near);
        stream.stall(LONG);
        far.write_all(b"in").await.unwrap();
        let began = Instant::now();
        stream.write_all(b"out").await.unwrap();
        assert_eq!(began.elapsed(), LONG);
        let mut got = [0; 3];
        far.read_exact(&mut got).await.unwrap();
        stream.read_exact(&mut got[..2]).await.unwrap();
        assert_eq!(&got, b"int");
    }

    #[tokio::test(start_paused = true)]
    async fn a_half_open_stream_takes_everything_and_hears_nothing_and_never_gets_well() {
        let (near, mut far) = duplex(4);
        let mut stream = Faulty::new(near);
        stream.half_open();
        stream.stall(Duration::ZERO);
        stream.write_all(b"more than there is room for").await.unwrap();
        stream.flush().await.unwrap();
        far.write_all(b"in").await.unwrap();
        assert!(timeout(LONG, stream.read_u8()).await.is_err());
        assert!(timeout(LONG, far.read_u8()).await.is_err());
    }

    #[tokio::test]
    async fn a_reset_stream_fails_both_ways() {
        let (near, _far) = duplex(4);
        let mut stream = Faulty::new(near);
        stream.reset();
        stream.half_open();
        assert_eq!(stream.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(stream.write_u8(1).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
