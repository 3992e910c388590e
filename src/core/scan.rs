//! Finds whole messages of one frame each in what a server has sent, where they stand.
//!
//! What a reader would get wrong: this judges nothing. Whatever is unusual in any way (RFC 6455 §5.2: another opcode, a reserved
//! bit, a mask, a fragment, a length that could be shorter or is too long, text that is no UTF-8) is left to a reader of frames, and
//! so is all that stands behind it. Pings and pongs are no messages: one that stands behind those is only pointed out.

use std::str;

use bytes::BytesMut;

use super::{
    frame::{MASKED, mask},
    message::Kind,
    run::Marks,
    utf8::whole_characters,
};

/// What stands behind the messages that were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// The beginning of a frame, or nothing. So long the frame will be; 0 where that is not known yet.
    Part(usize),
    /// A whole ping or pong, with so long a payload behind its [`CONTROL_HEAD`].
    Control(Control, usize),
    /// Something for a reader of frames.
    Other,
}

/// Which control frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// One that wants to be answered.
    Ping,
    /// An answer.
    Pong,
}

/// How long the head of a ping or pong is: its payload has 125 bytes at most (RFC 6455 §5.5).
pub const CONTROL_HEAD: usize = 2;

/// Marks the messages at the front of `bytes`, at most `max` bytes long each. Answers with the end of the last one.
pub fn scan(bytes: &[u8], max: usize, marks: &mut Marks) -> (usize, Behind) {
    match messages(bytes, max, marks) {
        (end, Behind::Other) => (end, other(&bytes[end..], max)),
        found => found,
    }
}

/// Checks the text of an incomplete frame at the front, of which `checked` bytes have been checked before. Returns how far it consists of complete
/// characters; `None` if no further bytes can make it UTF-8. A frame that is not text is not checked.
pub fn text_so_far(bytes: &[u8], checked: usize) -> Option<usize> {
    match head(bytes, 0) {
        Head::Data(Kind::Text, head, _) => {
            let from = checked.max(head);
            Some(from + whole_characters(bytes.get(from..).unwrap_or_default())?)
        }
        Head::Data(Kind::Binary, ..) | Head::Part | Head::Other => Some(checked),
    }
}

/// By itself, so that what is rare costs a message nothing.
#[inline(never)]
fn messages(bytes: &[u8], max: usize, marks: &mut Marks) -> (usize, Behind) {
    let mut at = 0;
    loop {
        let (kind, head, len) = match head(&bytes[at..], 0) {
            Head::Data(kind, head, len) if len <= max => (kind, head, len),
            Head::Part => return (at, Behind::Part(0)),
            Head::Data(..) | Head::Other => return (at, Behind::Other),
        };
        let start = at + head;
        // No longer than `max` and a head: no overflow.
        let Some(payload) = bytes.get(start..start + len) else { return (at, Behind::Part(head + len)) };
        if kind == Kind::Text && !is_text(payload) {
            return (at, Behind::Other);
        }
        marks.push(start, len, kind);
        at = start + len;
    }
}

/// The same of what a client has sent: messages are copied to the end of `frames` without their masks, as frames of a server. Answers with
/// the end of the last one in `bytes`.
pub fn unmask(bytes: &[u8], max: usize, frames: &mut BytesMut, marks: &mut Marks) -> (usize, Behind) {
    let mut at = 0;
    loop {
        let (kind, head, len) = match head(&bytes[at..], MASKED) {
            Head::Data(kind, head, len) if len <= max => (kind, head, len),
            Head::Part => return (at, Behind::Part(0)),
            Head::Data(..) | Head::Other => return (at, Behind::Other),
        };
        let frame = bytes[at + head..].split_first_chunk().and_then(|(key, rest)| Some((*key, rest.get(..len)?)));
        let Some((key, payload)) = frame else { return (at, Behind::Part(head + 4 + len)) };
        let before = frames.len();
        let start = before + head;
        // As it is, but for its mask.
        frames.extend_from_slice(&bytes[at..at + head]);
        frames.extend_from_slice(payload);
        let frame = &mut frames[before..];
        frame[1] ^= MASKED;
        mask(&mut frame[head..], key);
        if kind == Kind::Text && !is_text(&frame[head..]) {
            frames.truncate(before);
            return (at, Behind::Other);
        }
        marks.push(start, len, kind);
        at += head + 4 + len;
    }
}

enum Head {
    /// Of a message: its kind, its own length, and that of the payload.
    Data(Kind, usize, usize),
    /// There is too little of it.
    Part,
    Other,
}

