//! What is no request: the caller is told so, and the server hears nothing of it.

use serde_json::json;

use crate::{asking, peer::Peer, support::daemon::Daemon};

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
