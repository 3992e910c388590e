//! wskeeper holds WebSocket client links open for other programs.
//!
//! # The rooms
//! ```text
//! cli      L6  the verbs of the command line
//! app      L5  composition root: what is built in which order, drained in which
//! api      L4  HTTP, SSE, WebSocket, health, access, problem details
//! pool     L3  the handle, the supervisor, a slot per link
//! link     L2  drives one core::link::Link over tokio: the loop, the dial, the socket
//! hub      L2  inbox rings made shareable
//! observe  L2  an Event becomes a log line and a metric
//! store    L2  accepted messages on disk, on an embedded engine
//! process  L2  being a daemon: signals, logging, systemd
//! config   L1  files and environment, checked
//! client   L1  HTTP as a client: of the daemon's own API, of a collector
//! observer L0  who is told what the pool does: traits
//! clock    L0  the moments of the runtime
//! ```
//! **The layer rule:** a room may name rooms of lower layers, and none of its own layer or a higher one.
//! `tests/architecture.rs` reads the sources and holds the rooms to it. `docs/architecture.md` says more.

#![cfg_attr(test, allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one thing and ignores the rest"))]
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects, reason = "a peer's number may be any: see core::clock"))]

pub mod api;
pub mod app;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod endpoint;
pub mod hub;
pub mod link;
pub mod observe;
pub mod observer;
pub mod pool;
pub mod process;
pub mod store;
