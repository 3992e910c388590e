//! Where frames begin and end in what arrives (RFC 6455 §5.2), so that a reader can be changed between two messages.
//!
//! What a reader would get wrong: this judges nothing. What breaks the protocol is tungstenite's to find; after it there is no
//! place between two messages any more, or one that nobody looks for.

/// How far the frames have come.
#[derive(Debug, Default)]
pub(super) struct Frames {
    at: At,
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
    /// So many bytes of a longer length are to come.
    Extended { left: u8, length: u64 },
    /// So many bytes of the payload are to come.
    Payload(u64),
}

impl Frames {
    /// These bytes come next.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while let [byte, rest @ ..] = bytes {
            match &mut self.at {
                At::Start => {
                    let (is_last, is_control) = (byte & 0x80 != 0, byte & 0x08 != 0);
                    if !is_control {
                        self.unfinished = !is_last;
                    }
                    self.at = At::Length;
                }
                At::Length => {
                    self.at = match byte & 0x7f {
                        126 => At::Extended { left: 2, length: 0 },
                        127 => At::Extended { left: 8, length: 0 },
                        length => At::Payload(length.into()),
                    }
                }
                At::Extended { left, length } => {
                    *length = *length << 8 | u64::from(*byte);
                    *left -= 1;
                    if *left == 0 {
                        self.at = At::Payload(*length);
                    }
                }
                At::Payload(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= taken as u64;
                    bytes = &bytes[taken..];
                    if *left == 0 {
                        self.at = At::Start;
                    }
                    continue;
                }
            }
            bytes = rest;
            if matches!(self.at, At::Payload(0)) {
                self.at = At::Start;
            }
        }
    }

    /// Whether all that arrived are whole messages.
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
                frames.follow(bytes);
                at += bytes.len();
                assert_eq!(frames.is_between_messages(), ends.contains(&at), "at {at} in pieces of {piece}");
            }
        }
    }
}
