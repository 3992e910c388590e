//! What a person sees of trouble, with the real binary: faults injected on purpose, and what the daemon says about them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

#[path = "../support/mod.rs"]
mod support;

mod chaos;
mod explain;
mod frames;
mod slow;
mod spans;
mod stalled;
mod storm;

/// Short waits for all endpoints of a test, and fault injection.
const QUICK: &str = r#"
chaos = true
[defaults]
connect_timeout = "2s"
close_timeout = "1s"
[defaults.heartbeat]
idle = "300ms"
timeout = "300ms"
[defaults.reconnect]
first = "20ms"
initial = "20ms"
max = "100ms"
"#;

/// The endpoint `e` at this port of loopback; `more` are further lines of its own.
fn one(port: u16, more: &str) -> String {
    format!("\n[endpoints.e]\nurl = \"ws://127.0.0.1:{port}/\"\n{more}\n")
}
