//! Table `http`: messages by HTTP from 64 callers who keep their connections.
//!
//! The control is the same route in the same axum that answers at once. wskeeper chooses a link, enters a receipt, queues the
//! message, writes it to the link, and answers with the receipt.

use std::{rc::Rc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::spawn_local,
    time::Instant,
};

use super::{
    contestant::Contestant,
    peer::{Kind, Peer},
    relay::KEEPER,
    results::Table,
    setup::Setup,
};
use crate::support::Result;

const CALLERS: usize = 64;
/// What is sent before each look whether anything still grows.
const WARM_UP: Duration = Duration::from_secs(1);
const NOTHING: &str = "the same route doing nothing";

/// Sends over HTTP.
pub(crate) async fn http(setup: &mut Setup) -> Result<Table> {
    let how = "64 callers with keep-alive, each with one POST of 64 B on its way; every one is answered by 202 with a receipt, \
               and is written to the link.";
    let columns = [("a request", "µs"), ("requests per second of processor", "thousand")];
    let mut table = Table::new("http", "Sends over HTTP: processor time per request", how, &setup.run(), &columns);
    let peer = Peer::start(Kind::Sink)?;
    let keeper = Contestant::keeper(KEEPER, &format!("[endpoints.e]\nurl = \"ws://127.0.0.1:{}/\"\n", peer.port()))?;
    peer.wait_open(1).await?;
    let port = super::contestant::port()?;
    let mut nothing = Contestant::role(NOTHING, &["route", &port.to_string()])?;
    nothing.port = port;
    let lanes = [keeper, nothing.listening().await?];
    for lane in &lanes {
        let send = async || Callers::connect(lane.port).await?.drive(Instant::now() + WARM_UP).await.map(drop);
        lane.settle(send).await?;
    }
    for _ in 0..setup.rounds {
        for turn in setup.shuffled(lanes.len()) {
            let lane = &lanes[turn];
            let callers = Callers::connect(lane.port).await?;
            let (received, before) = (peer.received(), lane.process.cpu_seconds()?);
            let requests = callers.drive(Instant::now() + setup.slice).await?;
            if lane.name == KEEPER {
                peer.wait_received(received + requests).await?;
            }
            let spent = lane.process.cpu_seconds()? - before;
            table.note(lane.name, 0, spent * 1e6 / requests as f64);
            table.note(lane.name, 1, requests as f64 / spent / 1e3);
        }
    }
    table.order(&[KEEPER, NOTHING]);
    table.at_least(1, KEEPER, 0.9, NOTHING);
    Ok(table)
}

struct Callers(Vec<TcpStream>, Rc<str>);

impl Callers {
    async fn connect(port: u16) -> Result<Self> {
        let mut callers = Vec::new();
        for _ in 0..CALLERS {
            let caller = TcpStream::connect(("127.0.0.1", port)).await?;
            caller.set_nodelay(true)?;
            callers.push(caller);
        }
        let request = format!(
            "POST /v1/endpoints/e/messages HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: text/plain\r\n\
             Content-Length: 64\r\n\r\n{}",
            "x".repeat(64)
        );
        Ok(Self(callers, request.into()))
    }

    /// Lets all post until then; how many requests were answered.
    async fn drive(self, until: Instant) -> Result<u64> {
        let Self(callers, request) = self;
        let mut tasks = Vec::new();
        for caller in callers {
            tasks.push(spawn_local(post(caller, Rc::clone(&request), until)));
        }
        let mut requests = 0;
        for task in tasks {
            requests += task.await??;
        }
        Ok(requests)
    }
}

async fn post(mut caller: TcpStream, request: Rc<str>, until: Instant) -> Result<u64> {
    let (mut count, mut buffer) = (0, Vec::with_capacity(4 << 10));
    while Instant::now() < until {
        caller.write_all(request.as_bytes()).await?;
        buffer.clear();
        while !is_whole(&buffer)? {
            if caller.read_buf(&mut buffer).await? == 0 {
                return Err("a caller was cut off".into());
            }
        }
        count += 1;
    }
    Ok(count)
}

/// Whether a response has arrived to its end.
fn is_whole(bytes: &[u8]) -> Result<bool> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(false) };
    let head = std::str::from_utf8(&bytes[..end])?;
    if !head.starts_with("HTTP/1.1 202") {
        return Err(format!("refused: {}", String::from_utf8_lossy(bytes)).into());
    }
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(name, value)| name.eq_ignore_ascii_case("content-length").then(|| value.trim()))
        .ok_or("no length")?;
    Ok(bytes.len() >= end + 4 + length.parse::<usize>()?)
}
