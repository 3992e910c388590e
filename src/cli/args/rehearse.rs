//! `wskeeper rehearse`: an endpoint or a preset, its server or a transcript.
//!
//! What a reader would get wrong: the configuration is the one file or folder named here, for no daemon is asked for its own.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::value::{duration, pair};

/// `rehearse`
#[derive(Debug, Args)]
#[command(after_help = "\
Runs what the endpoint's session does on a connection, once, and prints each step, what it matched and which variables it \
set; then it asks for the keys of subscriptions, and prints which are confirmed and which are refused. Secrets, and variables \
that came from one, are shown as ***. The exit code is 0 if the session became ready, no key was refused and nothing failed \
after it, else 1. No daemon is asked and none is disturbed; but a server that allows one session at a time may end \
the daemon's.

With --transcript no network is used: the file says what the server says, a JSON object a line, and time passes only where \
it says so. --record writes one from a real run, which holds what the server said: look at it before you pass it on.

  {\"in\": {\"op\": 10, \"beat\": 41250}}       the server sends this
  {\"out\": {\"op\": 2, \"token\": \"***\"}}      the session must send this
  {\"after\": \"2s\"}                         time passes
  {\"close\": 4004, \"reason\": \"no\"}         the server closes

  wskeeper rehearse gateway --config wskeeper.toml
  wskeeper rehearse gateway --record gateway.ndjson
  wskeeper rehearse gateway --transcript gateway.ndjson
  wskeeper rehearse --preset nats --url ws://127.0.0.1:8080 \\
    --value 'token=${env:TOKEN}'
  wskeeper rehearse trades --subscribe btcusdt@trade")]
pub(crate) struct Rehearse {
    /// The endpoint's name in the configuration
    #[arg(required_unless_present = "preset")]
    pub(crate) endpoint: Option<String>,
    /// Configuration file, or a folder of them merged in name order
    #[arg(long, short, default_value = "/etc/wskeeper/wskeeper.toml", value_name = "PATH")]
    pub(crate) config: PathBuf,
    /// Rehearse this preset instead of an endpoint
    #[arg(long, value_name = "NAME", conflicts_with_all = ["endpoint", "config"])]
    pub(crate) preset: Option<String>,
    /// With --preset: where to connect
    #[arg(long, value_name = "URL", requires = "preset")]
    pub(crate) url: Option<String>,
    /// With --preset: a value that it needs, or a reference to one, as in `token=${env:TOKEN}`
    #[arg(long = "value", value_name = "NAME=VALUE", requires = "preset", value_parser = pair)]
    pub(crate) values: Vec<(String, String)>,
    /// Subscribe to this key as well as those of the configuration; may be given several times
    #[arg(long = "subscribe", value_name = "KEY")]
    pub(crate) subscribe: Vec<String>,
    /// Play this transcript instead of connecting; `-`: stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) transcript: Option<PathBuf>,
    /// Write a transcript of the run
    #[arg(long, value_name = "FILE", conflicts_with = "transcript")]
    pub(crate) record: Option<PathBuf>,
    /// Continue for this long once it is ready, to see its rules and timers
    #[arg(long = "for", value_name = "DURATION", value_parser = duration, default_value = "0s", hide_default_value = true)]
    pub(crate) lasting: Duration,
    /// Give up if it is not ready after this long
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "1min")]
    pub(crate) timeout: Duration,
    /// Print each step as a line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}
