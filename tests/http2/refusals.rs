//! Answers that open no WebSocket, and none at all: the outcomes are those of HTTP/1.1.

use super::{QUICK, connections, ended, endpoint, peer, support::daemon::Daemon};

#[tokio::test]
async fn a_refusal_keeps_its_status_its_retry_after_and_its_redirect() {
    let Some(peer) = peer(&[]).await else { return };
    let all = endpoint("busy", peer.port, "/status/503", "")
        + &endpoint("gone", peer.port, "/status/404", "")
        + &endpoint("moved", peer.port, "/status/307", "redirects = 1");
    let daemon = Daemon::start(&format!("{QUICK}{all}")).await;
    for (link, status) in [("busy/0", 503), ("gone/0", 404)] {
        let seen = ended(&daemon, link, "upgrade", "not with").await;
        assert_eq!(seen["lastClose"]["status"], status, "{seen}");
    }
    let moved = daemon.api.ready_after("moved/0", 0).await;
    assert!(moved["url"].as_str().is_some_and(|url| url.ends_with("/echo")), "{moved}");
}

#[tokio::test]
async fn what_a_refusal_says_is_kept_and_matched_as_it_is_over_http_1_1() {
    let Some(peer) = peer(&[]).await else { return };
    let token = "headers = { Authorization = 'Bearer hunter2/of\"ours' }\n";
    let row = "[[endpoints.e.outcomes]]\nthen = \"park\"\n[endpoints.e.outcomes.match]\nbody = \"^no: \"\nheader = { X-Reason = \"quota\" }";
    let all = endpoint("e", peer.port, "/echo-back/10", &format!("{token}{row}"))
        + &endpoint("long", peer.port, "/echo-back/9000", token);
    let daemon = Daemon::start(&format!("{QUICK}{all}")).await;
    daemon.api.link_until("e/0", "a link that is parked", |link| link["phase"] == "parked").await;
    ended(&daemon, "long/0", "upgrade", "403").await;
    for (link, is_cut) in [("e/0", false), ("long/0", true)] {
        let seen = daemon.api.get(&format!("/v1/links/{link}/explain")).await.expect(200).json();
        let said = &seen["rejection"];
        assert_eq!((&said["status"], &said["isCut"]), (&403.into(), &is_cut.into()), "{said}");
        assert!(said["body"].as_str().is_some_and(|body| body.starts_with("no: *** \"***\" xxx")), "{said}");
        let text = said.to_string();
        assert!(text.contains("quota") && !text.contains("hunter2") && !text.contains("c00kie"), "{text}");
    }
}

#[tokio::test]
async fn answers_that_are_none_fail_the_attempt_and_say_why() {
    let Some(peer) = peer(&[]).await else { return };
    let cases = [
        ("refused", "/refuse/7", "upgrade", "REFUSED_STREAM, 0x7"),
        ("calm", "/refuse/11", "upgrade", "ENHANCE_YOUR_CALM, 0xb"),
        ("plain", "/refuse/13", "upgrade", "wants HTTP/1.1 for WebSockets"),
        ("switched", "/switch", "upgrade", "status 101 does not exist in HTTP/2"),
        ("silent", "/silent", "upgrade", "timed out while"),
        ("long", "/long", "upgrade", "HTTP/2"),
        ("lines", "/lines", "upgrade", "more than 100 header lines"),
        ("chosen", "/protocol/v9", "subprotocol", "not offered"),
        ("extended", "/extension", "upgrade", "extension that was not offered"),
    ];
    let all: String = cases.map(|(name, path, ..)| endpoint(name, peer.port, path, "")).concat();
    let daemon = Daemon::start(&format!("{QUICK}{all}")).await;
    for (name, _, cause, detail) in cases {
        ended(&daemon, &format!("{name}/0"), cause, detail).await;
    }
    let advice = daemon.api.get("/v1/links/refused/0/explain").await.expect(200).json()["advice"].to_string();
    assert!(advice.contains("opened no stream") && !advice.contains("wss"), "{advice}");
}

#[tokio::test]
async fn a_server_that_takes_no_streams_is_said_to_at_once() {
    let Some(peer) = peer(&["streams=0"]).await else { return };
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", peer.port, "/echo", ""))).await;
    ended(&daemon, "e/0", "upgrade", "SETTINGS_MAX_CONCURRENT_STREAMS is 0").await;
    let advice = daemon.api.get("/v1/links/e/0/explain").await.expect(200).json()["advice"].to_string();
    assert!(advice.contains("opened no stream"), "{advice}");
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let Some(peer) = peer(&[]).await else { return };
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", peer.port, "/interim/50", ""))).await;
    daemon.api.ready_after("e/0", 0).await;
    assert_eq!(connections(&peer, 1).await, 1);
}

#[tokio::test]
async fn a_server_that_does_not_speak_http_2_is_said_not_to() {
    let Some(python) = super::Peer::start(super::Recipe::Python).await else { return };
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", python.port, "/", ""))).await;
    let seen = ended(&daemon, "e/0", "upgrade", "").await;
    assert!(
        seen["lastClose"]["detail"].as_str().is_some_and(|said| said.contains("HTTP/2") || said.contains("closed")),
        "{seen}"
    );
}
