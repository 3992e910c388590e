//! The connection under a carrier, which reads the frames that leave (RFC 9113 §4.1): how much of which stream has left.
//!
//! What a reader would get wrong: TLS takes more than it hands on. What it was given counts as left once it holds nothing back.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::departures::Departures;
use crate::link::Wire;

/// What a client says before its first frame (RFC 9113 §3.4).
const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
/// The head of a frame: length, type, flags, stream.
const HEAD: usize = 9;
const DATA: u8 = 0x0;

/// A connection whose frames are followed.
#[derive(Debug)]
pub(super) struct Metered<S> {
    stream: S,
    departures: Arc<Departures>,
    frames: Following,
    /// Of which streams how much was taken since nothing was held back.
    taken: Vec<(u32, u64)>,
}

/// How far the frames have come.
#[derive(Debug)]
struct Following {
    /// What is left of the preface.
    preface: usize,
    head: [u8; HEAD],
    /// How much of it is there.
    known: usize,
    /// What is left of the frame's payload.
    rest: usize,
}

impl Following {
    /// These bytes come next; tells of payload of streams.
    fn follow(&mut self, mut bytes: &[u8], mut tell: impl FnMut(u32, u64)) {
        let preface = self.preface.min(bytes.len());
        self.preface -= preface;
        bytes = &bytes[preface..];
        while !bytes.is_empty() {
            if self.known < HEAD {
                let part = (HEAD - self.known).min(bytes.len());
                self.head[self.known..self.known + part].copy_from_slice(&bytes[..part]);
                self.known += part;
                bytes = &bytes[part..];
                if self.known == HEAD {
                    let [high, middle, low, ..] = self.head;
                    self.rest = u32::from_be_bytes([0, high, middle, low]) as usize;
                }
            }
            let [_, _, _, kind, _, first, second, third, last] = self.head;
            let part = self.rest.min(bytes.len());
            if self.known == HEAD && part > 0 {
                if kind == DATA {
                    // The highest bit is reserved.
                    tell(u32::from_be_bytes([first & 0x7f, second, third, last]), part as u64);
                }
                self.rest -= part;
                bytes = &bytes[part..];
            }
            if self.known == HEAD && self.rest == 0 {
                self.known = 0;
            }
        }
    }
}

impl<S> Metered<S> {
    pub(super) fn new(stream: S, departures: Arc<Departures>) -> Self {
        let frames = Following { preface: PREFACE, head: [0; HEAD], known: 0, rest: 0 };
        Self { stream, departures, frames, taken: Vec::new() }
    }

    fn settle(&mut self) {
        for (stream, bytes) in self.taken.drain(..) {
            self.departures.left(stream, bytes);
        }
    }
}

impl<S: Wire> Metered<S> {
    fn has_taken(&mut self, bytes: &[u8]) {
        let taken = &mut self.taken;
        self.frames.follow(bytes, |stream, bytes| match taken.last_mut() {
            Some((last, sum)) if *last == stream => *sum += bytes,
            Some(_) | None => taken.push((stream, bytes)),
        });
    }

    fn settle_where_nothing_is_held(&mut self) {
        if self.stream.unsent() == 0 {
            self.settle();
        }
    }
}

impl<S: Wire> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.departures.note_arrived(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: Wire> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.has_taken(&bytes[..taken]);
        self.settle_where_nothing_is_held();
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let taken = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        let mut left = taken;
        for slice in slices {
            let part = left.min(slice.len());
            self.has_taken(&slice[..part]);
            left -= part;
        }
        self.settle_where_nothing_is_held();
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.settle();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;
    use crate::link::tests::hoarder::Hoarder;

    fn frame(kind: u8, stream: u32, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        [&length[1..], &[kind, 0], &stream.to_be_bytes(), &vec![0xa5; payload]].concat()
    }

    #[tokio::test]
    async fn what_may_be_held_back_has_not_left_before_a_flush() {
        for held in [0, 9] {
            let (near, _far) = duplex(1 << 16);
            let departures = Arc::new(Departures::default());
            let (one, other) = (departures.enter(1), departures.enter(3));
            let mut metered = Metered::new(Hoarder(near, held), Arc::clone(&departures));
            let said = [&[b'p'; PREFACE][..], &frame(4, 0, 12), &frame(0, 1, 700), &frame(1, 3, 30), &frame(0, 3, 5)];
            metered.write_all(&said.concat()).await.unwrap();
            assert_eq!((one.bytes(), other.bytes()), if held == 0 { (700, 5) } else { (0, 0) });
            metered.flush().await.unwrap();
            assert_eq!((one.bytes(), other.bytes()), (700, 5));
        }
    }

    proptest! {
        #[test]
        fn each_streams_payload_is_counted_to_the_byte_however_it_leaves_in_pieces(
            frames in vec((0_u8..10, 0_u32..6, 0_usize..300), 0..30), pieces in vec(1_usize..200, 1..40)
        ) {
            let mut bytes = vec![b'p'; PREFACE];
            let (mut expected, mut seen) = ([0; 6], [0; 6]);
            for (kind, stream, payload) in &frames {
                bytes.extend(frame(*kind, *stream, *payload));
                if *kind == DATA {
                    expected[*stream as usize] += *payload as u64;
                }
            }
            let mut following = Following { preface: PREFACE, head: [0; HEAD], known: 0, rest: 0 };
            let (mut rest, mut turn) = (&bytes[..], pieces.iter().cycle());
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at((*turn.next().unwrap()).min(rest.len()));
                following.follow(piece, |stream, bytes| seen[stream as usize] += bytes);
                rest = behind;
            }
            prop_assert_eq!(seen, expected);
            prop_assert_eq!((following.known, following.rest), (0, 0));
        }
    }
}
