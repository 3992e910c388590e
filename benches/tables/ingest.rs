//! Tables `ingest`, `ingest-tls` and `ingest-16k`: 50 connections that bring messages as fast as they are read.
//!
//! Through wskeeper each message is counted and kept in the inbox. Without a consumer that is all; with one, a local WebSocket
//! reads all 50 links' messages, and the peer waits for it after each gust, so that nothing falls out of the inbox: a reader
//! that loses messages would have been given less to do.

use std::time::Duration;

use tempfile::TempDir;

use super::{
    contestant::{self, Contestant, folder, installed, pinned, present, until},
    frames,
    load::Caller,
    peer::{Kind, Peer},
    relay::KEEPER,
    results::Table,
    setup::Setup,
    tls::TlsPeer,
};
use crate::support::{Result, metric};

const LINKS: usize = 50;
const SIZE: usize = 64;
/// Messages of a gust on each link: together they fit into the inbox.
const GUST: usize = 200;
/// The same for an inbox on disk, which has more room: to ask whether all is there costs the daemon something too.
const GUST_ON_DISK: usize = 10 * GUST;
const LONG: usize = 16 << 10;
/// Bytes that come on each connection before anything is measured, at most.
const MOST_BYTES: usize = 4 << 20;
const PATIENCE: Duration = Duration::from_mins(1);
const CONSUMED: &str = "wskeeper, one local consumer";
const DURABLE: &str = "wskeeper, inbox on disk";
const BARE: &str = "tungstenite, default buffers";
const BARE_SMALL: &str = "tungstenite, 8 KiB";
const BARE_TLS: &str = "tungstenite + rustls, default buffers";

struct Lane {
    contestant: Contestant,
    peer: Far,
    consumer: Option<Caller>,
    /// Where a store is.
    store: Option<TempDir>,
}

/// Who floods.
enum Far {
    Plain(Peer),
    Tls(TlsPeer),
}

impl Far {
    async fn flood(&self, message: &[u8], count: usize) -> Result<()> {
        match self {
            Self::Plain(peer) => peer.flood(message, count).await,
            Self::Tls(peer) => peer.flood(message, count).await,
        }
    }

    async fn wait_open(&self, count: usize) -> Result<()> {
        match self {
            Self::Plain(peer) => peer.wait_open(count).await,
            Self::Tls(peer) => peer.wait_open(count).await,
        }
    }
}

/// What arrives, counted and kept, and passed on.
pub(crate) async fn ingest(setup: &mut Setup) -> Result<Table> {
    let how = "50 connections bring messages of 64 B as fast as they are read; a pong to a ping behind them says that all were. \
               With a consumer the peer waits for it after each 200 messages a link, with an inbox on disk until all is there after each 2,000.";
    let mut table = table(setup, "ingest", "Ingest: processor time per message", how);
    let each = if setup.quick { 20 * GUST } else { 50 * GUST };
    measure(setup, &mut table, lanes().await?, SIZE, each).await?;
    table.order(&[KEEPER, CONSUMED, DURABLE, BARE, BARE_SMALL]);
    table.at_least(1, KEEPER, 4.0, BARE);
    table.at_least(1, CONSUMED, 1.3, BARE);
    Ok(table)
}

/// The same over TLS, without a consumer.
pub(crate) async fn over_tls(setup: &mut Setup) -> Result<Table> {
    let how = "50 wss connections (rustls, TLS 1.3) bring messages of 64 B as fast as they are read.";
    let mut table = table(setup, "ingest-tls", "Ingest over TLS: processor time per message", how);
    let mut lanes = Vec::new();
    for name in [KEEPER, BARE_TLS] {
        let peer = TlsPeer::start()?;
        let (port, authority) = (peer.port().to_string(), peer.authority().display().to_string());
        let contestant = if name == KEEPER {
            Contestant::keeper(name, &feed(&format!("wss://127.0.0.1:{port}/\"\ntls.ca = \"{authority}"), ""))?
        } else {
            Contestant::role(name, &["count-tls", &authority, "131072", &port, &LINKS.to_string()])?
        };
        lanes.push(Lane { contestant, peer: Far::Tls(peer), consumer: None, store: None });
    }
    let each = if setup.quick { 20 * GUST } else { 50 * GUST };
    measure(setup, &mut table, lanes, SIZE, each).await?;
    table.order(&[KEEPER, BARE_TLS]);
    table.at_most(0, KEEPER, 1.1, BARE_TLS);
    Ok(table)
}

/// Long messages, which fill a read each or more.
pub(crate) async fn long(setup: &mut Setup) -> Result<Table> {
    let how = "50 connections bring messages of 16 KiB as fast as they are read.";
    let mut table = table(setup, "ingest-16k", "Ingest of 16 KiB: processor time per message", how);
    let mut lanes = Vec::new();
    for name in [KEEPER, BARE, BARE_SMALL] {
        let peer = Peer::start(Kind::Sink)?;
        let port = peer.port().to_string();
        let contestant = if name == KEEPER {
            Contestant::keeper(name, &feed(&format!("ws://127.0.0.1:{port}/"), ""))?
        } else {
            let buffer = if name == BARE { "131072" } else { "8192" };
            Contestant::role(name, &["count", buffer, &port, &LINKS.to_string()])?
        };
        lanes.push(Lane { contestant, peer: Far::Plain(peer), consumer: None, store: None });
    }
    let each = if setup.quick { 100 } else { 400 };
    measure(setup, &mut table, lanes, LONG, each).await?;
    table.order(&[KEEPER, BARE, BARE_SMALL]);
    table.at_least(1, KEEPER, 1.0, BARE);
    Ok(table)
}

