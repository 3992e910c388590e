//! `wskeeper connect`: an address, and what is known of its server.
//!
//! What a reader would get wrong: it asks no daemon and reads no file. What a configuration would say of the endpoint is said by `--set`.

use clap::Args;

use super::value::{header, pair};

/// `connect`
#[derive(Debug, Args)]
#[command(after_help = "\
Each line of stdin is sent as a text message, each text message that arrives is a line on stdout, and what becomes of the link \
is told on stderr. The link is held as the daemon would hold it: it pings, reconnects with backoff, and keeps what is typed \
while it is down. A message that arrives in binary is shown as `binary 3 B base64 AAEC`.

Ctrl-C ends it, and so does Ctrl-D on a terminal: what was typed leaves, the link is closed with 1000, and the exit code is 0, \
or 1 if a message was refused or lost. A second Ctrl-C ends it at once. Where stdin is a pipe that ends, messages go on being \
printed; with --exit-on-eof it ends once the peer has read all of them and has then been silent for half a second.

With --binary both ways are bytes: stdin is sent in binary messages of up to 64 KiB as it is read, and what arrives is written \
as it is, without ends of lines. A reader that is too slow for 64 MiB of messages is told how many it missed.

  wskeeper connect wss://feed.example/v2
  wskeeper connect wss://feed.example -H 'Authorization: Bearer ${env:TOKEN}'
  echo '{\"op\":\"subscribe\"}' | wskeeper connect wss://feed.example | jq .price
  echo hello | wskeeper connect ws://127.0.0.1:9001 --exit-on-eof
  wskeeper connect wss://gateway.example --preset discord \\
    --value 'token=${file:token}' --value intents=513 --json
  wskeeper connect wss://stream.binance.com:9443/stream --preset binance \\
    --subscribe btcusdt@trade
  wskeeper connect wss://feed.example --set heartbeat.idle=5s

docs/connect.md says more.")]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Connect {
    /// Where to connect: `ws://…` or `wss://…`
    pub(crate) url: String,
    /// Log in, keep alive and resume as this preset says: see `wskeeper presets`
    #[arg(long, value_name = "NAME")]
    pub(crate) preset: Option<String>,
    /// With --preset: a value that it needs, or a reference to one, as in `token=${env:TOKEN}`
    #[arg(long = "value", value_name = "NAME=VALUE", requires = "preset", value_parser = pair)]
    pub(crate) values: Vec<(String, String)>,
    /// Subscribe to this key on every connection, as `subscriptions` of the preset or of --set say; may be given several times
    #[arg(long = "subscribe", value_name = "KEY")]
    pub(crate) subscribe: Vec<String>,
    /// A header of the upgrade request; its value may hold `${env:NAME}` or `${file:PATH}`
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) headers: Vec<(String, String)>,
    /// A subprotocol to offer; may be given several times, in order of preference
    #[arg(long = "protocol", value_name = "NAME")]
    pub(crate) protocols: Vec<String>,
    /// Any key of an endpoint as the configuration has it, as in `outbox.ttl=10s`
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) keys: Vec<(String, String)>,
    /// Print every event as a line of JSON on stdout, with its cursor: open, message, error, close, phase, gap
    #[arg(long)]
    pub(crate) json: bool,
    /// Pass bytes instead of lines, both ways
    #[arg(long, short, conflicts_with = "json")]
    pub(crate) binary: bool,
    /// End after this many messages
    #[arg(long, value_name = "COUNT")]
    pub(crate) count: Option<u64>,
    /// End once stdin has ended and the peer has read all of it
    #[arg(long, short = 'E')]
    pub(crate) exit_on_eof: bool,
    /// Print nothing about the link on stderr
    #[arg(long, short)]
    pub(crate) quiet: bool,
}
