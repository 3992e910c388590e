//! Reloads of the real daemon: what a plan says is what is done, and links that are not named keep their connections.
//!
//! What a reader would get wrong: the peer counts what it accepts, so a connection that was made in vain, or made twice, is seen
//! even where the daemon does not tell of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(unreachable_pub, reason = "what tests share is as public as a library's items")]
#![allow(clippy::print_stderr, reason = "a failed test says why")]

#[path = "../support/mod.rs"]
mod support;

mod failback;
mod peer;
mod plans;
mod rotation;
mod scribe;
mod thousand;
mod watching;

use serde_json::Value;
use support::daemon::Daemon;

/// Short waits, and as many dials at once as it takes.
const QUICK: &str = r#"
[admission]
per_host = 64
[defaults]
close_timeout = "1s"
rotation.overlap = "50ms"
[defaults.reconnect]
first = "20ms"
initial = "20ms"
max = "100ms"
"#;

/// The body of `GET /v1/plan`.
async fn plan(daemon: &Daemon) -> Value {
    daemon.api.get("/v1/plan").await.expect(200).json()
}

/// The body of `POST /v1/reload`.
async fn reload(daemon: &Daemon) -> Value {
    daemon.api.post("/v1/reload", &[], "").await.expect(200).json()
}

/// The changes of a report that are some, as `LINK ACTION KEYS`.
fn told(report: &Value) -> Vec<String> {
    let keys = |why: &Value| {
        let keys: Vec<&str> = why.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        keys.join(",")
    };
    let changes = report["changes"].as_array().unwrap().iter();
    changes
        .filter(|change| change["action"] != "unchanged")
        .map(|change| {
            format!(
                "{} {} {}",
                change["link"].as_str().unwrap(),
                change["action"].as_str().unwrap(),
                keys(&change["why"])
            )
        })
        .collect()
}
