//! `dead` and `orphans`: what is kept for an operator.

use clap::{Args, Subcommand};

use super::{
    Remote,
    value::{LinkName, link},
};

/// `dead`
#[derive(Debug, Args)]
#[command(after_help = "\
With outbox.delivery = \"at_least_once\", a message on which the peer closes the link three times in \
a row (1003, 1007, 1008, 1009) is moved to the dead letters, and those behind it go on. The newest \
1000 (16 MiB) are kept; those of endpoints with outbox.durability = \"disk\" survive a restart.

  wskeeper dead list --endpoint trades
  wskeeper dead show 019a8f0c6f0a7d0e8a1b2c3d4e5f6071
  wskeeper dead retry --all trades")]
pub(crate) struct Dead {
    /// What to do with them.
    #[command(subcommand)]
    pub(crate) verb: DeadVerb,
    /// Which daemon.
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// What can be done with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadVerb {
    /// List them, oldest first
    List(DeadList),
    /// Show one with its payload
    Show(DeadShow),
    /// Send some again, each as a new message. A letter is removed once its message is accepted
    Retry(DeadRetry),
    /// Drop some
    Drop(DeadDrop),
}

/// `dead list`
#[derive(Debug, Args)]
pub(crate) struct DeadList {
    /// Only those of this endpoint
    #[arg(long, short, value_name = "NAME")]
    pub(crate) endpoint: Option<String>,
    /// Print one JSON object a line, as in the API
    #[arg(long)]
    pub(crate) json: bool,
}

/// `dead show`
#[derive(Debug, Args)]
#[command(after_help = "\
Control characters are shown as pictures (␛) and binary data as a dump, so that a payload does nothing \
to a terminal.

  wskeeper dead show 019a8f0c6f0a7d0e8a1b2c3d4e5f6071 --raw > payload.bin")]
pub(crate) struct DeadShow {
    /// The message's id
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Print only the payload, byte for byte
    #[arg(long)]
    pub(crate) raw: bool,
    /// Print the API's JSON; binary data in base64
    #[arg(long, conflicts_with = "raw")]
    pub(crate) json: bool,
}

/// `dead retry`
#[derive(Debug, Args)]
pub(crate) struct DeadRetry {
    /// Which letters.
    #[command(flatten)]
    pub(crate) letters: Letters,
    /// Print the receipt of each new message as a line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `dead drop`
#[derive(Debug, Args)]
pub(crate) struct DeadDrop {
    /// Which letters.
    #[command(flatten)]
    pub(crate) letters: Letters,
}

/// Some dead letters.
#[derive(Debug, Args)]
pub(crate) struct Letters {
    /// The messages' ids
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) ids: Vec<String>,
    /// Every dead letter of this endpoint, without asking for confirmation
    #[arg(long, value_name = "ENDPOINT")]
    pub(crate) all: Option<String>,
}

/// `orphans`
#[derive(Debug, Args)]
#[command(after_help = "\
A stored message whose endpoint or link was taken out of the configuration is kept. It goes out when \
that link comes back, or when it is moved to a link of an endpoint with outbox.durability = \"disk\"; \
it is lost only where somebody discards it.

  wskeeper orphans list
  wskeeper orphans move trades/3 trades/0
  wskeeper orphans discard trades/3")]
pub(crate) struct Orphans {
    /// What to do with them.
    #[command(subcommand)]
    pub(crate) verb: OrphansVerb,
    /// Which daemon.
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// What can be done with orphans.
#[derive(Debug, Subcommand)]
pub(crate) enum OrphansVerb {
    /// List them by the link that they were queued for
    List(OrphansList),
    /// Move those of one link to another; they queue behind what that one holds
    Move(OrphansMove),
    /// Discard those of a link; their receipts say `dropped`
    Discard(OrphansDiscard),
}

/// `orphans list`
#[derive(Debug, Args)]
pub(crate) struct OrphansList {
    /// Print one JSON object a line, as in the API
    #[arg(long)]
    pub(crate) json: bool,
}

/// `orphans move`
#[derive(Debug, Args)]
pub(crate) struct OrphansMove {
    /// The link that is gone: NAME/INDEX
    #[arg(value_name = "FROM", value_parser = link)]
    pub(crate) from: LinkName,
    /// The link that will send them: NAME/INDEX
    #[arg(value_name = "TO", value_parser = link)]
    pub(crate) to: LinkName,
}

/// `orphans discard`
#[derive(Debug, Args)]
pub(crate) struct OrphansDiscard {
    /// The link that is gone: NAME/INDEX
    #[arg(value_name = "LINK", value_parser = link)]
    pub(crate) link: LinkName,
}
