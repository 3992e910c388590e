//! What a link keeps in memory while nothing happens on it, counted by the allocator and not by a clock.
//!
//! What a reader would get wrong: the limit is of bytes asked for, with the sizes of futures as a debug build has them. What the
//! allocator and the kernel add is measured by `benches/run --only idle`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(clippy::print_stderr, reason = "what the test shares says why it waits")]

mod support;

use std::{
    alloc::System,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use prometheus::Registry;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use support::{free_port, until};
use tokio::net::TcpStream;
use wskeeper::{
    config,
    observe::{Families, Telling},
};
use wskeeper_link::pool::{Follow, Pool};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const LINKS: u32 = 400;
/// Bytes of a link that is open and idle. What has left is followed message by message, and silence in both directions.
const IDLE_MAX: usize = 3_000;
/// Bytes of one that waits until its server is back.
const WAITING_MAX: usize = 2_720;

/// An echo peer in a process of its own, so that its memory is not counted.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_link_keeps_little_while_it_is_idle_and_while_its_server_is_down() {
    let (port, nobody) = (free_port(), free_port());
    let _peer = peer(port).await;
    let families = Families::register(&Registry::new(), false).expect("metrics register");
    let loaded = |idle: u32, down: u32| {
        let text = format!(
            "[defaults]\nheartbeat.idle = '100ms'\n[admission]\nper_host = 16\ntotal = 16\n\
             [endpoints.idle]\nurl = 'ws://127.0.0.1:{port}/'\nlinks = {idle}\n\
             [endpoints.down]\nurl = 'ws://127.0.0.1:{nobody}/'\nlinks = {down}\n"
        );
        config::parse_toml(&text, "test.toml").expect("the configuration is valid").config.settings()
    };
    let at_least = async |metric: &str, least: f64| {
        until(metric, async || {
            let text = families.render();
            let line = text.lines().find(|line| line.starts_with(metric)).unwrap_or_default();
            let value: f64 = line.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap_or_default();
            if value >= least { Ok(()) } else { Err(line.to_owned()) }
        })
        .await;
    };
    let pool = Pool::start(loaded(9, 20), Telling::new(Arc::clone(&families), None), 1).await;
    let pongs = "wskeeper_ping_rtt_seconds_count{endpoint=\"idle\"}";
    at_least(pongs, 40.0).await;

    let before = live();
    pool.apply(loaded(LINKS + 9, 20), &|_, _| Follow::Unchanged).await.expect("it does not drain");
    at_least(pongs, f64::from(6 * LINKS)).await;
    few("an idle link's bytes", before, IDLE_MAX).await;

    let before = live();
    pool.apply(loaded(LINKS + 9, LINKS + 20), &|_, _| Follow::Unchanged).await.expect("it does not drain");
    at_least("wskeeper_admission_waiting", f64::from(LINKS)).await;
    few("a waiting link's bytes", before, WAITING_MAX).await;
}

/// Waits until a link keeps no more bytes than these, since `before`: at any moment some links may be sending a ping.
async fn few(what: &str, before: usize, most: usize) {
    until(what, async || {
        let bytes = (live() - before) / LINKS as usize;
        if bytes <= most { Ok(()) } else { Err(bytes) }
    })
    .await;
}

async fn peer(port: u16) -> Peer {
    let address = format!("127.0.0.1:{port}");
    let child = Command::new(env!("CARGO_BIN_EXE_wskeeper"))
        .args(["echo", "--listen", &address])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the peer starts");
    until("the peer", async || TcpStream::connect(&address).await).await;
    Peer(child)
}

/// Bytes that are allocated now.
fn live() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}
