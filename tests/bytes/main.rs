//! What the process holds, driven to its bounds from outside: each entrance of `docs/memory.md` with the real binary, and the
//! memory that is resident then.
//!
//! What a reader would get wrong: the limits are of a debug build, whose heap and code are larger; what counts is that memory
//! does not follow what clients and peers send.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(clippy::print_stderr, reason = "what a test skips is said aloud")]

mod bodies;
mod compressed;
mod house;
mod inboxes;
mod readers;
#[path = "../support/mod.rs"]
mod support;
