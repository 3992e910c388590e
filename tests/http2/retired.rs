//! Connections that are well, by all that HTTP/2 says of them, and open or carry nothing more: no link is left on one.

use serde_json::Value;

use super::{
    QUICK, connections, endpoint, peer, say,
    support::{daemon::Daemon, until},
    told,
};

#[tokio::test]
async fn a_connection_that_answers_no_more_takes_no_more_links_and_keeps_those_that_it_has() {
    let Some(peer) = peer(&[]).await else { return };
    let keys = "links = 4\nconnect_timeout = \"1s\"";
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", peer.port, "/few/2", keys))).await;
    for index in 0..4 {
        let link = daemon.api.ready_after(&format!("e/{index}"), 0).await;
        assert_eq!(link["generation"], 1, "{link}");
    }
    assert_eq!(connections(&peer, 2).await, 2, "{}", peer.log());
}

#[tokio::test]
async fn a_stream_that_is_refused_is_asked_for_on_another_connection_at_once() {
    let Some(peer) = peer(&[]).await else { return };
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", peer.port, "/full/2", "links = 6"))).await;
    for index in 0..6 {
        let link = daemon.api.ready_after(&format!("e/{index}"), 0).await;
        assert_eq!(link["generation"], 1, "{link}");
    }
    assert!((3..=6).contains(&connections(&peer, 3).await), "{}", peer.log());
}

#[tokio::test]
async fn a_server_that_refuses_each_stream_gets_one_connection_an_attempt() {
    let Some(peer) = peer(&[]).await else { return };
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", peer.port, "/full/0", "links = 3"))).await;
    told(&peer, "request ", 12).await;
    let made = connections(&peer, 0).await as u64;
    let mut attempts = 0;
    for index in 0..3 {
        attempts += daemon.api.link(&format!("e/{index}")).await["attempt"].as_u64().unwrap();
    }
    // Those under way may not be counted yet.
    assert!(made <= attempts + 3, "{made} connections, {attempts} attempts: {}", peer.log());
}

#[tokio::test]
async fn a_link_that_was_given_up_comes_back_on_another_connection_and_the_others_stay() {
    let Some(peer) = peer(&[]).await else { return };
    let keys = "links = 2\nheartbeat.idle = \"300ms\"\nheartbeat.timeout = \"1s\"";
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", peer.port, "/echo", keys))).await;
    daemon.api.ready_after("e/0", 0).await;
    daemon.api.ready_after("e/1", 0).await;
    say(&daemon, "e", "mute").await;
    let on = |link: &Value| (link["generation"].as_u64(), link["http2"]["connection"].as_u64());
    until("one of them on a connection of its own", || async {
        let mut both = [on(&daemon.api.link("e/0").await), on(&daemon.api.link("e/1").await)];
        both.sort();
        if both == [(Some(1), Some(1)), (Some(2), Some(2))] { Ok(()) } else { Err(both) }
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_takes_no_more_bytes_is_left_by_its_links() {
    let Some(peer) = peer(&["leaky"]).await else { return };
    let keys = "links = 3\nheartbeat.idle = \"300ms\"\nheartbeat.timeout = \"700ms\"";
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", peer.port, "/echo", keys))).await;
    for index in 0..3 {
        daemon.api.ready_after(&format!("e/{index}"), 0).await;
    }
    daemon.api.send_binary("e", vec![b'x'; 100_000]).await.expect(202);
    for index in 0..3 {
        daemon
            .api
            .link_until(&format!("e/{index}"), "on another connection", |link| {
                link["phase"] == "ready" && link["http2"]["connection"].as_u64() > Some(1)
            })
            .await;
    }
}
