//! Whatever a client of the local API sends, it is answered, and the daemon goes on.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use proptest::{prelude::*, test_runner::FileFailurePersistence};

#[path = "fuzz/api.rs"]
mod api;
#[path = "fuzz/replay.rs"]
mod replay;

use replay::{kept, near};

#[test]
fn requests_that_are_kept_are_answered() {
    for input in kept("api") {
        api::api(&input);
    }
}

/// Seeds of cases that once failed; they are tried first.
const REGRESSIONS: FileFailurePersistence =
    FileFailurePersistence::Direct(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/regressions/api.txt"));

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: Some(Box::new(REGRESSIONS)), ..ProptestConfig::default() })]

    #[test]
    fn what_is_near_to_requests_that_are_kept_is_answered(input in near("api")) {
        api::api(&input);
    }
}
