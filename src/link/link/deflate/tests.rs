//! Both directions, held to another hand at DEFLATE (`miniz_oxide`) and to the examples of RFC 7692 §7.2.3.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::task::noop_waker_ref;
use miniz_oxide::{
    deflate::core::{CompressorOxide, TDEFLFlush, compress as miniz_compress, create_comp_flags_from_zip_params},
    inflate::{
        TINFLStatus,
        core::{DecompressorOxide, decompress, inflate_flags},
    },
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{inflater::PIECE, *};
use crate::{
    endpoint::compression::Compression,
    link::{Wire, arrival::Arrival, fuzzing, socket::Socket},
};
use wskeeper_core::{
    breach::Breach,
    close::Cause,
    deflate::{Agreement, Proposal, Takeover},
    frame::{FIN, Head},
    link::Frame,
    message::Payload,
};

mod properties;
mod served;

/// Gives its bytes piece by piece, and then its end; takes what is written as far as it has room.
#[derive(Debug)]
struct Peer {
    pieces: VecDeque<Vec<u8>>,
    written: Vec<u8>,
    room: usize,
}

impl Peer {
    fn giving(pieces: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self {
            pieces: pieces.into_iter().filter(|piece| !piece.is_empty()).collect(),
            written: Vec::new(),
            room: usize::MAX,
        }
    }
}

impl AsyncRead for Peer {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(piece) = self.pieces.front_mut() {
            let part: Vec<u8> = piece.drain(..piece.len().min(buffer.remaining())).collect();
            buffer.put_slice(&part);
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = bytes.len().min(self.room - self.written.len());
        self.written.extend(&bytes[..taken]);
        if taken == 0 { Poll::Pending } else { Poll::Ready(Ok(taken)) }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Wire for Peer {
    fn abort(&self) {}
}

fn agreed(answer: &str) -> (Compression, Agreement) {
    let offer = Proposal { context: Takeover::Both, window_bits: 15 };
    let settings = Compression { is_offered: true, offer, ..Compression::default() };
    (settings, offer.judge([answer.as_bytes()]).unwrap().unwrap())
}

const KEPT: &str = "permessage-deflate";
const FORGOTTEN: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// What is handed out of these, `most` bytes at a time, and what ends it where that is no end in order.
fn handed_out(answer: &str, pieces: Vec<Vec<u8>>, most: usize) -> (Vec<u8>, Option<Breach>) {
    fuzzing::handed_out(Inflating::new(Peer::giving(pieces), agreed(answer), &[]), most)
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [Head::new(first, payload.len(), None).bytes(), payload].concat()
}

/// The frames, each by its first byte and its payload.
fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        let (mask, rest, length) = match second & 0x7F {
            126 => (second & 0x80, &rest[2..], usize::from(u16::from_be_bytes([rest[0], rest[1]]))),
            127 => {
                (second & 0x80, &rest[8..], usize::try_from(u64::from_be_bytes(*rest.first_chunk().unwrap())).unwrap())
            }
            short => (second & 0x80, rest, usize::from(short)),
        };
        let (key, rest) = if mask == 0 { ([0; 4], rest) } else { (*rest.first_chunk().unwrap(), &rest[4..]) };
        let mut payload = rest[..length].to_vec();
        wskeeper_core::frame::mask(&mut payload, key);
        frames.push((*first, payload));
        bytes = &rest[length..];
    }
    frames
}

/// The data messages of frames without compression.
fn messages(frames: Vec<(u8, Vec<u8>)>) -> Vec<Vec<u8>> {
    let (mut messages, mut part) = (Vec::new(), Vec::new());
    for (first, payload) in frames.into_iter().filter(|(first, _)| first & 0x08 == 0) {
        assert_eq!(first & 0x70, 0, "nothing is reserved in what is handed out");
        part.extend(payload);
        if first & FIN != 0 {
            messages.push(std::mem::take(&mut part));
        }
    }
    assert!(part.is_empty());
    messages
}

/// As another hand compresses it.
fn by_miniz(plain: &[u8]) -> Vec<u8> {
    let mut out = flushed_by_miniz(plain, TDEFLFlush::Sync);
    assert!(out.ends_with(&TAIL));
    out.truncate(out.len() - TAIL.len());
    out
}

fn flushed_by_miniz(plain: &[u8], flush: TDEFLFlush) -> Vec<u8> {
    let mut compressor = CompressorOxide::new(create_comp_flags_from_zip_params(6, -15, 0));
    let mut out = vec![0; plain.len() + 1024];
    let (_, read, written) = miniz_compress(&mut compressor, plain, &mut out, flush);
    assert_eq!(read, plain.len());
    out.truncate(written);
    out
}

/// Inflates messages of one context.
struct Miniz(Box<DecompressorOxide>, Vec<u8>, usize);

impl Miniz {
    fn new() -> Self {
        Self(Box::default(), vec![0; 1 << 20], 0)
    }

    fn inflated(&mut self, message: &[u8]) -> Vec<u8> {
        let input = [message, &TAIL].concat();
        let flags = inflate_flags::TINFL_FLAG_HAS_MORE_INPUT | inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, read, written) = decompress(&mut self.0, &input, &mut self.1, self.2, flags);
        assert_eq!((status, read), (TINFLStatus::NeedsMoreInput, input.len()));
        self.2 += written;
        self.1[self.2 - written..self.2].to_vec()
    }
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let whole = [
        hello.to_vec(),
        vec![0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        // The same without the byte that stands for the end of a flush.
        vec![0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
        vec![0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
        vec![0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
    ];
    for message in whole {
        for answer in [KEPT, FORGOTTEN] {
            let (out, fault) = handed_out(answer, vec![frame(0xC1, &message)], 1 << 10);
            assert_eq!((frames(&out), fault), (vec![(0x81, b"Hello".to_vec())], None), "{message:x?}");
        }
    }
    let parts = vec![[frame(0x41, &hello[..3]), frame(0x89, b"?"), frame(0x80, &hello[3..])].concat()];
    let (out, fault) = handed_out(FORGOTTEN, parts, 1 << 10);
    assert_eq!((frames(&out), fault), (vec![(0x89, b"?".to_vec()), (0x81, b"Hello".to_vec())], None));
    let again = vec![[frame(0xC1, &hello), frame(0xC1, &[0xf2, 0x00, 0x11, 0x00, 0x00])].concat()];
    assert_eq!(messages(frames(&handed_out(KEPT, again.clone(), 99).0)), [b"Hello", b"Hello"]);
    assert_eq!(handed_out(FORGOTTEN, again, 99).1.unwrap().code(), 1007, "it has no context to refer to");
    assert_eq!(messages(frames(&handed_out(KEPT, vec![frame(0xC2, &[0])], 99).0)), [b""]);
}

/// As Erlang's zlib has it, and so servers on Cowboy do: a flush behind a flush makes no byte.
#[test]
fn a_message_of_no_byte_is_empty_and_leaves_the_context_as_it_is() {
    let said = [
        frame(0xC1, &[0xca, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]),
        frame(0xC1, b""),
        frame(0x42, b""),
        frame(0x00, b""),
        frame(0x80, b""),
        frame(0xC1, &[0xca, 0x00, 0x11, 0x00, 0x00]),
    ];
    for most in [1, 99] {
        let (out, fault) = handed_out(KEPT, vec![said.concat()], most);
        assert_eq!((messages(frames(&out)), fault), (["hello", "", "", "hello"].map(Into::into).into(), None));
    }
}

#[test]
fn what_is_not_compressed_passes_as_it_is_whatever_is_wrong_with_it() {
    let odd: [&[u8]; 6] = [
        &[0x81, 2, b'o', b'k', 0x8A, 0, 0x88, 2, 3, 0xE8],
        &[0xC9, 0],
        &[0xC0, 0],
        &[0xD1, 0],
        &[0xC3, 0],
        &[0x82, 127, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3],
    ];
    for bytes in odd {
        assert_eq!(handed_out(FORGOTTEN, vec![bytes.to_vec()], 3), (bytes.to_vec(), None));
    }
}

#[test]
fn a_message_that_is_no_deflate_is_refused_by_1007_and_one_that_is_no_message_by_1002() {
    let plain = "so it goes, so it goes, and so it goes on. ".repeat(20);
    let whole = by_miniz(plain.as_bytes());
    let fault = |message: &[u8]| handed_out(FORGOTTEN, vec![frame(0xC1, message)], 1 << 16).1.map(|fault| fault.code());
    assert_eq!(fault(&whole), None);
    for cut in 1..whole.len() {
        assert_eq!(fault(&whole[..cut]), Some(1007), "cut at {cut} of {}", whole.len());
    }
    assert_eq!(fault(&[&whole[..], b"garbage"].concat()), Some(1007));
    assert_eq!(fault(&[0xFF; 9]), Some(1007));
    // An empty final block after another.
    assert_eq!(fault(&[0x03, 0x00].repeat(64)), None);
    assert_eq!(fault(&[0x03, 0x00].repeat(65)), Some(1007));
    let of = |bytes: Vec<u8>| handed_out(FORGOTTEN, vec![bytes], 1 << 16).1.map(|fault| fault.code());
    for next in [0x81, 0xC1, 0x02] {
        assert_eq!(of([frame(0x41, &whole), frame(next, b"x")].concat()), Some(1002), "{next:x}");
    }
    let no_text = frame(0x41, &by_miniz(&[0xC3, 0x28]));
    assert_eq!(of([no_text, frame(0x81, b"x")].concat()), Some(1007), "it was no text before another came");
    assert_eq!(of(vec![0x01, 1, b'a', 0xC1, 1, b'b']), Some(1002), "a message that is not compressed has begun");
    assert_eq!(of(vec![0xC1, 0x81, 1, 2, 3, 4, 5]), Some(1002), "a server does not mask");
    assert_eq!(of([&[0xC1, 126, 0, 7][..], &whole].concat()), Some(1002), "7 has a shorter form");
    assert_eq!(of(vec![0xC1, 127, 0x80, 0, 0, 0, 0, 0, 0, 1]), Some(1002));
}

#[test]
fn a_message_that_ends_with_a_final_block_is_whole_however_long_it_is() {
    for length in (PIECE - 2..PIECE + 300).chain([2 * PIECE + 9]) {
        let plain = vec![b'a'; length];
        let said = frame(0xC2, &flushed_by_miniz(&plain, TDEFLFlush::Finish));
        let (out, fault) = handed_out(FORGOTTEN, vec![said], 1 << 17);
        assert_eq!(fault, None, "{length}");
        assert_eq!(messages(frames(&out)), [plain]);
    }
}

#[test]
fn what_came_before_a_fault_is_handed_out_first_however_little_room_there_is() {
    let mut message = by_miniz(&vec![b'a'; PIECE + 1]);
    message.extend([0xFF; 9]);
    let (whole, fault) = handed_out(FORGOTTEN, vec![frame(0xC2, &message)], 1 << 17);
    assert_eq!((whole.len(), fault.map(|fault| fault.code())), (4 + PIECE, Some(1007)));
    for most in [1, 3, 1000, PIECE] {
        let (out, fault) = handed_out(FORGOTTEN, vec![frame(0xC2, &message)], most);
        assert!(out == whole && fault.is_some(), "{} bytes, {most} at a time", out.len());
    }
}

#[test]
fn a_long_message_comes_in_pieces_and_nothing_is_held_after_it() {
    for length in [PIECE - 1, PIECE, PIECE + 1, 5 * PIECE + 7] {
        let plain: Vec<u8> = (0..251).cycle().take(length).collect();
        let (settings, agreed) = agreed(FORGOTTEN);
        let peer = Peer::giving([frame(0xC2, &by_miniz(&plain))]);
        let mut stream = Inflating::new(peer, (settings, agreed), &[]);
        let (mut out, mut room) = (Vec::new(), vec![0; 1 << 20]);
        loop {
            let mut buffer = ReadBuf::new(&mut room);
            let read = Pin::new(&mut stream).poll_read(&mut Context::from_waker(noop_waker_ref()), &mut buffer);
            assert!(matches!(read, Poll::Ready(Ok(()))));
            if buffer.filled().is_empty() {
                break;
            }
            out.extend(buffer.filled());
        }
        assert_eq!(stream.held(), 0, "{length}");
        assert!(stream.is_at_rest() && size_of::<inflating::Both>() <= 48, "an idle link keeps what was agreed on");
        let frames = frames(&out);
        assert!(frames.iter().all(|(_, payload)| payload.len() <= PIECE));
        assert_eq!(messages(frames), [plain]);
    }
}

/// The socket on top.
fn socket(answer: &str, pieces: Vec<Vec<u8>>, max: usize) -> Box<Socket<Peer>> {
    let (settings, agreed) = agreed(answer);
    Socket::open(Peer::giving(pieces), &[], max, Some((settings, agreed)))
}

/// What is thrown away is so a little at a time.
fn arrival(socket: &mut Socket<Peer>) -> Arrival {
    for _ in 0..1000 {
        if let Poll::Ready(arrival) = socket.poll_arrival(&mut Context::from_waker(noop_waker_ref())) {
            return arrival;
        }
    }
    panic!("the peer always has something to say");
}

#[test]
fn a_bomb_stops_at_the_longest_message_and_what_comes_then_is_thrown_away() {
    let bomb = by_miniz(&vec![0; 32 << 20]);
    assert!(bomb.len() < 40 << 10);
    let mut socket = socket(FORGOTTEN, vec![frame(0xC2, &bomb), frame(0xC1, b"no more")], 1 << 20);
    match arrival(&mut socket) {
        Arrival::Violation { code: 1009, cause: Cause::TooBig, .. } => {}
        other => panic!("{other:?}"),
    }
    assert!(socket.arriving().is_none());
    let handed_out = socket.handed_out();
    assert!(handed_out < (1 << 20) + (64 << 10), "{handed_out}");
    assert!(matches!(arrival(&mut socket), Arrival::Ended(_)));
    assert!(socket.handed_out() < (1 << 20) + (192 << 10), "the rest is not inflated");
}

#[test]
fn a_corrupt_message_is_told_as_what_it_is_behind_those_before_it() {
    let good = frame(0xC1, &by_miniz(b"good"));
    let mut socket = socket(FORGOTTEN, vec![[good, frame(0xC1, &[0xFF; 9])].concat()], 1 << 20);
    match arrival(&mut socket) {
        Arrival::Messages(run) => assert_eq!(run.payloads().collect::<Vec<_>>(), ["good".into()]),
        other => panic!("{other:?}"),
    }
    match arrival(&mut socket) {
        Arrival::Violation { code: 1007, cause: Cause::Protocol, detail } => assert!(detail.contains("corrupt")),
        other => panic!("{other:?}"),
    }
    assert!(matches!(arrival(&mut socket), Arrival::Ended(_)));
}

#[test]
fn a_compressed_text_that_is_no_utf_8_is_refused_as_any_other() {
    let mut socket = socket(FORGOTTEN, vec![frame(0xC1, &by_miniz(&[0xC3, 0x28]))], 1 << 20);
    assert!(matches!(arrival(&mut socket), Arrival::Violation { code: 1007, .. }));
}

/// What a socket writes of these messages, as frames.
fn written(answer: &str, settings: impl FnOnce(&mut Compression), given: &[Payload]) -> Vec<(u8, Vec<u8>)> {
    let (mut compression, agreed) = agreed(answer);
    settings(&mut compression);
    let mut socket = Socket::open(Peer::giving([]), &[], 1 << 20, Some((compression, agreed)));
    let mut cx = Context::from_waker(noop_waker_ref());
    for payload in given {
        while socket.poll_room(&mut cx).is_pending() {}
        socket.give(Frame::Data(payload.clone().into()));
    }
    while socket.poll_flush(&mut cx).is_pending() {}
    frames(&socket.wire().written)
}

#[test]
fn what_is_short_or_does_not_become_smaller_leaves_as_it_is() {
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    })
    .take(2000)
    .collect();
    let given =
        [Payload::checked_text("a".repeat(255)), Payload::binary(noise), Payload::checked_text("a".repeat(256))];
    let firsts: Vec<_> = written(FORGOTTEN, |_| {}, &given).iter().map(|(first, _)| *first).collect();
    assert_eq!(firsts, [0x81, 0x82, 0xC1]);
    let eight = "permessage-deflate; client_max_window_bits=8";
    assert!(written(eight, |_| {}, &given).iter().all(|(first, _)| first & COMPRESSED == 0), "zlib has no such window");
}
