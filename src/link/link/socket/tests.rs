//! What arrives is what tungstenite alone makes of the same bytes, whatever they are and however they come in pieces.
//!
//! What a reader would get wrong: nothing is compared after a violation or a Close, for what comes then is not processed. And a violation is
//! found here before tungstenite finds it, which looks at whole frames, and takes lengths in any form.

use std::{collections::VecDeque, io};

use futures_util::task::noop_waker_ref;
use proptest::prelude::*;

use super::*;
use crate::link::fuzzing::{
    Script,
    frames::{self, Told, unmasked as frames_of},
};
use wskeeper_core::{message::Payload, run::Run};

mod early;

/// A frame whose length takes so many bytes more than one, 2 or 8, where it needs fewer.
fn frame(first: u8, payload: &[u8], at_least: usize) -> Vec<u8> {
    let len = payload.len();
    let mut bytes = vec![first];
    if len < 126 && at_least == 0 {
        bytes.push(u8::try_from(len).unwrap());
    } else if u16::try_from(len).is_ok() && at_least <= 2 {
        bytes.push(126);
        bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
    } else {
        bytes.push(127);
        bytes.extend((len as u64).to_be_bytes());
    }
    bytes.extend(payload);
    bytes
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => prop::collection::vec(b' '..=b'~', 0..20),
        3 => "\\PC{0,40}".prop_map(String::into_bytes),
        1 => prop_oneof![Just(125), Just(126), Just(127), Just(500)].prop_map(|len| vec![b'x'; len]),
    ]
}

fn long() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(65_535), Just(65_536), Just(66_000), Just(150_000), Just(300_000)].prop_map(|len| vec![b'y'; len])
}

fn control() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..6),
        1 => prop_oneof![Just(100), Just(101), Just(125), Just(126)].prop_map(|len| vec![0x8A; len]),
    ];
    (prop_oneof![Just(0x89), Just(0x8A)], payload).prop_map(|(first, payload)| frame(first, &payload, 0))
}

/// Their payload may look like frames, and between them may stand what must not.
fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![4 => text(), 2 => text().prop_map(|text| frame(0x82, &text, 0).repeat(3)), 1 => Just(vec![b'z'; 5_000])];
    let between = prop_oneof![8 => control(), 1 => text().prop_map(|text| frame(0x82, &text, 0))];
    let opcode = prop_oneof![1 => Just(1_u8), 4 => Just(2)];
    (opcode, prop::collection::vec((payload, prop::option::of(between)), 2..5)).prop_map(|(opcode, parts)| {
        let last = parts.len() - 1;
        let frames = parts.iter().enumerate().map(|(place, (payload, between))| {
            let first = if place == 0 { opcode } else { 0 } | if place == last { 0x80 } else { 0 };
            [frame(first, payload, 0), between.clone().filter(|_| place < last).unwrap_or_default()].concat()
        });
        frames.collect::<Vec<_>>().concat()
    })
}

/// Fragments of nothing, reserved bits, reserved opcodes, control frames that do not end.
const FIRST_BYTES: &[u8] = &[0x00, 0x80, 0x41, 0xC1, 0xC2, 0xA1, 0x92, 0x83, 0x87, 0x8B, 0x8F, 0x08, 0x09, 0x0A];

/// What a peer should not say.
fn unusual() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (any::<u8>(), text()).prop_map(|(first, payload)| frame(first, &payload, 0)),
        (prop::sample::select(FIRST_BYTES), text()).prop_map(|(first, payload)| frame(first, &payload, 0)),
        (text(), prop_oneof![Just(2_usize), Just(8)]).prop_map(|(text, length)| frame(0x81, &text, length)),
        prop::collection::vec(any::<u8>(), 0..12).prop_map(|bytes| frame(0x81, &bytes, 0)),
        text().prop_map(|text| {
            let mut bytes = frame(0x81, &[&[1, 2, 3, 4], &text[..text.len().min(100)]].concat(), 0);
            bytes[1] = (bytes[1] - 4) | 0x80;
            bytes
        }),
        (prop_oneof![Just(0x81), Just(0x82), Just(0x88)], any::<u64>())
            .prop_map(|(first, len)| { [&[first, 127][..], &len.to_be_bytes()].concat() }),
        (any::<u16>(), text()).prop_map(|(code, reason)| frame(0x88, &[&code.to_be_bytes()[..], &reason].concat(), 0)),
        prop::collection::vec(any::<u8>(), 0..20),
    ]
}

