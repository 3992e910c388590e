//! How connections that many links share come to their end, and what becomes of the links.

use super::{
    QUICK, connections, ended, endpoint, peer, say,
    support::{PATIENCE, daemon::Daemon, until, until_within},
    told,
};

#[tokio::test]
async fn after_goaway_those_that_it_has_go_on_and_the_next_has_a_new_connection() {
    let Some(peer) = peer(&[]).await else { return };
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", peer.port, "/echo", "links = 2"))).await;
    daemon.api.ready_after("e/0", 0).await;
    daemon.api.ready_after("e/1", 0).await;
    say(&daemon, "e", "goaway").await;
    told(&peer, "goaway 1", 1).await;
    let mut events = daemon.api.events("e", "from=latest&types=message").await;
    for text in ["one", "two", "three"] {
        say(&daemon, "e", text).await;
        assert_eq!(events.next_of("message").await.payload(), (text.as_bytes().to_vec(), false));
    }
    daemon.api.post("/v1/links/e/0/reconnect", &[], "").await.expect(200);
    daemon.api.ready_after("e/0", 1).await;
    assert_eq!(connections(&peer, 2).await, 2, "{}", peer.log());
    let other = daemon.api.link("e/1").await;
    assert!(other["generation"] == 1 && other["http2"]["connection"] == 1, "{other}");
    daemon.api.post("/v1/links/e/1/reconnect", &[], "").await.expect(200);
    daemon.api.ready_after("e/1", 1).await;
    told(&peer, "gone 1", 1).await;
}

#[tokio::test]
async fn what_a_goaway_says_was_not_looked_at_is_asked_on_another_connection_at_once() {
    let Some(peer) = peer(&[]).await else { return };
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", peer.port, "/unseen", ""))).await;
    let link = daemon.api.ready_after("e/0", 0).await;
    assert_eq!((&link["lastClose"], connections(&peer, 2).await), (&serde_json::Value::Null, 2), "{link}");
    assert_eq!(daemon.api.metric("wskeeper_connect_attempts_total{endpoint=\"e\",result=\"ok\"}").await, Some(1.0));
}

#[tokio::test]
async fn when_the_connection_is_reset_all_its_links_end_and_come_back_over_one() {
    let Some(peer) = peer(&[]).await else { return };
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", peer.port, "/echo", "links = 30"))).await;
    for index in 0..30 {
        daemon.api.ready_after(&format!("e/{index}"), 0).await;
    }
    say(&daemon, "e", "die").await;
    for index in 0..30 {
        let link = daemon.api.ready_after(&format!("e/{index}"), 1).await;
        let last = &link["lastClose"];
        assert!(last["code"] == 1006 && last["wasClean"] == false, "{link}");
        assert!(last["detail"].as_str().is_some_and(|said| said.contains("HTTP/2 connection")), "{link}");
    }
    assert_eq!(connections(&peer, 2).await, 2, "{}", peer.log());
}

#[tokio::test]
async fn a_connection_whose_peer_is_silent_is_pinged_and_given_up_with_all_its_links() {
    let Some(peer) = peer(&[]).await else { return };
    // The links' own pings would find out later.
    let keys = "links = 3\nheartbeat.idle = \"1s\"\nheartbeat.timeout = \"1s\"\nheartbeat.when_idle = \"out\"";
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", peer.port, "/echo", keys))).await;
    for index in 0..3 {
        daemon.api.ready_after(&format!("e/{index}"), 0).await;
    }
    say(&daemon, "e", "deaf").await;
    for index in 0..3 {
        let link = daemon.api.ready_after(&format!("e/{index}"), 1).await;
        let last = &link["lastClose"];
        assert!(last["cause"] == "reset" || last["cause"] == "pong_timeout", "{link}");
    }
    assert_eq!(connections(&peer, 2).await, 2, "{}", peer.log());
}

