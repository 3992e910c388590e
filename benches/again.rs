//! What it costs to send at least once instead of at most once, on a busy link.
//!
//! `cargo run --release -p benches --bin again`. One daemon, one peer, an endpoint of each kind, the same messages to both in turn. What is
//! compared is the daemon's processor time as the kernel counts it, a round each in changing order: the two of a round share
//! the machine's mood, so the ratio is the median of the rounds' own.

#![allow(clippy::print_stdout, reason = "what a bench says goes to its user")]

use std::fmt::Write as _;

use futures_util::StreamExt;
use support::{Result, daemon, metric, post, wait_until};

mod support;

/// Goal: at least once costs at most this more.
const GOAL: f64 = 1.05;
const ROUNDS: usize = 21;
/// Messages a round, in requests of [`LINES`].
const MESSAGES: usize = 60_000;
const LINES: usize = 500;
const KINDS: [&str; 2] = ["at_most_once", "at_least_once"];

fn main() -> Result<()> {
    let peer_port = sink()?;
    let mut config = String::new();
    for kind in KINDS {
        writeln!(
            config,
            "[endpoints.{kind}]\nurl = \"ws://127.0.0.1:{peer_port}/\"\noutbox.delivery = \"{kind}\"\n\
             outbox.max_messages = 100000\noutbox.max_bytes = \"64MiB\"\nreceipts.keep = \"0s\""
        )?;
    }
    let (keeper, api) = daemon(&config)?;
    wait_until(|| Ok(metric(api, "wskeeper_links{endpoint=\"at_least_once\",phase=\"ready\"}")? >= 1.0))?;
    wait_until(|| Ok(metric(api, "wskeeper_links{endpoint=\"at_most_once\",phase=\"ready\"}")? >= 1.0))?;
    let mut spent = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for turn in 0..2 {
            let kind = (round + turn) % 2;
            let before = keeper.cpu_seconds()?;
            send(api, KINDS[kind])?;
            spent[kind].push(keeper.cpu_seconds()? - before);
        }
    }
    let ratio = median(spent[1].iter().zip(&spent[0]).map(|(again, once)| again / once).collect());
    let [once, again] = spent.map(median);
    let micros = |seconds: f64| seconds * 1e6 / f64::from(u32::try_from(MESSAGES).unwrap_or(u32::MAX));
    println!("{ROUNDS} rounds of {MESSAGES} messages of 64 bytes, one link each; processor time of the daemon\n");
    println!("at most once   {:>8.2} µs a message", micros(once));
    println!("at least once  {:>8.2} µs a message", micros(again));
    let met = if ratio <= GOAL { "met" } else { "MISSED" };
    println!("ratio          {ratio:>8.3}   goal: {GOAL} at most: {met}");
    Ok(())
}

/// A peer that reads and answers pings, and nothing else; its port.
fn sink() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || -> Option<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).ok()?;
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                    while let Some(Ok(_)) = socket.next().await {}
                });
            }
            None
        })
    });
    Ok(port)
}

/// Sends a round to an endpoint and waits until its link has written it all.
fn send(api: u16, endpoint: &str) -> Result<()> {
    let written = format!("wskeeper_messages_total{{direction=\"out\",endpoint=\"{endpoint}\",type=\"text\"}}");
    let before = metric(api, &written)?;
    let line = format!("{{\"data\":\"{}\"}}\n", "x".repeat(64));
    let body = line.repeat(LINES);
    for _ in 0..MESSAGES / LINES {
        post(api, &format!("/v1/endpoints/{endpoint}/messages:batch"), "application/x-ndjson", &body)?;
    }
    let all = f64::from(u32::try_from(MESSAGES)?);
    wait_until(|| Ok(metric(api, &written)? - before >= all))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
