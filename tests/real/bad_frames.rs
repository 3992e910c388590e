//! Peers that break HTTP and RFC 6455: each gets its clear error, the daemon and other links do not notice.

use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::{
    endpoint, one,
    support::{
        daemon::Daemon,
        raw::{self, Raw, head},
    },
};

#[tokio::test]
async fn garbage_instead_of_http_is_a_refused_upgrade() {
    let (peer, daemon) = beside_an_honest_link().await;
    let (mut stream, _) = peer.accept().await;
    stream.write_all(b"\x00\xffSSH-2.0-what are you\r\n\r\n").await.unwrap();
    drop(stream);
    fails_with(&daemon, "upgrade").await;
}

#[tokio::test]
async fn a_wrong_accept_key_is_a_refused_upgrade() {
    let (peer, daemon) = beside_an_honest_link().await;
    let (mut stream, _) = peer.accept().await;
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: AAAA\r\n\r\n";
    stream.write_all(answer.as_bytes()).await.unwrap();
    fails_with(&daemon, "upgrade").await;
}

#[tokio::test]
async fn a_peer_that_accepts_and_says_nothing_is_given_up_in_time() {
    let (peer, daemon) = beside_an_honest_link().await;
    let (_stream, _) = peer.accept().await;
    daemon.api.link_until("e/0", "failed", |link| link["lastClose"]["cause"].is_string()).await;
    honest_is_well(&daemon).await;
}

#[tokio::test]
async fn a_masked_frame_is_answered_with_1002() {
    answered_with(1002, "protocol", &[0x81, 0x82, 1, 2, 3, 4, b'a' ^ 1, b'b' ^ 2]).await;
}

#[tokio::test]
async fn a_reserved_opcode_is_answered_with_1002() {
    answered_with(1002, "protocol", &[0x83, 0]).await;
}

#[tokio::test]
async fn a_reserved_bit_is_answered_with_1002() {
    answered_with(1002, "protocol", &[0xc1, 1, b'a']).await;
}

#[tokio::test]
async fn a_control_frame_that_is_too_long_is_answered_with_1002() {
    answered_with(1002, "protocol", &[&[0x89, 126, 0, 126], [0; 126].as_slice()].concat()).await;
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_answered_with_1007() {
    answered_with(1007, "protocol", &[0x81, 3, b'a', 0xc3, 0x28]).await;
}

#[tokio::test]
async fn a_message_of_64_mib_is_answered_with_1009() {
    let bytes = [head(2, 64 << 20), vec![0; 1 << 16]].concat();
    answered_with(1009, "too_big", &bytes).await;
}

#[tokio::test]
async fn fragments_that_add_up_to_too_much_are_answered_with_1009() {
    let mut first = head(2, 700_000);
    first[0] &= 0x7f;
    let last = head(0, 700_000);
    let body = vec![0; 700_000];
    answered_with(1009, "too_big", &[first, body.clone(), last, body].concat()).await;
}

#[tokio::test]
async fn a_length_that_lies_is_an_abnormal_close() {
    let (peer, daemon) = beside_an_honest_link().await;
    let stream = peer.accept_and_send(&[0x82, 100, 1, 2, 3]).await;
    drop(stream);
    let link = daemon.api.link_until("e/0", "lost", |link| link["lastClose"]["code"] == 1006).await;
    assert_eq!(link["lastClose"]["wasClean"], false, "{link}");
    honest_is_well(&daemon).await;
}

#[tokio::test]
async fn a_length_beyond_all_bounds_ends_the_connection() {
    let (peer, daemon) = beside_an_honest_link().await;
    let _stream = peer.accept_and_send(&[&[0x82, 127], [0xff; 8].as_slice()].concat()).await;
    let ended = |link: &Value| link["generation"] == 1 && link["lastClose"]["cause"].is_string();
    let link = daemon.api.link_until("e/0", "lost", ended).await;
    assert!(["protocol", "too_big"].contains(&link["lastClose"]["cause"].as_str().unwrap()), "{link}");
    honest_is_well(&daemon).await;
}

#[tokio::test]
async fn a_close_frame_with_a_code_that_no_peer_may_send_breaks_the_protocol() {
    // Real servers send 1006.
    for code in [1006_u16, 1005, 1015, 999, 0] {
        let [high, low] = code.to_be_bytes();
        answered_with(1002, "protocol", &[0x88, 2, high, low]).await;
    }
}

async fn answered_with(code: u16, cause: &str, bytes: &[u8]) {
    let (peer, daemon) = beside_an_honest_link().await;
    let mut stream = peer.accept_and_send(bytes).await;
    let seen = tokio::time::timeout(crate::support::PATIENCE, raw::close_code(&mut stream)).await;
    assert_eq!(seen, Ok(Some(code)), "the Close frame that the peer sees");
    drop(stream);
    let link = daemon.api.link_until("e/0", "lost", |link| link["lastClose"]["sentCode"] == code).await;
    assert_eq!(link["lastClose"]["cause"], cause, "{link}");
    assert_eq!(link["lastClose"]["wasClean"], false, "{link}");
    honest_is_well(&daemon).await;
}

async fn fails_with(daemon: &Daemon, cause: &str) {
    let link = daemon.api.link_until("e/0", "failed", |link| link["lastClose"]["cause"] == cause).await;
    assert_eq!((&link["generation"], &link["lastClose"]["code"]), (&0.into(), &1006.into()), "{link}");
    honest_is_well(daemon).await;
}

/// A daemon with the link `e/0` to a raw peer, and `honest/0` to an echo peer, which is ready.
async fn beside_an_honest_link() -> (Raw, Daemon) {
    let peer = Raw::listen().await;
    let honest = endpoint("honest", &format!("ws://127.0.0.1:{}/", raw::honest().await), "");
    let daemon = Daemon::start(&one(peer.port, "/", &honest)).await;
    daemon.api.ready_after("honest/0", 0).await;
    (peer, daemon)
}

async fn honest_is_well(daemon: &Daemon) {
    let mut events = daemon.api.events("honest", "from=latest&types=message").await;
    daemon.api.send_text("honest", "well").await.expect(202);
    assert_eq!(events.next_of("message").await.payload().0, b"well");
    assert_eq!(daemon.api.link("honest/0").await["generation"], 1);
}
