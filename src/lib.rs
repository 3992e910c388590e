//! wskeeper holds WebSocket client links open for other programs.
//!
//! Three packages: `wskeeper-core` decides, `wskeeper-link` holds links, and this one is the daemon around them.
//!
//! # The rooms of the daemon
//! ```text
//! cli      L5  the verbs of the command line
//! app      L4  composition root: what is built in which order, drained in which
//! api      L3  HTTP, SSE, WebSocket, health, access, problem details
//! observe  L2  an Event becomes a log line and a metric
//! provider L2  what sessions get from outside: HTTP calls
//! process  L2  being a daemon: signals, logging, systemd
//! config   L1  files and environment, checked
//! client   L1  HTTP as a client: of the daemon's own API, of a collector
//! ```
//! **The layer rule:** a room may name rooms of lower layers, and none of its own layer or a higher one.
//! `tests/architecture` reads the sources and holds the rooms to it. `docs/architecture.md` says more.

#![cfg_attr(test, allow(clippy::wildcard_enum_match_arm, reason = "a test looks for one thing and ignores the rest"))]
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects, reason = "a peer's number may be any: see core::clock"))]

pub mod api;
pub mod app;
pub mod cli;
pub mod client;
pub mod config;
pub mod observe;
pub mod process;
pub mod provider;
