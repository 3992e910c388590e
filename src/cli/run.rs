//! `wskeeper run`: the daemon in the foreground.
//!
//! What a reader would get wrong: faults of the configuration go to stderr as plain lines, not to the log, because where the
//! log goes is a part of the configuration.

use std::sync::Arc;

use super::{Failure, args, check};
use crate::{
    app, config,
    process::{logging, notify::Notify, passed::Passed, signals::Signals},
};

/// Loads, sets up logging, and runs until a signal.
pub(super) async fn run(args: args::Run, socket: Option<Passed>) -> Result<(), Failure> {
    let failed = |error: String| Failure::Failed(error);
    let sources = config::Sources::read(&args.config);
    let loaded = sources.load(&app::environment()).map_err(|faults| {
        let remedy = if args.config.exists() { "" } else { "\n(`run` takes it as --config PATH)" };
        Failure::Configuration(format!("{}{remedy}", check::listed(&faults)))
    })?;
    let _logging = logging::start(&loaded.config.log).map_err(|error| failed(error.to_string()))?;
    for warning in &loaded.warnings {
        tracing::warn!(warning, "the configuration has a doubtful setting");
    }
    let signals = Signals::install().map_err(|error| failed(format!("cannot listen for signals: {error}")))?;
    let reload_from = Some(app::Origin::new(args.config, &sources));
    let options =
        app::Options { config: Arc::new(loaded.config), reload_from, socket, notify: Notify::from_environment() };
    app::run(options, signals).await.map_err(|error| failed(error.to_string()))
}
