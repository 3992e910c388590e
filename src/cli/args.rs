//! The command line as clap reads it.
//!
//! What a reader would get wrong: exit code 2 is clap's own for a usage error, and `Failure::Usage` is the same code for
//! what clap cannot see. Help texts are part of the product: `tests/cli.rs` reads them.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use chaos::{Chaos, Fault};
pub(crate) use completions::{Completions, Man, Shell};
pub(crate) use connect::Connect;
pub(crate) use endpoints::{
    Endpoints, EndpointsList, EndpointsPut, EndpointsRemove, EndpointsShow, EndpointsVerb, Keep,
};
pub(crate) use kept::{
    Dead, DeadList, DeadShow, DeadVerb, Letters, Orphans, OrphansDiscard, OrphansList, OrphansMove, OrphansVerb,
};
pub(crate) use rehearse::Rehearse;
pub(crate) use request::Request;
pub(crate) use subscriptions::{HeldKeys, Subscribe, Subscriptions, Unsubscribe};
pub(crate) use value::LinkName;
use value::{duration, from, link, period, phase, visible};

use super::echo;
use wskeeper_core::phase::Phase;

mod chaos;
mod completions;
mod connect;
mod endpoints;
mod kept;
mod parts;
mod rehearse;
mod request;
mod subscriptions;
mod value;

/// Holds WebSocket client links open for other programs.
#[derive(Debug, Parser)]
#[command(
    name = "wskeeper",
    version,
    about,
    long_about = "wskeeper holds WebSocket client links open for other programs.\n\n\
        The daemon reads endpoints from a file, keeps a pool of links to them, pings idle links, queues what you send while \
        a link is down and reconnects with backoff. Programs talk to it on this machine by HTTP, server-sent events, a local \
        WebSocket, or the verbs below, and never have to reconnect.",
    after_help = "\
New here?
  wskeeper connect wss://…       one link that is held, from this terminal
  wskeeper demo                  a daemon, a peer that misbehaves, traffic
  wskeeper check wskeeper.toml   check a configuration: lists every fault with
                                 its place
  wskeeper run --config wskeeper.toml
  wskeeper status --watch        what the links are doing, each second

Verbs that talk to a daemon find it by --api or WSKEEPER_API, otherwise at its usual addresses.

Exit codes: 0 fine, 1 failed, 2 wrong usage.",
    propagate_version = true,
    max_term_width = 80
)]
pub(crate) struct Cli {
    /// Before the verb it means the same as after it.
    #[arg(long = "api", id = "early_api", hide = true, value_name = "URL")]
    pub(crate) api: Option<String>,
    /// As `api`.
    #[arg(long = "token-file", id = "early_token_file", hide = true, value_name = "PATH")]
    pub(crate) token_file: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Where the client verbs find the daemon.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which daemon")]
pub(crate) struct Remote {
    /// Address of the daemon's local API: `http://HOST:PORT`, `https://HOST` or `unix:/path/to/api.sock` (or `WSKEEPER_API`
    /// holds it). By default the first that answers: the installed service's sockets, then `http://127.0.0.1:7700`
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) api: Option<String>,
    /// File with the API token, where the daemon asks for one (or `WSKEEPER_TOKEN_FILE` names it, or `WSKEEPER_TOKEN` holds the
    /// token)
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) token_file: Option<PathBuf>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the daemon
    Run(Run),
    /// See the daemon at work, without a file and without a network
    Demo(Demo),
    /// Hold one link from this terminal: lines in, messages out, no daemon
    Connect(Connect),
    /// Validate a configuration and list every fault with its place
    Check(Check),
    /// List the presets, or print one: logins, heartbeats and outcomes of services
    Presets(Presets),
    /// Run an endpoint's session once, against its server or a transcript, and print each step
    Rehearse(Rehearse),
    /// Show what the links are doing
    Status(Status),
    /// Say why a link is in its state, and what happens next
    Explain(LinkArg),
    /// Send messages to an endpoint
    Send(Send),
    /// Send a request to an endpoint and print its reply
    Request(Request),
    /// Print what arrives from an endpoint
    Tail(Tail),
    /// Subscribe an endpoint's links to keys, and keep it so over reconnects
    Subscribe(Subscribe),
    /// Unsubscribe an endpoint's links from keys
    Unsubscribe(Unsubscribe),
    /// List what an endpoint's links are subscribed to
    Subscriptions(Subscriptions),
    /// Close a link's connection and pause the link
    Close(Close),
    /// Close a link's connection and dial again
    Reconnect(LinkArg),
    /// Open a new connection for a link, switch to it, then close the old one
    Rotate(LinkArg),
    /// Close a link's connection and keep it closed until `resume`
    Pause(LinkArg),
    /// Let a paused or parked link dial again now
    Resume(LinkArg),
    /// Break a link's connection on purpose, where the daemon allows it
    Chaos(Chaos),
    /// Say what a reload would do, without doing it
    Plan(Plan),
    /// Make the daemon read its configuration again
    Reload(Plan),
    /// List endpoints; add or remove some while the daemon runs
    Endpoints(Endpoints),
    /// List, resend or drop dead letters: messages that their peers refused
    Dead(Dead),
    /// List, move or discard orphans: stored messages of links that the configuration no longer has
    Orphans(Orphans),
    /// Serve WebSocket as an echo peer that misbehaves on demand
    Echo(Echo),
    /// Print a completion script for a shell
    Completions(Completions),
    /// Print the manual page, or write all of them to a folder
    #[command(hide = true)]
    Man(Man),
}

