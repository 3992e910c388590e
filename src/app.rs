//! The composition root.

use std::{path::PathBuf, sync::Arc};

use crate::{config::Config, process::signals::Signals};

/// What the daemon is started with.
#[derive(Debug)]
pub struct Options {
    /// Checked.
    pub config: Arc<Config>,
    /// What a reload reads; `None`: there is nothing to reload.
    pub reload_from: Option<PathBuf>,
}

/// Why the daemon ended with a failure.
#[derive(Debug, thiserror::Error)]
#[error("the daemon is not built yet")]
pub struct Error;

/// Runs the daemon until it is asked to stop.
#[allow(clippy::unused_async, reason = "signature first")]
pub async fn run(options: Options, signals: Signals) -> Result<(), Error> {
    let _ = (options, signals);
    Err(Error)
}
