//! wskeeper holds WebSocket client links open for other programs.
//!
//! Three packages: `wskeeper-core` decides, `wskeeper-link` holds links, and this one is the daemon around them.
//!
//! # The house
//! ```text
//!       programs, people, systemd                     Prometheus, logs, collectors
//!                  │ HTTP, SSE, WebSocket, signals                 ▲
//! ┌────────────────▼───────────────────────────────────────────────┼───────────┐
//! │ wskeeper       api · page · cli · process       config      observe        │
//! │                │                                │               ▲          │
//! ├────────────────┼────────────────────────────────┼───────────────┼──────────┤
//! │ wskeeper-link  ▼ send, read, command            ▼ Settings      │ facts    │
//! │  embed ──────► pool: receipts, admission, one slot for each link           │
//! │                │          │            │                                   │
//! │              store       hub         link: one task for each link ◄────────┼──► servers
//! │              on disk     inboxes       │ ▲                                 │
//! ├────────────────────────────────────────┼─┼─────────────────────────────────┤
//! │ wskeeper-core                   inputs ▼ │ commands, frames, events        │
//! │  Link: one Connection, or two while it rotates · Outbox · backoff · …      │
//! └────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! # A message's way
//! ```text
//! OUT  POST /v1/endpoints/e/messages                      IN  bytes of the server
//!        │ api: access, size, key                               │ link: the socket reads
//!        ▼                                                      ▼
//!      pool: enters the receipt,  ── full, down ─► refused    core: scan cuts whole messages into a Run
//!        │   chooses a link                                     │ Received
//!        ▼ order                                                ▼
//!      core: Link::offer ─► Outbox ── durable ─► `stored`     core: Link ─► Command::Deliver
//!        │ poll_transmit: a frame while there is room           ▼
//!        ▼                                                    pool: counts it
//!      link: the socket says what has left ─► `written`         ▼
//!        ▼                                                    hub: a ring with numbers ── durable ─► store
//!      the server: pong of a later ping, or ack                 │ a cursor for each reader
//!        └─► `confirmed`                                        ▼
//!                                                             api: SSE, WebSocket, polling, each at its pace
//!      lost on the way: `unknown` where it had begun to leave, else queued again
//! ```
//!
//! # The rooms of the daemon
//! ```text
//! cli      L6  the verbs of the command line
//! app      L5  composition root: what is built in which order, drained in which
//! api      L4  HTTP, SSE, WebSocket, health, access, problem details
//! push     L3  messages that go to servers, programs and brokers by themselves
//! observe  L2  an Event becomes a log line and a metric
//! provider L3  what sessions and attempts get from outside: HTTP calls, values
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
pub mod push;