/// `run`
#[derive(Debug, Args)]
#[command(after_help = "\
SIGTERM and SIGINT drain the outboxes, close the links with 1001 and end with code 0; a second one ends at once with \
code 130 (SIGINT) or 143 (SIGTERM). SIGHUP reads the configuration again. Logs go to stderr.

  wskeeper run --config ./wskeeper.toml
  WSKEEPER__API__LISTEN=127.0.0.1:7800 wskeeper run --config ./conf.d")]
pub(crate) struct Run {
    /// Configuration file, or a folder of them merged in name order
    #[arg(long, short, default_value = "/etc/wskeeper/wskeeper.toml", value_name = "PATH")]
    pub(crate) config: PathBuf,
}

/// `demo`
#[derive(Debug, Args)]
#[command(after_help = "\
Everything stays on this machine: the daemon and the peers it talks to live in this one process. Ctrl-C ends it with a \
summary of what was sent and what became of it.")]
pub(crate) struct Demo {
    /// End by itself after this long
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(crate) lasting: Option<Duration>,
    /// Port of the demo daemon's API; a free one is taken where this one is in use
    #[arg(long, default_value_t = 7700, value_name = "PORT")]
    pub(crate) port: u16,
}

/// `check`
#[derive(Debug, Args)]
#[command(after_help = "\
The environment counts, as it does for `run`: WSKEEPER__SECTION__KEY overrides a key. Secrets are not read. What may \
be a mistake is a warning on stderr, and the exit code stays 0.

  wskeeper check /etc/wskeeper/wskeeper.toml && systemctl reload wskeeper")]
pub(crate) struct Check {
    /// Configuration file or folder
    pub(crate) path: PathBuf,
}

/// `presets`
#[derive(Debug, Args)]
#[command(after_help = "\
A preset gives an endpoint its login, heartbeat and outcomes: `preset = \"nats\"`. Keys of the endpoint override it. It has no URL and no \
secret. Its comments say which values it needs, what is lost with a connection, and where the service documents it. docs/sessions.md \
teaches the language; docs/presets has a page for each.

  wskeeper presets
  wskeeper presets nats
  wskeeper presets mqtt > mine.toml     a start for a session of your own")]
pub(crate) struct Presets {
    /// Print this one as TOML
    pub(crate) name: Option<String>,
}

/// `status`
#[derive(Debug, Args)]
#[command(after_help = "  ●  ready     ◐  connecting, opening or closing
  ○  waiting for its next attempt     ◌  paused
  ✕  parked: the peer refuses in a way that retries do not change; tried rarely

Links in trouble come first. On a terminal the table fits the width, and with --watch the height too.

  wskeeper status --watch
  wskeeper status --phase parked,waiting
  wskeeper status --endpoint trades --links
  wskeeper status --json | jq '.links[] | select(.phase != \"ready\")'")]
