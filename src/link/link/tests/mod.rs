//! The driver on a paused clock, against peers that write raw bytes.
//!
//! Time moves only when every task waits, so a test that waits for a fact sees it at the exact simulated moment.

mod bench;
mod faults;
pub(in crate::link) mod hoarder;
mod life;
mod orders;
mod peer;
mod rotation;
mod session;
