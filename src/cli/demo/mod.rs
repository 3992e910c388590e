//! `wskeeper demo`.
use super::{Failure, args, output::Output};

/// Runs the demo.
#[allow(clippy::unused_async, reason = "stub")]
pub(super) async fn run(_args: args::Demo, _output: &Output) -> Result<(), Failure> {
    Err(Failure::Failed("not built yet".into()))
}
