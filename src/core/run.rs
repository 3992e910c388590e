//! Data messages that arrived together, in the bytes in which they came: one buffer, and a mark for each message.
//!
//! The bytes are whole, unmasked frames (RFC 6455 §5.2), one for each message and nothing between them: what a server sends. So
//! any part of a run can be handed to a local client as it is. A message that came in fragments, or alone, is a run of one.
//!
//! What a reader would get wrong: a run that was cut holds the memory of all that it was cut from, until it is detached.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};

use super::{
    body::Body,
    frame::{FIN, Head, opcode},
    message::{Kind, Payload},
};

/// Where a message's payload stands in the bytes, and its kind.
#[derive(Debug, Clone, Copy)]
struct Mark {
    start: u32,
    /// With [`TEXT`] where it is text.
    len: u32,
}

/// No message is so long: `inbox.max_message` is at most 1 GiB.
const TEXT: u32 = 1 << 31;

impl Mark {
    const fn kind(self) -> Kind {
        if self.len & TEXT == 0 { Kind::Binary } else { Kind::Text }
    }

    const fn len(self) -> usize {
        (self.len & !TEXT) as usize
    }

    const fn end(self) -> usize {
        self.start as usize + self.len()
    }
}

/// How many messages, and their application bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// Messages.
    pub messages: u32,
    /// Bytes of them, without framing.
    pub bytes: u32,
}

impl Sum {
    const fn add(&mut self, bytes: u32) {
        self.messages += 1;
        self.bytes += bytes;
    }

    const fn without(self, those: Self) -> Self {
        Self { messages: self.messages - those.messages, bytes: self.bytes - those.bytes }
    }
}

/// The sums of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    text: Sum,
    binary: Sum,
}

impl Sums {
    const fn add(&mut self, mark: Mark) {
        let bytes = mark.len & !TEXT;
        match mark.kind() {
            Kind::Text => self.text.add(bytes),
            Kind::Binary => self.binary.add(bytes),
        }
    }

    const fn without(self, those: Self) -> Self {
        Self { text: self.text.without(those.text), binary: self.binary.without(those.binary) }
    }
}

/// Messages that arrived together, at least one.
#[derive(Debug, Clone)]
pub struct Run {
    bytes: Bytes,
    marks: Arc<[Mark]>,
    /// Its messages are those marks, from this one on,
    skipped: u32,
    /// up to that one.
    until: u32,
    /// Bytes of memory that `bytes` keeps.
    room: u32,
    sums: Sums,
}

impl PartialEq for Run {
    /// The same messages, however they came.
    fn eq(&self, other: &Self) -> bool {
        self.messages().eq(other.messages())
    }
}

impl Eq for Run {}

impl From<&Payload> for Run {
    /// A message that did not come as one frame, or alone.
    fn from(payload: &Payload) -> Self {
        let mut bytes = BytesMut::with_capacity(payload.len() + 10);
        bytes.extend_from_slice(Head::new(FIN | opcode(payload.kind()), payload.len(), None).bytes());
        let mut marks = Marks::default();
        marks.push(bytes.len(), payload.len(), payload.kind());
        bytes.extend_from_slice(payload.bytes());
        let room = bytes.capacity();
        marks.take(bytes.freeze(), room)
    }
}

#[cfg(test)]
impl Run {
    /// Of these, one at least.
    pub(crate) fn of(payloads: &[Payload]) -> Self {
        let (mut bytes, mut marks) = (BytesMut::new(), Marks::default());
        for payload in payloads {
            bytes.extend_from_slice(&Self::from(payload).frames());
            marks.push(bytes.len() - payload.len(), payload.len(), payload.kind());
        }
        let room = bytes.capacity();
        marks.take(bytes.freeze(), room)
    }
}

impl From<&str> for Run {
    fn from(text: &str) -> Self {
        (&Payload::from(text)).into()
    }
}

