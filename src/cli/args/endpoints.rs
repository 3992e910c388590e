//! `endpoints`: those that there are, and those that come and go by the API.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};

use super::{Remote, value::duration};

/// `endpoints`
#[derive(Debug, Args)]
#[command(after_help = "\
Endpoints of the configuration file are changed there. With api.dynamic = \"memory\" or \"disk\" others are made and removed while the \
daemon runs; docs/dynamic.md says what they may have.

  wskeeper endpoints list
  wskeeper endpoints put user-42 user.toml --dry-run
  wskeeper endpoints put user-42 user.toml
  wskeeper endpoints remove user-42 --drain 5s")]
pub(crate) struct Endpoints {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: EndpointsVerb,
    /// Which daemon.
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// What can be done with endpoints.
#[derive(Debug, Subcommand)]
pub(crate) enum EndpointsVerb {
    /// List all, and where each comes from
    List(EndpointsList),
    /// Print one as it is in force, as JSON
    Show(EndpointsShow),
    /// Create one, or change it
    Put(EndpointsPut),
    /// Remove one
    Remove(EndpointsRemove),
}

/// `endpoints list`
#[derive(Debug, Args)]
pub(crate) struct EndpointsList {
    /// Print one JSON object a line, as in the API
    #[arg(long)]
    pub(crate) json: bool,
}

/// `endpoints show`
#[derive(Debug, Args)]
pub(crate) struct EndpointsShow {
    /// The endpoint's name
    pub(crate) endpoint: String,
}

/// `endpoints put`
#[derive(Debug, Args)]
pub(crate) struct EndpointsPut {
    /// The endpoint's name
    pub(crate) endpoint: String,
    /// Its keys, as under [endpoints.NAME] in the configuration: TOML, or JSON where the name ends in .json; `-`: stdin, in TOML
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Check it and print what would happen to its links; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Where it is kept; by default as api.dynamic says
    #[arg(long, value_enum, value_name = "WHERE")]
    pub(crate) keep: Option<Keep>,
    /// Only if there is no endpoint of this name
    #[arg(long)]
    pub(crate) new: bool,
    /// Print the daemon's answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where an endpoint is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Keep {
    /// Until the daemon stops
    Memory,
    /// Across restarts
    Disk,
}

/// `endpoints remove`
#[derive(Debug, Args)]
pub(crate) struct EndpointsRemove {
    /// The endpoint's name
    pub(crate) endpoint: String,
    /// How long its outbox may take to empty; by default limits.drain
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) drain: Option<Duration>,
}
