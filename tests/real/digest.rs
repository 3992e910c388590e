//! Servers that ask for Digest authentication (RFC 7616): Apache httpd, whose nonces are good once, and lighttpd, which prefers SHA-256.

use serde_json::Value;
use tempfile::NamedTempFile;

use crate::{
    one,
    support::{
        daemon::Daemon,
        peer::{Peer, Recipe, Script},
        until,
    },
};

/// What no log and no answer of the API may hold.
const PASSWORD: &str = "o:pen sesame";

/// The server, and the one behind it.
async fn guarded(program: &'static str) -> Option<(Peer, Peer)> {
    let behind = Peer::start(Recipe::Python).await?;
    let words = vec![program, &*Box::leak(behind.port.to_string().into_boxed_str())];
    let script = Script { file: "digest.sh", needs: program, words: Box::leak(words.into_boxed_slice()) };
    Some((Peer::start(Recipe::Script(script)).await?, behind))
}

/// The statuses that the server has answered with, each with whether the request had brought something, once there are so many.
async fn answered(server: &Peer, count: usize) -> Vec<(u16, bool)> {
    let line = |line: &str| {
        let (status, brought) = line.strip_prefix("status=")?.split_once(" authorization=")?;
        Some((status.parse().ok()?, brought.starts_with("Digest ")))
    };
    until("requests in the server's log", || async {
        let answered: Vec<_> = server.log().lines().filter_map(line).collect();
        if answered.len() >= count { Ok(answered) } else { Err(server.log()) }
    })
    .await
}

/// The keys, and the file that they name.
fn keys(password: &str) -> (String, NamedTempFile) {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), password).unwrap();
    (format!("digest = {{ user = \"al\", password = \"${{file:{}}}\" }}", file.path().display()), file)
}

#[tokio::test]
async fn a_link_answers_the_challenge_of_its_server_and_brings_the_answer_with_it_when_it_comes_back() {
    // Of Apache the nonce of the first connection is stale by then, and of lighttpd it is not.
    let unasked = (401, false);
    for (program, again) in [
        ("apache2", vec![unasked, (101, true), (401, true), (101, true)]),
        ("lighttpd", vec![unasked, (101, true), (101, true)]),
    ] {
        let Some((mut server, _behind)) = guarded(program).await else { return };
        let (keys, _file) = keys(PASSWORD);
        let daemon = Daemon::start(&one(server.port, "/v2?k=v", &keys)).await;
        daemon.api.ready_after("e/0", 0).await;
        let mut events = daemon.api.events("e", "from=latest&types=message").await;
        daemon.api.send_text("e", "hello").await.expect(202);
        assert_eq!(events.next_of("message").await.payload().0, b"hello", "{program}");
        daemon.api.post("/v1/links/e/0/reconnect", &[], "").await.expect(200);
        daemon.api.ready_after("e/0", 1).await;
        let config = daemon.api.get("/v1/endpoints/e").await.expect(200).json();
        assert_eq!(config["config"]["digest"]["user"], "al", "{config}");
        let metric = "wskeeper_connect_attempts_total{endpoint=\"e\",result=\"ok\"}";
        assert_eq!(daemon.api.metric(metric).await, Some(2.0), "{program}: a challenge is answered within the attempt");
        assert!(!daemon.log().contains("sesame") && !config.to_string().contains("sesame"), "{}", daemon.log());
        // They write down a WebSocket when it has ended.
        drop(daemon);
        assert_eq!(sorted(answered(&server, again.len()).await), sorted(again), "{program}");
        server.kill();
    }
}

/// A WebSocket is written down when it ends.
fn sorted(mut answered: Vec<(u16, bool)>) -> Vec<(u16, bool)> {
    answered.sort_unstable();
    answered
}

#[tokio::test]
async fn a_wrong_password_is_a_401_as_any_and_is_not_tried_in_a_circle() {
    for program in ["apache2", "lighttpd"] {
        let Some((server, _behind)) = guarded(program).await else { return };
        let (keys, _file) = keys("wr0ng");
        let daemon = Daemon::start(&one(server.port, "/", &keys)).await;
        let link = daemon.api.link_until("e/0", "parked", |link| link["phase"] == "parked").await;
        let detail = link["lastClose"]["detail"].as_str().unwrap_or_default();
        assert_eq!((&link["lastClose"]["cause"], &link["lastClose"]["status"]), (&"upgrade".into(), &401.into()));
        assert!(detail.contains("did not take the answer to its Digest challenge"), "{detail}");
        let advice = |explained: &Value| explained["advice"].to_string();
        let explained = daemon.api.get("/v1/links/e/0/explain").await.expect(200).json();
        assert!(advice(&explained).contains("the user al with the password of ${file:"), "{explained}");
        let metric = "wskeeper_connect_attempts_total{endpoint=\"e\",result=\"upgrade\"}";
        let attempts = daemon.api.metric(metric).await.unwrap();
        assert!(!daemon.log().contains("wr0ng"), "{}", daemon.log());
        drop(daemon);
        // Each attempt is asked, and answers once; Apache's processes write down what they did in any order.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a handful")]
        let attempts = attempts as usize;
        let requests = answered(&server, 2 * attempts).await;
        assert_eq!(sorted(requests), sorted([(401, false), (401, true)].repeat(attempts)), "{program}");
    }
}

#[tokio::test]
async fn userinfo_answers_too_and_without_a_password_the_failure_says_what_is_asked_for() {
    let Some((server, _behind)) = guarded("lighttpd").await else { return };
    let host = format!("127.0.0.1:{}", server.port);
    let section = crate::endpoint("known", &format!("ws://al:o%3Apen%20sesame@{host}/"), "");
    let daemon = Daemon::start(&one(server.port, "/", &section)).await;
    daemon.api.ready_after("known/0", 0).await;
    let link = daemon.api.link_until("e/0", "parked", |link| link["phase"] == "parked").await;
    assert!(link["lastClose"]["detail"].as_str().unwrap().contains("it asks for Digest authentication"), "{link}");
    let explained = daemon.api.get("/v1/links/e/0/explain").await.expect(200).json();
    assert!(explained["advice"].to_string().contains("digest.user"), "{explained}");
    assert!(!daemon.log().contains("sesame"), "{}", daemon.log());
}
