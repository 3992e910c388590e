//! Servers that allow only so much: what the real daemon sends them, how often it dials, and what it says of that.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(unreachable_pub, reason = "what tests share is as public as a library's items")]
#![allow(clippy::print_stderr, reason = "a failed test says why")]

#[path = "../support/mod.rs"]
mod support;

mod pacing;
mod refused;

/// Short waits; nothing else differs from the defaults.
const QUICK: &str = support::quick!("10min");