/// `masked` are the bits that must stand before the length.
fn head(bytes: &[u8], masked: u8) -> Head {
    let [first, second, rest @ ..] = bytes else { return Head::Part };
    let second = second ^ masked;
    let kind = match first {
        0x81 => Kind::Text,
        0x82 => Kind::Binary,
        _ => return Head::Other,
    };
    match (second, rest) {
        (0..126, _) => Head::Data(kind, 2, usize::from(second)),
        (126, [high, low, ..]) => match u16::from_be_bytes([*high, *low]) {
            0..126 => Head::Other,
            len => Head::Data(kind, 4, usize::from(len)),
        },
        (127, _) => match rest.first_chunk().map(|len| u64::from_be_bytes(*len)) {
            Some(0..=0xFFFF) => Head::Other,
            Some(len) => usize::try_from(len).map_or(Head::Other, |len| Head::Data(kind, 10, len)),
            None => Head::Part,
        },
        (126, _) => Head::Part,
        (128.., _) => Head::Other,
    }
}

/// What begins with bytes that are of no message.
fn other(bytes: &[u8], max: usize) -> Behind {
    let (control, len) = match bytes {
        [0x89, len @ 0..126, ..] => (Control::Ping, usize::from(*len)),
        [0x8A, len @ 0..126, ..] => (Control::Pong, usize::from(*len)),
        _ => return Behind::Other,
    };
    match CONTROL_HEAD + len {
        _ if len > max => Behind::Other,
        frame if frame > bytes.len() => Behind::Part(frame),
        _ => Behind::Control(control, len),
    }
}

