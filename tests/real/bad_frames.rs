//! Peers that break HTTP and RFC 6455: each gets its clear error, the daemon and other links do not notice.
//!
//! `tests/conformance` has all that a peer can break; here is what it costs others.

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
async fn a_peer_that_accepts_and_says_nothing_is_given_up_in_time() {
    let (peer, daemon) = beside_an_honest_link().await;
    let (_stream, _) = peer.accept().await;
    daemon.api.link_until("e/0", "failed", |link| link["lastClose"]["cause"].is_string()).await;
    honest_is_well(&daemon).await;
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