impl Run {
    fn marks(&self) -> &[Mark] {
        &self.marks[self.skipped as usize..self.until as usize]
    }

    /// Where its first frame begins.
    fn start(&self) -> usize {
        self.marks[..self.skipped as usize].last().map_or(0, |mark| mark.end())
    }

    /// Where its last frame ends.
    fn end(&self) -> usize {
        self.marks().last().map_or(0, |mark| mark.end())
    }

    /// How many messages.
    pub fn count(&self) -> usize {
        self.len() as usize
    }

    /// The same, as small as it is.
    pub(crate) const fn len(&self) -> u32 {
        self.until - self.skipped
    }

    /// Their application bytes.
    pub fn message_bytes(&self) -> u64 {
        u64::from(self.sums.text.bytes) + u64::from(self.sums.binary.bytes)
    }

    /// How many of this kind, with how many bytes.
    pub fn sum(&self, kind: Kind) -> Sum {
        match kind {
            Kind::Text => self.sums.text,
            Kind::Binary => self.sums.binary,
        }
    }

    /// The messages.
    pub fn messages(&self) -> impl Iterator<Item = (Kind, &[u8])> {
        self.marks().iter().map(|mark| (mark.kind(), &self.bytes[mark.start as usize..mark.end()]))
    }

    /// The messages, each for itself; none of them is copied.
    pub fn payloads(&self) -> impl Iterator<Item = Payload> {
        (0..self.count()).map(|place| self.payload(place))
    }

    /// The message at this place.
    ///
    /// # Panics
    /// Where there is none.
    pub fn payload(&self, place: usize) -> Payload {
        let mark = self.marks()[place];
        let bytes = self.bytes.slice(mark.start as usize..mark.end());
        match mark.kind() {
            Kind::Text => Payload::checked_text(bytes),
            Kind::Binary => Payload::binary(bytes),
        }
    }

    /// Application bytes of the message at this place.
    ///
    /// # Panics
    /// Where there is none.
    pub fn len_of(&self, place: usize) -> u64 {
        debug_assert!(place < self.count(), "a message that is cut off");
        self.marks[self.skipped as usize + place].len() as u64
    }

    /// All of it as frames of a server.
    pub fn frames(&self) -> Bytes {
        self.bytes.slice(self.start()..self.end())
    }

    /// Bytes of memory that it holds, alone or with others that it was cut from.
    pub fn held(&self) -> usize {
        self.room as usize + size_of_val(&*self.marks)
    }

    /// The same without the first `count` messages; at least one stays.
    #[must_use]
    pub fn skip(&self, count: usize) -> Self {
        let mut rest = self.clone();
        let _ = rest.split_to(count);
        rest
    }

    /// Takes its first `count` messages off; at least one stays. Both hold the memory of the whole.
    #[must_use]
    pub fn split_to(&mut self, count: usize) -> Self {
        // No more than there are marks, whose places fit.
        let until = self.skipped + u32::try_from(count.min(self.count() - 1)).unwrap_or(u32::MAX);
        let mut first = Self { until, sums: Sums::default(), ..self.clone() };
        let mut sums = Sums::default();
        first.marks().iter().for_each(|mark| sums.add(*mark));
        first.sums = sums;
        self.skipped = until;
        self.sums = self.sums.without(sums);
        first
    }

    /// How long its messages are, also when it is gone.
    pub fn lengths(&self) -> Lengths {
        Lengths { marks: Arc::clone(&self.marks), skipped: self.skipped }
    }

    /// The same in memory of its own, as much as it needs.
    #[must_use]
    pub fn detached(&self) -> Self {
        let start = self.start();
        let bytes = Bytes::copy_from_slice(&self.bytes[start..self.end()]);
        let mut marks = Marks::default();
        for mark in self.marks() {
            marks.push(mark.start as usize - start, mark.len(), mark.kind());
        }
        let room = bytes.len();
        marks.take(bytes, room)
    }

