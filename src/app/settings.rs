//! Every number that a configuration may have, at both ends of what it may be, on a link to a real socket.
//!
//! The ends come from the faults that a number beyond them gets, so a new key is looked at without being named here.

use std::time::Duration;

use bytesize::ByteSize;
use futures_util::{SinkExt as _, StreamExt as _};
use prometheus::Registry;
use tokio::{net::TcpListener, time::timeout};

use crate::{
    config,
    observe::{Families, Telling},
};
use wskeeper_core::close::Cause;
use wskeeper_link::pool::Pool;

const PATIENCE: Duration = Duration::from_secs(20);

/// What belongs to a key at an end of its range, so that the whole makes sense. Of `links`, the upper end would be a hundred
/// thousand connections.
const COMPANIONS: [(&str, &str); 6] = [
    ("reconnect.initial", "reconnect.max = '8766h'"),
    ("reconnect.max", "reconnect.initial = '1ms'"),
    ("outbox.max_message", "outbox.max_bytes = '1TiB'"),
    ("outbox.ack_timeout", "outbox.ack = { outgoing = '/id', incoming = '/id' }"),
    ("admission.per_host", "admission.total = 100_000"),
    ("admission.total", "admission.per_host = 1"),
];
const TOO_MANY: [&str; 3] = ["links", "min_ready", "subscriptions.links.min"];

/// A configuration with this key, and the place that the key has under `endpoints.a` or at the top.
fn with(key: &str, value: &str, port: u16) -> String {
    let own = key.strip_prefix("endpoints.*.");
    let short = own.unwrap_or(key);
    let companion = COMPANIONS.iter().find(|(name, _)| *name == short).map_or("", |(_, line)| line);
    let line = format!("{short} = {value}\n{companion}\n");
    let quick = if short.starts_with("reconnect.") {
        ""
    } else {
        "reconnect = { first = '20ms', initial = '20ms', max = '20ms' }\n"
    };
    let (top, below) = if own.is_some() { ("", line.as_str()) } else { (line.as_str(), "") };
    format!("{top}[endpoints.a]\nurl = 'ws://127.0.0.1:{port}/'\n{quick}{below}")
}

/// Both ends of what a key may be, where that is a number, a duration or a size.
fn ends(key: &str) -> Option<[String; 2]> {
    let hint = |value: &str| {
        let faults = config::parse_toml(&with(key, value, 9), "test.toml").err()?;
        let place = key.replace('*', "a");
        faults.iter().find(|fault| fault.path == place).map(|fault| fault.hint.clone())
    };
    let range = |hint: String| {
        let (_, range) = hint.split_once(" from ")?;
        range.split_once(" to ").map(|(from, to)| (from.to_owned(), to.to_owned()))
    };
    let hint_of_number = hint("-1")?;
    if let Some((from, to)) = range(hint_of_number.clone()) {
        return Some(if hint_of_number.contains("a size") {
            [from, to].map(|end| end.parse::<ByteSize>().expect("a size").as_u64().to_string())
        } else {
            [from, to]
        });
    }
    let (from, to) = range(hint("'9999days'")?)?;
    Some([from, to].map(|end| format!("'{end}'")))
}

async fn peer() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(tcp).await else { return };
                while let Some(Ok(_)) = socket.next().await {
                    // Pongs wait for a flush.
                    if socket.flush().await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// Waits until the link has been open; or, where it may take no longer than a machine needs, until that has ended an attempt.
async fn opens(pool: &Pool, what: &str) {
    let wait = async {
        loop {
            let view = pool.link("a", 0).expect("it is configured");
            if view.generation > 0 {
                return;
            }
            if let Some((closed, _)) = view.last_close.as_deref() {
                assert!(!closed.detail.contains("os error"), "{what}: {}", closed.detail);
                if what.contains("connect_timeout") && closed.cause == Cause::Connect {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let view = || pool.link("a", 0).expect("it is configured");
    assert!(timeout(PATIENCE, wait).await.is_ok(), "{what}: {:?}", view());
}

#[tokio::test]
async fn a_link_opens_with_every_setting_at_both_ends_of_what_it_may_be() {
    let port = peer().await;
    let mut tried = Vec::new();
    for key in config::keys() {
        let is_of_a_link = key.starts_with("endpoints.*.") && !key.contains("[]");
        if !(is_of_a_link || ["admission.", "limits."].iter().any(|section| key.starts_with(section))) {
            continue;
        }
        let Some(ends) = ends(&key) else { continue };
        let short = key.strip_prefix("endpoints.*.").unwrap_or(&key);
        for (end, value) in ends.iter().enumerate().filter(|(end, _)| *end == 0 || !TOO_MANY.contains(&short)) {
            let text = with(&key, value, port);
            let Ok(loaded) = config::parse_toml(&text, "test.toml") else {
                panic!("{key} = {value} is refused, though its own hint says that it may be so");
            };
            let families = Families::register(&Registry::new(), false).expect("metrics register");
            let pool = Pool::start(loaded.config.settings(), Telling::new(families, None), 1).await;
            opens(&pool, &format!("{key} = {value}")).await;
            tried.push((short.to_owned(), end));
        }
    }
    // That the ends were found at all.
    for key in ["heartbeat.idle", "outbox.max_bytes", "inbox.max_messages", "reconnect.multiplier", "admission.rate"] {
        for end in [0, 1] {
            assert!(tried.contains(&(key.to_owned(), end)), "{key} was not tried: {tried:?}");
        }
    }
}
