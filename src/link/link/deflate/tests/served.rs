//! The server's side: frames that clients mask, and messages that leave past the WebSocket.

use futures_util::FutureExt as _;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt as _;

use super::{
    properties::{cut, cuts, plain},
    *,
};
use crate::link::served::ServedStream;
use wskeeper_core::{frame::mask, message::Kind};

fn masked(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut frame = Head::new(first, payload.len(), Some(key)).bytes().to_vec();
    let start = frame.len();
    frame.extend_from_slice(payload);
    mask(&mut frame[start..], key);
    frame
}

fn served(answer: &str, pieces: Vec<Vec<u8>>, most: usize) -> (Vec<u8>, Option<Breach>) {
    fuzzing::handed_out(Inflating::served(Peer::giving(pieces), agreed(answer)), most)
}

#[test]
fn a_frame_without_a_mask_is_refused() {
    let whole = by_miniz(b"so it goes, so it goes, so it goes");
    for odd in [frame(0xC1, &whole), frame(0x81, b"plain"), vec![0xC1, 0x01]] {
        assert_eq!(served(KEPT, vec![odd], 5).1, Some(Breach::Unmasked));
    }
}

#[test]
fn a_client_is_refused_as_a_server_is() {
    let whole = by_miniz(b"so it goes, so it goes, so it goes");
    let code = |bytes: Vec<u8>| served(FORGOTTEN, vec![bytes], 1 << 16).1.map(|fault| fault.code());
    let key = [1, 2, 3, 4];
    assert_eq!(code(masked(0xC1, &whole, key)), None);
    assert_eq!(code(masked(0xC1, &whole[..whole.len() - 2], key)), Some(1007));
    assert_eq!(code(masked(0xC1, &[0xFF; 9], key)), Some(1007));
    assert_eq!(code([masked(0x41, &whole, key), masked(0x81, b"x", key)].concat()), Some(1002));
    let long = [&[0xC1, 0x80 | 0x7E, 0, 7, 1, 2, 3, 4][..], &whole].concat();
    assert_eq!(code(long), Some(1002), "7 has a shorter form");
}

#[test]
fn an_idle_client_costs_what_was_agreed_on() {
    let piece = masked(0xC1, &by_miniz(&[7; 1000]), [9; 4]);
    let mut stream = Inflating::served(Peer::giving([piece]), agreed(FORGOTTEN));
    let mut room = vec![0; 1 << 16];
    let mut cx = Context::from_waker(noop_waker_ref());
    for _ in 0..2 {
        assert!(Pin::new(&mut stream).poll_read(&mut cx, &mut ReadBuf::new(&mut room)).is_ready());
    }
    assert!(stream.is_at_rest() && stream.held() == 0);
}

proptest! {
    #[test]
    fn what_a_client_sends_is_what_it_said(
        given in prop::collection::vec((plain(), cuts(), any::<[u8; 4]>()), 1..5),
        cuts in cuts(),
        most in prop::sample::select(vec![1_usize, 7, 1000, 1 << 17]),
    ) {
        let mut wire = Vec::new();
        for (plain, fragments, key) in &given {
            let parts = cut(&by_miniz(plain), fragments);
            for (place, part) in parts.iter().enumerate() {
                let fin = if place + 1 == parts.len() { FIN } else { 0 };
                wire.extend(masked(fin | if place == 0 { COMPRESSED | 2 } else { 0 }, part, *key));
                if fin == 0 {
                    wire.extend(masked(0x89, b"are you there?", *key));
                }
            }
        }
        let (out, fault) = served(FORGOTTEN, cut(&wire, &cuts), most);
        prop_assert_eq!(fault, None);
        prop_assert_eq!(messages(frames(&out)), given.into_iter().map(|(plain, ..)| plain).collect::<Vec<_>>());
    }

    /// However they come together, with whatever the WebSocket says between, and however little the client takes.
    #[test]
    fn what_a_client_gets_is_what_was_given(
        given in prop::collection::vec(prop::collection::vec(plain(), 1..4), 1..4),
        keeps in any::<bool>(),
        threshold in prop::sample::select(vec![0_u32, 256, 1 << 30]),
    ) {
        let (settings, agreed) = agreed(if keeps { KEPT } else { FORGOTTEN });
        let mut stream = ServedStream::new(Peer::giving([]), Some((Compression { threshold, ..settings }, agreed)));
        let mut cx = Context::from_waker(noop_waker_ref());
        for plain in &given {
            let payloads: Vec<_> = plain.iter().map(|plain| Payload::binary(plain.clone())).collect();
            while stream.poll_room(&mut cx).is_pending() {}
            stream.give(&fuzzing::together(&payloads));
            prop_assert!(stream.write_all(&frame(0x8A, b"pong")).now_or_never().is_some());
        }
        prop_assert!(stream.flush().now_or_never().is_some());
        let (mut miniz, mut pongs, mut read, mut part) = (Miniz::new(), 0, Vec::new(), (Vec::new(), false));
        for (first, payload) in frames(&stream.below().written) {
            if first == 0x8A {
                pongs += 1;
                continue;
            }
            part.1 |= first & COMPRESSED != 0;
            part.0.extend(payload);
            if first & FIN != 0 {
                let (whole, is_compressed) = std::mem::take(&mut part);
                if !keeps {
                    miniz = Miniz::new();
                }
                read.push(if is_compressed { miniz.inflated(&whole) } else { whole });
            }
        }
        prop_assert_eq!(pongs, given.len());
        prop_assert_eq!(read, given.concat());
    }

    #[test]
    fn whatever_a_client_sends_it_comes_to_an_end(
        bytes in prop::collection::vec(prop_oneof![Just(0xC1), Just(0x41), Just(0x80), Just(0x85), 0..20_u8, any::<u8>()], 0..400),
        cuts in cuts(),
    ) {
        let whole = served(KEPT, vec![bytes.clone()], 1 << 17);
        prop_assert_eq!(&served(KEPT, cut(&bytes, &cuts), 5), &whole, "wherever it is cut");
        prop_assert!(whole.0.len() <= 1100 * bytes.len());
    }
}

#[test]
fn a_text_leaves_as_a_text() {
    let mut stream = ServedStream::new(Peer::giving([]), Some(agreed(FORGOTTEN)));
    stream.give(&(&Payload::checked_text("so it goes. ".repeat(99))).into());
    assert!(stream.flush().now_or_never().is_some());
    let sent = frames(&stream.below().written);
    let [(0xC1, compressed)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(Miniz::new().inflated(compressed), "so it goes. ".repeat(99).as_bytes());
    assert_eq!(fuzzing::together(&[Payload::from("x")]).messages().next(), Some((Kind::Text, &b"x"[..])));
}
