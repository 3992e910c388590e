//! Holds many idle links on loopback and shows what they cost: memory, the way up, the way back after all are dropped.
//!
//! `cargo bench --bench hold [-- --links 10000]`. The daemon and a bare tokio-tungstenite loop hold the same number of links
//! to the same echo peer, one after the other; times depend on the machine, so look at the ratios.

#![allow(clippy::print_stdout, reason = "what a bench says goes to its user")]

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use futures_util::StreamExt;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use support::{Result, Running, daemon, free_port, metric, wait_until};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

mod support;

/// What the daemon may have resident with ten thousand links.
const GOAL_MB: f64 = 120.0;
const IDLE: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["bare", url, links] => bare(url, links.parse()?),
        [] => compare(10_000),
        ["--links", links] => compare(links.parse()?),
        _ => Err("usage: cargo bench --bench hold [-- --links N]".into()),
    }
}

fn compare(links: u32) -> Result<()> {
    raise_file_limit(links)?;
    println!("{links} links, echo peer on loopback; each contestant alone\n");
    let keeper = hold_with_keeper(links)?;
    let bare = hold_with_bare_loop(links)?;
    println!("\n{:<34}{:>12}{:>12}{:>9}", "", "wskeeper", "bare loop", "ratio");
    row("resident, all links idle (MB)", keeper.resident_mb, bare.resident_mb);
    row("without links (MB)", keeper.empty_mb, bare.empty_mb);
    let per_link = |held: &Held| (held.resident_mb - held.empty_mb) * 1e3 / f64::from(links);
    row("a link (kB)", per_link(&keeper), per_link(&bare));
    row("all ready after (s)", keeper.ready_s, bare.ready_s);
    println!("\ngoal: below {GOAL_MB} MB resident with 10,000 links: {}", verdict(keeper.resident_mb, links));
    Ok(())
}

fn verdict(resident_mb: f64, links: u32) -> &'static str {
    match (links == 10_000, resident_mb < GOAL_MB) {
        (false, _) => "asked of 10,000 only",
        (true, true) => "met",
        (true, false) => "MISSED",
    }
}

fn row(what: &str, keeper: f64, bare: f64) {
    println!("{what:<34}{keeper:>12.1}{bare:>12.1}{:>9.2}", keeper / bare);
}

/// What holding the links took.
struct Held {
    empty_mb: f64,
    resident_mb: f64,
    ready_s: f64,
}

fn hold_with_keeper(links: u32) -> Result<Held> {
    let peer_port = free_port()?;
    let peer = Running::peer(peer_port)?;
    let empty_mb = holder(0, peer_port)?.0.resident_mb()?;
    let began = Instant::now();
    let (keeper, api) = holder(links, peer_port)?;
    wait_ready(api, links, began)?;
    let ready_s = began.elapsed().as_secs_f64();
    println!("wskeeper: all ready after {ready_s:.1} s");
    wait_until(|| Ok(metric(api, "wskeeper_pings_sent_total")? >= f64::from(links)))?;
    println!("wskeeper: all pinged, {:.1} MB resident", keeper.resident_mb()?);

    let before = metric(api, "wskeeper_connect_attempts_total")?;
    drop(peer);
    wait_until(|| Ok(phase(api, "ready")? == 0.0))?;
    println!("wskeeper: the peer is gone and all links know");
    let _peer = Running::peer(peer_port)?;
    let back = Instant::now();
    let mut marks = [0.1, 0.5, 0.9, 0.99].iter().peekable();
    wait_until(|| {
        let ready = phase(api, "ready")?;
        while let Some(mark) = marks.next_if(|mark| ready >= **mark * f64::from(links)) {
            println!(
                "wskeeper: {:>2.0} % ready {:.1} s after the peer is back",
                mark * 100.0,
                back.elapsed().as_secs_f64()
            );
        }
        Ok(ready >= f64::from(links))
    })?;
    let attempts = metric(api, "wskeeper_connect_attempts_total")? - before;
    println!(
        "wskeeper: all ready {:.1} s after the peer is back, {:.2} attempts a link since the drop",
        back.elapsed().as_secs_f64(),
        attempts / f64::from(links)
    );
    Ok(Held { empty_mb, resident_mb: keeper.resident_mb()?, ready_s })
}

fn hold_with_bare_loop(links: u32) -> Result<Held> {
    let peer_port = free_port()?;
    let _peer = Running::peer(peer_port)?;
    let url = format!("ws://127.0.0.1:{peer_port}/");
    let began = Instant::now();
    let mut child = Command::new(std::env::current_exe()?)
        .args(["bare", &url, &links.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    let running = Running(child);
    said.next().ok_or("the bare loop said nothing")??;
    let empty_mb = running.resident_mb()?;
    said.next().ok_or("the bare loop did not get ready")??;
    let ready_s = began.elapsed().as_secs_f64();
    println!("bare loop: all open after {ready_s:.1} s");
    Ok(Held { empty_mb, resident_mb: running.resident_mb()?, ready_s })
}

/// The contestant: a task per connection that does nothing but read, with read buffers of 4 KiB instead of the default 128.
fn bare(url: &str, links: u32) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        println!("empty");
        let (tell, mut open) = tokio::sync::mpsc::channel(64);
        let dialling = std::sync::Arc::new(tokio::sync::Semaphore::new(64));
        for _ in 0..links {
            let (url, tell, dialling) = (url.to_owned(), tell.clone(), dialling.clone());
            tokio::spawn(async move {
                let Ok(permit) = dialling.acquire_owned().await else { return };
                let config = WebSocketConfig::default().read_buffer_size(4 << 10);
                let Some(host) = url.strip_prefix("ws://").and_then(|rest| rest.strip_suffix('/')) else { return };
                let Ok(stream) = tokio::net::TcpStream::connect(host).await else { return };
                let Ok((mut socket, _)) = tokio_tungstenite::client_async_with_config(&url, stream, Some(config)).await
                else {
                    return;
                };
                drop(permit);
                if tell.send(()).await.is_ok() {
                    drop(tell);
                    while let Some(Ok(_)) = socket.next().await {}
                }
            });
        }
        drop(tell);
        for _ in 0..links {
            open.recv().await.ok_or("a connection could not be opened")?;
        }
        println!("ready");
        std::future::pending::<Result<()>>().await
    })
}

/// A daemon that holds `links` links to the peer, and the port of its API.
fn holder(links: u32, peer_port: u16) -> Result<(Running, u16)> {
    match links {
        0 => daemon(""),
        _ => daemon(&format!(
            "[endpoints.hold]\nurl = \"ws://127.0.0.1:{peer_port}/\"\nlinks = {links}\nheartbeat.idle = \"{}s\"\n",
            IDLE.as_secs()
        )),
    }
}

fn wait_ready(api: u16, links: u32, began: Instant) -> Result<()> {
    let mut shown = 0.0;
    wait_until(|| {
        let ready = phase(api, "ready")?;
        if ready >= shown + f64::from(links) / 4.0 {
            shown = ready;
            println!("wskeeper: {ready} ready after {:.1} s", began.elapsed().as_secs_f64());
        }
        Ok(ready >= f64::from(links))
    })
}

fn phase(api: u16, phase: &str) -> Result<f64> {
    metric(api, &format!("wskeeper_links{{endpoint=\"hold\",phase=\"{phase}\"}}"))
}

fn raise_file_limit(links: u32) -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if hard < u64::from(links) + 200 {
        return Err(format!("{links} links need as many open files, and the hard limit is {hard}").into());
    }
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}
