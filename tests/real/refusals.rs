//! Upgrades that are refused: the status decides what follows, and when the server relents the link is ready.

use serde_json::Value;

use crate::{
    one,
    support::{
        daemon::Daemon,
        peer::{Peer, Recipe},
        until,
    },
};

#[tokio::test]
async fn one_401_is_answered_with_fresh_credentials() {
    let Some(history) = after_refusals("/refuse/401/1").await else { return };
    assert!(history.contains("\"refresh\"") && !history.contains("\"parked\""), "{history}");
}

#[tokio::test]
async fn a_401_that_stays_parks_the_link_and_a_probe_brings_it_back() {
    let Some(history) = after_refusals("/refuse/401/4").await else { return };
    assert!(history.contains("\"parked\"") && history.contains("\"unauthorized\""), "{history}");
}

#[tokio::test]
async fn a_404_parks_the_link_after_five_in_a_row() {
    let Some(history) = after_refusals("/refuse/404/7").await else { return };
    assert!(history.contains("\"backoff\"") && history.contains("\"parked\""), "{history}");
}

#[tokio::test]
async fn a_429_with_retry_after_is_obeyed() {
    let begun = tokio::time::Instant::now();
    let Some(history) = after_refusals("/refuse/429/1/2").await else { return };
    assert!(history.contains("\"retry_after\""), "{history}");
    assert!(begun.elapsed().as_secs_f64() > 1.9, "the delay that the peer asked for was cut short");
}

#[tokio::test]
async fn a_503_is_tried_again_with_backoff() {
    let Some(history) = after_refusals("/refuse/503/3").await else { return };
    assert!(history.contains("\"backoff\"") && history.contains("503"), "{history}");
}

#[tokio::test]
async fn a_refusal_is_shown_with_its_status_and_harms_no_other_link() {
    let Some(peer) = Peer::start(Recipe::Python).await else { return };
    let other = crate::endpoint("other", &format!("ws://127.0.0.1:{}/", peer.port), "");
    let daemon = Daemon::start(&one(peer.port, "/refuse/401/1000", &other)).await;
    let link = daemon.api.link_until("e/0", "parked", |link| link["phase"] == "parked").await;
    assert_eq!(link["lastClose"]["cause"], "upgrade", "{link}");
    assert_eq!(link["readyState"], 3, "{link}");
    daemon.api.ready_after("other/0", 0).await;
    let failed = "wskeeper_connect_attempts_total{endpoint=\"e\",result=\"upgrade\"}";
    assert!(daemon.api.metric(failed).await.unwrap() >= 2.0);
}

/// The history of a link that was refused at this path and then became ready.
async fn after_refusals(path: &str) -> Option<String> {
    let peer = Peer::start(Recipe::Python).await?;
    let daemon = Daemon::start(&one(peer.port, path, "")).await;
    daemon.api.ready_after("e/0", 0).await;
    let history = until("the history", || async {
        let answer = daemon.api.get("/v1/links/e/0/history").await.expect(200);
        let ready = answer.json()["items"].as_array().is_some_and(|items| items.iter().any(is_ready));
        if ready { Ok(String::from_utf8(answer.body.to_vec()).unwrap()) } else { Err(answer) }
    })
    .await;
    Some(history)
}

fn is_ready(entry: &Value) -> bool {
    entry["phase"] == "ready"
}