/// Most text is ASCII, which is found out several times as fast.
fn is_text(payload: &[u8]) -> bool {
    payload.is_ascii() || str::from_utf8(payload).is_ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        frame::{FIN, Head as Written, opcode},
        message::Payload,
        run::Run,
    };

    impl Marks {
        fn take_payloads(&mut self, bytes: Bytes) -> Vec<Payload> {
            if self.is_empty() { Vec::new() } else { self.take_body(bytes, 0).payloads().collect() }
        }
    }

    fn found(bytes: &[u8], max: usize) -> (Vec<Payload>, usize, Behind) {
        let mut marks = Marks::default();
        let (end, behind) = scan(bytes, max, &mut marks);
        let bytes = Bytes::copy_from_slice(&bytes[..end]);
        let payloads = if marks.is_empty() { Vec::new() } else { marks.take(bytes, end).payloads().collect() };
        (payloads, end, behind)
    }

    fn frame(payload: &Payload) -> Vec<u8> {
        Run::from(payload).frames().into()
    }

    #[test]
    fn whole_messages_are_found_and_how_long_the_next_will_be() {
        for len in [0, 125, 126, 65_535, 65_536] {
            let (text, binary) = (Payload::checked_text(vec![b'x'; len]), Payload::binary(vec![0xFF; len]));
            let (first, second) = (frame(&text), frame(&binary));
            let all = [&first[..], &second].concat();
            assert_eq!(found(&all, len), (vec![text.clone(), binary], all.len(), Behind::Part(0)));
            let cut = &all[..all.len() - 1];
            let whole = if len == 0 { 0 } else { second.len() };
            assert_eq!(found(cut, len), (vec![text], first.len(), Behind::Part(whole)));
        }
    }

    #[test]
    fn what_is_unusual_in_any_way_is_left_alone_with_all_behind_it() {
        let ok = frame(&"ok".into());
        let unusual: [&[u8]; 14] = [
            &[0x01, 1, b'a'],
            &[0x80, 1, b'a'],
            &[0x83, 1, b'a'],
            &[0xC1, 1, b'a'],
            &[0xA2, 1, b'a'],
            &[0x88, 0],
            &[0x09, 0],
            &[0x89, 126, 0, 126],
            &[0x8A, 0x80, 1, 2, 3, 4],
            &[0x81, 0x81, 1, 2, 3, 4, 0x60],
            &[0x81, 2, 0xC3, 0x28],
            &[0x82, 126, 0, 125],
            &[0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF],
            &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
        ];
        for bytes in unusual {
            let all = [&ok, bytes, &ok[..]].concat();
            assert_eq!(found(&all, 1 << 20), (vec!["ok".into()], ok.len(), Behind::Other), "{bytes:?}");
        }
        assert_eq!(found(&[0x82, 3], 2).2, Behind::Other, "it is too long");
        assert_eq!(found(&[0x82, 2], 2).2, Behind::Part(4));
    }

    #[test]
    fn a_ping_or_pong_behind_messages_is_pointed_out_once_it_is_whole() {
        let ok = frame(&"ok".into());
        for (first, control) in [(0x89, Control::Ping), (0x8A, Control::Pong)] {
            for len in [0, 1, 125] {
                let all = [&ok, &[first, len][..], &vec![0xFF; len.into()]].concat();
                let (end, len) = (ok.len(), usize::from(len));
                assert_eq!(found(&all, 125), (vec!["ok".into()], end, Behind::Control(control, len)));
                assert_eq!(found(&[&all[..], &ok].concat(), 125).2, Behind::Control(control, len));
                let part = if len == 0 { 0 } else { CONTROL_HEAD + len };
                assert_eq!(found(&all[..all.len() - 1], 125).2, Behind::Part(part));
            }
            assert_eq!(found(&[first, 3, 1, 2, 3], 2).2, Behind::Other, "it is too long");
        }
    }

    /// The frames of a client that are these of a server.
    fn masked(frames: &[u8], key: [u8; 4]) -> Vec<u8> {
        let mut marks = Marks::default();
        let (end, _) = scan(frames, usize::MAX, &mut marks);
        let mut all = Vec::new();
        if !marks.is_empty() {
            for payload in marks.take(Bytes::copy_from_slice(&frames[..end]), end).payloads() {
                all.extend_from_slice(Written::new(FIN | opcode(payload.kind()), payload.len(), Some(key)).bytes());
                let start = all.len();
                all.extend_from_slice(payload.bytes());
                mask(&mut all[start..], key);
            }
        }
        all
    }

    #[test]
    fn messages_of_a_client_are_found_as_those_of_a_server_and_nothing_else_is() {
        let key = [0x81, 2, 0xF3, 0];
        let (text, binary) = (Payload::checked_text("x".repeat(300)), Payload::binary(vec![0xFF; 9]));
        let served = [frame(&text), frame(&binary)].concat();
        let sent = masked(&served, key);
        let unmasked = |bytes: &[u8], max| {
            let (mut frames, mut marks) = (BytesMut::new(), Marks::default());
            let (end, behind) = unmask(bytes, max, &mut frames, &mut marks);
            (frames, end, behind)
        };
        assert_eq!(unmasked(&sent, 300), (BytesMut::from(&served[..]), sent.len(), Behind::Part(0)));
        assert_eq!(unmasked(&sent, 299), (BytesMut::new(), 0, Behind::Other));
        let first = masked(&frame(&text), key);
        let whole = Behind::Part(sent.len() - first.len());
        assert_eq!(unmasked(&sent[..sent.len() - 1], 300), (BytesMut::from(&frame(&text)[..]), first.len(), whole));
        let not_text = [0x81, 0x82, 0, 0, 0, 0, 0xC3, 0x28];
        for odd in [&not_text[..], &frame(&"unmasked".into()), &[0x01, 0x80, 0, 0, 0, 0], &[0xC1, 0x80], &[0x89, 0x80]]
        {
            let all = [&first, odd].concat();
            assert_eq!(unmasked(&all, 300), (BytesMut::from(&frame(&text)[..]), first.len(), Behind::Other), "{odd:?}");
        }
    }

    proptest! {
        /// Whatever comes, and wherever it is cut.
        #[test]
        fn what_is_found_of_a_client_has_no_other_form(
            bytes in prop::collection::vec(prop_oneof![Just(0x81), Just(0x82), 0x80_u8..0x88, Just(0xFE), any::<u8>()], 0..200)
        ) {
            let (mut frames, mut marks) = (BytesMut::new(), Marks::default());
            let (end, _) = unmask(&bytes, 64, &mut frames, &mut marks);
            let mut again = &bytes[..end];
            for (place, payload) in marks.take_payloads(frames.freeze()).into_iter().enumerate() {
                let head = Written::new(0, payload.len(), Some([0; 4])).bytes().len();
                let key = [again[head - 4], again[head - 3], again[head - 2], again[head - 1]];
                let sent = masked(&frame(&payload), key);
                prop_assert_eq!(&again[..sent.len()], &sent[..], "{}", place);
                again = &again[sent.len()..];
            }
            prop_assert!(again.is_empty());
        }

        #[test]
        fn no_bytes_can_make_it_panic_and_what_it_finds_has_no_other_form(
            bytes in prop::collection::vec(prop_oneof![Just(0x81), Just(0x82), Just(0x89), 0_u8..8, Just(126), any::<u8>()], 0..200)
        ) {
            let (payloads, end, _) = found(&bytes, 64);
            prop_assert_eq!(payloads.iter().flat_map(frame).collect::<Vec<_>>(), &bytes[..end]);
        }
    }
}
