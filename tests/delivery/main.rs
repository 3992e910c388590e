//! What became of each message when the daemon, the wire, the disk or the peer fails: the real daemon against a peer that
//! remembers everything, by a wire that loses things.
//!
//! What a reader would get wrong: `kill -9` leaves the system's cache alone, so it proves what the daemon *said to the system*,
//! not what it synced. `tests/power/run` cuts the power of a whole system.
//!
//! `WSKEEPER_CRASHES=1000` makes the crash tests longer, `WSKEEPER_CUTS=200` those of cuts, `WSKEEPER_SEED=…` repeats the chance of a run that printed its seed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(unreachable_pub, reason = "what tests share is as public as a library's items")]
#![allow(clippy::print_stderr, reason = "a skipped test and a failed one say why")]

#[path = "../support/mod.rs"]
mod support;

mod acks;
mod bursts;
mod changes;
mod consumer;
mod crashes;
mod cuts;
mod disks;
mod halves;
mod inboxes;
mod poison;
mod proxy;
mod recorder;
mod restarts;
mod sender;
mod teller;
mod upgrade;

use support::chance;

/// Short waits for all endpoints of a test, and a store in the daemon's folder.
const QUICK: &str = r#"
[storage]
dir = "{folder}/store"
[limits]
drain = "3s"
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
stable = "1s"
park_probe = "100ms"
"#;

/// The same with messages compressed in this context, where there is one.
fn compressing(context: &str) -> String {
    let keys =
        format!("[defaults]\ncompression = \"auto\"\ncompression_threshold = 0\ncompression_context = \"{context}\"\n");
    QUICK.replace("[defaults]\n", if context.is_empty() { "[defaults]\n" } else { &keys })
}

/// An endpoint at this port of loopback; `outbox` are lines of its outbox.
fn endpoint(name: &str, port: u16, outbox: &str) -> String {
    format!("\n[endpoints.{name}]\nurl = \"ws://127.0.0.1:{port}/\"\n[endpoints.{name}.outbox]\n{outbox}\n")
}

/// Lines of an outbox: at least once, on disk.
const LEAST: &str = "delivery = \"at_least_once\"\ndurability = \"disk\"";
/// Lines of an outbox: at most once, on disk.
const MOST: &str = "delivery = \"at_most_once\"\ndurability = \"disk\"";
