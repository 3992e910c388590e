//! wskeeper's links as a library: WebSocket client connections that are held open for you.
//!
//! A [`Pool`](pool::Pool) holds links to [endpoints](endpoint::Endpoint): it dials, pings, reconnects with backoff, queues what is sent
//! while a link is down, and tells by a receipt what became of each message. `examples/embed.rs` is a whole program.
//!
//! What it promises: a message whose receipt says `confirmed` was read by the peer; one that says `written` has left, and no
//! more is known; no message is lost without its receipt saying so. Outboxes and inboxes can be kept on disk. Every queue has a bound.
//!
//! # The rooms
//! ```text
//! embed     L4  for programs: a builder, an endpoint by name, a message waited for
//! pool      L3  the handle, the supervisor, a slot per link
//! link      L2  drives one core link over tokio: the loop, the dial, the socket
//! hub       L2  inbox rings made shareable
//! store     L2  accepted messages on disk, on an embedded engine
//! endpoint  L1  where links lead, with what, and how they behave
//! observer  L0  who is told what a pool does: traits
//! pace      L0  whether the process ran all the time
//! clock     L0  the moments of the runtime, and where the date is read
//! ```
//! What they decide is `wskeeper-core`'s. Nothing here knows of HTTP servers, command lines, metrics or how settings are written down.

#![cfg_attr(test, allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one thing and ignores the rest"))]
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects, reason = "a peer's number may be any: see `clock`"))]

pub use wskeeper_core as core;

pub mod clock;
pub mod embed;
pub mod endpoint;
pub mod hub;
pub mod link;
pub mod observer;
pub mod pace;
pub mod pool;
pub mod store;

#[cfg(test)]
#[path = "../../tests/fuzz/replay.rs"]
mod replay;
#[cfg(test)]
mod written;
