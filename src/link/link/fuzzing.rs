//! What the fuzz targets of `tests/fuzz` do with the bytes that they are given. Each asserts what must hold, whatever they are.
//!
//! What a reader would get wrong: no program has this in it. It is built for tests and with the feature `fuzzing` only.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, reason = "a target fails by a panic")]

mod deflate;
pub(super) mod frames;
mod hands;
mod said;
mod upgrade;

pub use deflate::deflate;
#[cfg(test)]
pub(super) use deflate::{handed_out, together};
pub use frames::frames;
pub use upgrade::upgrade;

use std::{
    collections::VecDeque,
    io, mem,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Wire;

/// What is left of an input.
#[derive(Debug)]
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// The next byte; 0 behind the last.
    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    /// The next bytes, as far as there are so many.
    fn take(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Bytes in the pieces in which a seed has them arrive. 0 leaves them whole.
fn cut(mut bytes: &[u8], seed: u8) -> VecDeque<Vec<u8>> {
    let (mut pieces, mut state) = (VecDeque::new(), u32::from(seed));
    while seed > 0 && !bytes.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Many are short, and there are never thousands of them.
        let most = 1_usize << (state >> 28);
        let length = (state >> 8) as usize % most + 1 + bytes.len() / 500;
        let (piece, rest) = bytes.split_at(length.min(bytes.len()));
        pieces.push_back(piece.to_vec());
        bytes = rest;
    }
    if !bytes.is_empty() {
        pieces.push_back(bytes.to_vec());
    }
    pieces
}

/// The other end: gives its pieces one a read, with pauses or without, and then its end, of which an error is told once. It keeps what is written.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    pub(super) pieces: VecDeque<Vec<u8>>,
    pub(super) end: Option<io::ErrorKind>,
    pub(super) pauses: bool,
    pub(super) written: Vec<u8>,
    pub(super) is_awake: bool,
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { pieces, end, pauses, is_awake, .. } = &mut *self;
        *is_awake = !*is_awake;
        if *pauses && *is_awake {
            return Poll::Pending;
        }
        let Some(piece) = pieces.front_mut() else {
            return Poll::Ready(end.take().map_or(Ok(()), |kind| Err(kind.into())));
        };
        let rest = piece.split_off(piece.len().min(buffer.remaining()));
        buffer.put_slice(&mem::replace(piece, rest));
        if piece.is_empty() {
            pieces.pop_front();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.extend(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Wire for Script {
    fn abort(&self) {}
}

#[cfg(test)]
mod tests;
