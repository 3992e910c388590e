//! The stream under a link's WebSocket: what passes is counted, and whole messages are taken from it before the WebSocket sees them.
//!
//! What a reader would get wrong: the WebSocket is given one frame at a time, however much is there. So between two messages it
//! holds nothing, and whole messages can be looked for again.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    Wire,
    faulty::Faulty,
    frames::Frames,
    leaving::{Leaving, Left},
    pooled::{Found, PooledStream},
    tail::Tail,
};

/// A stream that counts what passes.
#[derive(Debug)]
pub(super) struct Metered<S> {
    pooled: PooledStream<Leaving<S>>,
    tail: Tail,
    /// Of what was handed out.
    frames: Frames,
}

impl<S> Metered<S> {
    /// `early` are bytes that somebody read already.
    pub(super) fn new(stream: S, early: &[u8]) -> Self {
        let pooled = PooledStream::with_early(Leaving::new(Faulty::new(stream)), early);
        Self { pooled, tail: Tail::default(), frames: Frames::default() }
    }

    /// Moves the stream, and all that is known of it, to another reader. What is left fails.
    pub(super) fn take(&mut self) -> Self {
        Self {
            pooled: self.pooled.take(),
            tail: std::mem::take(&mut self.tail),
            frames: std::mem::take(&mut self.frames),
        }
    }

    /// Whether all that was handed out are whole messages.
    pub(super) fn is_between_messages(&self) -> bool {
        self.frames.is_between_messages()
    }

    /// What has been read and belongs to nothing yet that was taken or handed out.
    pub(super) fn ahead(&self) -> &[u8] {
        self.pooled.ahead()
    }

    /// Whether nothing is left of what was there at the last read. Whoever reads is woken when there is more.
    pub(super) fn is_drained(&self) -> bool {
        self.pooled.is_drained()
    }

    /// Bytes that have arrived.
    pub(super) fn read(&self) -> u64 {
        self.pooled.read()
    }

    /// Bytes that the stream has taken.
    pub(super) fn written(&self) -> u64 {
        self.pooled.written()
    }

    /// Whether the stream would take no more when it was last asked to: there is no room until a flush.
    pub(super) fn is_blocked(&self) -> bool {
        self.pooled.is_blocked()
    }

    /// The stream, for something to be made to go wrong with it.
    pub(super) fn faulty(&mut self) -> Option<&mut Faulty<S>> {
        self.pooled.stream().map(Leaving::faulty)
    }

    /// What of our frames has left since this was last asked.
    pub(super) fn left(&mut self) -> Left {
        self.pooled.stream().map(Leaving::left).unwrap_or_default()
    }

    /// Application bytes that have left of the next message that will have left whole.
    pub(super) fn part(&mut self) -> usize
    where
        S: Wire,
    {
        self.pooled.stream().map_or(0, |stream| stream.part())
    }

    /// Messages that have begun to leave, and have not left whole.
    pub(super) fn begun(&mut self) -> usize {
        self.pooled.stream().map_or(0, |stream| stream.begun())
    }

    /// The last Close that was handed out.
    pub(super) fn tail(&self) -> &Tail {
        &self.tail
    }
}

impl<S: Wire> Metered<S> {
    /// Whole messages that are there by now, at most `max` bytes long each; between two messages.
    pub(super) fn poll_messages(&mut self, cx: &mut Context<'_>, max: usize) -> Poll<io::Result<Found>> {
        self.pooled.poll_messages(cx, max)
    }

    /// Reads what nobody looks at: how much.
    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.pooled.poll_discard(cx)
    }
}

impl<S: Wire> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { pooled, tail, frames } = &mut *self;
        ready!(pooled.poll_fill(cx))?;
        let before = buffer.filled().len();
        pooled.serve(frames.next_part(), buffer);
        frames.follow(&buffer.filled()[before..], tail);
        Poll::Ready(Ok(()))
    }
}

impl<S: Wire> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pooled).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pooled).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pooled).poll_shutdown(cx)
    }
}