    /// The same without the messages of which this says so, by their places; `None` where none stays. What stays is copied.
    pub fn without(&self, leaves: &[bool]) -> Option<Self> {
        let (mut bytes, mut marks) = (BytesMut::new(), Marks::default());
        let mut start = self.start();
        for (place, mark) in self.marks().iter().enumerate() {
            if !leaves.get(place).is_some_and(|leaves| *leaves) {
                marks.push(bytes.len() + mark.start as usize - start, mark.len(), mark.kind());
                bytes.extend_from_slice(&self.bytes[start..mark.end()]);
            }
            start = mark.end();
        }
        let room = bytes.capacity();
        (!marks.is_empty()).then(|| marks.take(bytes.freeze(), room))
    }

    /// The messages at these places, which rise, in memory of their own; `None` where there are none.
    pub fn picked(&self, places: impl IntoIterator<Item = usize>) -> Option<Self> {
        let (mut bytes, mut marks) = (BytesMut::new(), Marks::default());
        for place in places {
            let Some(mark) = self.marks().get(place) else { continue };
            let start = place.checked_sub(1).map_or_else(|| self.start(), |before| self.marks()[before].end());
            marks.push(bytes.len() + mark.start as usize - start, mark.len(), mark.kind());
            bytes.extend_from_slice(&self.bytes[start..mark.end()]);
        }
        let room = bytes.capacity();
        (!marks.is_empty()).then(|| marks.take(bytes.freeze(), room))
    }

    /// Whether it holds at least twice what it would need without the first `count` messages.
    pub fn is_wasteful_without(&self, count: usize) -> bool {
        let left = &self.marks()[count.min(self.count() - 1)..];
        let bytes = left.first().map_or(0, |first| self.end() - first.start as usize);
        2 * (bytes + size_of_val(left)) <= self.held()
    }
}

/// How long the messages of a run were.
#[derive(Debug, Clone)]
pub struct Lengths {
    marks: Arc<[Mark]>,
    skipped: u32,
}

impl Lengths {
    /// That of the message at this place; 0 where there was none.
    pub fn of(&self, place: u32) -> u64 {
        self.marks.get((self.skipped + place) as usize).map_or(0, |mark| mark.len() as u64)
    }

    /// Without the first `count`.
    #[must_use]
    pub fn skip(&self, count: u32) -> Self {
        Self { marks: Arc::clone(&self.marks), skipped: self.skipped + count }
    }
}

/// The marks of a run whose bytes are being looked through.
#[derive(Debug, Default)]
pub struct Marks {
    marks: Vec<Mark>,
    sums: Sums,
}

