//! Servers that die, restart, reset and freeze: the link notices, says why, and is ready again when they are.

use nix::sys::signal::Signal;

use crate::{
    one,
    support::{
        daemon::Daemon,
        peer::{Peer, Recipe},
    },
};

#[tokio::test]
async fn a_killed_server_is_noticed_and_the_link_is_back_after_its_restart() {
    for recipe in [Recipe::Python, Recipe::Node] {
        let Some(mut peer) = Peer::start(recipe).await else { return };
        let daemon = Daemon::start(&one(peer.port, "/", "")).await;
        daemon.api.ready_after("e/0", 0).await;
        peer.kill();
        let link = daemon.api.link_until("e/0", "down", |link| !link["lastClose"].is_null()).await;
        assert_eq!(link["lastClose"]["wasClean"], false, "{link}");
        assert_eq!(link["lastClose"]["code"], 1006, "{link}");
        daemon.api.link_until("e/0", "refused", |link| link["lastClose"]["cause"] == "connect").await;
        peer.restart().await;
        daemon.api.ready_after("e/0", 1).await;
        carries(&daemon).await;
    }
}

#[tokio::test]
async fn a_reset_is_an_abnormal_close() {
    let Some(peer) = Peer::start(Recipe::Python).await else { return };
    let daemon = Daemon::start(&one(peer.port, "/", "")).await;
    daemon.api.ready_after("e/0", 0).await;
    daemon.api.send_text("e", "!rst").await.expect(202);
    let link = daemon.api.ready_after("e/0", 1).await;
    assert_eq!(link["lastClose"]["code"], 1006, "{link}");
    assert_eq!(link["lastClose"]["cause"], "reset", "{link}");
    assert_eq!(link["lastClose"]["wasClean"], false, "{link}");
    carries(&daemon).await;
}

#[tokio::test]
async fn a_peer_that_hangs_up_without_a_close_frame_is_an_abnormal_close() {
    let Some(peer) = Peer::start(Recipe::Node).await else { return };
    let daemon = Daemon::start(&one(peer.port, "/", "")).await;
    daemon.api.ready_after("e/0", 0).await;
    daemon.api.send_text("e", "!terminate").await.expect(202);
    let link = daemon.api.ready_after("e/0", 1).await;
    assert_eq!(link["lastClose"]["code"], 1006, "{link}");
    assert_eq!(link["lastClose"]["wasClean"], false, "{link}");
}

#[tokio::test]
async fn a_frozen_server_is_found_out_by_its_silence() {
    let Some(peer) = Peer::start(Recipe::Python).await else { return };
    let heartbeat = "[endpoints.e.heartbeat]\nidle = \"500ms\"\ntimeout = \"500ms\"";
    let daemon = Daemon::start(&one(peer.port, "/", heartbeat)).await;
    daemon.api.ready_after("e/0", 0).await;
    peer.signal(Signal::SIGSTOP);
    let link = daemon.api.link_until("e/0", "down", |link| !link["lastClose"].is_null()).await;
    assert_eq!(link["lastClose"]["cause"], "pong_timeout", "{link}");
    assert_eq!(link["lastClose"]["code"], 1006, "{link}");
    let timeouts = daemon.api.metric("wskeeper_heartbeat_timeouts_total{endpoint=\"e\"}").await;
    assert_eq!(timeouts, Some(1.0));
    peer.signal(Signal::SIGCONT);
    daemon.api.ready_after("e/0", 1).await;
    carries(&daemon).await;
}

#[tokio::test]
async fn a_stopping_daemon_says_1001_and_ends_with_success() {
    let peer = crate::support::raw::Raw::listen().await;
    let mut daemon = Daemon::start(&one(peer.port, "/", "")).await;
    let mut stream = peer.accept_and_send(b"").await;
    daemon.api.ready_after("e/0", 0).await;
    daemon.signal(Signal::SIGTERM);
    assert_eq!(crate::support::raw::close_code(&mut stream).await, Some(1001));
    drop(stream);
    let status = daemon.end().await;
    assert!(status.success(), "{status}\n{}", daemon.log());
}

async fn carries(daemon: &Daemon) {
    let mut events = daemon.api.events("e", "from=latest&types=message").await;
    daemon.api.send_text("e", "still here").await.expect(202);
    assert_eq!(events.next_of("message").await.payload().0, b"still here");
}
