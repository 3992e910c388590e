//! One stream of a carrier as the byte stream under a WebSocket (RFC 8441 §5).
//!
//! What a reader would get wrong: an end in order is `END_STREAM`, and an abort is a reset with CANCEL. Neither touches the carrier.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    HELD_BACK, Seat, broken,
    departures::{Departed, Departures},
};

/// A stream of a carrier.
pub(crate) struct CarriedStream {
    send: SendStream<Bytes>,
    receive: RecvStream,
    /// What has arrived and was not asked for yet.
    ahead: Bytes,
    /// Bytes that the carrier has taken.
    taken: u64,
    departed: Arc<Departed>,
    departures: Arc<Departures>,
    has_ended: bool,
    is_aborted: AtomicBool,
    seat: Seat,
}

impl std::fmt::Debug for CarriedStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CarriedStream({:?}, {})", self.seat, self.send.stream_id().as_u32())
    }
}

impl CarriedStream {
    pub(super) fn new(send: SendStream<Bytes>, receive: RecvStream, departures: Arc<Departures>, seat: Seat) -> Self {
        let departed = departures.enter(send.stream_id().as_u32());
        Self {
            send,
            receive,
            ahead: Bytes::new(),
            taken: 0,
            departed,
            departures,
            has_ended: false,
            is_aborted: AtomicBool::new(false),
            seat,
        }
    }

    /// The next drop resets it.
    pub(crate) fn abort(&self) {
        self.is_aborted.store(true, Ordering::Relaxed);
    }

    /// What the carrier has taken, and may not have handed on.
    pub(crate) fn unsent(&self) -> usize {
        usize::try_from(self.taken.saturating_sub(self.departed.bytes())).unwrap_or(usize::MAX)
    }

    /// Why it broke.
    fn broken(&self, error: &h2::Error) -> io::Error {
        match self.departures.why_given_up() {
            Some(why) if !error.is_reset() => io::Error::other(String::from(why)),
            Some(_) | None => broken(error),
        }
    }

    fn end(&mut self) {
        if !self.has_ended {
            self.has_ended = true;
            // Where it is not open any more there is nothing to end.
            let _ = self.send.send_data(Bytes::new(), true);
        }
    }
}

impl Drop for CarriedStream {
    fn drop(&mut self) {
        if self.is_aborted.load(Ordering::Relaxed) {
            self.send.send_reset(Reason::CANCEL);
        } else {
            self.end();
        }
        self.departures.forget(self.send.stream_id().as_u32());
    }
}

impl AsyncRead for CarriedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.ahead.is_empty() {
            match ready!(self.receive.poll_data(cx)) {
                Some(Ok(bytes)) => self.ahead = bytes,
                Some(Err(error)) => return Poll::Ready(Err(self.broken(&error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let part = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead[..part]);
        self.ahead.advance(part);
        if self.ahead.is_empty() {
            // Empty, it would still keep what it was a part of.
            self.ahead = Bytes::new();
        }
        // Where the stream has ended, there is no window to make wider.
        let _ = self.receive.flow_control().release_capacity(part);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for CarriedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wanted = bytes.len().min(HELD_BACK);
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        self.send.reserve_capacity(wanted);
        while self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(self.broken(&error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let part = self.send.capacity().min(wanted);
        let sent = self.send.send_data(Bytes::copy_from_slice(&bytes[..part]), false);
        sent.map_err(|error| self.broken(&error))?;
        self.taken += part as u64;
        Poll::Ready(Ok(part))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.departed.poll(cx, self.taken).map(Ok)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end();
        Poll::Ready(Ok(()))
    }
}
