//! Where frames begin and end in a stream (RFC 6455 §5.2): in what a reader of frames is given of what arrives, so that others may
//! read between two messages; in what leaves, so that it is known what has left.
//!
//! What a reader would get wrong: this judges nothing. What breaks the protocol is its watcher's to find; after it there is no
//! place between two messages any more, or one that nobody looks for.

/// Told of what a stream is made of. `first` is a frame's first byte.
pub(super) trait Watcher {
    /// A frame begins.
    fn begins(&mut self, _first: u8) {}
    /// Its second byte is there.
    fn second(&mut self, _first: u8, _second: u8) {}
    /// So long is its body, without a mask; so many bytes of its head said so.
    fn length(&mut self, _first: u8, _length: u64, _head: u8) {}
    /// A part of its body, its mask in front.
    fn body(&mut self, _first: u8, _part: &[u8]) {}
    /// It has ended, so many bytes into what is being followed.
    fn ends(&mut self, _first: u8, _at: usize) {}
}

/// Whoever only asks how far they have come.
impl Watcher for () {}

/// How far the frames have come.
#[derive(Debug, Default)]
pub(super) struct Frames {
    at: At,
    /// The first byte of the frame.
    first: u8,
    /// The last data frame was not the last of its message.
    unfinished: bool,
}

#[derive(Debug, Default)]
enum At {
    /// Before a frame.
    #[default]
    Start,
    /// Before the byte of the length.
    Length,
    /// So many bytes of a longer length are to come; `mask` is the length of the mask behind it.
    Extended { left: u8, head: u8, mask: u8, length: u64 },
    /// So many bytes of the mask and the payload are to come.
    Body(u64),
}

impl Frames {
    /// These bytes come next.
    pub(super) fn follow(&mut self, all: &[u8], watcher: &mut impl Watcher) {
        let mut bytes = all;
        while let [byte, rest @ ..] = bytes {
            match &mut self.at {
                At::Start => {
                    let (is_last, is_control) = (byte & 0x80 != 0, byte & 0x08 != 0);
                    if !is_control {
                        self.unfinished = !is_last;
                    }
                    self.first = *byte;
                    watcher.begins(*byte);
                    self.at = At::Length;
                }
                At::Length => {
                    watcher.second(self.first, *byte);
                    let mask = if byte & 0x80 == 0 { 0 } else { 4 };
                    self.at = match byte & 0x7f {
                        126 => At::Extended { left: 2, head: 4, mask, length: 0 },
                        127 => At::Extended { left: 8, head: 10, mask, length: 0 },
                        length => {
                            watcher.length(self.first, length.into(), 2);
                            At::Body(u64::from(length) + u64::from(mask))
                        }
                    }
                }
                At::Extended { left, head, mask, length } => {
                    *length = *length << 8 | u64::from(*byte);
                    *left -= 1;
                    if *left == 0 {
                        watcher.length(self.first, *length, *head);
                        self.at = At::Body(length.saturating_add(u64::from(*mask)));
                    }
                }
                At::Body(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    let (part, rest) = bytes.split_at(taken);
                    *left -= taken as u64;
                    watcher.body(self.first, part);
                    bytes = rest;
                    self.end_frame(all.len() - bytes.len(), watcher);
                    continue;
                }
            }
            bytes = rest;
            self.end_frame(all.len() - bytes.len(), watcher);
        }
    }

    fn end_frame(&mut self, at: usize, watcher: &mut impl Watcher) {
        if matches!(self.at, At::Body(0)) {
            self.at = At::Start;
            watcher.ends(self.first, at);
        }
    }

    /// Whether what comes next is of the body of a data frame.
    pub(super) fn is_in_data(&self) -> bool {
        matches!(self.at, At::Body(_)) && self.first & 0x08 == 0
    }

    /// So many bytes that come next are of the frame under way, or of the one that begins with them.
    pub(super) fn next_part(&self) -> usize {
        match self.at {
            At::Start => 2,
            At::Length => 1,
            At::Extended { left, .. } => left.into(),
            At::Body(left) => usize::try_from(left).unwrap_or(usize::MAX),
        }
    }

    /// Whether all that came are whole messages.
    pub(super) fn is_between_messages(&self) -> bool {
        matches!(self.at, At::Start) && !self.unfinished
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![first];
        match u16::try_from(length) {
            Ok(short @ ..126) => frame.push(short.to_be_bytes()[1]),
            Ok(long) => {
                frame.push(126);
                frame.extend(long.to_be_bytes());
            }
            Err(_) => {
                frame.push(127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.resize(frame.len() + length, 0x81);
        frame
    }

    #[test]
    fn only_after_each_whole_message_is_a_place_between_two_however_it_comes_in_pieces() {
        // Text, a ping without payload, and a binary message in two fragments around a pong.
        let messages = [
            frame(0x81, 5),
            frame(0x89, 0),
            [frame(0x02, 70_000), frame(0x8a, 8), frame(0x80, 300)].concat(),
            frame(0x82, 126),
        ];
        let stream = messages.concat();
        let ends: Vec<usize> = messages
            .iter()
            .scan(0, |end, message| {
                *end += message.len();
                Some(*end)
            })
            .collect();
        for piece in [1, 2, 3, 7, 1000, stream.len()] {
            let (mut frames, mut at) = (Frames::default(), 0);
            for bytes in stream.chunks(piece) {
                frames.follow(bytes, &mut ());
                at += bytes.len();
                assert_eq!(frames.is_between_messages(), ends.contains(&at), "at {at} in pieces of {piece}");
            }
        }
        let (mut frames, mut rest) = (Frames::default(), &stream[..]);
        let mut seen = 0;
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(frames.next_part());
            frames.follow(part, &mut ());
            rest = behind;
            seen += usize::from(frames.is_between_messages());
        }
        assert_eq!(seen, ends.len(), "no part reaches into the next frame");
    }
}
