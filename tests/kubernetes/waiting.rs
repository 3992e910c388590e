//! Waiting by condition, on a thread of its own.

#![allow(
    clippy::disallowed_methods,
    reason = "no runtime is here whose clock could be paused or whose worker could be blocked"
)]

use std::{
    fmt::Debug,
    thread,
    time::{Duration, Instant},
};

/// How long a test waits for anything that the manifests set no limit to.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Asks until the answer is `Ok`; after `patience` panics with the last `Err`.
pub fn until<T, E: Debug>(what: &str, patience: Duration, mut ask: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(seen) if Instant::now() > deadline => panic!("waited {patience:?} in vain for {what}: {seen:?}"),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}