pub(crate) struct Status {
    /// Redraw every second, in place on a terminal; Ctrl-C ends it with code 0
    #[arg(long, short, conflicts_with = "json")]
    pub(crate) watch: bool,
    /// Print one JSON object: `daemon`, `store`, `endpoints` and `links`, as in the API
    #[arg(long)]
    pub(crate) json: bool,
    /// Only this endpoint
    #[arg(long, short, value_name = "NAME")]
    pub(crate) endpoint: Option<String>,
    /// Only links in these phases
    #[arg(long, value_name = "PHASE,…", value_delimiter = ',', value_parser = phase)]
    pub(crate) phase: Vec<Phase>,
    /// One row per link, however many there are
    #[arg(long)]
    pub(crate) links: bool,
    /// Which daemon.
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// A verb that takes a link and nothing else.
#[derive(Debug, Args)]
pub(crate) struct LinkArg {
    /// The link: NAME/INDEX, as in `trades/0`; a NAME alone means NAME/0
    #[arg(value_name = "LINK", value_parser = link)]
    pub(crate) link: LinkName,
    /// Which daemon.
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `close`
#[derive(Debug, Args)]
#[command(after_help = "  wskeeper close trades/0 --code 4000 --reason 'maintenance'\n  wskeeper resume trades/0")]
pub(crate) struct Close {
    /// The link: NAME/INDEX, as in `trades/0`; a NAME alone means NAME/0
    #[arg(value_name = "LINK", value_parser = link)]
    pub(crate) link: LinkName,
    /// Close code: 1000, or 3000 to 4999. Without it the Close frame has no code
    #[arg(long)]
    pub(crate) code: Option<u16>,
    /// Close reason: at most 123 bytes of UTF-8
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Which daemon.
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// The state that a message must reach before `send` continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wait {
    /// Accepted into the outbox
    Queued,
    /// On disk: endpoints with outbox.durability = "disk"
    Stored,
    /// Handed to the network
    Written,
    /// Read by the peer's WebSocket stack: a pong answered a ping sent after it
    Confirmed,
}

impl Wait {
    /// The word in the API's query.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Stored => "stored",
            Self::Written => "written",
            Self::Confirmed => "confirmed",
        }
    }
}

/// `send`
#[derive(Debug, Args)]
#[command(after_help = "\
Without TEXT, or with `-`, each line of stdin is one message. Lines go out many at a time, in order; where the outbox is \
full they wait for room. Ctrl-C stops reading. The summary on stderr says how many were accepted and how many refused and \
why; the exit code is 1 if any was refused or failed. With --binary, stdin is one message, byte for byte.

  wskeeper send trades '{\"op\":\"subscribe\"}'
  tail -f orders.ndjson | wskeeper send trades
  wskeeper send trades --wait confirmed --timeout 5s hello
  wskeeper send orders --idempotency-key order-17 '{\"buy\":1}'
  wskeeper send firmware --binary < image.bin")]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Send {
    /// The endpoint's name
    pub(crate) endpoint: String,
    /// The message. With `-`, or without it, messages are read from stdin
    pub(crate) text: Option<String>,
    /// Wait until each message has reached this state
    #[arg(long, value_enum, value_name = "STATE")]
    pub(crate) wait: Option<Wait>,
    /// How long to wait for it
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// Send a binary message instead of text
    #[arg(long)]
    pub(crate) binary: bool,
    /// Ordering and conflation key: messages of one key go to one link
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Drop the message if it could not be sent within this time
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) ttl: Option<Duration>,
    /// Send on this link of the endpoint instead of the least loaded one
    #[arg(long, value_name = "INDEX")]
    pub(crate) link: Option<u32>,
    /// Send only on the connection with this number; refused if another is current
    #[arg(long, value_name = "NUMBER")]
    pub(crate) generation: Option<u64>,
    /// With one message: if this is repeated with the same key within 10 minutes, it is not sent twice
    #[arg(long, value_name = "KEY", value_parser = visible)]
    pub(crate) idempotency_key: Option<String>,
    /// With lines of stdin: where the outbox is full, refuse the line instead of waiting for room
    #[arg(long)]
    pub(crate) no_retry: bool,
    /// Print each receipt as a line of JSON, and for lines of stdin each refusal too
    #[arg(long)]
    pub(crate) json: bool,
    /// Print only errors
    #[arg(long, short, conflicts_with = "json")]
    pub(crate) quiet: bool,
    /// Which daemon.
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `tail`
#[derive(Debug, Args)]
#[command(after_help = "\
Text messages are printed as lines on stdout; everything else (links going down and up, gaps) as dim lines on stderr, so \
that a pipe carries data only. It survives a restart of the daemon: it continues where it was, or says what is missing. Ctrl-C \
ends it with code 0.

  wskeeper tail trades | jq .price
  wskeeper tail trades --from oldest --json
  wskeeper tail trades --types close,phase --json
  wskeeper tail trades --match /s=BTCUSDT
  wskeeper tail trades --frames         pings, pongs and Close frames too")]
