//! Table `scale`: the same daemon with a hundred, a thousand and ten thousand links.
//!
//! What a link costs must not depend on how many there are. Idle, the heartbeat is made ten times as frequent as it is by
//! default, so that there is something to measure; what a daemon without links does is taken off.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    contestant::Contestant,
    frames,
    peer::{Kind, Peer},
    results::Table,
    setup::Setup,
};
use crate::support::{Result, get};

const NAMES: [&str; 3] = ["100 links", "1,000 links", "10,000 links"];
const LINKS: [usize; 3] = [100, 1_000, 10_000];
const HEARTBEAT: &str = "2s";
const IDLE: Duration = Duration::from_secs(4);
/// Messages of a round, over all links.
const MESSAGES: usize = 100_000;
const SCRAPES: usize = 10;
const GOAL_FLAT: f64 = 1.2;
const GOAL_SCRAPE_MS: f64 = 50.0;

/// More and more links.
pub(crate) async fn scale(setup: &mut Setup) -> Result<Table> {
    let how = "One endpoint with so many links. Idle: a ping after 2 s without traffic. Busy: gusts of one message of 64 B and a \
               ping on every link, the next when all have been read. Scrape: GET /metrics.";
    let columns = [("idle, a link and second", "µs"), ("busy, a message", "µs"), ("a scrape", "ms")];
    let mut table = Table::new("scale", "Scale: processor time as links grow", how, &setup.run(), &columns);
    let empty = Contestant::keeper("no links", "")?;
    let mut lanes = Vec::new();
    for (name, links) in NAMES.into_iter().zip(LINKS) {
        let peer = Peer::start(Kind::Sink)?;
        let config = format!(
            "[endpoints.hold]\nurl = \"ws://127.0.0.1:{}/\"\nlinks = {links}\nheartbeat.idle = \"{HEARTBEAT}\"\n",
            peer.port()
        );
        let contestant = Contestant::keeper(name, &config)?;
        peer.wait_open(links).await?;
        lanes.push((contestant, peer, links));
    }
    for (contestant, peer, links) in &lanes {
        contestant.settle(async || busy(contestant, peer, *links, setup.quick).await.map(drop)).await?;
    }
    sleep(IDLE).await;
    for _ in 0..setup.rounds {
        for turn in setup.shuffled(lanes.len()) {
            let (contestant, peer, links) = &lanes[turn];
            let figures = [
                idle(contestant, &empty, *links).await?,
                busy(contestant, peer, *links, setup.quick).await?,
                scrape(contestant)?,
            ];
            for (column, figure) in figures.into_iter().enumerate() {
                table.note(contestant.name, column, figure);
            }
        }
    }
    table.order(&NAMES);
    let [few, _, many] = NAMES;
    table.at_most(0, many, GOAL_FLAT, few);
    table.at_most(1, many, GOAL_FLAT, few);
    if let Some(scrape) = table.median(many, 2) {
        table.judge("a scrape, 10,000 links", &format!("< {GOAL_SCRAPE_MS} ms"), scrape, scrape < GOAL_SCRAPE_MS);
    }
    Ok(table)
}

async fn idle(contestant: &Contestant, empty: &Contestant, links: usize) -> Result<f64> {
    let spent = || Result::Ok(contestant.process.cpu_seconds()? - empty.process.cpu_seconds()?);
    let before = spent()?;
    sleep(IDLE).await;
    Ok((spent()? - before) * 1e6 / links as f64 / IDLE.as_secs_f64())
}

async fn busy(contestant: &Contestant, peer: &Peer, links: usize, quick: bool) -> Result<f64> {
    let gusts = if quick { MESSAGES / 5 } else { MESSAGES }.div_ceil(links);
    let message = frames::text(64, false);
    let before = contestant.process.cpu_seconds()?;
    for _ in 0..gusts {
        peer.flood(&message, 1).await?;
    }
    Ok((contestant.process.cpu_seconds()? - before) * 1e6 / (gusts * links) as f64)
}

fn scrape(contestant: &Contestant) -> Result<f64> {
    let before = contestant.process.cpu_seconds()?;
    for _ in 0..SCRAPES {
        get(contestant.port, "/metrics")?;
    }
    Ok((contestant.process.cpu_seconds()? - before) * 1e3 / SCRAPES as f64)
}