#[tokio::test]
async fn a_peer_that_takes_back_its_word_keeps_its_links_and_gets_no_more_on_that_connection() {
    let Some(peer) = peer(&[]).await else { return };
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", peer.port, "/echo", "links = 2"))).await;
    daemon.api.ready_after("e/0", 0).await;
    daemon.api.ready_after("e/1", 0).await;
    say(&daemon, "e", "withdraw").await;
    told(&peer, "withdrawn 1", 1).await;
    let mut events = daemon.api.events("e", "from=latest&types=message").await;
    say(&daemon, "e", "still").await;
    assert_eq!(events.next_of("message").await.payload(), (b"still".to_vec(), false));
    daemon.api.post("/v1/links/e/0/reconnect", &[], "").await.expect(200);
    daemon.api.ready_after("e/0", 1).await;
    assert_eq!(connections(&peer, 2).await, 2, "{}", peer.log());
}

#[tokio::test]
async fn a_peer_that_takes_fewer_streams_than_there_are_links_gets_more_connections() {
    let Some(peer) = peer(&["streams=2"]).await else { return };
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", peer.port, "/echo", "links = 5"))).await;
    for index in 0..5 {
        daemon.api.ready_after(&format!("e/{index}"), 0).await;
    }
    assert_eq!(connections(&peer, 3).await, 3, "{}", peer.log());
}

#[tokio::test]
async fn ends_of_streams_that_break_rules_end_a_link_as_a_lost_connection_does() {
    let Some(peer) = peer(&[]).await else { return };
    let paths = ["closed", "trailers", "after", "reset/2", "above"];
    let all: String = paths
        .map(|path| endpoint(&path.replace('/', "-"), peer.port, &format!("/{path}"), "heartbeat.idle = \"300ms\""))
        .concat();
    let daemon = Daemon::start(&format!("{QUICK}{all}")).await;
    for path in paths {
        let name = path.replace('/', "-");
        let detail = if path == "reset/2" { "INTERNAL_ERROR, 0x2" } else { "" };
        let cause = if path == "above" { "protocol" } else { "reset" };
        if path != "above" {
            ended(&daemon, &format!("{name}/0"), cause, detail).await;
        }
        // It goes on trying.
        told(&peer, &format!("/{path} "), 2).await;
    }
    for path in ["trailers", "after"] {
        let mut events = daemon.api.events(path, "types=message").await;
        assert_eq!(events.next_of("message").await.payload(), (b"before".to_vec(), false), "{path}");
    }
    until("the daemon to answer", || async { daemon.api.try_get("/livez").await.map(|_| ()) }).await;
}

#[tokio::test]
async fn floods_of_frames_cost_little_memory_and_no_other_endpoint_its_links() {
    let Some(peer) = peer(&[]).await else { return };
    let good = endpoint("good", peer.port, "/echo", "");
    let rude = endpoint("endless", peer.port, "/endless", "")
        + &endpoint("empty", peer.port, "/empty/200000", "")
        + &endpoint("interim", peer.port, "/interim/20000", "connect_timeout = \"10s\"")
        + &endpoint("small", peer.port, "/small/20000", "");
    let daemon = Daemon::start(&format!("{QUICK}{good}{rude}")).await;
    daemon.api.ready_after("good/0", 0).await;
    for path in ["/endless ", "/empty/200000 "] {
        told(&peer, path, 3).await;
    }
    until_within(4 * PATIENCE, "the rude ones to be through", || async {
        let interim = daemon.api.link("interim/0").await;
        if interim["phase"] == "ready" || interim["lastClose"]["cause"] == "upgrade" { Ok(()) } else { Err(interim) }
    })
    .await;
    assert_eq!(daemon.api.link("good/0").await["generation"], 1);
    assert!(daemon.peak_memory() < 200 << 20, "{} bytes", daemon.peak_memory());
}

#[tokio::test]
async fn a_close_that_the_peer_has_answered_is_clean_each_time() {
    let Some(peer) = peer(&[]).await else { return };
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", peer.port, "/bye", "links = 20"))).await;
    told(&peer, "ended ", 40).await;
    daemon.api.link_until("e/0", "closed", |link| link["lastClose"]["code"] == 1000).await;
    let metrics = String::from_utf8(daemon.api.get("/metrics").await.expect(200).body.to_vec()).unwrap();
    let closes = metrics.lines().filter(|line| line.starts_with("wskeeper_closes_total") && !line.ends_with(" 0"));
    for line in closes {
        assert!(line.contains("clean=\"true\""), "{line}");
    }
}
