//! How a local WebSocket ends, byte by byte (RFC 6455 §5.5.1, §7), and what breaks its rules for frames (§5).
//!
//! The client here is raw: it sends what no library would, and sees whether the connection ended in order or by a reset.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use super::bench::{Bench, PATIENCE, rest, until};

const PATH: &str = "/v1/endpoints/feed/ws";
const FEED: &str = "[endpoints.feed]\nurl = \"ws://127.0.0.1:1/\"\noutbox.max_message = \"1KiB\"";
const PROTOCOLS: [Option<&str>; 2] = [None, Some("wskeeper.v1.json")];
const CLOSE: u8 = 0x88;
const PONG: u8 = 0x8A;

/// A frame as a client sends it: masked, with the shortest length.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | u8::try_from(short).unwrap()),
        long => {
            frame.push(0xfe);
            frame.extend_from_slice(&u16::try_from(long).unwrap().to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A Close frame of this code.
fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes()[..], reason].concat())
}

/// An open local WebSocket, without a library.
async fn raw(bench: &Bench, protocol: Option<&str>) -> TcpStream {
    let mut stream = bench.dial().await;
    let offer = protocol.map_or_else(String::new, |word| format!("Sec-WebSocket-Protocol: {word}\r\n"));
    let request = format!(
        "GET {PATH}?types=message HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream
}

/// The frames that come until the server ends the connection, which it must do in order and by itself.
async fn frames(stream: &mut TcpStream) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    let reading = async {
        loop {
            let first = match stream.read_u8().await {
                Ok(first) => first,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return,
                Err(error) => panic!("not an end in order: {error}, after {frames:?}"),
            };
            let length = match stream.read_u8().await.unwrap() {
                126 => stream.read_u16().await.unwrap().into(),
                short => {
                    assert!(short < 126, "masked, or very long");
                    usize::from(short)
                }
            };
            let mut payload = vec![0; length];
            stream.read_exact(&mut payload).await.unwrap();
            frames.push((first, payload));
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("no end in time"));
    frames
}

/// The code of the last frame, which must be the only Close; `None`: it has no body.
fn code(frames: &[(u8, Vec<u8>)]) -> Option<u16> {
    let (last, before) = frames.split_last().expect("a Close frame");
    assert!(before.iter().all(|(first, _)| *first != CLOSE), "{frames:?}");
    assert_eq!(last.0, CLOSE, "{frames:?}");
    last.1.first_chunk().map(|code| u16::from_be_bytes(*code))
}

/// Sends these bytes over a new connection of each protocol; the code that it is closed with.
async fn closed_with(bench: &Bench, what: &str, bytes: &[u8], wanted: Option<u16>) {
    for protocol in PROTOCOLS {
        let mut stream = raw(bench, protocol).await;
        stream.write_all(bytes).await.unwrap();
        let frames = frames(&mut stream).await;
        assert_eq!(code(&frames), wanted, "{what}, {protocol:?}: {frames:?}");
    }
}

#[tokio::test]
async fn a_close_is_answered_in_kind_and_then_the_server_hangs_up() {
    let bench = Bench::new(FEED).await;
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999] {
        closed_with(&bench, "a code", &close(code, b""), Some(code)).await;
        closed_with(&bench, "a code with a reason", &close(code, "sch\u{f6}n".as_bytes()), Some(code)).await;
    }
    closed_with(&bench, "the longest reason", &close(1000, &[b'x'; 123]), Some(1000)).await;
    closed_with(&bench, "no body", &frame(CLOSE, b""), None).await;
    closed_with(&bench, "two", &[close(1000, b""), close(1001, b"")].concat(), Some(1000)).await;
    closed_with(&bench, "data behind it", &[close(1000, b""), frame(0x81, b"late")].concat(), Some(1000)).await;
    closed_with(&bench, "garbage behind it", &[close(1000, b""), vec![0xff; 100_000]].concat(), Some(1000)).await;
    let within = [frame(0x01, b"first"), close(1000, b"")].concat();
    closed_with(&bench, "within a message of fragments", &within, Some(1000)).await;
}

#[tokio::test]
async fn a_close_that_may_not_be_on_the_wire_is_a_fault_of_the_protocol() {
    let bench = Bench::new(FEED).await;
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        closed_with(&bench, "a code that is none", &close(code, b""), Some(1002)).await;
    }
    closed_with(&bench, "half a code", &frame(CLOSE, &[3]), Some(1002)).await;
    closed_with(&bench, "a reason that is no UTF-8", &close(1000, &[0xc3, 0x28]), Some(1007)).await;
    closed_with(&bench, "a reason that is too long", &close(1000, &[b'x'; 124]), Some(1002)).await;
    closed_with(&bench, "a Close in fragments", &frame(0x08, &1000_u16.to_be_bytes()), Some(1002)).await;
}