pub(crate) struct Tail {
    /// The endpoint's name
    pub(crate) endpoint: String,
    /// Where to start: `latest`, `oldest`, or after a cursor
    #[arg(long, default_value = "latest", value_name = "latest|oldest|CURSOR", value_parser = from)]
    pub(crate) from: String,
    /// Print every event as a line of JSON on stdout
    #[arg(long)]
    pub(crate) json: bool,
    /// Only these events: open, message, error, close, phase, gap
    #[arg(long, value_delimiter = ',', value_name = "TYPE,…")]
    pub(crate) types: Vec<String>,
    /// Only this stream of the endpoint, which has cursors of its own
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: Option<String>,
    /// Only messages with this value at this place, as in `/s=BTCUSDT`; if given several times, all must match
    #[arg(long = "match", value_name = "POINTER=VALUE")]
    pub(crate) matches: Vec<String>,
    /// End after this many messages
    #[arg(long, value_name = "COUNT")]
    pub(crate) count: Option<u64>,
    /// Show the frames on the wire instead, both ways: time, kind, size. For people: a slow reader misses some
    #[arg(long, conflicts_with_all = ["from", "types", "stream", "matches"])]
    pub(crate) frames: bool,
    /// With --frames: show payloads too, up to 4 KiB each; needs an admin token
    #[arg(long, requires = "frames")]
    pub(crate) payloads: bool,
    /// With --frames: only those of this link
    #[arg(long, value_name = "INDEX", requires = "frames")]
    pub(crate) link: Option<u32>,
    /// Which daemon.
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `plan` and `reload`
#[derive(Debug, Args)]
#[command(after_help = "\
Links whose configuration did not change keep their connections: they are counted, the others listed with the keys that \
changed. `plan` prints before a reload what `reload` prints after it. A configuration with faults changes nothing: the faults are printed \
and the exit code is 1.

  wskeeper plan && wskeeper reload")]
pub(crate) struct Plan {
    /// Print the daemon's answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Which daemon.
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `echo`
#[derive(Debug, Args)]
#[command(after_help = "\
Without options it is a well-behaved echo peer. Faults can be combined; docs/echo.md says what each does on the wire.

  wskeeper echo --listen 127.0.0.1:9001
  wskeeper echo --drop-every 10s      resets all connections every 10 s
  wskeeper echo --close-code 1012 --close-after 5s
  wskeeper echo --refuse 503:2 --refuse-for 5s --refuse-every 20s
  wskeeper echo --half-open           accepts the upgrade, then never answers")]
pub(crate) struct Echo {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:9001", value_name = "HOST:PORT")]
    pub(crate) listen: String,
    /// Reset all connections (TCP RST) at this interval
    #[arg(long, value_name = "DURATION", value_parser = period)]
    pub(crate) drop_every: Option<Duration>,
    /// This long after the upgrade, stop reading and answering but keep the connection
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) stall: Option<Duration>,
    /// Close with this code; 1005 sends a Close frame without a code, 1006 ends TCP without a Close frame
    #[arg(long, value_name = "CODE")]
    pub(crate) close_code: Option<u16>,
    /// With --close-code: close this long after the upgrade
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "1s", requires = "close_code")]
    pub(crate) close_after: Duration,
    /// Reason sent with the close code
    #[arg(long, default_value = "", requires = "close_code", hide_default_value = true)]
    pub(crate) close_reason: String,
    /// Answer the upgrade with this HTTP status, and with Retry-After (seconds) if given
    #[arg(long, value_name = "STATUS[:RETRY_AFTER]")]
    pub(crate) refuse: Option<echo::Refusal>,
    /// Refuse only for this long: from the start, or from the start of each --refuse-every
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "refuse")]
    pub(crate) refuse_for: Option<Duration>,
    /// Start to refuse again at this interval
    #[arg(long, value_name = "DURATION", value_parser = period, requires = "refuse_for")]
    pub(crate) refuse_every: Option<Duration>,
    /// Accept the upgrade, then read and never answer: TCP is acknowledged, the peer is silent
    #[arg(long)]
    pub(crate) half_open: bool,
    /// Wait this long before each echo
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0s", hide_default_value = true)]
    pub(crate) delay: Duration,
    /// Choose this subprotocol if the client offers it, and refuse with 400 if it does not
    #[arg(long, value_name = "NAME")]
    pub(crate) subprotocol: Option<String>,
    /// Accept permessage-deflate from clients that offer it, with the windows and contexts that they ask for
    #[arg(long)]
    pub(crate) compression: bool,
    /// Print only the address that it listens on: `ws://HOST:PORT/`
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[cfg(test)]
mod tests;
