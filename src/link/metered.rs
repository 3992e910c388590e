//! The stream under a link's WebSocket: what passes is counted, and what was handed out is looked at.

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
    pooled::PooledStream,
    tail::Tail,
};

/// A stream that counts what passes.
#[derive(Debug)]
pub(super) struct Metered<S> {
    pooled: PooledStream<Leaving<S>>,
    /// Bytes that somebody else had read already.
    early: u64,
    tail: Tail,
    /// Of what was handed out.
    frames: Frames,
}

impl<S> Metered<S> {
    /// `early` are bytes that somebody read already, and hands on himself.
    pub(super) fn new(stream: S, early: &[u8]) -> Self {
        let pooled = PooledStream::new(Leaving::new(Faulty::new(stream)));
        let mut metered = Self { pooled, early: early.len() as u64, tail: Tail::default(), frames: Frames::default() };
        metered.hand_out(early);
        metered
    }

    /// Moves the stream, and all that is known of it, to another reader. What is left fails.
    pub(super) fn take(&mut self) -> Self {
        Self {
            pooled: self.pooled.take(),
            early: self.early,
            tail: std::mem::take(&mut self.tail),
            frames: std::mem::take(&mut self.frames),
        }
    }

    /// Whether all that was handed out are whole messages, and nothing waits here in either direction.
    pub(super) fn is_between_messages(&self) -> bool {
        self.pooled.is_empty() && self.frames.is_between_messages()
    }

    /// Bytes that have arrived.
    pub(super) fn read(&self) -> u64 {
        self.early + self.pooled.read()
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

    /// The end of what was handed out.
    pub(super) fn tail(&self) -> &Tail {
        &self.tail
    }

    fn hand_out(&mut self, part: &[u8]) {
        self.tail.push(part);
        self.frames.follow(part, &mut ());
    }
}

impl<S: Wire> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.pooled).poll_read(cx, buffer))?;
        self.hand_out(&buffer.filled()[before..]);
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
