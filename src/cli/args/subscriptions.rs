//! `subscribe`, `unsubscribe` and `subscriptions`.
//!
//! What a reader would get wrong: the first two take the same, for what one holds the other releases; they differ in the lease.

use std::time::Duration;

use clap::Args;

use super::{Remote, value::period};

/// `subscribe`
#[derive(Debug, Args)]
#[command(after_help = "\
The key is asked for on one of the endpoint's links, and again after each reconnect, until nobody holds it any more. It is \
held by a name: the same --holder releases it with `unsubscribe`.

  wskeeper subscribe trades btcusdt@trade --holder ticker
  wskeeper subscribe trades btcusdt@trade --holder ticker --lease 60s
  wskeeper subscribe trades orders --message '{\"subscribe\":\"orders\"}'")]
pub(crate) struct Subscribe {
    /// Keys and holder.
    #[command(flatten)]
    pub(crate) held: HeldKeys,
    /// Release it unless this is repeated within this time
    #[arg(long, value_name = "DURATION", value_parser = period)]
    pub(crate) lease: Option<Duration>,
    /// Print each as a line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Keys, and who holds them.
#[derive(Debug, Args)]
pub(crate) struct HeldKeys {
    /// The endpoint's name
    pub(crate) endpoint: String,
    /// The keys, as the service names them
    #[arg(required = true, value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    /// Who holds the keys; all callers that name no holder count as one
    #[arg(long, value_name = "NAME")]
    pub(crate) holder: Option<String>,
    /// The message that subscribes at the peer, if the configuration has no template for it
    #[arg(long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// Which daemon.
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `unsubscribe`
#[derive(Debug, Args)]
#[command(after_help = "\
The peer is told when the last who holds a key releases it.

  wskeeper unsubscribe trades btcusdt@trade --holder ticker")]
pub(crate) struct Unsubscribe {
    /// Keys and holder.
    #[command(flatten)]
    pub(crate) held: HeldKeys,
}

/// `subscriptions`
#[derive(Debug, Args)]
pub(crate) struct Subscriptions {
    /// The endpoint's name
    pub(crate) endpoint: String,
    /// Only this key, and what would help if it is not active
    pub(crate) key: Option<String>,
    /// Print one JSON object a line, as in the API
    #[arg(long)]
    pub(crate) json: bool,
    /// Which daemon.
    #[command(flatten)]
    pub(crate) remote: Remote,
}
