//! Holds many idle links on loopback and shows what they cost: memory, the way up, and a storm, in which all are dropped and the
//! peer is away for five seconds.
//!
//! `cargo bench --bench hold [-- --links 10000]`. The daemon and a bare tokio-tungstenite loop, which dials again at once,
//! hold the same number of links to the same echo peer, one after the other; times depend on the machine, so look at the ratios.

#![allow(clippy::print_stdout, reason = "what a bench says goes to its user")]

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use support::{Result, Running, daemon, free_port, metric, wait_until};
use tokio::{
    net::TcpStream,
    sync::{Semaphore, mpsc::Sender},
    time::Instant,
};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::WebSocketConfig};

mod support;

const IDLE: Duration = Duration::from_secs(5);
/// For how long the peer is away in the storm.
const AWAY: Duration = Duration::from_secs(5);
/// What a link may keep resident.
const GOAL_LINK_KB: f64 = 4.0;
/// Of the bare loop's time until all are back.
const GOAL_BACK: f64 = 1.2;
const GOAL_CONNECTS: f64 = 1.05;
/// Of the bare loop's processor time while the peer is away.
const GOAL_AWAY_CPU: f64 = 0.1;

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
    let (storm, other) = (&keeper.storm, &bare.storm);
    row("storm: all back after (s)", storm.back_s, other.back_s);
    row("storm: connects a link", storm.connects, other.connects);
    row("storm: CPU while away (s)", storm.away_cpu_s, other.away_cpu_s);
    println!();
    goal("kB a link, of 10,000", per_link(&keeper), GOAL_LINK_KB);
    goal("storm: back, to the bare loop", storm.back_s / other.back_s, GOAL_BACK);
    goal("storm: connects a link", storm.connects, GOAL_CONNECTS);
    goal("storm: CPU while away, to the bare loop", storm.away_cpu_s / other.away_cpu_s, GOAL_AWAY_CPU);
    Ok(())
}

fn goal(what: &str, value: f64, at_most: f64) {
    let verdict = if value <= at_most { "met" } else { "MISSED" };
    println!("goal: {what} at most {at_most}: {value:.3}, {verdict}");
}

fn row(what: &str, keeper: f64, bare: f64) {
    println!("{what:<34}{keeper:>12.2}{bare:>12.2}{:>9.2}", keeper / bare);
}

/// What holding the links took.
struct Held {
    empty_mb: f64,
    resident_mb: f64,
    ready_s: f64,
    storm: Storm,
}

/// What it took to come back.
struct Storm {
    /// Since the peer was there again.
    back_s: f64,
    connects: f64,
    away_cpu_s: f64,
}

/// Takes the peer away and brings it back; answers with the processor time that `holder` took meanwhile, and the moment since which
/// the peer is back.
fn outage(peer: Running, port: u16, holder: &Running) -> Result<(Running, f64, Instant)> {
    let before = holder.cpu_seconds()?;
    let gone = Instant::now();
    drop(peer);
    wait_until(|| Ok(gone.elapsed() >= AWAY))?;
    let away_cpu_s = holder.cpu_seconds()? - before;
    let peer = Running::peer(port)?;
    Ok((peer, away_cpu_s, Instant::now()))
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

    let resident_mb = keeper.resident_mb()?;
    let before = metric(api, "wskeeper_connect_attempts_total")?;
    let (_peer, away_cpu_s, back) = outage(peer, peer_port, &keeper)?;
    wait_until(|| Ok(phase(api, "ready")? >= f64::from(links)))?;
    let back_s = back.elapsed().as_secs_f64();
    let connects = (metric(api, "wskeeper_connect_attempts_total")? - before) / f64::from(links);
    println!("wskeeper: after the storm, {:.1} MB resident", keeper.resident_mb()?);
    Ok(Held { empty_mb, resident_mb, ready_s, storm: Storm { back_s, connects, away_cpu_s } })
}

fn hold_with_bare_loop(links: u32) -> Result<Held> {
    let peer_port = free_port()?;
    let peer = Running::peer(peer_port)?;
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
    let resident_mb = running.resident_mb()?;
    let (_peer, away_cpu_s, back) = outage(peer, peer_port, &running)?;
    let attempts: f64 = said.next().ok_or("the bare loop did not come back")??.parse()?;
    let back_s = back.elapsed().as_secs_f64();
    Ok(Held {
        empty_mb,
        resident_mb,
        ready_s,
        storm: Storm { back_s, connects: attempts / f64::from(links), away_cpu_s },
    })
}

/// The contestant: a task per connection that does nothing but read and dial again at once, 64 at a time, with read buffers of 4 KiB
/// instead of the default 128. Says when all are open, and when they are again, after how many attempts.
fn bare(url: &str, links: u32) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        println!("empty");
        let (tell, mut open) = tokio::sync::mpsc::channel(64);
        let dialling = Arc::new(Semaphore::new(64));
        let attempts = Arc::new(AtomicUsize::new(0));
        for _ in 0..links {
            tokio::spawn(hold(url.to_owned(), tell.clone(), Arc::clone(&dialling), Arc::clone(&attempts)));
        }
        for round in 0.. {
            for _ in 0..links {
                open.recv().await.ok_or("the links are gone")?;
            }
            match attempts.swap(0, Ordering::Relaxed) {
                _ if round == 0 => println!("ready"),
                attempts => println!("{attempts}"),
            }
        }
        Ok(())
    })
}

async fn hold(url: String, tell: Sender<()>, dialling: Arc<Semaphore>, attempts: Arc<AtomicUsize>) {
    loop {
        let Ok(permit) = dialling.acquire().await else { return };
        attempts.fetch_add(1, Ordering::Relaxed);
        let opened = open(&url).await;
        drop(permit);
        let Some(mut socket) = opened else {
            tokio::task::yield_now().await;
            continue;
        };
        if tell.send(()).await.is_err() {
            return;
        }
        while let Some(Ok(_)) = socket.next().await {}
    }
}

async fn open(url: &str) -> Option<WebSocketStream<TcpStream>> {
    let config = WebSocketConfig::default().read_buffer_size(4 << 10);
    let host = url.strip_prefix("ws://")?.strip_suffix('/')?;
    let stream = TcpStream::connect(host).await.ok()?;
    Some(tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await.ok()?.0)
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
