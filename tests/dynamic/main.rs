//! Endpoints that come, change and go by the API of the real daemon, beside those of its file.
//!
//! What a reader would get wrong: the peer counts what it accepts, so a connection that was made in vain is seen even where the daemon does
//! not tell of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(unreachable_pub, reason = "what tests share is as public as a library's items")]
#![allow(clippy::print_stderr, reason = "a failed test says why")]

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod cli;
mod disk;
mod life;
mod many;
mod peer;
mod reach;
mod reloads;

use serde_json::{Value, json};
use support::{api::Answer, daemon::Daemon, until};

/// Short waits, and as many dials at once as it takes. More keys of `[api]` stand before.
fn sections(api: &str, more: &str) -> String {
    format!(
        "{api}\n[limits]\ndrain = \"2s\"\n[storage]\ndir = \"{{folder}}/storage\"\n[admission]\nper_host = 64\n\
         [defaults]\nclose_timeout = \"1s\"\nrotation.overlap = \"50ms\"\n\
         [defaults.reconnect]\nfirst = \"20ms\"\ninitial = \"20ms\"\nmax = \"100ms\"\n{more}"
    )
}

/// A daemon without an endpoint, where some may come.
async fn started(keeping: &str) -> Daemon {
    Daemon::start(&sections(&format!("dynamic = \"{keeping}\""), "")).await
}

fn path(name: &str) -> String {
    format!("/v1/endpoints/{name}")
}

/// Puts an endpoint as JSON.
async fn put(daemon: &Daemon, name: &str, keys: &Value) -> Answer {
    daemon.api.put(&path(name), keys.to_string()).await
}

/// The keys of an endpoint of the peer at this port.
fn keys(port: u16, name: &str) -> Value {
    json!({ "url": format!("ws://127.0.0.1:{port}/{name}") })
}

/// The changes of a report, as `LINK ACTION KEYS`.
fn told(report: &Value) -> Vec<String> {
    let keys = |why: &Value| why.as_array().unwrap().iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",");
    let changes = report["changes"].as_array().unwrap().iter();
    let line = |change: &Value| {
        format!("{} {} {}", change["link"].as_str().unwrap(), change["action"].as_str().unwrap(), keys(&change["why"]))
    };
    changes.map(|change| line(change).trim_end().to_owned()).collect()
}

/// The type of a problem, without what all have before.
fn problem(answer: &Answer) -> String {
    answer.json()["type"].as_str().unwrap_or_default().trim_start_matches("urn:wskeeper:problem:").to_owned()
}

/// Waits until the log has a line with all of these: a thread of its own writes it.
async fn logged(daemon: &Daemon, texts: &[&str]) {
    until(&format!("a line with {texts:?}"), || async {
        let log = daemon.log();
        let is_there = log.lines().any(|line| texts.iter().all(|text| line.contains(text)));
        if is_there { Ok(()) } else { Err(log.lines().last().unwrap_or_default().to_owned()) }
    })
    .await;
}

/// The names of all endpoints.
async fn names(daemon: &Daemon) -> Vec<String> {
    let list = daemon.api.get("/v1/endpoints?limit=10000").await.expect(200).json();
    list["items"].as_array().unwrap().iter().map(|endpoint| endpoint["name"].as_str().unwrap().to_owned()).collect()
}
