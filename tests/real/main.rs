//! The real daemon against real servers: Python `websockets`, Node `ws`, mosquitto, nginx; and against peers that break every rule.
//!
//! Servers come from `tests/run`; where one is missing its tests say that they are skipped. Raw peers need Rust only.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(unreachable_pub, reason = "what tests share is as public as a library's items")]
#![allow(clippy::print_stderr, reason = "a skipped test and a failed one say why")]

#[path = "../support/mod.rs"]
mod support;

mod away;
mod bad_frames;
mod batches;
mod big;
mod closes;
mod consumers;
mod cookies;
mod deflate;
mod digest;
mod echo;
mod fuzz;
mod metrics;
mod mqtt;
mod names;
mod outages;
mod proxies;
mod refusals;
mod restarts;
mod tls;

/// Short waits for all endpoints of a test; nothing else differs from the defaults.
const QUICK: &str = support::quick!("500ms");

/// The sections of an endpoint; `more` are lines of its own table, or further tables.
fn endpoint(name: &str, url: &str, more: &str) -> String {
    format!("\n[endpoints.{name}]\nurl = \"{url}\"\n{more}\n")
}

/// A configuration with one endpoint, `e`, at this port of loopback.
fn one(port: u16, path: &str, more: &str) -> String {
    format!("{QUICK}{}", endpoint("e", &format!("ws://127.0.0.1:{port}{path}"), more))
}