fn table(setup: &Setup, id: &str, title: &str, how: &str) -> Table {
    let columns = [("a message", "µs"), ("messages per second of processor", "million")];
    Table::new(id, title, how, &setup.run(), &columns)
}

/// Each lane in turn takes so many messages of this size on each connection; before that, until nothing grows any more.
async fn measure(setup: &mut Setup, table: &mut Table, lanes: Vec<Lane>, size: usize, each: usize) -> Result<()> {
    for lane in &lanes {
        lane.peer.wait_open(LINKS).await?;
        let first = each.min(MOST_BYTES / size);
        lane.contestant.settle(async || lane.take(size, first).await).await?;
    }
    for _ in 0..setup.rounds {
        for turn in setup.shuffled(lanes.len()) {
            let lane = &lanes[turn];
            let name = lane.contestant.name;
            let before = lane.contestant.process.cpu_seconds()?;
            lane.take(size, each).await.map_err(|error| format!("{name}: {error}"))?;
            let spent = lane.contestant.process.cpu_seconds()? - before;
            let messages = (LINKS * each) as f64;
            table.note(name, 0, spent * 1e6 / messages);
            table.note(name, 1, messages / spent / 1e6);
        }
    }
    Ok(())
}

/// An endpoint whose inbox has room for two gusts; `more` is of its inbox.
fn feed(url: &str, more: &str) -> String {
    let (gust, bytes) = if more.is_empty() { (GUST, "4MiB") } else { (GUST_ON_DISK, "64MiB") };
    format!(
        "[endpoints.feed]\nurl = \"{url}\"\nlinks = {LINKS}\n\
         inbox.max_messages = {}\ninbox.max_bytes = \"{bytes}\"\n{more}",
        2 * LINKS * gust
    )
}

impl Lane {
    /// Lets so many messages come on each connection.
    async fn take(&self, size: usize, each: usize) -> Result<()> {
        let message = frames::text(size, false);
        if self.store.is_some() {
            for _ in 0..each / GUST_ON_DISK {
                self.peer.flood(&message, GUST_ON_DISK).await?;
                let port = self.contestant.port;
                until("all on disk", PATIENCE, || Ok(metric(port, "wskeeper_inbox_unstored_entries")? < 1.0)).await?;
            }
            return Ok(());
        }
        let Some(consumer) = &self.consumer else { return self.peer.flood(&message, each).await };
        for _ in 0..each / GUST {
            let messages = LINKS * GUST;
            let all = consumer.take(messages as u64, (messages * size) as u64);
            tokio::try_join!(self.peer.flood(&message, GUST), all)?;
        }
        Ok(())
    }
}

async fn lanes() -> Result<Vec<Lane>> {
    let mut lanes = Vec::new();
    for (name, buffer) in [(BARE, "131072"), (BARE_SMALL, "8192")] {
        let peer = Peer::start(Kind::Sink)?;
        let args = ["count", buffer, &peer.port().to_string(), &LINKS.to_string()];
        lanes.push((Contestant::role(name, &args)?, peer));
    }
    for start in [gorilla, node] {
        let peer = Peer::start(Kind::Sink)?;
        if let Some(contestant) = present(start(peer.port(), LINKS)?)? {
            lanes.push((contestant, peer));
        }
    }
    let folder = tempfile::tempdir_in(folder()?)?;
    let on_disk = format!("inbox.durability = \"disk\"\n[storage]\ndir = \"{}\"\n", folder.path().display());
    for (name, more) in [(KEEPER, ""), (CONSUMED, ""), (DURABLE, &on_disk)] {
        let peer = Peer::start(Kind::Sink)?;
        let config = feed(&format!("ws://127.0.0.1:{}/", peer.port()), more);
        lanes.push((Contestant::keeper(name, &config)?, peer));
    }
    let mut folder = Some(folder);
    let mut ready = Vec::new();
    for (contestant, peer) in lanes {
        peer.wait_open(LINKS).await?;
        let consumer = match contestant.name {
            CONSUMED => Some(Caller::connect(contestant.port, "/v1/endpoints/feed/ws").await?),
            _ => None,
        };
        let store = if contestant.name == DURABLE { folder.take() } else { None };
        ready.push(Lane { contestant, peer: Far::Plain(peer), consumer, store });
    }
    Ok(ready)
}

/// A reader by gorilla, which `benches/run` has built.
pub(crate) fn gorilla(peer: u16, connections: usize) -> Result<Option<Contestant>> {
    let program = installed().join("bin/count-gorilla");
    if !program.exists() {
        return Ok(None);
    }
    let mut command = pinned(&program.to_string_lossy());
    command.args([peer.to_string(), connections.to_string()]);
    Contestant::start("gorilla", command, 0).map(Some)
}

/// A reader by Node.
pub(crate) fn node(peer: u16, connections: usize) -> Result<Option<Contestant>> {
    let Some(mut command) = contestant::node("count.cjs") else { return Ok(None) };
    command.args([peer.to_string(), connections.to_string()]);
    Contestant::start("Node ws", command, 0).map(Some)
}
