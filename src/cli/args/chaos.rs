//! `wskeeper chaos`: each fault with the options that belong to it.
//!
//! What a reader would get wrong: the link comes before the fault, so that one link can be tried with one fault after another.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{
    Remote,
    value::{LinkName, duration, link},
};

/// `chaos`
#[derive(Debug, Args)]
#[command(after_help = "\
The daemon takes this with `api.chaos = true` only, and from admin tokens. The fault is put under the connection: receipts, \
gaps, metrics and the link's recovery are those of the real fault.

  wskeeper chaos trades/0 drop
  wskeeper chaos trades/0 stall --for 15s
  wskeeper chaos trades/0 half-open
  wskeeper chaos trades/0 close --code 1012 --reason restart")]
pub(crate) struct Chaos {
    /// The link: NAME/INDEX, as in `trades/0`; a NAME alone means NAME/0
    #[arg(value_name = "LINK", value_parser = link)]
    pub(crate) link: LinkName,
    /// What goes wrong
    #[command(subcommand)]
    pub(crate) fault: Fault,
    /// Which daemon.
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// The faults.
#[derive(Debug, Subcommand)]
pub(crate) enum Fault {
    /// The TCP connection is reset
    Drop,
    /// Nothing is read or written for a while
    Stall {
        /// For how long, at most 1h
        #[arg(long = "for", value_name = "DURATION", value_parser = duration, default_value = "10s")]
        lasting: Duration,
    },
    /// What is written is lost and nothing arrives, until the heartbeat notices
    HalfOpen,
    /// The link behaves as if the peer had sent a Close frame
    Close {
        /// Its code: 1000 to 1003, 1007 to 1014, 3000 to 4999. Without it the frame has no body
        #[arg(long)]
        code: Option<u16>,
        /// Its reason: at most 123 bytes of UTF-8
        #[arg(long)]
        reason: Option<String>,
    },
}
