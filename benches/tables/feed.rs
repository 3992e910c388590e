//! Table `feed`: one link in, one consumer out, as a daemon between a feed and the program that reads it.
//!
//! All of them are given the same job: the peer sends a gust on the one connection, the next when the consumer has read all. A relay has
//! nobody's promises to keep, and no connection to its peer while no consumer has one to it.

use super::{
    contestant::{Contestant, present},
    frames,
    load::Caller,
    peer::{Kind, Peer},
    proxies,
    relay::KEEPER,
    results::Table,
    setup::Setup,
};
use crate::support::Result;

const WEBSOCAT: &str = "websocat";
const SIZES: [usize; 2] = [64, 1 << 10];
/// Messages of a gust: the inbox has room for two.
const GUST: usize = 2_000;

struct Lane {
    contestant: Contestant,
    peer: Peer,
    consumer: Caller,
}

/// From one link to one consumer.
pub(crate) async fn feed(setup: &mut Setup) -> Result<Table> {
    let how = "One connection brings messages, 2,000 at a time; the next come when the one consumer has read all.";
    let columns = [("64 B", "µs"), ("1 KiB", "µs")];
    let mut table =
        Table::new("feed", "One link, one consumer: processor time per message", how, &setup.run(), &columns);
    let lanes = lanes().await?;
    let gusts = if setup.quick { 20 } else { 200 };
    for lane in &lanes {
        lane.contestant.settle(async || lane.bring(SIZES[1], gusts).await).await?;
    }
    for _ in 0..setup.rounds {
        for turn in setup.shuffled(lanes.len() * SIZES.len()) {
            let (lane, column) = (&lanes[turn / SIZES.len()], turn % SIZES.len());
            let before = lane.contestant.process.cpu_seconds()?;
            lane.bring(SIZES[column], gusts).await.map_err(|error| format!("{}: {error}", lane.contestant.name))?;
            let spent = lane.contestant.process.cpu_seconds()? - before;
            table.note(lane.contestant.name, column, spent * 1e6 / (gusts * GUST) as f64);
        }
    }
    table.order(&[KEEPER, WEBSOCAT]);
    for column in 0..columns.len() {
        table.at_most(column, KEEPER, 1.0, WEBSOCAT);
    }
    Ok(table)
}

impl Lane {
    async fn bring(&self, size: usize, gusts: usize) -> Result<()> {
        let gust = frames::text(size, false).repeat(GUST);
        for _ in 0..gusts {
            tokio::try_join!(self.peer.send(&gust), self.consumer.take(GUST as u64, (GUST * size) as u64))?;
        }
        Ok(())
    }
}

async fn lanes() -> Result<Vec<Lane>> {
    let mut lanes = Vec::new();
    for start in proxies::RELAYS {
        let peer = Peer::start(Kind::Sink)?;
        if let Some(contestant) = present(start(peer.port())?)? {
            let contestant = contestant.listening().await?;
            let consumer = Caller::connect(contestant.port, "/").await?;
            lanes.push(Lane { contestant, peer, consumer });
        }
    }
    let peer = Peer::start(Kind::Sink)?;
    let config = format!(
        "[endpoints.feed]\nurl = \"ws://127.0.0.1:{}/\"\ninbox.max_messages = {}\ninbox.max_bytes = \"8MiB\"\n",
        peer.port(),
        2 * GUST
    );
    let contestant = Contestant::keeper(KEEPER, &config)?;
    peer.wait_open(1).await?;
    let consumer = Caller::connect(contestant.port, "/v1/endpoints/feed/ws").await?;
    lanes.push(Lane { contestant, peer, consumer });
    for lane in &lanes {
        // Of those that connect for each consumer, too.
        lane.peer.wait_open(1).await?;
    }
    Ok(lanes)
}
