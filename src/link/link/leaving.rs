//! What of our frames the kernel has, told by the layer that sees each write: messages that have begun to leave, those that
//! have left whole, pings, and the Close.
//!
//! What a reader would get wrong: TLS takes more than it hands on. What it may still hold counts as begun, for a part of it may have
//! left, and not as whole, for a part of it may not.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    Wire,
    deflate::COMPRESSED,
    faulty::Faulty,
    frames::{Frames, Watcher},
};
use wskeeper_core::frame::{BINARY, CLOSE, CONTROL, FIN, OPCODE, PING, PONG, TEXT};

const MASK: usize = 4;
/// Of a Close, the mask and the code.
const CLOSE_START: usize = MASK + 2;

/// A stream, and what has left by it.
#[derive(Debug)]
pub(super) struct Leaving<S> {
    stream: Faulty<S>,
    frames: Frames,
    outgoing: Outgoing,
}

/// What has left since it was last asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// Whole messages.
    pub(super) messages: u32,
    /// Pings.
    pub(super) pings: u32,
    /// A Close frame, with its code if it had one.
    #[allow(clippy::option_option, reason = "no frame, a frame without a body, one with a body: three things")]
    pub(super) close: Option<Option<u16>>,
}

#[derive(Debug, Default)]
struct Outgoing {
    /// Bytes that the stream took.
    taken: u64,
    /// Messages of which it took something, and that have not left whole.
    begun: u32,
    /// Bytes that it took of the last of them, the mask of the frame under way included; none of one that is compressed.
    part: usize,
    is_compressed: bool,
    left: Left,
    /// The stream may hold something back: what ends in what follows has not left yet.
    holds: bool,
    /// Frames that end in what the stream may hold back, and where.
    #[allow(clippy::box_collection, reason = "it seldom holds any back, and every link has this")]
    held: Option<Box<VecDeque<(u64, Part)>>>,
    /// The start of a Close's body, and how much of it is there.
    close: ([u8; CLOSE_START], u8),
}

/// A frame that ends something.
#[derive(Debug, Clone, Copy)]
enum Part {
    Message,
    Ping,
    Close(Option<u16>),
}

impl<S> Leaving<S> {
    pub(super) fn new(stream: Faulty<S>) -> Self {
        Self { stream, frames: Frames::default(), outgoing: Outgoing::default() }
    }

    /// The stream, for something to be made to go wrong with it.
    pub(super) fn faulty(&mut self) -> &mut Faulty<S> {
        &mut self.stream
    }

    /// Looks once more what has left, for nothing will be written after this.
    pub(super) fn settle(&mut self)
    where
        S: Wire,
    {
        let left = self.outgoing.taken.saturating_sub(self.stream.unsent() as u64);
        self.outgoing.settle(left);
    }

    /// What has left since this was last asked.
    pub(super) fn left(&mut self) -> Left {
        std::mem::take(&mut self.outgoing.left)
    }

    /// Application bytes that have left of the next message that will have left whole.
    pub(super) fn part(&self) -> usize
    where
        S: Wire,
    {
        // Of several that have begun the first has been taken whole, and is held back.
        let taken = if self.outgoing.held.is_none() { self.outgoing.part } else { 0 };
        let mask = if self.frames.is_in_data() { MASK } else { 0 };
        taken.saturating_sub(mask + self.stream.unsent())
    }

    /// Messages that have begun to leave, and have not left whole.
    pub(super) fn begun(&self) -> usize {
        usize::try_from(self.outgoing.begun).unwrap_or(usize::MAX)
    }
}

impl Outgoing {
    /// All up to here has left.
    fn settle(&mut self, until: u64) {
        let Some(mut held) = self.held.take() else { return };
        while let Some((_, part)) = held.pop_front_if(|(end, _)| *end <= until) {
            self.part_left(part);
        }
        self.held = (!held.is_empty()).then_some(held);
    }

    fn part_left(&mut self, part: Part) {
        match part {
            Part::Message => {
                self.begun -= 1;
                self.left.messages += 1;
            }
            Part::Ping => self.left.pings += 1,
            Part::Close(code) => self.left.close = Some(code),
        }
    }
}

impl Watcher for Outgoing {
    fn begins(&mut self, first: u8) {
        if matches!(first & OPCODE, TEXT | BINARY) {
            self.begun += 1;
            self.is_compressed = first & COMPRESSED != 0;
        }
    }

    fn body(&mut self, first: u8, part: &[u8]) {
        if first & CONTROL == 0 {
            self.part += if self.is_compressed { 0 } else { part.len() };
        } else if first & OPCODE == CLOSE {
            let (start, length) = &mut self.close;
            for (place, byte) in start.iter_mut().skip((*length).into()).zip(part) {
                *place = *byte;
                *length += 1;
            }
        }
    }

