//! Table `storm`: ten thousand links lose their server for six seconds, and come back.
//!
//! Ready is when the server has upgraded all of them again: the same for everyone, and nobody's own word. Attempts are each
//! contestant's own count, since a refused one reaches no program at the far end.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    contestant::{Contestant, node, present},
    peer::{Kind, Peer},
    relay::KEEPER,
    results::Table,
    setup::Setup,
};
use crate::support::{Result, metric};

const LINKS: usize = 10_000;
const LINKS_QUICK: usize = 1_000;
/// Longer than `backoff.first`: by then the delay is over that is drawn for each link before its first attempt, and nobody cuts short.
const AWAY: Duration = Duration::from_secs(6);
const SETTLE: Duration = Duration::from_secs(1);
const RETRY: &str = "immediate retry";
const GOAL_CONNECTS: f64 = 1.03;

/// The way down and back.
pub(crate) async fn storm(setup: &mut Setup) -> Result<Table> {
    let links = if setup.quick { LINKS_QUICK } else { LINKS };
    let how = format!(
        "{links} links; the server resets all, refuses for 6 s, and takes them again. wskeeper with admission.per_host = 64."
    );
    let columns =
        [("all ready after", "s"), ("connects a link", ""), ("processor while down", "s"), ("processor in all", "s")];
    let mut table = Table::new("storm", "Storm: the server is away for six seconds", &how, &setup.run(), &columns);
    let start: [Start; 3] = [keeper, retry, partysocket];
    for _ in 0..setup.rounds {
        for turn in setup.shuffled(start.len()) {
            let peer = Peer::start(Kind::Sink)?;
            if let Some(contestant) = present(start[turn](peer.port(), links)?)? {
                let name = contestant.name;
                let figures = survive(&contestant, &peer, links).await.map_err(|error| format!("{name}: {error}"))?;
                for (column, figure) in figures.into_iter().enumerate() {
                    table.note(name, column, figure);
                }
            }
        }
    }
    table.order(&[KEEPER, RETRY]);
    table.at_most(0, KEEPER, 1.1, RETRY);
    if let Some(connects) = table.median(KEEPER, 1) {
        table.judge("connects a link", &format!("≤ {GOAL_CONNECTS}"), connects, connects <= GOAL_CONNECTS);
    }
    table.at_most(2, KEEPER, 0.1, RETRY);
    Ok(table)
}

async fn survive(contestant: &Contestant, peer: &Peer, links: usize) -> Result<[f64; 4]> {
    peer.wait_open(links).await?;
    sleep(SETTLE).await;
    let (connects, before) = (attempts(contestant)?, contestant.process.cpu_seconds()?);
    peer.go_away()?;
    sleep(AWAY).await;
    let down = contestant.process.cpu_seconds()? - before;
    peer.come_back()?;
    let back = Instant::now();
    peer.wait_open(links).await?;
    let ready = back.elapsed().as_secs_f64();
    let all = contestant.process.cpu_seconds()? - before;
    // What it says of itself may come a little later.
    sleep(SETTLE).await;
    Ok([ready, (attempts(contestant)? - connects) / links as f64, down, all])
}

fn attempts(contestant: &Contestant) -> Result<f64> {
    if contestant.name == KEEPER {
        return metric(contestant.port, "wskeeper_connect_attempts_total");
    }
    Ok(contestant.said()?.lines().last().ok_or("it has counted nothing")?.parse()?)
}

/// Starts a contestant with so many links to this port, unless it is not installed.
type Start = fn(u16, usize) -> Result<Option<Contestant>>;

fn keeper(peer: u16, links: usize) -> Result<Option<Contestant>> {
    let config = format!("[endpoints.storm]\nurl = \"ws://127.0.0.1:{peer}/\"\nlinks = {links}\n");
    Contestant::keeper(KEEPER, &config).map(Some)
}

fn retry(peer: u16, links: usize) -> Result<Option<Contestant>> {
    Contestant::role(RETRY, &["retry", &peer.to_string(), &links.to_string()]).map(Some)
}

fn partysocket(peer: u16, links: usize) -> Result<Option<Contestant>> {
    let Some(mut command) = node("storm.cjs") else { return Ok(None) };
    command.args([peer.to_string(), links.to_string()]);
    Contestant::start("partysocket", command, 0).map(Some)
}