#[tokio::test]
async fn a_frame_that_breaks_the_rules_is_closed_with_1002() {
    let bench = Bench::new(FEED).await;
    for (what, bytes) in [
        ("a ping in fragments", frame(0x09, b"x")),
        ("a pong in fragments", frame(0x0a, b"x")),
        ("a ping of 126 bytes", frame(0x89, &[0; 126])),
        ("a pong of 126 bytes", frame(0x8a, &[0; 126])),
        ("a frame without a mask", b"\x81\x02hi".to_vec()),
        ("a Close without a mask", b"\x88\x02\x03\xe8".to_vec()),
        ("nothing to continue", frame(0x80, b"x")),
        ("a message within one", [frame(0x01, b"a"), frame(0x81, b"b")].concat()),
        ("a length of 64 bits with the first one set", b"\x82\xff\x80\0\0\0\0\0\0\x01\0\0\0\0".to_vec()),
    ] {
        closed_with(&bench, what, &bytes, Some(1002)).await;
    }
    for bit in [0x40, 0x20, 0x10] {
        closed_with(&bench, "a reserved bit", &frame(0x81 | bit, b"x"), Some(1002)).await;
        closed_with(&bench, "a reserved bit of a Close", &frame(CLOSE | bit, &1000_u16.to_be_bytes()), Some(1002))
            .await;
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        closed_with(&bench, "a reserved opcode", &frame(0x80 | opcode, b""), Some(1002)).await;
    }
}

#[tokio::test]
async fn text_that_is_no_utf8_is_1007_and_a_message_that_is_too_large_1009() {
    let bench = Bench::new(FEED).await;
    closed_with(&bench, "text", &frame(0x81, &[0xff]), Some(1007)).await;
    let halves = [frame(0x01, &[0xc3]), frame(0x80, &[0x28])].concat();
    closed_with(&bench, "text in fragments", &halves, Some(1007)).await;
    closed_with(&bench, "a large frame", &frame(0x82, &vec![0; 30_000]), Some(1009)).await;
    let parts = [frame(0x02, &[0; 5000]), frame(0x80, &[0; 5000])].concat();
    closed_with(&bench, "large in sum", &parts, Some(1009)).await;
    let mut stream = raw(&bench, Some("wskeeper.v1.json")).await;
    stream.write_all(&frame(0x82, b"x")).await.unwrap();
    assert_eq!(code(&frames(&mut stream).await), Some(1003), "binary in an envelope");
}

#[tokio::test]
async fn a_ping_before_a_close_is_answered_before_it() {
    let bench = Bench::new(FEED).await;
    for protocol in PROTOCOLS {
        let mut stream = raw(&bench, protocol).await;
        stream.write_all(&frame(0x89, b"still there?")).await.unwrap();
        let mut pong = [0; 14];
        stream.read_exact(&mut pong).await.unwrap();
        assert_eq!((pong[0], &pong[2..]), (PONG, &b"still there?"[..]));
        stream.write_all(&close(1000, b"")).await.unwrap();
        assert_eq!(code(&frames(&mut stream).await), Some(1000));
    }
}

#[tokio::test]
async fn a_message_before_a_close_is_accepted() {
    let bench = Bench::new(FEED).await;
    let mut stream = raw(&bench, None).await;
    stream.write_all(&[frame(0x81, b"kept"), close(1000, b"")].concat()).await.unwrap();
    assert_eq!(code(&frames(&mut stream).await), Some(1000));
    let queued = async || (bench.pool.endpoint("feed").unwrap().totals.queued_messages == 1).then_some(());
    until("the message in the outbox", queued).await;
}

#[tokio::test]
async fn a_stop_is_1001_and_waits_for_the_answer_but_not_for_ever() {
    for answers in [true, false] {
        let bench = Bench::new(FEED).await;
        let mut stream = raw(&bench, None).await;
        let began = Instant::now();
        let stopping = tokio::spawn(bench.stop());
        let mut head = [0; 4];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!((head[0], &head[2..]), (CLOSE, &1001_u16.to_be_bytes()[..]));
        let mut reason = vec![0; usize::from(head[1]) - 2];
        stream.read_exact(&mut reason).await.unwrap();
        assert_eq!(reason, b"the daemon is stopping");
        if answers {
            stream.write_all(&close(1001, b"")).await.unwrap();
        }
        assert_eq!(rest(&mut stream).await, "", "one Close, and the end");
        stopping.await.unwrap();
        assert!(began.elapsed() < PATIENCE / 2);
    }
}
