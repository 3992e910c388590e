//! Sessions of the real daemon: presets against servers that others wrote, and against stand-ins that follow a vendor's documentation.
//!
//! What each test looks at is the server's own record: on a new connection the login comes first, and then what has waited.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(unreachable_pub, reason = "what tests share is as public as a library's items")]
#![allow(clippy::print_stderr, reason = "a skipped test and a failed one say why")]

#[path = "../support/mod.rs"]
mod support;

mod asked;
mod calls;
mod changing;
mod chat;
mod dial;
mod durable;
mod feeds;
mod keys;
mod plain;
mod rooms;
mod secrets;
mod servers;
mod stand;
mod values;
mod walk;
mod wanted;
mod wire;

use serde_json::Value;
use support::daemon::Daemon;

/// Short waits; nothing else differs from the defaults.
const QUICK: &str = support::quick!("10min");

/// An endpoint `e` with a preset; `more` are further keys and tables of it.
fn with_preset(preset: &str, url: &str, more: &str) -> String {
    format!("{QUICK}\n[endpoints.e]\nurl = \"{url}\"\npreset = \"{preset}\"\n{more}\n")
}

/// Waits until the link is parked, and gives what `explain` says of it.
async fn explained_when_parked(daemon: &Daemon) -> String {
    daemon.api.link_until("e/0", "parked", |link| link["phase"] == "parked").await;
    let explained = daemon.api.get("/v1/links/e/0/explain").await.expect(200);
    String::from_utf8_lossy(&explained.body).into_owned()
}

/// Whether the link is not ready.
fn is_down(link: &Value) -> bool {
    link["phase"] != "ready"
}

/// What consumers get to see first when `sent` is sent.
async fn answer(daemon: &Daemon, sent: &str) -> String {
    let mut events = daemon.api.events("e", "from=latest&types=message").await;
    daemon.api.send_text("e", sent).await.expect(202);
    String::from_utf8_lossy(&events.next_of("message").await.payload().0).into_owned()
}
