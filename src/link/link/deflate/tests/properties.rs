//! What holds for any messages, in any fragments, cut anywhere, and for any bytes.

use proptest::prelude::*;

use super::*;

pub(super) fn plain() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![&b"{\"price\":"[..], b"12.5", b",\"size\":", b"7}", b"\xFF\x00", b"z"]);
    prop_oneof![
        4 => prop::collection::vec(word, 0..200).prop_map(|words| words.concat()),
        1 => prop::collection::vec(any::<u8>(), 0..400),
        1 => (any::<u8>(), 0..100_000_usize).prop_map(|(byte, length)| vec![byte; length]),
        1 => (2..=u8::MAX, 0..70_000_usize).prop_map(|(turn, length)| (0..turn).cycle().take(length).collect()),
    ]
}

pub(super) fn cut(bytes: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    for at in cuts {
        let (piece, behind) = rest.split_at((*at).min(rest.len()));
        pieces.push(piece.to_vec());
        rest = behind;
    }
    pieces.push(rest.to_vec());
    pieces
}

pub(super) fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1..5_usize, 1..3000_usize], 0..12)
}

/// What has left whole of these messages, and has begun to, when the peer takes so many bytes and no more; and those bytes.
fn cut_off(given: &[Vec<u8>], room: usize) -> ((usize, usize), Vec<u8>) {
    let (settings, agreed) = agreed(KEPT);
    let peer = Peer { room, ..Peer::giving([]) };
    let mut socket = Socket::open(peer, &[], 1 << 20, Some((Compression { threshold: 0, ..settings }, agreed)));
    let mut cx = Context::from_waker(noop_waker_ref());
    for plain in given {
        if socket.poll_room(&mut cx).is_pending() {
            break;
        }
        socket.give(Frame::Data(Payload::binary(plain.clone()).into()));
    }
    let _ = socket.poll_flush(&mut cx);
    ((socket.left().messages as usize, socket.begun()), socket.wire().written.clone())
}

/// Messages that are whole in bytes that end anywhere, and those that begin and are not.
fn whole_and_begun(mut bytes: &[u8]) -> (usize, usize) {
    let (mut whole, mut is_open) = (0, false);
    while let [first, rest @ ..] = bytes {
        is_open |= first & 0x0F != 0;
        let head = match rest.first().map(|second| second & 0x7F) {
            None => break,
            Some(126) => rest.get(1..3).map(|length| (7, usize::from(u16::from_be_bytes([length[0], length[1]])))),
            Some(127) => rest
                .get(1..9)
                .map(|length| (13, usize::try_from(u64::from_be_bytes(*length.first_chunk().unwrap())).unwrap())),
            Some(short) => Some((5, usize::from(short))),
        };
        let Some(behind) = head.and_then(|(head, length)| rest.get(head + length..)) else { break };
        if first & FIN != 0 {
            (whole, is_open) = (whole + 1, false);
        }
        bytes = behind;
    }
    (whole, usize::from(is_open))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Ours, read by another hand; with and without a context, with any window.
    #[test]
    fn what_leaves_is_read_by_another_hand(
        given in prop::collection::vec(plain(), 1..6),
        level in 1..=9_u8,
        threshold in prop::sample::select(vec![0_u32, 256]),
        bits in 9..=15_u8,
        keeps in any::<bool>(),
    ) {
        let forgets = if keeps { "" } else { "; client_no_context_takeover" };
        let answer = format!("permessage-deflate{forgets}; client_max_window_bits={bits}");
        let payloads: Vec<_> = given.iter().map(|plain| Payload::binary(plain.clone())).collect();
        let settings = |compression: &mut Compression| (compression.level, compression.threshold) = (level, threshold);
        let (mut read, mut part, mut is_compressed) = (Vec::new(), Vec::new(), false);
        let mut miniz = Miniz::new();
        for (first, payload) in written(&answer, settings, &payloads) {
            if first & 0x0F != 0 {
                is_compressed = first & COMPRESSED != 0;
            }
            part.extend(payload);
            if first & FIN != 0 {
                let whole = std::mem::take(&mut part);
                if !keeps {
                    miniz = Miniz::new();
                }
                read.push(if is_compressed { miniz.inflated(&whole) } else { whole });
            }
        }
        prop_assert_eq!(read, given);
    }

    /// Another hand's, and ours with a context, in any fragments with pings between, cut anywhere, handed out in any parts.
    #[test]
    fn what_arrives_is_what_was_said(
        given in prop::collection::vec((plain(), cuts()), 1..6),
        keeps in any::<bool>(),
        cuts in cuts(),
        most in prop::sample::select(vec![1_usize, 7, 1000, 1 << 17]),
    ) {
        let (settings, agreed) = agreed(if keeps { KEPT } else { FORGOTTEN });
        let mut ours = Compressing::new(Compression { threshold: 0, ..settings }, settings.offer.as_client(agreed).ours);
        let mut wire = Vec::new();
        for (plain, fragments) in &given {
            let compressed = if keeps { ours.first(plain, plain.len()) } else { Some(by_miniz(plain)) };
            let bit = if compressed.is_some() { COMPRESSED } else { 0 };
            let parts = cut(compressed.as_ref().unwrap_or(plain), fragments);
            for (place, part) in parts.iter().enumerate() {
                let fin = if place + 1 == parts.len() { FIN } else { 0 };
                wire.extend(frame(fin | if place == 0 { bit | 2 } else { 0 }, part));
                if fin == 0 {
                    wire.extend(frame(0x89, b"are you there?"));
                }
            }
        }
        let (out, fault) = handed_out(if keeps { KEPT } else { FORGOTTEN }, cut(&wire, &cuts), most);
        prop_assert_eq!(fault, None);
        let pings = given.iter().map(|(_, fragments)| fragments.len()).sum::<usize>();
        let frames = frames(&out);
        prop_assert_eq!(frames.iter().filter(|(first, _)| *first == 0x89).count(), pings);
        prop_assert_eq!(messages(frames), given.into_iter().map(|(plain, _)| plain).collect::<Vec<_>>());
    }

    /// Any bytes, cut anywhere: no panic, no standstill, and no more handed out than DEFLATE can make of them.
    #[test]
    fn whatever_comes_it_comes_to_an_end(
        bytes in prop::collection::vec(prop_oneof![Just(0xC1), Just(0x41), Just(0x80), Just(0x00), 0..20_u8, any::<u8>()], 0..400),
        cuts in cuts(),
        keeps in any::<bool>(),
    ) {
        let answer = if keeps { KEPT } else { FORGOTTEN };
        let whole = handed_out(answer, vec![bytes.clone()], 1 << 17);
        prop_assert_eq!(&handed_out(answer, cut(&bytes, &cuts), 5), &whole, "wherever it is cut");
        prop_assert!(whole.0.len() <= 1100 * bytes.len());
    }

    /// At most once rests on it: what had begun when a connection is cut is what a peer could have seen of it.
    #[test]
    fn what_has_left_is_counted_by_what_is_on_the_wire(given in prop::collection::vec(plain(), 1..6), at in 0..1000_usize) {
        let (_, all) = cut_off(&given, usize::MAX);
        for room in [all.len() * at / 1000, all.len()] {
            let (told, taken) = cut_off(&given, room);
            prop_assert_eq!(told, whole_and_begun(&taken), "after {} bytes", taken.len());
        }
    }
}
