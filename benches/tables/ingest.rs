//! Table `ingest`: 50 connections that bring small messages as fast as they are read.
//!
//! Through wskeeper each message is counted and kept in the inbox. Without a consumer that is all; with one, a local WebSocket
//! reads all 50 links' messages, and the peer waits for it after each gust, so that nothing falls out of the inbox: a reader
//! that loses messages would have been given less to do.

use super::{
    contestant::{Contestant, find, has_node_modules, installed, node_modules, node_script, pinned, present},
    frames,
    load::Caller,
    peer::{Kind, Peer},
    relay::KEEPER,
    results::Table,
    setup::Setup,
};
use crate::support::Result;

const LINKS: usize = 50;
const SIZE: usize = 64;
/// Messages of a gust on each link: together they fit into the inbox.
const GUST: usize = 200;
const CONSUMED: &str = "wskeeper, one local consumer";
const BARE: &str = "tungstenite, default buffers";
const BARE_SMALL: &str = "tungstenite, 8 KiB";

struct Lane {
    contestant: Contestant,
    peer: Peer,
    consumer: Option<Caller>,
}

/// What arrives, counted and kept, and passed on.
pub(crate) async fn ingest(setup: &mut Setup) -> Result<Table> {
    let how = "50 connections bring messages of 64 B as fast as they are read; a pong to a ping behind them says that all were. \
               With a consumer the peer waits for it after each 200 messages a link.";
    let columns = [("a message", "µs"), ("messages per second of processor", "million")];
    let mut table = Table::new("ingest", "Ingest: processor time per message", how, &setup.run(), &columns);
    let lanes = lanes().await?;
    for lane in &lanes {
        lane.take(GUST).await?;
    }
    let each = if setup.quick { 20 * GUST } else { 50 * GUST };
    for _ in 0..setup.rounds {
        for turn in setup.shuffled(lanes.len()) {
            let lane = &lanes[turn];
            let name = lane.contestant.name;
            let before = lane.contestant.process.cpu_seconds()?;
            lane.take(each).await.map_err(|error| format!("{name}: {error}"))?;
            let spent = lane.contestant.process.cpu_seconds()? - before;
            let messages = (LINKS * each) as f64;
            table.note(name, 0, spent * 1e6 / messages);
            table.note(name, 1, messages / spent / 1e6);
        }
    }
    table.order(&[KEEPER, CONSUMED, BARE, BARE_SMALL]);
    table.at_least(1, KEEPER, 0.8, BARE);
    table.at_least(1, CONSUMED, 0.4, BARE);
    Ok(table)
}

impl Lane {
    /// Lets so many messages come on each connection.
    async fn take(&self, each: usize) -> Result<()> {
        let message = frames::text(SIZE, false);
        let Some(consumer) = &self.consumer else { return self.peer.flood(&message, each).await };
        for _ in 0..each / GUST {
            let messages = LINKS * GUST;
            let all = consumer.take(messages as u64, (messages * SIZE) as u64);
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
    for name in [KEEPER, CONSUMED] {
        let peer = Peer::start(Kind::Sink)?;
        let config = format!(
            "[endpoints.feed]\nurl = \"ws://127.0.0.1:{}/\"\nlinks = {LINKS}\n\
             inbox.max_messages = {}\ninbox.max_bytes = \"4MiB\"\n",
            peer.port(),
            2 * LINKS * GUST
        );
        lanes.push((Contestant::keeper(name, &config)?, peer));
    }
    let mut ready = Vec::new();
    for (contestant, peer) in lanes {
        peer.wait_open(LINKS).await?;
        let consumer = match contestant.name {
            CONSUMED => Some(Caller::connect(contestant.port, "/v1/endpoints/feed/ws").await?),
            _ => None,
        };
        ready.push(Lane { contestant, peer, consumer });
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
    let Some(program) = find("node").filter(|_| has_node_modules()) else { return Ok(None) };
    let mut command = pinned(&program);
    command.arg(node_script("count.cjs")).args([peer.to_string(), connections.to_string()]);
    command.env("NODE_PATH", node_modules());
    Contestant::start("Node ws", command, 0).map(Some)
}
