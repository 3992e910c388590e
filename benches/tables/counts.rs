//! Table `counts`: instructions of the whole daemon, counted by valgrind.
//!
//! What `benches/instructions` cannot see: the dial, the upgrade, and all who are told. The same start is run with fewer and with more of
//! what is counted, so that the start falls out; a busy machine changes little. The kernel's part is not in it.

use std::time::Duration;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::sleep;

use super::{
    contestant::{Contestant, find, folder, until},
    peer::{Kind, Peer},
    relay::KEEPER,
    results::Table,
    setup::Setup,
};
use crate::support::Result;

const LINKS: usize = 1_000;
const STORMS: [usize; 2] = [1, 4];
const AWAY: Duration = Duration::from_millis(500);
/// Until what follows a connection is done, and nobody waits any more.
const SETTLE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_mins(2);
const GOAL_RECONNECT: f64 = 55_000.0;

/// A reconnect.
pub(crate) async fn counts(setup: &mut Setup) -> Result<Table> {
    let how = format!(
        "Instructions as valgrind counts them. {LINKS} links lose their server, which is back half a second later."
    );
    let mut table = Table::new("counts", "Counts: instructions", &how, &setup.run(), &[("a reconnect", "")]);
    if find("valgrind").is_none() || find("strace").is_none() {
        println!("valgrind or strace is not installed, and nothing is counted; benches/run installs both");
        return Ok(table);
    }
    let (few, many) = (after(STORMS[0]).await?, after(STORMS[1]).await?);
    let reconnect = (many - few) / ((STORMS[1] - STORMS[0]) * LINKS) as f64;
    table.note(KEEPER, 0, reconnect);
    table.judge("a reconnect", &format!("≤ {GOAL_RECONNECT}"), reconnect, reconnect <= GOAL_RECONNECT);
    Ok(table)
}

/// What the daemon has taken from its start to its end, with so many storms between.
async fn after(storms: usize) -> Result<f64> {
    let peer = Peer::start(Kind::Sink)?;
    let config = format!("[endpoints.storm]\nurl = \"ws://127.0.0.1:{}/\"\nlinks = {LINKS}\n", peer.port());
    let log = folder()?.join("valgrind.log");
    let mut contestant = Contestant::keeper_counted(KEEPER, &config, &log)?;
    peer.wait_open(LINKS).await?;
    for _ in 0..storms {
        sleep(SETTLE).await;
        peer.go_away()?;
        sleep(AWAY).await;
        peer.come_back()?;
        peer.wait_open(LINKS).await?;
    }
    sleep(SETTLE).await;
    kill(Pid::from_raw(i32::try_from(contestant.process.0.id())?), Signal::SIGTERM)?;
    until("the end of the daemon", PATIENCE, || Ok(contestant.process.0.try_wait()?.is_some())).await?;
    let said = std::fs::read_to_string(&log)?;
    let count = said.lines().find_map(|line| line.split_once("Collected : ").map(|(_, count)| count.trim()));
    Ok(count.ok_or("valgrind counted nothing")?.parse()?)
}
