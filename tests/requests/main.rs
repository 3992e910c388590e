//! Requests of the real daemon, by what the server has recorded and what each caller got: its own reply, or word that there is none.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(unreachable_pub, reason = "what tests share is as public as a library's items")]
#![allow(dead_code, reason = "not all of what tests share is used here")]
#![allow(clippy::print_stderr, reason = "a failed test says why")]

#[path = "../support/mod.rs"]
mod support;

mod many;
mod order;
mod peer;
mod refused;
mod turns;

/// Short waits; nothing else differs from the defaults.
const QUICK: &str = support::quick!("10min");

/// An endpoint `e` at this port with requests; `more` are further keys of those, and tables behind them.
fn asking(port: u16, more: &str) -> String {
    let url = format!("url = \"ws://127.0.0.1:{port}\"");
    format!("{QUICK}\n[endpoints.e]\n{url}\n[endpoints.e.requests]\nid = \"/id\"\nreply = \"/id\"\n{more}\n")
}