fn close() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(vec![0x88, 0]),
        prop_oneof![Just(1000_u16), Just(1006), Just(3000), Just(999)].prop_map(|code| frame(
            0x88,
            &[&code.to_be_bytes()[..], b"why"].concat(),
            0
        )),
    ]
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![Just(0x81), Just(0x82)];
    let said = prop_oneof![
        12 => (kind, text()).prop_map(|(first, payload)| frame(first, &payload, 0)),
        4 => control(),
        3 => fragments(),
        1 => long().prop_map(|payload| frame(0x81, &payload, 0)),
        1 => Just(frame(0x82, b"a price of something", 0).repeat(5_000)),
        1 => unusual(),
    ];
    let last = prop_oneof![Just(vec![]), close(), unusual()];
    (prop::collection::vec(said, 0..20), last, text())
        .prop_map(|(said, last, behind)| [said.concat(), last, frame(0x81, &behind, 0)].concat())
}

/// Lengths of pieces; those of a stream that is longer begin again.
fn cuts() -> impl Strategy<Value = Vec<usize>> {
    let cut = prop_oneof![4 => 1_usize..20, 4 => 20_usize..5_000, 2 => Just(70_000), 2 => Just(400_000)];
    prop::collection::vec(cut, 1..8)
}

fn pieces(mut bytes: &[u8], cuts: &[usize]) -> VecDeque<Vec<u8>> {
    let mut pieces = VecDeque::new();
    // Not hundreds of thousands of them.
    let least = bytes.len() / 2_000 + 1;
    for cut in cuts.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at(bytes.len().min(least.max(*cut)));
        pieces.push_back(piece.to_vec());
        bytes = rest;
    }
    pieces
}

proptest! {
    #[test]
    fn what_arrives_is_what_tungstenite_alone_makes_of_it(
        bytes in stream(),
        cuts in cuts(),
        pauses in any::<bool>(),
        early in 0_usize..40,
        max in prop_oneof![Just(100_usize), Just(70_000), Just(1 << 20)],
        end in prop_oneof![3 => Just(None), 1 => Just(Some(io::ErrorKind::ConnectionReset))],
    ) {
        frames::agree(&bytes, early, max, |bytes| Script { pieces: pieces(bytes, &cuts), end, pauses, ..Script::default() });
    }
}

#[test]
fn what_has_arrived_of_a_message_that_is_not_whole_is_known_whatever_came_before_it() {
    let mut cx = Context::from_waker(noop_waker_ref());
    let part = &frame(0x82, &vec![7; 50_000], 0)[..20_000];
    for before in [
        frame(0x81, b"whole", 0).repeat(9_000),
        frame(0x89, b"", 0),
        [frame(0x01, b"a", 0), frame(0x80, b"b", 0)].concat(),
    ] {
        let pieces = VecDeque::from([[&before, part].concat()]);
        let script = Script { pieces, pauses: true, ..Script::default() };
        let mut socket = Socket::open(script, &[], 1 << 20, None);
        for _ in 0..9 {
            let _ = socket.poll_arrival(&mut cx).map(Told::of);
        }
        assert_eq!(socket.arriving(), Some(20_000));
    }
}

