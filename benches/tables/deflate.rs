//! Table `deflate`: one link that compresses, and one local program, in both directions.
//!
//! All are given the same job, with each choice of who keeps a context. What a reader would get wrong: the peer's messages are compressed
//! beforehand, and its ratio is not in the table; the ratio is that of what the contestant compresses, counted on the wire.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    contestant::{self, Contestant, present},
    frames::{self, TEXT},
    load::Caller,
    market, packed,
    peer::{Kind, Peer},
    results::Table,
    setup::Setup,
};
use crate::support::Result;

/// Messages of a gust: the inbox and the outbox have room for it.
const GUST: usize = 512;
/// Links whose memory is looked at.
const LINKS: usize = 200;
const LINKS_QUICK: usize = 100;
/// What each of them takes, and sends: so many messages of so many updates. Every window is full then.
const LONG_MESSAGES: usize = 4;
const UPDATES: usize = 15;
const SETTLE: Duration = Duration::from_millis(500);
const IN: usize = 0;
const OUT: usize = 1;
const RATIO: usize = 2;
const LINK: usize = 3;

/// Whose links.
#[derive(Debug, Clone, Copy)]
enum Maker {
    Keeper,
    Node,
    Python,
}

/// One line of the table. `context` is as in `compression_context`, or `off` where nothing is compressed.
#[derive(Debug, Clone, Copy)]
struct Entry {
    name: &'static str,
    maker: Maker,
    context: &'static str,
}

const fn entry(name: &'static str, maker: Maker, context: &'static str) -> Entry {
    Entry { name, maker, context }
}

const ENTRIES: [Entry; 10] = [
    entry("wskeeper, none", Maker::Keeper, "none"),
    entry("wskeeper, peer", Maker::Keeper, "peer"),
    entry("wskeeper, both", Maker::Keeper, "both"),
    entry("wskeeper, compression off", Maker::Keeper, "off"),
    entry("Node ws, none", Maker::Node, "none"),
    entry("Node ws, peer", Maker::Node, "peer"),
    entry("Node ws, both", Maker::Node, "both"),
    entry("websockets, none", Maker::Python, "none"),
    entry("websockets, peer", Maker::Python, "peer"),
    entry("websockets, both", Maker::Python, "both"),
];

/// Ratio, processor time and memory.
pub(crate) async fn deflate(setup: &mut Setup) -> Result<Table> {
    let links = if setup.quick { LINKS_QUICK } else { LINKS };
    let how = format!(
        "One link on which permessage-deflate was agreed on (15 bits, level 3), and one local program, without compression. The messages are \
         a market feed's, JSON of about 1 KiB. In: the link brings 512 at a time; the next come when the program has read all. Out: the program \
         sends 512; the next when the peer has all. Ratio out: their bytes for each byte of a frame's payload. A link: resident memory with {links} links, each of which has taken \
         and sent 64 KiB, less that with one link which has taken and sent as much as all of them. `none`, `peer`, `both`: who keeps a context."
    );
    let columns = [("in", "µs"), ("out", "µs"), ("ratio out", ""), ("a link", "kB")];
    let mut table = Table::new("deflate", "Compression: processor time per message", &how, &setup.run(), &columns);
    traffic(setup, &mut table).await?;
    memory(setup, &mut table, links).await?;
    table.order(&ENTRIES.map(|entry| entry.name));
    for context in ["none", "peer", "both"] {
        let [ours, theirs] = ["wskeeper", "Node ws"].map(|name| format!("{name}, {context}"));
        table.at_most(IN, &ours, 1.0, &theirs);
        table.at_most(OUT, &ours, 1.0, &theirs);
        table.at_least(RATIO, &ours, 0.95, &theirs);
        table.at_most(LINK, &ours, 1.0, &theirs);
    }
    Ok(table)
}

async fn traffic(setup: &mut Setup, table: &mut Table) -> Result<()> {
    let feed = Feed::new(market::updates(GUST));
    let mut lanes = Vec::new();
    for entry in ENTRIES {
        lanes.extend(Lane::start(entry, &feed).await?);
    }
    let gusts = if setup.quick { 4 } else { 20 };
    for lane in &lanes {
        lane.check(&feed).await.map_err(|error| format!("{}: {error}", lane.contestant.name))?;
        let both_ways = async || {
            lane.bring(&feed, gusts).await?;
            lane.send(&feed, gusts).await
        };
        lane.contestant.settle(both_ways).await?;
    }
    for _ in 0..setup.rounds {
        for turn in setup.shuffled(2 * lanes.len()) {
            let (lane, column) = (&lanes[turn / 2], turn % 2);
            let (before, payload) = (lane.contestant.process.cpu_seconds()?, lane.peer.payload());
            let done = if column == IN { lane.bring(&feed, gusts).await } else { lane.send(&feed, gusts).await };
            done.map_err(|error| format!("{}: {error}", lane.contestant.name))?;
            let spent = lane.contestant.process.cpu_seconds()? - before;
            table.note(lane.contestant.name, column, spent * 1e6 / (gusts * GUST) as f64);
            if column == OUT {
                let on_wire = lane.peer.payload() - payload;
                table.note(lane.contestant.name, RATIO, (gusts as u64 * feed.bytes) as f64 / on_wire as f64);
            }
        }
    }
    Ok(())
}

