//! What the daemon sends by itself: its request (RFC 6455 §4.1), and the frames of its messages (§5.1 to §5.3, §6.1).

use std::collections::BTreeSet;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

use crate::{
    SETTINGS,
    deflate::bomb,
    row::frame,
    support::{
        daemon::Daemon,
        raw::{self, Raw, header},
    },
};
use tokio::io::AsyncWriteExt as _;

/// What these tests are about.
pub const DEMANDS: &[&str] =
    &["4.1/request", "4.1/key", "4.1/version", "4.1/offers", "5.1/mask", "5.2/minimal", "5.3/key", "6.1/send"];

#[tokio::test]
async fn the_request_has_what_a_server_must_find_in_it() {
    let peer = Raw::listen().await;
    let keys = "links = 3\nprotocols = [\"v2\", \"v1\"]\ncompression = \"auto\"";
    let url = format!("ws://127.0.0.1:{}/path?query", peer.port);
    let _daemon = Daemon::start(&format!("{SETTINGS}[endpoints.e]\nurl = \"{url}\"\n{keys}\n")).await;
    let mut nonces = BTreeSet::new();
    for _ in 0..3 {
        let (_stream, request) = peer.accept().await;
        assert!(request.starts_with("GET /path?query HTTP/1.1\r\n"), "{request}");
        let host = format!("127.0.0.1:{}", peer.port);
        for (name, value) in [
            ("host", &*host),
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "v2, v1"),
        ] {
            assert_eq!(header(&request, name), value, "{request}");
        }
        let offer =
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits";
        assert_eq!(header(&request, "sec-websocket-extensions"), offer);
        let nonce = BASE64_STANDARD.decode(header(&request, "sec-websocket-key")).unwrap();
        assert_eq!(nonce.len(), 16);
        nonces.insert(nonce);
    }
    assert_eq!(nonces.len(), 3, "each connection has a key of its own");
}

/// A frame of a client: its first byte, how many bytes say its length, its masking key, and its payload without.
async fn masked(stream: &mut TcpStream) -> (u8, usize, [u8; 4], Vec<u8>) {
    let (first, second) = (stream.read_u8().await.unwrap(), stream.read_u8().await.unwrap());
    assert_eq!(second & 0x80, 0x80, "a client masks every frame");
    let (form, length) = match second & 0x7F {
        126 => (2, stream.read_u16().await.unwrap().into()),
        127 => (8, stream.read_u64().await.unwrap()),
        short => (0, short.into()),
    };
    let (mut key, mut payload) = ([0; 4], vec![0; usize::try_from(length).unwrap()]);
    stream.read_exact(&mut key).await.unwrap();
    stream.read_exact(&mut payload).await.unwrap();
    payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    (first, form, key, payload)
}

#[tokio::test]
async fn messages_leave_masked_by_a_key_each_with_their_type_and_the_shortest_lengths() {
    let peer = Raw::listen().await;
    let url = format!("ws://127.0.0.1:{}/", peer.port);
    let keys = "heartbeat = { ping = false, idle = \"10min\" }";
    let daemon = Daemon::start(&format!("{SETTINGS}[endpoints.e]\nurl = \"{url}\"\n{keys}\n")).await;
    let mut stream = peer.accept_and_send(b"").await;
    daemon.api.ready_after("e/0", 0).await;
    let mut used = BTreeSet::new();
    for length in [0, 1, 125, 126, 65_535, 65_536, 200_000] {
        for opcode in [0x1_u8, 0x2] {
            let message = vec![b'm'; length];
            if opcode == 0x1 {
                daemon.api.send_text("e", &"m".repeat(length)).await.expect(202);
            } else {
                daemon.api.send_binary("e", message.clone()).await.expect(202);
            }
            let (mut got, mut is_first) = (Vec::new(), true);
            loop {
                let (first, form, key, payload) = masked(&mut stream).await;
                assert_eq!(first & 0x7F, if is_first { opcode } else { 0 }, "no bit is set but for the last");
                let shortest = match payload.len() {
                    ..126 => 0,
                    126..65_536 => 2,
                    _ => 8,
                };
                assert_eq!(form, shortest, "{} bytes", payload.len());
                used.insert(key);
                (got, is_first) = ([got, payload].concat(), false);
                if first & 0x80 != 0 {
                    break;
                }
            }
            assert!(got == message, "{length} bytes");
        }
    }
    assert!(used.len() > 14, "{} keys", used.len());
}

#[tokio::test]
async fn thirty_two_mib_in_thirty_two_kib_cost_a_connection_and_no_memory() {
    let peer = Raw::listen().await;
    let url = format!("ws://127.0.0.1:{}/", peer.port);
    let more = "compression = \"auto\"\ninbox = { max_message = \"1MiB\" }";
    let daemon = Daemon::start(&format!("{SETTINGS}[endpoints.e]\nurl = \"{url}\"\n{more}\n")).await;
    let bomb = frame(0xC2, &bomb(8));
    assert!(bomb.len() < 32 << 10);
    let (mut stream, request) = peer.accept().await;
    let before = daemon.peak_memory();
    let extension = crate::row::Lane::Deflate.extension();
    Raw::upgrade_with(&mut stream, &request, extension).await.unwrap();
    stream.write_all(&bomb).await.unwrap();
    assert_eq!(raw::close_code(&mut stream).await, Some(1009));
    drop(stream);
    let link = daemon.api.link_until("e/0", "closed", |link| link["lastClose"].is_object()).await;
    assert_eq!(
        (&link["lastClose"]["cause"], &link["lastClose"]["sentCode"]),
        (&"too_big".into(), &1009.into()),
        "{link}"
    );
    let grown = daemon.peak_memory() - before;
    assert!(grown < 8 << 20, "{grown} bytes for a bomb that is stopped at 1 MiB");
}
