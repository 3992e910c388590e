//! WebSockets over HTTP/2 from the real binary: against balancers that others wrote, and against peers that break every rule of it.
//!
//! The rude peer is Python's h2 (`tests/real/peers/http2.py`), which shares no line with what the daemon speaks HTTP/2 with. What a reader
//! would get wrong: what it does on a stream stands in the path of the URL, and what it does later in the messages that it gets.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(unreachable_pub, reason = "what tests share is as public as a library's items")]
#![allow(clippy::print_stderr, reason = "a skipped test and a failed one say why")]

#[path = "../support/mod.rs"]
mod support;

mod balancers;
mod compression;
mod ends;
mod fallback;
mod identity;
mod refusals;
mod retired;
mod sharing;

use serde_json::Value;
use support::{
    daemon::Daemon,
    peer::{Peer, Recipe, Script},
    until,
};

/// Short waits for all endpoints of a test; nothing else differs from the defaults.
const QUICK: &str = support::quick!("500ms");

/// The peer, with these settings.
async fn peer(words: &'static [&'static str]) -> Option<Peer> {
    Peer::start(Recipe::Script(Script { file: "http2.py", needs: "h2", words })).await
}

/// An endpoint by HTTP/2 without TLS at this path of the peer; `more` are lines of its own table, or further tables.
fn endpoint(name: &str, port: u16, path: &str, more: &str) -> String {
    format!("\n[endpoints.{name}]\nurl = \"ws://127.0.0.1:{port}{path}\"\nhttp2 = \"require\"\n{more}\n")
}

/// How many connections the peer has had.
///
/// It waits until there are at least as many as expected: a link may be ready before the line has come from the peer.
async fn connections(peer: &Peer, least: usize) -> usize {
    until(&format!("{least} connections in the peer's log"), || async {
        let log = peer.log();
        let count = log.lines().filter(|line| line.starts_with("connection ")).count();
        if count >= least { Ok(count) } else { Err(log) }
    })
    .await
}

/// Waits until the peer has told this so often.
async fn told(peer: &Peer, what: &str, times: usize) {
    until(&format!("{times} times {what:?} in the peer's log"), || async {
        let log = peer.log();
        let found = log.lines().filter(|line| line.contains(what)).count();
        if found >= times { Ok(()) } else { Err(log) }
    })
    .await;
}

/// Waits until this link's last connection or attempt has ended so.
async fn ended(daemon: &Daemon, link: &str, cause: &str, detail: &str) -> Value {
    daemon
        .api
        .link_until(link, &format!("ended by {cause}: {detail}"), |seen| {
            let last = &seen["lastClose"];
            last["cause"] == cause && last["detail"].as_str().is_some_and(|said| said.contains(detail))
        })
        .await
}

/// Sends text to one link, by its name as an endpoint of one.
async fn say(daemon: &Daemon, endpoint: &str, text: &str) {
    daemon.api.send_text(endpoint, text).await.expect(202);
}
