//! What is no request, or can be none now: the caller is told so, and the server hears nothing of it.

use serde_json::json;

use crate::{
    QUICK, asking,
    peer::Peer,
    support::{daemon::Daemon, until},
};

const PATH: &str = "/v1/endpoints/e/requests";

#[tokio::test]
async fn what_is_no_json_is_refused_and_not_sent() {
    let peer = Peer::start().await;
    let daemon = Daemon::start(&asking(peer.port, "")).await;
    daemon.api.ready_after("e/0", 0).await;
    for text in [
        "{foo}",
        r#"{"a":}"#,
        "{id:1}",
        r#"{"id":1,}"#,
        r#"{"id":1 "b":2}"#,
        r#"{"x":nul,"id":1}"#,
        r#"{"id":-}"#,
        r#"{"id":1.2.3}"#,
        r#"{"id":12abc}"#,
        r#"{"id":1} {}"#,
        "[1]",
        "hello",
    ] {
        let refused = daemon.api.post(PATH, &[], text).await.expect(400).json();
        assert!(refused["detail"].as_str().unwrap().contains("not JSON with a string or number at /id"), "{refused}");
    }
    for (text, echo) in [(r#"{"id":1,"say":"a\ud83d\ude00"}"#, "a\u{1f600}"), (r#" {"say":"b"} "#, "b")] {
        let reply = daemon.api.post(PATH, &[], text).await.expect(200).json();
        assert_eq!(reply["echo"], json!(echo), "{text}");
    }
    let heard: Vec<String> = peer.heard().into_iter().map(|heard| heard.say).collect();
    assert_eq!(heard, ["a\u{1f600}", "b"]);
}

#[tokio::test]
async fn an_id_that_is_kept_and_timed_out_is_refused_until_the_connection_has_gone() {
    let peer = Peer::start().await;
    let daemon = Daemon::start(&asking(peer.port, "stamp = \"keep\"")).await;
    daemon.api.ready_after("e/0", 0).await;
    let mute = json!({ "id": 7, "say": "a", "how": "mute" }).to_string();
    daemon.api.post(&format!("{PATH}?timeout=200ms"), &[], mute).await.expect(504);
    let again = json!({ "id": 7, "say": "b" }).to_string();
    let refused = daemon.api.post(PATH, &[], again.clone()).await.expect(409).json();
    assert_eq!(refused["type"], "urn:wskeeper:problem:id-in-use", "{refused}");
    assert_eq!(refused["receipt"]["reason"], "id_in_use");
    daemon.api.post(PATH, &[], json!({ "id": 8, "say": "c" }).to_string()).await.expect(200);
    daemon.api.post("/v1/links/e/0/reconnect", &[], "").await.expect(200);
    daemon.api.ready_after("e/0", 1).await;
    let reply = daemon.api.post(PATH, &[], again).await.expect(200).json();
    assert_eq!(reply, json!({ "id": 7, "echo": "b" }));
    let heard: Vec<String> = peer.heard().into_iter().map(|heard| heard.say).collect();
    assert_eq!(heard, ["a", "c", "b"]);
}

#[tokio::test]
async fn a_reload_that_takes_requests_away_ends_those_that_wait() {
    let peer = Peer::start().await;
    let daemon = Daemon::start(&asking(peer.port, "in_flight = 1\nretry = true")).await;
    daemon.api.ready_after("e/0", 0).await;
    peer.hold(true);
    let ask = |say: &'static str| {
        let daemon = &daemon;
        async move { daemon.api.post(&format!("{PATH}?timeout=5min"), &[], json!({ "say": say }).to_string()).await }
    };
    let reload = async {
        peer.hears("asked").await;
        until("one that waits for its turn", || async {
            let requests = daemon.api.get("/v1/endpoints/e").await.json()["requests"].clone();
            if requests == json!({ "waiting": 1, "asked": 1, "inFlight": 1 }) { Ok(()) } else { Err(requests) }
        })
        .await;
        daemon.configure(&format!("{QUICK}\n[endpoints.e]\nurl = \"ws://127.0.0.1:{}\"\n", peer.port));
        daemon.api.post("/v1/reload", &[], "").await.expect(200);
    };
    let second = async {
        peer.hears("asked").await;
        ask("queued").await
    };
    let (asked, queued, ()) = futures_util::join!(ask("asked"), second, reload);
    for (ended, is_sent) in [(asked, true), (queued, false)] {
        let lost = ended.expect(503).json();
        assert_eq!(
            (&lost["type"], &lost["receipt"]["reason"]),
            (&json!("urn:wskeeper:problem:lost"), &json!("reload"))
        );
        assert_eq!(lost["receipt"]["generation"].is_u64(), is_sent, "{lost}");
    }
    daemon.api.post(PATH, &[], "{}").await.expect(409);
}
