//! Bridges of the real binary to a real NATS, and to what only says that it is one.
//!
//! What a reader would get wrong: messages are numbered by the server that sends them, so what a broker has says by itself what it lacks.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(unreachable_pub, dead_code, reason = "what tests share is as public as a library's items")]
#![allow(clippy::print_stderr, reason = "a failed test says why")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one thing and ignores the rest")]

#[path = "../support/mod.rs"]
mod support;

mod broker;
#[path = "../push/feed.rs"]
mod feed;
mod logins;
mod out;
mod rude;

use serde_json::Value;
use support::{daemon::Daemon, until};

const QUICK: &str = support::quick!("200ms");

/// A broker `main` at this port, and an endpoint `e` that reads this feed; `more` are lines after its own keys.
fn endpoint(feed: u16, broker: u16, more: &str) -> String {
    format!(
        "{QUICK}[limits]\ndrain = \"40s\"\n[storage]\ndir = \"{{folder}}/store\"\n\
         [brokers.main]\nnats = [\"nats://127.0.0.1:{broker}\"]\nconnect_timeout = \"2s\"\n\
         [endpoints.e]\nurl = \"ws://127.0.0.1:{feed}/\"\n{more}\n"
    )
}

/// A bridge with these keys after `broker`; delays are short.
fn bridge(name: &str, keys: &str) -> String {
    format!(
        "[[endpoints.e.bridges]]\nname = \"{name}\"\nbroker = \"main\"\nretry = {{ initial = \"20ms\", max = \"100ms\" }}\n{keys}\n"
    )
}

/// The bridge of this name as the API shows it.
async fn shown(daemon: &Daemon, name: &str) -> Value {
    let endpoint = daemon.api.get("/v1/endpoints/e").await.expect(200).json();
    let all = endpoint["bridges"].as_array().unwrap();
    all.iter().find(|bridge| bridge["name"] == name).unwrap_or_else(|| panic!("{endpoint}")).clone()
}

/// Waits until it is shown as `is` wants it.
async fn shown_until(daemon: &Daemon, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    until(&format!("bridge {name}: {what}"), || async {
        let seen = shown(daemon, name).await;
        if is(&seen) { Ok(seen) } else { Err(seen) }
    })
    .await
}
