//! A breach ends the connection when the byte has come that makes it one, though nothing follows it.

use super::*;

/// What is told of these bytes, the last of which is the last for a long time, where `before` came before them: each alone.
fn told_of(before: &[u8], bytes: &[u8]) -> Vec<Told> {
    let mut cx = Context::from_waker(noop_waker_ref());
    let mut told = Vec::new();
    let pieces = [before.to_vec()].into_iter().chain(bytes.iter().map(|byte| vec![*byte]));
    let pieces = pieces.filter(|piece| !piece.is_empty()).collect();
    let script = Script { pieces, pauses: true, ..Script::default() };
    let mut socket = Socket::open(script, &[], 1 << 20, None);
    while !socket.wire().pieces.is_empty() {
        if let Poll::Ready(arrival) = socket.poll_arrival(&mut cx) {
            told.extend(Told::of(arrival));
        }
    }
    told
}

#[test]
fn a_text_is_refused_by_its_first_wrong_byte_however_much_is_to_come() {
    let long = |first: u8, text: &[u8]| [&[first, 127, 0, 0, 0, 0, 0, 8, 0, 0], text].concat();
    let tables: [(Vec<u8>, usize); 8] = [
        (vec![0x81, 9, b'a', 0xFF], 4),
        (vec![0x81, 9, 0xE2, 0x82, b'a'], 5),
        (long(0x81, b"\xCE\xBA\xED\xA0"), 14),
        (long(0x01, b"\xF4\x90"), 12),
        (vec![0x01, 1, 0xC3, 0x00, 9, 0xA9, 0x80], 7),
        (vec![0x01, 1, b'a', 0x89, 0, 0x80, 9, 0xC3, 0x28], 9),
        (vec![0x01, 1, 0xC3, 0x80, 0], 5),
        (vec![0x81, 1, 0xC3], 3),
    ];
    for before in [vec![], frame(0x81, b"ok", 0), [frame(0x01, b"a", 0), frame(0x80, b"b", 0)].concat()] {
        for (bytes, whole) in &tables {
            let known = |count: usize| told_of(&before, &bytes[..count]).contains(&Told::Violation(1007, false));
            assert!(known(*whole), "{bytes:x?} behind {before:x?}");
            assert!(!known(*whole - 1), "{bytes:x?} behind {before:x?}");
        }
    }
}

#[test]
fn the_head_of_a_frame_is_enough_to_refuse_it() {
    let heads: [&[u8]; 8] = [
        &[0xC1, 0x05],
        &[0x83, 0x05],
        &[0x81, 0x85],
        &[0x82, 126, 0, 5],
        &[0x89, 126],
        &[0x09, 0x05],
        &[0x80, 0x05],
        &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 1],
    ];
    for before in [vec![], [frame(0x01, b"a", 0), frame(0x80, b"b", 0)].concat()] {
        for head in heads {
            let told = told_of(&before, head);
            assert!(matches!(told.last(), Some(Told::Violation(1002, _))), "{head:x?}: {told:?}");
        }
        assert_eq!(
            told_of(&before, &[0x82, 127, 0, 0, 0, 0, 0, 0x20, 0, 0]).last(),
            Some(&Told::Violation(1009, false))
        );
    }
}
