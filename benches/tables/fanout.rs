//! Table `fanout`: one link's messages to a hundred local WebSockets.
//!
//! The next message leaves the peer when all hundred have the last, so that no two share a write. The control writes the same
//! frames to a hundred sockets by plain system calls: nothing that keeps its promises by those calls can cost less.

use super::{
    contestant::Contestant,
    frames,
    load::Caller,
    peer::{Kind, Peer},
    relay::KEEPER,
    results::Table,
    setup::Setup,
};
use crate::support::Result;
use futures_util::future::try_join_all;

const CONSUMERS: usize = 100;
const WRITE: &str = "the write itself";

struct Lane {
    contestant: Contestant,
    peer: Peer,
    consumers: Vec<Caller>,
}

/// One link to a hundred consumers.
pub(crate) async fn fanout(setup: &mut Setup) -> Result<Table> {
    let how = "One link's messages to 100 local WebSockets; the next message comes when all have the last. The control reads \
               from the peer and writes the same frames to 100 sockets, and does nothing else.";
    let columns = [("64 B", "µs"), ("1 KiB", "µs")];
    let mut table = Table::new("fanout", "Fan-out: processor time per delivered message", how, &setup.run(), &columns);
    let lanes = [write_itself().await?, keeper().await?];
    let messages = if setup.quick { 100 } else { 500 };
    for lane in &lanes {
        lane.contestant.settle(async || lane.deliver_all(messages, 1 << 10).await).await?;
    }
    for _ in 0..setup.rounds {
        for turn in setup.shuffled(lanes.len() * columns.len()) {
            let (lane, column) = (&lanes[turn / columns.len()], turn % columns.len());
            let size = [64, 1 << 10][column];
            let before = lane.contestant.process.cpu_seconds()?;
            lane.deliver_all(messages, size).await.map_err(|error| format!("{}: {error}", lane.contestant.name))?;
            let spent = lane.contestant.process.cpu_seconds()? - before;
            table.note(lane.contestant.name, column, spent * 1e6 / (messages * CONSUMERS) as f64);
        }
    }
    table.order(&[KEEPER, WRITE]);
    for column in 0..columns.len() {
        table.at_most(column, KEEPER, 1.5, WRITE);
    }
    Ok(table)
}

impl Lane {
    async fn deliver_all(&self, messages: usize, size: usize) -> Result<()> {
        for _ in 0..messages {
            self.deliver(size).await?;
        }
        Ok(())
    }

    async fn deliver(&self, size: usize) -> Result<()> {
        self.peer.send(&frames::text(size, false)).await?;
        try_join_all(self.consumers.iter().map(|consumer| consumer.take(1, size as u64))).await?;
        Ok(())
    }
}

async fn write_itself() -> Result<Lane> {
    let (peer, port) = (Peer::start(Kind::Sink)?, super::contestant::port()?);
    let mut contestant = Contestant::role(WRITE, &["fan", &port.to_string(), &peer.port().to_string()])?;
    contestant.port = port;
    lane(contestant.listening().await?, peer, "/").await
}

async fn keeper() -> Result<Lane> {
    let peer = Peer::start(Kind::Sink)?;
    let contestant =
        Contestant::keeper(KEEPER, &format!("[endpoints.feed]\nurl = \"ws://127.0.0.1:{}/\"\n", peer.port()))?;
    lane(contestant, peer, "/v1/endpoints/feed/ws").await
}

async fn lane(contestant: Contestant, peer: Peer, path: &str) -> Result<Lane> {
    peer.wait_open(1).await?;
    let mut consumers = Vec::new();
    for _ in 0..CONSUMERS {
        consumers.push(Caller::connect(contestant.port, path).await?);
    }
    let lane = Lane { contestant, peer, consumers };
    // The control has answered an upgrade before it counts the caller in: until the first message has come to all, some wait.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    lane.deliver(64).await?;
    Ok(lane)
}
