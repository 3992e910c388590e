//! What the probes of a supervisor see of a daemon that is well, and of one that is not.
//!
//! What a reader would get wrong: nobody looks after the pool here but the test, so that the look comes when it is wanted.

use std::time::Duration;

use serde_json::Value;

use super::bench::{Bench, PATIENCE};

/// Links that nobody listens for.
const DOWN: &str = "[endpoints.feed]\nurl = \"ws://127.0.0.1:1/\"\nlinks = 2";

#[tokio::test]
async fn livez_says_that_a_daemon_whose_links_are_all_down_is_alive() {
    let bench = Bench::new(DOWN).await;
    assert_eq!(bench.pool.watchdog(PATIENCE).examine().await, Ok(()));
    let (status, body) = bench.get("/livez").await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["status"], "alive");
}

#[tokio::test]
async fn livez_answers_503_once_a_link_is_wedged_and_says_which() {
    let bench = Bench::new(DOWN).await;
    let mut watchdog = bench.pool.watchdog(Duration::from_millis(50));
    bench.pool.wedge_an_endpoint();
    let found = watchdog.examine().await.unwrap_err();
    let (status, body) = bench.get("/livez").await;
    assert_eq!(status, 503, "{body}");
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(problem["type"], "urn:wskeeper:problem:wedged");
    assert_eq!(problem["detail"], found.to_string());
    assert!(problem["detail"].as_str().unwrap().contains("feed/"), "{body}");
    // A load balancer has no say in it: what still works goes on until the restart.
    assert_eq!(bench.get("/readyz").await.0, 200);
}

#[tokio::test]
async fn livez_answers_503_once_nobody_looks_after_the_links() {
    let bench = Bench::new("").await;
    // The next look is due at once, and does not come.
    assert_eq!(bench.pool.watchdog(Duration::ZERO).examine().await, Ok(()));
    let (status, body) = bench.get("/livez").await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("the daemon has not looked after its links for"), "{body}");
}
