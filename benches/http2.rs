//! What links over TLS cost by HTTP/1.1 and by HTTP/2: memory of an idle one, and how long all take to come back after a restart.
//!
//! `cargo run --release -p benches --bin http2`, with `-- LINKS` for another number than 2,000. haproxy stands between the daemon and an echo peer, and is killed
//! and started again for the storm. What a reader would get wrong: memory is the daemon's alone; what the kernel and haproxy hold for a
//! connection comes on top.

#![allow(clippy::print_stdout, reason = "what a bench says goes to its user")]

use std::{
    env, fs,
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use support::{Result, Running, daemon, free_port, metric, wait_until};
use tokio::time::Instant;

mod support;

const LINKS: u32 = 2_000;
const ROUNDS: usize = 3;
const SETTLE: Duration = Duration::from_secs(2);
const MODES: [(&str, &str); 2] = [("HTTP/1.1", "never"), ("HTTP/2", "auto")];

#[derive(Debug, Clone, Copy)]
struct Figures {
    /// Of a link, in kB.
    memory: f64,
    /// Seconds until all are there for the first time.
    start: f64,
    /// Seconds from the balancer's return until all are back.
    storm: f64,
    connections: f64,
}

fn main() -> Result<()> {
    let links = env::args().find_map(|word| word.parse().ok()).unwrap_or(LINKS);
    let mut figures = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for turn in 0..MODES.len() {
            let mode = (round + turn) % MODES.len();
            figures[mode].push(measure(MODES[mode].1, links)?);
        }
    }
    println!("{links} idle wss links through haproxy, {ROUNDS} rounds; median of each\n");
    println!("| | memory a link, kB | first start, s | after a restart, s | connections |\n|---|---|---|---|---|");
    for ((name, _), figures) in MODES.iter().zip(&figures) {
        let [memory, start, storm, connections] = [
            |one: &Figures| one.memory,
            |one: &Figures| one.start,
            |one: &Figures| one.storm,
            |one: &Figures| one.connections,
        ]
        .map(|part| median(figures.iter().map(part).collect()));
        println!("| {name} | {memory:.1} | {start:.2} | {storm:.2} | {connections:.0} |");
    }
    Ok(())
}

fn measure(mode: &str, links: u32) -> Result<Figures> {
    let folder = tempfile::tempdir()?;
    let (peer_port, port) = (free_port()?, free_port()?);
    let _peer = Running::peer(peer_port)?;
    certify(folder.path())?;
    let balancer = haproxy(folder.path(), port, peer_port)?;
    let endpoint = |links: u32| {
        format!(
            "[endpoints.e]\nurl = \"wss://localhost:{port}/\"\nhttp2 = \"{mode}\"\nlinks = {links}\n\
             reconnect = {{ first = \"50ms\", initial = \"200ms\", max = \"1s\" }}\n[endpoints.e.tls]\nca = \"{}\"\n",
            folder.path().join("ca.pem").display()
        )
    };
    let resident = |links: u32| -> Result<(Running, u16, f64, f64)> {
        let began = Instant::now();
        let (keeper, api) = daemon(&endpoint(links))?;
        wait_until(|| ready(api, links))?;
        let took = began.elapsed().as_secs_f64();
        let settling = Instant::now();
        wait_until(|| Ok(settling.elapsed() >= SETTLE))?;
        let resident = keeper.resident_mb()?;
        Ok((keeper, api, resident, took))
    };
    let (one, _, with_one, _) = resident(1)?;
    drop(one);
    let (_keeper, api, with_all, start) = resident(links)?;
    let connections = metric(api, "wskeeper_http2_connections")?;
    drop(balancer);
    wait_until(|| Ok(metric(api, "wskeeper_links{endpoint=\"e\",phase=\"ready\"}")? < 1.0))?;
    let _balancer = haproxy(folder.path(), port, peer_port)?;
    let began = Instant::now();
    wait_until(|| ready(api, links))?;
    let storm = began.elapsed().as_secs_f64();
    let memory = (with_all - with_one) * 1e3 / f64::from(links - 1);
    Ok(Figures { memory, start, storm, connections: if mode == "never" { f64::from(links) } else { connections } })
}

fn ready(api: u16, links: u32) -> Result<bool> {
    Ok(metric(api, "wskeeper_links{endpoint=\"e\",phase=\"ready\"}")? >= f64::from(links))
}

/// A certificate for `localhost` that signs itself, as a chain, as a key and as both.
fn certify(folder: &Path) -> Result<()> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    fs::write(folder.join("ca.pem"), &cert)?;
    fs::write(folder.join("pair.pem"), cert + &key)?;
    Ok(())
}

fn haproxy(folder: &Path, port: u16, upstream: u16) -> Result<Running> {
    let config = folder.join("haproxy.cfg");
    let text = format!(
        "global\n maxconn 8000\ndefaults\n mode http\n timeout connect 5s\n timeout client 10m\n timeout server 10m\n timeout tunnel 10m\n\
         frontend f\n bind 127.0.0.1:{port} ssl crt {} alpn h2,http/1.1\n default_backend b\nbackend b\n server s 127.0.0.1:{upstream}\n",
        folder.join("pair.pem").display()
    );
    fs::write(&config, text)?;
    let mut command = Command::new("haproxy");
    // Debian has it where only root looks.
    command.env("PATH", format!("{}:/usr/sbin", env::var("PATH").unwrap_or_default()));
    let child = command.arg("-db").arg("-f").arg(config).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let running = Running(child);
    wait_until(|| Ok(TcpStream::connect(("127.0.0.1", port)).is_ok()))?;
    Ok(running)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}
