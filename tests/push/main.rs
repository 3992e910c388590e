//! Messages that go by themselves, from the real binary: to servers that answer anything, and to programs that do anything.
//!
//! What a reader would get wrong: messages are numbered by the server that sends them, so what a receiver has says by itself what it lacks.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(unreachable_pub, reason = "what tests share is as public as a library's items")]
#![allow(clippy::print_stderr, reason = "a failed test says why")]

#[path = "../support/mod.rs"]
mod support;

mod feed;
mod hooks;
mod programs;
mod receiver;
mod restarts;
mod rude;

use serde_json::Value;
use support::{daemon::Daemon, until};

/// An endpoint `e` that reads this feed; `more` are lines after its own keys.
fn endpoint(feed: u16, more: &str) -> String {
    format!(
        "{QUICK}[limits]\ndrain = \"40s\"\n[storage]\ndir = \"{{folder}}/store\"\n[endpoints.e]\nurl = \"ws://127.0.0.1:{feed}/\"\n{more}\n"
    )
}

const QUICK: &str = support::quick!("200ms");

/// A push with these keys after `name`; delays are short.
fn push(name: &str, keys: &str) -> String {
    format!("[[endpoints.e.push]]\nname = \"{name}\"\nretry = {{ initial = \"20ms\", max = \"100ms\" }}\n{keys}\n")
}

/// The push of this name as the API shows it.
async fn shown(daemon: &Daemon, name: &str) -> Value {
    let endpoint = daemon.api.get("/v1/endpoints/e").await.expect(200).json();
    let all = endpoint["pushes"].as_array().unwrap();
    all.iter().find(|push| push["name"] == name).unwrap_or_else(|| panic!("{endpoint}")).clone()
}

/// Waits until it is shown as `is` wants it.
async fn shown_until(daemon: &Daemon, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    until(&format!("push {name}: {what}"), || async {
        let seen = shown(daemon, name).await;
        if is(&seen) { Ok(seen) } else { Err(seen) }
    })
    .await
}