#[test]
fn of_messages_pings_and_pongs_alone_tungstenite_knows_nothing_and_of_the_rest_until_the_end() {
    let mut cx = Context::from_waker(noop_waker_ref());
    let plain = [frame(0x81, b"whole", 0), frame(0x89, b"ping", 0), frame(0x8A, b"", 0)].concat();
    let last = [&plain, &frame(0x01, b"a", 0)[..], &frame(0x80, b"b", 0), &plain].concat();
    let pieces = VecDeque::from([plain.repeat(3), last]);
    let script = Script { pieces, pauses: true, ..Script::default() };
    let mut socket = Socket::open(script, &[], 1 << 20, None);
    let mut readers = Vec::new();
    for _ in 0..25 {
        let _ = socket.poll_arrival(&mut cx).map(Told::of);
        socket.give(Frame::Data("ours".into()));
        socket.give(Frame::Ping(b"ours"[..].into()));
        assert!(socket.poll_flush(&mut cx).is_ready());
        readers.push(socket.reader.is_some());
    }
    assert!(!readers[10] && readers[24] && readers.is_sorted(), "{readers:?}");
    let written = frames_of(&socket.wire().written);
    let pongs = written.iter().filter(|(first, payload)| *first == 0x8A && payload == b"ping").count();
    assert_eq!((pongs, written.len()), (5, 55));
}

/// A frame's first byte and its payload.
type Unmasked = (u8, Vec<u8>);

/// All that a socket writes of what it is given, as frames without their masks.
fn given(given: impl IntoIterator<Item = Frame>) -> (Vec<Unmasked>, Vec<[u8; 4]>) {
    let mut cx = Context::from_waker(noop_waker_ref());
    let mut socket = Socket::open(Script::default(), &[], 1 << 20, None);
    for frame in given {
        assert!(socket.poll_room(&mut cx).is_ready());
        socket.give(frame);
    }
    assert!(socket.poll_flush(&mut cx).is_ready());
    let written = socket.wire().written.clone();
    let (mut frames, mut keys, mut rest) = (Vec::new(), Vec::new(), &written[..]);
    while let [first, length, behind @ ..] = rest {
        assert!(length & 0x80 != 0, "a client masks");
        let (length, behind) = match length & 0x7F {
            126 => (usize::from(u16::from_be_bytes(*behind.first_chunk().unwrap())), &behind[2..]),
            127 => panic!("longer than a fragment"),
            short => (usize::from(short), behind),
        };
        let (key, behind) = behind.split_first_chunk::<4>().unwrap();
        let (payload, behind) = behind.split_at(length);
        frames.push((*first, payload.iter().zip(key.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()));
        keys.push(*key);
        rest = behind;
    }
    (frames, keys)
}

#[test]
fn messages_that_came_together_leave_as_they_would_alone_each_under_a_mask_of_its_own() {
    let payloads: Vec<_> = [0, 3, 125, 126, 9_000, outbox::FRAGMENT_MAX, 5]
        .into_iter()
        .flat_map(|len| [Payload::checked_text("x".repeat(len)), Payload::binary(vec![0xFE; len])])
        .collect();
    let (mut bytes, mut marks) = (Vec::new(), wskeeper_core::run::Marks::default());
    for payload in &payloads {
        bytes.extend_from_slice(&Run::from(payload).frames());
        marks.push(bytes.len() - payload.len(), payload.len(), payload.kind());
    }
    let run = marks.take_body(bytes.into(), 0);
    let ping = || Frame::Ping(Bytes::from_static(b"still there?"));
    let (together, keys) = given([Frame::Data("first".into()), Frame::Data(run), ping()]);
    let alone = payloads.iter().map(|payload| Frame::Data(payload.clone().into()));
    let (alone, _) = given([Frame::Data("first".into())].into_iter().chain(alone).chain([ping()]));
    assert_eq!(together.iter().filter(|(first, _)| *first != 0x89).count(), payloads.len() + 1);
    // Where the ping goes depends on how much is written at once.
    let messages = |frames: Vec<Unmasked>| frames.into_iter().filter(|(first, _)| *first != 0x89);
    assert!(messages(together).eq(messages(alone)));
    let different: std::collections::BTreeSet<_> = keys.iter().collect();
    assert!(different.len() + 2 > keys.len(), "two may be equal by chance, all of them not: {keys:?}");
}
