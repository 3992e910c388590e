//! Many links on one connection: how many, what goes over it, and who leaves whom alone.

use super::{QUICK, connections, endpoint, peer, say, support::daemon::Daemon, told};

#[tokio::test]
async fn links_share_connections_up_to_the_limit_and_messages_of_any_size_go_both_ways() {
    let Some(peer) = peer(&[]).await else { return };
    let keys = "links = 20\nhttp2_links = 8\nheaders = { Authorization = \"Bearer hush\" }\nprotocols = [\"v1\"]\nprotocols_optional = true";
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", peer.port, "/echo?token=x", keys))).await;
    for index in 0..20 {
        daemon.api.ready_after(&format!("e/{index}"), 0).await;
    }
    assert_eq!(connections(&peer, 3).await, 3, "{}", peer.log());
    assert_eq!(daemon.api.metric("wskeeper_http2_connections{endpoint=\"e\"}").await, Some(3.0));
    let mut on = [0; 4];
    for index in 0..20 {
        let link = daemon.api.link(&format!("e/{index}")).await;
        let (connection, links) =
            (link["http2"]["connection"].as_u64().unwrap(), link["http2"]["links"].as_u64().unwrap());
        assert!(links == 8 || links == 4, "{link}");
        on[usize::try_from(connection).unwrap()] += 1;
    }
    assert_eq!(on, [0, 8, 8, 4]);
    let request = peer.log().lines().find(|line| line.starts_with("request ")).unwrap().to_owned();
    for header in [
        ":authority=127.0.0.1:",
        ":method=CONNECT",
        ":path=/echo?token=x",
        ":protocol=websocket",
        ":scheme=http ",
        "authorization=Bearer hush",
        "sec-websocket-protocol=v1",
        "sec-websocket-version=13",
        "user-agent=wskeeper/",
    ] {
        assert!(request.contains(header), "{header}: {request}");
    }
    assert!(!request.contains("sec-websocket-key") && !request.contains("upgrade"), "{request}");
    let mut events = daemon.api.events("e", "from=latest&types=message").await;
    for size in [0, 125, 126, 65_536, 300_000] {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
        daemon.api.send_binary("e", bytes.clone()).await.expect(202);
        assert!(events.next_of("message").await.payload() == (bytes, true), "{size} bytes");
    }
    let explained = daemon.api.get("/v1/links/e/0/explain").await.expect(200).json();
    // Which links come to the connection that is not full nobody can say.
    assert_eq!(explained["link"]["http2"], daemon.api.link("e/0").await["http2"], "{explained}");
    assert!(!daemon.log().contains("hush"), "{}", daemon.log());
}

#[tokio::test]
async fn a_message_is_written_when_it_has_left_and_confirmed_by_the_peers_pong() {
    let Some(peer) = peer(&[]).await else { return };
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", peer.port, "/echo", ""))).await;
    daemon.api.ready_after("e/0", 0).await;
    for wait in ["written", "confirmed"] {
        let path = format!("/v1/endpoints/e/messages?wait={wait}");
        let answer = daemon.api.post(&path, &[("content-type", "text/plain")], vec![b'x'; 200_000]).await;
        let receipt = answer.expect(200).json();
        assert!(receipt["state"] == wait || receipt["state"] == "confirmed", "{receipt}");
    }
}

#[tokio::test]
async fn a_reset_ends_one_link_with_its_code_and_the_others_go_on() {
    let Some(peer) = peer(&[]).await else { return };
    let all: String = ["a", "b", "c"].map(|name| endpoint(name, peer.port, "/echo", "links = 2")).concat();
    let daemon = Daemon::start(&format!("{QUICK}{all}")).await;
    for link in ["a/0", "a/1", "b/0", "b/1", "c/0", "c/1"] {
        daemon.api.ready_after(link, 0).await;
    }
    assert_eq!(connections(&peer, 3).await, 3, "each endpoint has its own");
    say(&daemon, "a", "reset 8").await;
    told(&peer, "request ", 7).await;
    let mut again = 0;
    for link in ["a/0", "a/1"] {
        let seen = daemon.api.ready_after(link, 0).await;
        if seen["generation"] == 2 {
            again += 1;
            let detail = seen["lastClose"]["detail"].as_str().unwrap();
            assert!(seen["lastClose"]["cause"] == "reset" && detail.contains("CANCEL, 0x8"), "{seen}");
            assert_eq!(seen["lastClose"]["code"], 1006, "{seen}");
        }
    }
    assert_eq!((again, connections(&peer, 3).await), (1, 3), "it is back on the same connection");
}

#[tokio::test]
async fn a_link_that_closes_leaves_the_others_and_the_last_one_takes_the_connection_along() {
    let Some(peer) = peer(&[]).await else { return };
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", peer.port, "/echo", "links = 2"))).await;
    daemon.api.ready_after("e/0", 0).await;
    daemon.api.ready_after("e/1", 0).await;
    daemon.api.post("/v1/links/e/0/pause", &[], "").await.expect(200);
    let closed = daemon.api.link_until("e/0", "paused", |link| link["phase"] == "paused").await;
    assert!(closed["lastClose"]["wasClean"] == true && closed["lastClose"]["code"] == 1000, "{closed}");
    assert_eq!(daemon.api.link("e/1").await["http2"]["links"], 1);
    assert!(!peer.log().contains("gone 1"), "{}", peer.log());
    daemon.api.post("/v1/links/e/1/pause", &[], "").await.expect(200);
    told(&peer, "gone 1", 1).await;
    assert_eq!(daemon.api.metric("wskeeper_http2_connections{endpoint=\"e\"}").await, Some(0.0));
    daemon.api.post("/v1/links/e/1/resume", &[], "").await.expect(200);
    daemon.api.ready_after("e/1", 1).await;
    assert_eq!(connections(&peer, 2).await, 2);
}

#[tokio::test]
async fn what_the_peers_window_does_not_take_stays_in_the_outbox_and_goes_again_when_the_link_is_lost() {
    let Some(peer) = peer(&["window=0"]).await else { return };
    let keys = "heartbeat.idle = \"500ms\"\nheartbeat.timeout = \"500ms\"";
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", peer.port, "/echo", keys))).await;
    daemon.api.ready_after("e/0", 0).await;
    let answer = daemon.api.send_text("e", "not a byte of it leaves").await.expect(202).json();
    let id = answer["id"].as_str().unwrap().to_owned();
    // Nothing leaves, so no ping does: the peer is given up.
    daemon.api.ready_after("e/0", 1).await;
    let receipt = daemon.api.get(&format!("/v1/messages/{id}")).await.expect(200).json();
    assert_eq!(receipt["state"], "queued", "{receipt}");
    assert!(daemon.api.link("e/0").await["bufferedAmount"].as_u64() > Some(0));
}

#[tokio::test]
async fn a_message_of_which_the_window_took_a_part_has_begun_to_leave_and_is_not_sent_twice() {
    let Some(peer) = peer(&["window=100", "deaf"]).await else { return };
    let keys = "heartbeat.idle = \"500ms\"\nheartbeat.timeout = \"500ms\"";
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", peer.port, "/echo", keys))).await;
    daemon.api.ready_after("e/0", 0).await;
    let answer = daemon.api.send_text("e", &"x".repeat(5000)).await.expect(202).json();
    let id = answer["id"].as_str().unwrap().to_owned();
    daemon.api.link_until("e/0", "given up", |link| !link["lastClose"].is_null()).await;
    let receipt = daemon.api.get(&format!("/v1/messages/{id}")).await.expect(200).json();
    assert_eq!(receipt["state"], "unknown", "{receipt}");
}
