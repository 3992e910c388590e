//! Clients of the local WebSocket that compress, and mean no good.

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

use crate::support::{PATIENCE, daemon::Daemon, deflate::deflated};

const ENDPOINT: &str = "[endpoints.e]\nurl = \"ws://127.0.0.1:1/\"\n";

/// A client with whom compression was agreed on.
async fn client(daemon: &Daemon) -> UnixStream {
    let mut stream = UnixStream::connect(daemon.folder().join("api.sock")).await.unwrap();
    let head = "GET /v1/endpoints/e/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap().to_lowercase();
    assert!(answer.contains("sec-websocket-extensions: permessage-deflate; server_no_context"), "{answer}");
    stream
}

/// A frame with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let head = match length {
        0..126 => vec![first, 0x80 | u8::try_from(length).unwrap()],
        length => [&[first, 0x80 | 0x7E][..], &length.to_be_bytes()].concat(),
    };
    [&head, &[0; 4][..], payload].concat()
}

/// The code that the daemon closes with.
async fn code(stream: &mut UnixStream) -> u16 {
    let mut told = Vec::new();
    let reading = async {
        loop {
            if let [0x88, _, high, low, ..] = told[..] {
                return u16::from_be_bytes([high, low]);
            }
            assert!(stream.read_buf(&mut told).await.unwrap() > 0, "no Close: {told:?}");
        }
    };
    timeout(PATIENCE, reading).await.expect("a Close in time")
}

#[tokio::test]
async fn a_bomb_of_a_client_stops_at_the_longest_message_that_it_may_send() {
    const CLIENTS: u64 = 20;
    let daemon = Daemon::start(&format!("compression = \"auto\"\n{ENDPOINT}")).await;
    let bomb = deflated(&vec![0; 32 << 20]);
    assert!(bomb.len() < 40 << 10, "{}", bomb.len());
    let whole = frame(0xC2, &bomb);
    let mut warm = client(&daemon).await;
    warm.write_all(&whole).await.unwrap();
    assert_eq!(code(&mut warm).await, 1009);
    let before = daemon.peak_memory();
    for _ in 0..CLIENTS {
        let mut stream = client(&daemon).await;
        stream.write_all(&whole).await.unwrap();
        assert_eq!(code(&mut stream).await, 1009);
    }
    let grown = daemon.peak_memory() - before;
    assert!(grown < 8 << 20, "{grown} bytes for bombs that are stopped at 1 MiB");
}

#[tokio::test]
async fn a_client_that_breaks_compression_is_told_by_its_code() {
    let daemon = Daemon::start(&format!("compression = \"auto\"\n{ENDPOINT}")).await;
    let good = deflated(b"so it goes, so it goes, and so it goes on");
    let bad: [(Vec<u8>, u16); 7] = [
        (frame(0xC1, &[0xFF; 9]), 1007),
        (frame(0xC1, &good[..good.len() - 2]), 1007),
        (frame(0xC1, &[&good[..], b"garbage"].concat()), 1007),
        (frame(0xC1, &deflated(&[0xC3, 0x28])), 1007),
        // A length in a longer form than it needs, a control frame that is compressed, and a frame without a mask.
        ([&[0xC1, 0x80 | 0x7E, 0, u8::try_from(good.len()).unwrap(), 0, 0, 0, 0], &good[..]].concat(), 1002),
        (frame(0xC9, b""), 1002),
        (vec![0xC1, 1, 0], 1002),
    ];
    for (bytes, wanted) in bad {
        let mut stream = client(&daemon).await;
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(code(&mut stream).await, wanted, "{bytes:x?}");
    }
}

/// Each holds an inflater, which is counted.
#[tokio::test]
async fn clients_in_the_middle_of_a_compressed_message_are_counted_together() {
    const CLIENTS: usize = 400;
    let daemon = Daemon::start(&format!("compression = \"auto\"\n[limits]\nmemory = \"16MiB\"\n{ENDPOINT}")).await;
    let before = daemon.memory();
    let message = deflated(&(0..=255).cycle().take(4000).collect::<Vec<u8>>());
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut stream = client(&daemon).await;
        stream.write_all(&frame(0x42, &message)).await.unwrap();
        clients.push(stream);
    }
    // A quarter of the budget is theirs.
    let mut told: FuturesUnordered<_> = clients.iter_mut().map(code).collect();
    for _ in 0..CLIENTS / 2 {
        assert_eq!(told.next().await, Some(1013));
    }
    drop(told);
    let grown = daemon.memory() - before;
    assert!(grown < (4 << 20) + 400 * (48 << 10), "{grown}");
    assert_eq!(daemon.api.get("/livez").await.status, 200);
}
