//! Holds two links to an echo server, sends a message, waits for the proof that it was read, and reads what comes back.
//!
//! `cargo run -- echo` is such a server; `cargo run -p wskeeper-link --example embed -- ws://127.0.0.1:PORT/` talks to it. What a
//! reader would get wrong: the events are asked for before the message is sent, or what comes back may be there already.

#![allow(clippy::print_stdout, reason = "it shows what it does")]

use std::{
    env,
    error::Error,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use wskeeper_link::{
    core::event::{Event, LinkId},
    endpoint::Endpoint,
    hub::{From, Item, Next},
    observer::{Attempt, Observer},
    pool::Pool,
};

/// Prints where links are.
#[derive(Debug)]
struct Lines;

impl Observer for Lines {
    fn transition(&self, link: &LinkId, _at: SystemTime, event: &Event, attempt: Attempt<'_>) {
        println!("{link}, {}: {event:?}", attempt.url);
    }
}

/// Says hello; answers with what comes back.
pub(crate) async fn talk(url: &str) -> Result<Arc<str>, Box<dyn Error>> {
    let endpoint = Endpoint { links: 2, ..Endpoint::new("echo", url)? };
    let pool = Pool::builder().endpoint(endpoint).observer(Lines).start().await;
    let echo = pool.at("echo").ok_or("it is held")?;
    let mut events = echo.events(From::Latest).ok_or("it is held")?;

    let receipt = echo.send("hello").confirmed().await?;
    println!("link {} has sent it, and the peer has read it", receipt.link);
    let answer = loop {
        match events.next().await {
            Next::Entry(entry) => {
                if let Item::Message(payload) = &entry.item {
                    break String::from_utf8_lossy(payload.bytes()).into();
                }
            }
            Next::Gap { missed, .. } => println!("missed: {missed:?}"),
            Next::Closed => return Err("the endpoint is gone".into()),
        }
    };
    // Closes with 1001, after what is queued has left.
    let left = pool.shut_down(Instant::now() + Duration::from_secs(5)).await;
    println!("not sent: {}", left.iter().map(|left| left.messages).sum::<u64>());
    Ok(answer)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).ok_or("say where to: ws://127.0.0.1:9000/")?;
    println!("{}", talk(&url).await?);
    Ok(())
}
