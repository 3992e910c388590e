//! The pure core: what wskeeper *decides*, as plain values.
//!
//! Nothing here reads a clock, draws a random number, touches a socket or waits: time comes in as `now`, chance as a seed.
//! So each rule can be tested without a network and a whole pool can be simulated in milliseconds. The core names `std`,
//! `bytes`, and in one file each the crates `backoff`, `regex`, `serde_json` and `siphasher`; `tests/architecture` holds it to that.

#![cfg_attr(test, allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one thing and ignores the rest"))]
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects, reason = "a peer's number may be any: see `clock`"))]

pub mod admission;
pub mod allowance;
pub mod backoff;
pub mod body;
pub mod breach;
pub mod bucket;
pub mod budget;
pub mod carriers;
pub mod chance;
pub mod chaos;
pub mod clock;
pub mod close;
pub mod confidences;
pub mod deflate;
pub mod entry;
pub mod event;
pub mod failback;
pub mod frame;
pub mod hash;
pub mod heartbeat;
pub mod inbox;
pub mod intake;
pub mod link;
pub mod message;
pub mod nats;
pub mod outbox;
pub mod outcome;
pub mod ownership;
pub mod phase;
pub mod push;
pub mod receipt;
pub mod rejection;
pub mod requests;
pub mod rules;
pub mod run;
pub mod scan;
pub mod session;
pub mod subscriptions;
pub mod timers;
pub mod utf8;
pub mod values;

mod sorted_deque;

/// Where the clock of a test starts.
#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "an `Instant` can be had from the clock only; tests then move it themselves"
)]
pub(crate) fn epoch() -> std::time::Instant {
    std::time::Instant::now()
}