impl Marks {
    /// The payload of the next message stands there. Frames follow each other from the first byte on.
    pub fn push(&mut self, start: usize, len: usize, kind: Kind) {
        let small = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        let text = match kind {
            Kind::Text => TEXT,
            Kind::Binary => 0,
        };
        let mark = Mark { start: small(start), len: small(len) & !TEXT | text };
        self.sums.add(mark);
        self.marks.push(mark);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// The same for what goes out: a message that came alone stands for itself.
    pub fn take_body(&mut self, mut bytes: Bytes, room: usize) -> Body {
        let [mark] = self.marks[..] else { return self.take(bytes, room).into() };
        self.clear();
        bytes.advance(mark.start as usize);
        Body::One(match mark.kind() {
            Kind::Text => Payload::checked_text(bytes),
            Kind::Binary => Payload::binary(bytes),
        })
    }

    fn clear(&mut self) {
        self.marks.clear();
        self.sums = Sums::default();
    }

    /// The run, with its bytes from the first frame to the last, which keep so much memory. Its marks are copied, and ready for the
    /// next one.
    pub fn take(&mut self, bytes: Bytes, room: usize) -> Run {
        let run = Run {
            bytes,
            marks: self.marks.as_slice().into(),
            skipped: 0,
            until: u32::try_from(self.marks.len()).unwrap_or(u32::MAX),
            room: u32::try_from(room).unwrap_or(u32::MAX),
            sums: self.sums,
        };
        self.clear();
        run
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text and binary in turn, of these lengths.
    fn run(lens: &[usize]) -> Run {
        let payload = |(place, len): (usize, &usize)| {
            let payload = vec![b'a' + u8::try_from(place % 26).unwrap(); *len];
            if place % 2 == 0 { Payload::checked_text(payload) } else { Payload::binary(payload) }
        };
        Run::of(&lens.iter().enumerate().map(payload).collect::<Vec<_>>())
    }

    #[test]
    fn the_frame_of_one_message_has_the_shortest_length_that_there_is() {
        for (len, head) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let run = run(&[len]);
            assert_eq!((run.frames().len(), run.len_of(0)), (head + len, len as u64));
        }
    }

    #[test]
    fn what_is_taken_out_of_a_run_leaves_the_others_whole() {
        let whole = run(&[3, 0, 200, 9]);
        let all: Vec<_> = whole.payloads().collect();
        let left = whole.skip(1).without(&[false, true, false]).unwrap();
        assert_eq!(left.payloads().collect::<Vec<_>>(), [all[1].clone(), all[3].clone()]);
        assert_eq!((left.message_bytes(), left.frames().len()), (9, 13));
        assert_eq!(whole.skip(1).picked([1, 2]).unwrap().payloads().collect::<Vec<_>>(), all[2..]);
        assert_eq!(whole.picked([0, 3]).unwrap().frames(), run_of(&[all[0].clone(), all[3].clone()]));
        assert!(whole.picked([]).is_none() && whole.picked(0..4) == Some(whole.clone()));
        assert!(whole.without(&[true; 4]).is_none() && whole.without(&[]) == Some(whole));
    }

    #[test]
    fn what_is_left_of_a_cut_run_are_its_last_messages_and_their_frames_also_in_memory_of_their_own() {
        let lens = [3, 0, 200, 70_000, 9];
        let whole = run(&lens);
        let all: Vec<_> = whole.payloads().collect();
        for skipped in 0..lens.len() {
            for part in [
                whole.skip(skipped),
                whole.skip(skipped).detached(),
                whole.skip(skipped / 2).skip(skipped - skipped / 2),
            ] {
                assert_eq!(part.payloads().collect::<Vec<_>>(), all[skipped..]);
                assert_eq!(part.frames(), run_of(&all[skipped..]));
                assert_eq!(part.message_bytes(), lens[skipped..].iter().sum::<usize>() as u64);
                let counted = part.sum(Kind::Text).messages + part.sum(Kind::Binary).messages;
                assert_eq!((counted as usize, part.count()), (lens.len() - skipped, lens.len() - skipped));
            }
        }
        for count in 1..lens.len() {
            let mut rest = whole.clone();
            let first = rest.split_to(count);
            assert_eq!(first.payloads().chain(rest.payloads()).collect::<Vec<_>>(), all);
            assert_eq!((first.frames(), rest.frames()), (run_of(&all[..count]).into(), run_of(&all[count..]).into()));
            assert_eq!(first.detached(), first);
            assert_eq!(first.message_bytes() + rest.message_bytes(), whole.message_bytes());
            let lengths = (0..).zip(&lens).map(|(place, _)| whole.lengths().skip(1).of(place));
            assert!(lengths.take(4).eq(lens[1..].iter().map(|len| *len as u64)));
        }
        assert_eq!(whole.skip(99).count(), 1, "at least one stays");
        assert!(whole.is_wasteful_without(4) && whole.skip(3).is_wasteful_without(1));
        assert!(!whole.is_wasteful_without(2) && !whole.skip(4).detached().is_wasteful_without(0));
    }

    fn run_of(payloads: &[Payload]) -> Vec<u8> {
        payloads.iter().flat_map(|payload| Run::from(payload).frames()).collect()
    }
}
