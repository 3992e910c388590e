//! `request`: a message whose reply is printed.

use std::time::Duration;

use clap::Args;

use super::{Remote, value::duration};

/// `request`
#[derive(Debug, Args)]
#[command(after_help = "\
Prints the reply on stdout. Ends with 1, and the reply on stdout all the same, where it says that the request failed; else with what went \
wrong on stderr. The endpoint needs `requests` in its configuration.

  wskeeper request node '{\"method\": \"eth_blockNumber\", \"params\": []}'")]
pub(crate) struct Request {
    /// The endpoint's name
    pub(crate) endpoint: String,
    /// The request. With `-`, or without it, it is read from stdin
    pub(crate) text: Option<String>,
    /// How long to wait for the reply
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// Send on this link of the endpoint instead of the least loaded one
    #[arg(long, value_name = "INDEX")]
    pub(crate) link: Option<u32>,
    /// Send only on the connection with this number; refused if another is current
    #[arg(long, value_name = "NUMBER")]
    pub(crate) generation: Option<u64>,
    /// Which daemon.
    #[command(flatten)]
    pub(crate) remote: Remote,
}