    fn ends(&mut self, first: u8, at: usize) {
        let part = match first & OPCODE {
            CLOSE => {
                let ([mask_0, mask_1, _, _, high, low], length) = self.close;
                let has_code = usize::from(length) == CLOSE_START;
                Part::Close(has_code.then(|| u16::from_be_bytes([high ^ mask_0, low ^ mask_1])))
            }
            PING => Part::Ping,
            PONG => return,
            _ if first & FIN != 0 => {
                self.part = 0;
                Part::Message
            }
            _ => {
                self.part = self.part.saturating_sub(MASK);
                return;
            }
        };
        if self.holds {
            self.held.get_or_insert_default().push_back((self.taken + at as u64, part));
        } else {
            self.part_left(part);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Leaving<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: Wire> AsyncWrite for Leaving<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, frames, outgoing } = &mut *self;
        let taken = ready!(Pin::new(&mut *stream).poll_write(cx, bytes))?;
        let unsent = stream.unsent();
        outgoing.holds = unsent > 0;
        if !outgoing.holds {
            outgoing.settle(u64::MAX);
        }
        frames.follow(&bytes[..taken], outgoing);
        outgoing.taken += taken as u64;
        if outgoing.holds {
            outgoing.settle(outgoing.taken.saturating_sub(unsent as u64));
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.outgoing.settle(u64::MAX);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;
    use crate::link::tests::hoarder::Hoarder;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let masked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        let short = u8::try_from(payload.len()).unwrap();
        [first, 0x80 | short].into_iter().chain(mask).chain(masked).collect()
    }

    #[allow(clippy::option_option, reason = "as `Left` has it")]
    fn left(messages: u32, pings: u32, close: Option<Option<u16>>) -> Left {
        Left { messages, pings, close }
    }

    #[tokio::test]
    async fn each_write_that_is_taken_tells_what_has_begun_and_what_has_left_whole() {
        let (mut peer, stream) = duplex(20);
        let mut leaving = Leaving::new(Faulty::new(stream));
        // 11 bytes; a message in two fragments of 9 and 9 with a ping of 6 between them; a pong, a Close.
        let close = frame(0x88, &[&4321_u16.to_be_bytes()[..], b"bye"].concat());
        let stream: Vec<u8> = [
            frame(0x81, b"hello"),
            frame(0x02, b"abc"),
            frame(0x89, b""),
            frame(0x80, b"def"),
            frame(0x8a, b""),
            close,
        ]
        .concat();
        let mut sent = 0;
        let mut told = Vec::new();
        for until in [1, 11, 12, 26, 34, 35, stream.len() - 1, stream.len()] {
            let writing = leaving.write_all(&stream[sent..until]).now_or_never();
            assert!(writing.is_some_and(|written| written.is_ok()));
            peer.read_exact(&mut vec![0; until - sent]).await.unwrap();
            sent = until;
            told.push((leaving.left(), leaving.begun()));
        }
        let nothing = left(0, 0, None);
        assert_eq!(
            told,
            [
                (nothing, 1),
                (left(1, 0, None), 0),
                (nothing, 1),
                (left(0, 1, None), 1),
                (nothing, 1),
                (left(1, 0, None), 0),
                (nothing, 0),
                (left(0, 0, Some(Some(4321))), 0),
            ]
        );
    }

    #[tokio::test]
    async fn a_write_that_is_taken_in_part_counts_by_that_part() {
        let (_peer, stream) = duplex(25);
        let mut leaving = Leaving::new(Faulty::new(stream));
        let messages = frame(0x81, b"1234").repeat(5);
        assert!(leaving.write_all(&messages).now_or_never().is_none());
        assert_eq!((leaving.left(), leaving.begun()), (left(2, 0, None), 1));
        assert_eq!(leaving.part(), 0, "5 bytes of its frame are not yet its own");
    }

    #[tokio::test]
    async fn of_a_message_under_way_the_part_that_has_left_is_known() {
        let (mut peer, stream) = duplex(1 << 10);
        let mut leaving = Leaving::new(Faulty::new(stream));
        // A whole message; then one in two fragments, with a ping between them.
        let stream = [frame(0x81, b"whole"), frame(0x02, b"abcdef"), frame(0x89, b"p"), frame(0x80, b"ghi")].concat();
        let mut sent = 0;
        let mut told = Vec::new();
        for until in [11, 17, 19, 22, 23, 30, 36, 37, 38, 39] {
            leaving.write_all(&stream[sent..until]).await.unwrap();
            peer.read_exact(&mut vec![0; until - sent]).await.unwrap();
            sent = until;
            told.push(leaving.part());
        }
        assert_eq!(told, [0, 0, 2, 5, 6, 6, 6, 7, 8, 0]);
    }

    #[tokio::test]
    async fn what_the_stream_may_hold_back_has_begun_and_not_left() {
        let (_peer, stream) = duplex(1 << 10);
        let mut leaving = Leaving::new(Faulty::new(Hoarder(stream, 15)));
        leaving.write_all(&frame(0x81, b"1234").repeat(5)).await.unwrap();
        assert_eq!((leaving.left(), leaving.begun()), (left(3, 0, None), 2));
        leaving.write_all(&frame(0x88, b"")).await.unwrap();
        assert_eq!((leaving.left(), leaving.begun()), (left(1, 0, None), 1));
        leaving.flush().await.unwrap();
        assert_eq!((leaving.left(), leaving.begun()), (left(1, 0, Some(None)), 0));
        assert!(leaving.outgoing.held.is_none());
    }
}
