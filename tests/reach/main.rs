//! Servers that allow only so much: what the real daemon sends them, how often it dials, and what it says of that.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(unreachable_pub, reason = "what tests share is as public as a library's items")]
#![allow(clippy::print_stderr, reason = "a failed test says why")]

#[path = "../support/mod.rs"]
mod support;

mod asked;
mod budget;
mod lazy;
mod pacing;
mod refused;

use std::process::Command;

use support::daemon::Daemon;

/// Short waits; nothing else differs from the defaults.
const QUICK: &str = support::quick!("10min");

/// What `wskeeper explain` says of the link.
async fn explained(daemon: &Daemon) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wskeeper"));
    let address = format!("unix:{}", daemon.folder().join("api.sock").display());
    command.args(["--api", &address, "explain", "e/0"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}
