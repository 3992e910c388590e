//! What a server sees of links that come back: never more of them at once, nor faster, than admission allows.

use std::time::Duration;

use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::{
    QUICK, one,
    support::{daemon::Daemon, raw::Raw, until},
};

const LINKS: usize = 40;
/// Nobody else dials for so long: then nobody else may.
const ALONE: Duration = Duration::from_millis(25);

/// Upgrades all links, those together that dial while none of them has its answer. The most that there were of these, and the
/// open connections.
async fn let_all_in(peer: &Raw) -> (usize, Vec<TcpStream>) {
    let (mut most, mut open) = (0, Vec::new());
    while open.len() < LINKS {
        let mut opening = vec![peer.accept().await];
        while let Ok(next) = timeout(ALONE, peer.accept()).await {
            opening.push(next);
        }
        most = most.max(opening.len());
        for (mut stream, request) in opening {
            if Raw::upgrade(&mut stream, &request).await.is_ok() {
                open.push(stream);
            }
        }
    }
    (most, open)
}

/// The most that were being opened at once, after the server was away.
async fn at_once_after_an_outage(admission: &str) -> usize {
    let peer = Raw::listen().await;
    let port = peer.port;
    let sections = format!("{QUICK}\n[admission]\n{admission}\n{}", one(port, &format!("links = {LINKS}")));
    let daemon = Daemon::start(&sections).await;
    let (_, open) = let_all_in(&peer).await;
    drop((open, peer));
    until("all links know", || async {
        let answer = daemon.api.get("/metrics").await.expect(200);
        let text = String::from_utf8_lossy(&answer.body);
        let down = text.lines().any(|line| line == "wskeeper_links{endpoint=\"e\",phase=\"ready\"} 0");
        if down { Ok(()) } else { Err("some are ready") }
    })
    .await;
    let peer = Raw::listen_at(port).await;
    let_all_in(&peer).await.0
}

#[tokio::test]
async fn by_default_a_server_that_is_back_meets_one_link_at_a_time() {
    assert_eq!(at_once_after_an_outage("").await, 1);
}

#[tokio::test]
async fn a_server_that_is_back_meets_no_more_at_once_than_per_host_allows() {
    // More than one, or the peer could not tell.
    let most = at_once_after_an_outage("per_host = 4").await;
    assert!((2..=4).contains(&most), "{most}");
}

#[tokio::test]
async fn attempts_never_come_faster_than_the_rate() {
    const RATE: f64 = 40.0;
    let peer = Raw::listen().await;
    let sections =
        format!("{QUICK}\n[admission]\nper_host = 64\nrate = {RATE}\n{}", one(peer.port, &format!("links = {LINKS}")));
    let began = Instant::now();
    let _daemon = Daemon::start(&sections).await;
    let mut open = Vec::new();
    for attempts in 1..=u32::try_from(LINKS).unwrap() {
        let (mut stream, request) = peer.accept().await;
        let allowed = 1.0 + RATE * began.elapsed().as_secs_f64();
        assert!(f64::from(attempts) <= allowed, "{attempts} attempts, and {allowed:.1} are allowed by now");
        Raw::upgrade(&mut stream, &request).await.unwrap();
        open.push(stream);
    }
}
