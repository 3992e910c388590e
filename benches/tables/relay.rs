//! Tables `relay`, `pipeline` and `latency`: a caller's WebSocket → the contestant → the echo peer, and back.
//!
//! Through wskeeper that is the local WebSocket, the outbox, the link, the inbox and the local WebSocket again, with a receipt
//! for each message. Each caller has an endpoint of its own: that is how a program gets a relay of its own.

use std::{fmt::Write as _, rc::Rc, time::Duration};

use super::{
    contestant::{Contestant, present},
    load::{self, Burst, Caller},
    peer::{Kind, Peer},
    proxies,
    results::{Table, median},
    setup::Setup,
};
use crate::support::Result;

pub(crate) const KEEPER: &str = "wskeeper";
const HAPROXY: &str = "HAProxy";
const ORDER: [&str; 8] = [
    KEEPER,
    HAPROXY,
    "nginx",
    "tungstenite, 8 KiB, flush each",
    "tungstenite, 8 KiB, flush when drained",
    "tungstenite, default buffers",
    "websocat",
    "Node ws",
];
const CALLERS: usize = 50;
/// Messages on their way in a pipeline.
const DEPTH: usize = 64;
/// What is sent before each look whether anything still grows.
const WARM_UP: Duration = Duration::from_secs(1);

/// A contestant and its callers.
struct Lane {
    contestant: Contestant,
    callers: Vec<Rc<Caller>>,
    /// Its own, so that nobody else's connections are in the way.
    _peer: Peer,
}

impl Lane {
    async fn settle(&self, burst: &Burst) -> Result<()> {
        self.contestant.settle(async || load::drive(&self.callers, burst, WARM_UP).await.map(drop)).await
    }
}

/// A closed loop of 50 callers.
pub(crate) async fn relay(setup: &mut Setup) -> Result<Table> {
    let how = "50 callers, each with one message on its way: it sends, waits for the echo, sends the next.";
    let columns = [("64 B", "µs"), ("1 KiB", "µs"), ("16 KiB", "µs")];
    let mut table = Table::new("relay", "Relay: processor time per round trip", how, &setup.run(), &columns);
    let bursts = [64, 1 << 10, 16 << 10].map(|size| Burst::new(1, size));
    compare(setup, &mut table, &bursts).await?;
    for (column, limit) in [1.2, 1.2, 0.8].into_iter().enumerate() {
        table.at_most(column, KEEPER, limit, HAPROXY);
    }
    Ok(table)
}

/// The same with many messages on their way.
pub(crate) async fn pipeline(setup: &mut Setup) -> Result<Table> {
    let how = "50 callers, each sends 64 messages at once, waits until all have come back, sends the next 64.";
    let columns = [("64 B", "µs"), ("1 KiB", "µs")];
    let mut table = Table::new("pipeline", "Pipelined relay: processor time per message", how, &setup.run(), &columns);
    let bursts = [64, 1 << 10].map(|size| Burst::new(DEPTH, size));
    compare(setup, &mut table, &bursts).await?;
    for (column, limit) in [1.5, 0.9].into_iter().enumerate() {
        table.at_most(column, KEEPER, limit, HAPROXY);
    }
    Ok(table)
}

async fn compare(setup: &mut Setup, table: &mut Table, bursts: &[Burst]) -> Result<()> {
    let lanes = lanes(CALLERS).await?;
    for lane in &lanes {
        for burst in bursts {
            lane.settle(burst).await?;
        }
    }
    for _ in 0..setup.rounds {
        for turn in setup.shuffled(lanes.len() * bursts.len()) {
            let (lane, column) = (&lanes[turn / bursts.len()], turn % bursts.len());
            let before = lane.contestant.process.cpu_seconds()?;
            let messages = load::drive(&lane.callers, &bursts[column], setup.slice)
                .await
                .map_err(|error| format!("{}: {error}", lane.contestant.name))?;
            let spent = lane.contestant.process.cpu_seconds()? - before;
            table.note(lane.contestant.name, column, spent * 1e6 / messages);
        }
    }
    table.order(&ORDER);
    Ok(())
}

/// One caller alone: what a contestant adds to the way.
pub(crate) async fn latency(setup: &mut Setup) -> Result<Table> {
    let how = "One caller with one message of 64 B on its way; the median round trip of a round less that without anything \
               between caller and peer.";
    let columns = [("added", "µs"), ("round trip", "µs")];
    let mut table = Table::new("latency", "One link's added latency", how, &setup.run(), &columns);
    let (lanes, burst) = (lanes(1).await?, Burst::new(1, 64));
    let direct = Peer::start(Kind::Echo)?;
    let caller = Caller::connect(direct.port(), "/").await?;
    for lane in &lanes {
        lane.settle(&burst).await?;
    }
    for _ in 0..setup.rounds {
        let bare = trip(&caller, &burst, setup.slice).await?;
        table.note("nothing between", 1, bare);
        for turn in setup.shuffled(lanes.len()) {
            let lane = &lanes[turn];
            let trip = trip(&lane.callers[0], &burst, setup.slice).await?;
            table.note(lane.contestant.name, 0, trip - bare);
            table.note(lane.contestant.name, 1, trip);
        }
    }
    table.order(&ORDER);
    table.at_most(0, KEEPER, 1.0, HAPROXY);
    Ok(table)
}

async fn trip(caller: &Caller, burst: &Burst, slice: Duration) -> Result<f64> {
    let took: Vec<f64> = load::time(caller, burst, slice).await?.iter().map(|took| took.as_secs_f64() * 1e6).collect();
    median(&took).ok_or_else(|| "no round trip was made".into())
}

async fn lanes(callers: usize) -> Result<Vec<Lane>> {
    let mut lanes = Vec::new();
    for style in ["each", "drained", "default"] {
        let name = match style {
            "each" => ORDER[3],
            "drained" => ORDER[4],
            _ => ORDER[5],
        };
        let (peer, port) = (Peer::start(Kind::Echo)?, super::contestant::port()?);
        let mut contestant = Contestant::role(name, &["relay", style, &port.to_string(), &peer.port().to_string()])?;
        contestant.port = port;
        lanes.push(lane(contestant.listening().await?, peer, callers, |_| "/".into()).await?);
    }
    for start in proxies::RELAYS {
        let peer = Peer::start(Kind::Echo)?;
        if let Some(contestant) = present(start(peer.port())?)? {
            lanes.push(lane(contestant.listening().await?, peer, callers, |_| "/".into()).await?);
        }
    }
    let peer = Peer::start(Kind::Echo)?;
    let mut config = String::new();
    for caller in 0..callers {
        writeln!(config, "[endpoints.r{caller}]\nurl = \"ws://127.0.0.1:{}/\"", peer.port())?;
    }
    let contestant = Contestant::keeper(KEEPER, &config)?;
    peer.wait_open(callers).await?;
    lanes.push(lane(contestant, peer, callers, |caller| format!("/v1/endpoints/r{caller}/ws")).await?);
    Ok(lanes)
}

async fn lane(contestant: Contestant, peer: Peer, callers: usize, path: impl Fn(usize) -> String) -> Result<Lane> {
    let mut connected = Vec::new();
    for caller in 0..callers {
        let caller = Caller::connect(contestant.port, &path(caller))
            .await
            .map_err(|error| format!("{}: {error}", contestant.name))?;
        connected.push(Rc::new(caller));
    }
    Ok(Lane { contestant, callers: connected, _peer: peer })
}
