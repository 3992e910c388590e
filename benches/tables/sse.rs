//! Table `sse`: one consumer of 50 links, by server-sent events, by the WebSocket that wraps each message in JSON as they do, and by
//! the one that passes it on as it came.
//!
//! The peer waits for the consumer after each gust, so that nothing falls out of the inbox. Messages are counted where they
//! arrive; all that distinguishes the rows is the way out.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Mutex,
};

use super::{
    contestant::Contestant,
    frames,
    load::Caller,
    peer::{Kind, Peer},
    results::Table,
    setup::Setup,
};
use crate::support::Result;

const LINKS: usize = 50;
const SIZE: usize = 64;
const GUST: usize = 200;
const EVENTS: &str = "server-sent events";
const ENVELOPE: &str = "WebSocket, envelopes";
const PLAIN: &str = "WebSocket, plain";
const NAMES: [&str; 3] = [EVENTS, ENVELOPE, PLAIN];

enum Consumer {
    Events(Mutex<TcpStream>),
    WebSocket(Caller),
}

/// The ways out to a consumer.
pub(crate) async fn sse(setup: &mut Setup) -> Result<Table> {
    let how = "50 links bring messages of 64 B, 200 on each, then wait until the one local consumer has read all.";
    let mut table =
        Table::new("sse", "Ways to read: processor time per message", how, &setup.run(), &[("a message", "µs")]);
    let mut lanes = Vec::new();
    for name in NAMES {
        let peer = Peer::start(Kind::Sink)?;
        let config = format!(
            "[endpoints.feed]\nurl = \"ws://127.0.0.1:{}/\"\nlinks = {LINKS}\ninbox.max_messages = {}\ninbox.max_bytes = \"4MiB\"\n",
            peer.port(),
            2 * LINKS * GUST
        );
        let contestant = Contestant::keeper(name, &config)?;
        peer.wait_open(LINKS).await?;
        let consumer = match name {
            EVENTS => Consumer::Events(Mutex::new(subscribe(contestant.port).await?)),
            ENVELOPE => Consumer::WebSocket(
                Caller::connect_by(contestant.port, "/v1/endpoints/feed/ws?types=message", Some("wskeeper.v1.json"))
                    .await?,
            ),
            _ => Consumer::WebSocket(Caller::connect(contestant.port, "/v1/endpoints/feed/ws").await?),
        };
        lanes.push((contestant, peer, consumer));
    }
    let message = frames::text(SIZE, false);
    let gusts = if setup.quick { 10 } else { 50 };
    for (contestant, peer, consumer) in &lanes {
        let gust = async || tokio::try_join!(peer.flood(&message, GUST), consumer.take(LINKS * GUST)).map(drop);
        contestant.settle(gust).await?;
    }
    for _ in 0..setup.rounds {
        for turn in setup.shuffled(lanes.len()) {
            let (contestant, peer, consumer) = &lanes[turn];
            let before = contestant.process.cpu_seconds()?;
            for _ in 0..gusts {
                tokio::try_join!(peer.flood(&message, GUST), consumer.take(LINKS * GUST))?;
            }
            let spent = contestant.process.cpu_seconds()? - before;
            table.note(contestant.name, 0, spent * 1e6 / (gusts * LINKS * GUST) as f64);
        }
    }
    table.order(&NAMES);
    table.at_most(0, EVENTS, 1.5, ENVELOPE);
    Ok(table)
}

async fn subscribe(port: u16) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET /v1/endpoints/feed/events?types=message HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b": wskeeper\n\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Err("the event stream ended".into());
        }
    }
    Ok(stream)
}

impl Consumer {
    /// Waits until so many messages have come.
    async fn take(&self, messages: usize) -> Result<()> {
        match self {
            Self::WebSocket(caller) => caller.take_any(messages as u64).await,
            Self::Events(stream) => {
                let (mut stream, mut left, mut text) = (stream.lock().await, messages, Vec::with_capacity(256 << 10));
                while left > 0 {
                    if stream.read_buf(&mut text).await? == 0 {
                        return Err("the event stream ended".into());
                    }
                    // Each ends with an empty line, and JSON has none.
                    let (mut found, mut end) = (0, 0);
                    for (at, _) in text.windows(2).enumerate().filter(|(_, two)| *two == b"\n\n") {
                        (found, end) = (found + 1, at + 2);
                    }
                    left = left.checked_sub(found).ok_or("more events came than messages were sent")?;
                    text.drain(..end);
                }
                Ok(())
            }
        }
    }
}
