//! Subscriptions of the real daemon, by what the server itself has recorded: all keys of a link are there after every kind of reconnect, in
//! their order, before anything that had waited; and only the last who holds a key releases it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(unreachable_pub, reason = "what tests share is as public as a library's items")]
#![allow(clippy::print_stderr, reason = "a skipped test and a failed one say why")]

#[path = "../support/mod.rs"]
mod support;

mod configured;
mod durable;
mod exchange;
mod holders;
mod replay;
mod spread;

use exchange::Exchange;
use serde_json::Value;
use support::{daemon::Daemon, until};

/// Short waits; nothing else differs from the defaults.
const QUICK: &str = support::quick!("10min");

/// How the exchange is asked, and how it answers.
const ASKED: &str = r#"
add = { json = { method = "SUBSCRIBE", params = "${keys}", id = "${seq}" } }
remove = { json = { method = "UNSUBSCRIBE", params = "${keys}", id = "${seq}" } }
confirm = { has = ["/result"], id = "/id", hide = true }
refuse = { has = ["/error"], id = "/id", hide = true }
"#;

/// An endpoint `e` at the exchange; `more` are further keys of its subscriptions, and tables behind them.
fn at(exchange: &Exchange, own: &str, more: &str) -> String {
    let port = exchange.port;
    format!(
        "{QUICK}\n[endpoints.e]\nurl = \"ws://127.0.0.1:{port}\"\n{own}\n[endpoints.e.subscriptions]\n{ASKED}\n{more}\n"
    )
}

const PATH: &str = "/v1/endpoints/e/subscriptions";

async fn subscribe(daemon: &Daemon, key: &str, holder: &str) -> Value {
    let path = format!("{PATH}/{key}?holder={holder}");
    let answer = daemon.api.put(&path, "").await;
    assert!([200, 201].contains(&answer.status), "{answer:?}");
    answer.json()
}

async fn unsubscribe(daemon: &Daemon, key: &str, holder: &str) {
    daemon.api.delete(&format!("{PATH}/{key}?holder={holder}")).await.expect(204);
}

/// The keys as the daemon shows them: key, state.
async fn shown(daemon: &Daemon) -> Vec<(String, String)> {
    let list = daemon.api.get(&format!("{PATH}?limit=10000")).await.expect(200).json();
    let word = |item: &Value, name: &str| item[name].as_str().unwrap().to_owned();
    list["items"].as_array().unwrap().iter().map(|item| (word(item, "key"), word(item, "state"))).collect()
}

/// Waits until the daemon shows exactly this.
async fn until_shown(daemon: &Daemon, wanted: &[(&str, &str)]) {
    until(&format!("{wanted:?}"), || async {
        let seen = shown(daemon).await;
        let is_so = seen.iter().map(|(key, state)| (key.as_str(), state.as_str())).eq(wanted.iter().copied());
        if is_so { Ok(()) } else { Err(seen) }
    })
    .await;
}