async fn memory(setup: &mut Setup, table: &mut Table, links: usize) -> Result<()> {
    let updates = market::updates(LONG_MESSAGES * UPDATES);
    let feed = Feed::new(updates.chunks(UPDATES).map(|some| format!("[{}]", some.join(","))).collect());
    for _ in 0..setup.rounds {
        for turn in setup.shuffled(ENTRIES.len()) {
            let entry = ENTRIES[turn];
            let one = entry.resident(&feed, 1, links).await.map_err(|error| format!("{}: {error}", entry.name))?;
            let all = entry.resident(&feed, links, links).await.map_err(|error| format!("{}: {error}", entry.name))?;
            if let (Some(one), Some(all)) = (one, all) {
                table.note(entry.name, LINK, (all - one) * 1e3 / (links - 1) as f64);
            }
        }
    }
    Ok(())
}

/// Messages, as they are and as a local program sends them.
struct Feed {
    messages: Vec<String>,
    bytes: u64,
    sent: Vec<u8>,
}

impl Feed {
    fn new(messages: Vec<String>) -> Self {
        let bytes = messages.iter().map(|message| message.len() as u64).sum();
        let mut sent = Vec::new();
        for message in &messages {
            frames::append(&mut sent, TEXT, true, message.as_bytes(), true);
        }
        Self { messages, bytes, sent }
    }

    fn count(&self) -> u64 {
        self.messages.len() as u64
    }
}

impl Entry {
    fn compresses(self) -> bool {
        self.context != "off"
    }

    /// What the peer sends.
    fn packed(self, feed: &Feed) -> Result<Vec<u8>> {
        if self.compresses() {
            return packed::frames(&feed.messages, self.context != "none");
        }
        let mut plain = Vec::new();
        for message in &feed.messages {
            frames::append(&mut plain, TEXT, true, message.as_bytes(), false);
        }
        Ok(plain)
    }

    /// With so many links to this peer, unless it is not installed.
    async fn start(self, peer: &Peer, links: usize) -> Result<Option<Contestant>> {
        let far = peer.port();
        let script = match self.maker {
            Maker::Keeper => {
                let compression = match self.context {
                    "off" => String::new(),
                    context => format!("compression = \"auto\"\ncompression_context = \"{context}\"\n"),
                };
                let config = format!(
                    "[endpoints.feed]\nurl = \"ws://127.0.0.1:{far}/\"\nlinks = {links}\n{compression}\
                     inbox.max_messages = {}\ninbox.max_bytes = \"4MiB\"\n",
                    2 * GUST
                );
                let keeper = Contestant::keeper(self.name, &config)?;
                peer.wait_open(links).await?;
                return Ok(Some(keeper));
            }
            Maker::Node => contestant::node("deflate.cjs"),
            Maker::Python => contestant::python("deflate.py"),
        };
        let port = contestant::port()?;
        let started = script.map(|mut command| {
            command.args([far.to_string(), links.to_string(), self.context.to_owned(), port.to_string()]);
            Contestant::start(self.name, command, port)
        });
        let Some(started) = present(started.transpose()?)? else { return Ok(None) };
        peer.wait_open(links).await?;
        started.listening().await.map(Some)
    }

    /// Where a local program sends on this link.
    fn path(self, link: usize) -> String {
        let path = if matches!(self.maker, Maker::Keeper) { "/v1/endpoints/feed/ws" } else { "/" };
        format!("{path}?link={link}")
    }

    /// Memory in MB, of so many links that have taken and sent what `all` take and send.
    async fn resident(self, feed: &Feed, links: usize, all: usize) -> Result<Option<f64>> {
        let peer = Peer::start(Kind::Sink)?;
        let Some(contestant) = self.start(&peer, links).await? else { return Ok(None) };
        let packed = self.packed(feed)?;
        // One after the other, so that nothing but what is kept grows with the number of links.
        for turn in 0..all {
            peer.flood_one(turn % links, &packed, 1).await?;
        }
        for turn in 0..all {
            let program = Caller::connect(contestant.port, &self.path(turn % links)).await?;
            program.give(&feed.sent).await?;
            peer.wait_received((turn as u64 + 1) * feed.count()).await?;
        }
        sleep(SETTLE).await;
        contestant.process.resident_mb().map(Some)
    }
}

/// A contestant with one link and one local program.
struct Lane {
    entry: Entry,
    contestant: Contestant,
    peer: Peer,
    program: Caller,
    packed: Vec<u8>,
}

impl Lane {
    async fn start(entry: Entry, feed: &Feed) -> Result<Option<Self>> {
        let peer = Peer::start(Kind::Sink)?;
        let Some(contestant) = entry.start(&peer, 1).await? else { return Ok(None) };
        let program = Caller::connect(contestant.port, &entry.path(0)).await?;
        Ok(Some(Self { entry, contestant, peer, program, packed: entry.packed(feed)? }))
    }

    /// Both ways once; what it sends must be compressed, if it is to be, and say what it was given.
    async fn check(&self, feed: &Feed) -> Result<()> {
        self.bring(feed, 1).await?;
        self.peer.keep();
        self.send(feed, 1).await?;
        let kept = self.peer.kept();
        if kept.iter().any(|message| message.is_compressed != self.entry.compresses()) {
            return Err("its messages are not compressed as was agreed on".into());
        }
        if packed::inflated(&kept, self.entry.context == "both")? != feed.messages {
            return Err("its messages do not say what it was given".into());
        }
        Ok(())
    }

    async fn bring(&self, feed: &Feed, gusts: usize) -> Result<()> {
        for _ in 0..gusts {
            tokio::try_join!(self.peer.send(&self.packed), self.program.take(feed.count(), feed.bytes))?;
        }
        Ok(())
    }

    async fn send(&self, feed: &Feed, gusts: usize) -> Result<()> {
        for _ in 0..gusts {
            let before = self.peer.received();
            self.program.give(&feed.sent).await?;
            self.peer.wait_received(before + feed.count()).await?;
        }
        Ok(())
    }
}
