//! The core, built apart from the daemon, so that its instructions can be counted without building all else.
//!
//! The same sources: nothing here is a copy. That the core names two crates only, which `tests/architecture.rs` holds it to,
//! is what makes this possible.

#[path = "../../../src/core/mod.rs"]
pub mod core;
