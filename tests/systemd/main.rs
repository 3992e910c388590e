//! The real daemon and a service manager: every word that it says, the sockets that it takes, the units that it comes with.
//!
//! The manager is a socket of the test here. `tests/systemd/boot` is for the real one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(unreachable_pub, reason = "what tests share is as public as a library's items")]
#![allow(clippy::print_stderr, reason = "a skipped test and a failed one say why")]

#[path = "../support/mod.rs"]
mod support;

mod manager;
mod notify;
mod pages;
mod sockets;
mod units;
