//! Who holds what, over a restart of the daemon; and keys of an endpoint whose configuration says nothing of any.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    PATH, QUICK, at,
    exchange::{Exchange, FREE},
    subscribe,
    support::{daemon::Daemon, disk::SmallDisk, until},
    unsubscribe, until_shown,
};

const STORE: &str = "[storage]\ndir = \"store\"";
const DISK: &str = "outbox.durability = \"disk\"";

fn said(method: &str, keys: &[&str]) -> String {
    json!({ "method": method, "params": keys, "id": "mine" }).to_string()
}

/// Who holds a key, by name.
async fn holders(daemon: &Daemon, key: &str) -> Vec<String> {
    let key = daemon.api.get(&format!("{PATH}/{key}")).await.expect(200).json();
    let name = |holder: &Value| holder["name"].as_str().unwrap_or_default().to_owned();
    key["holders"].as_array().unwrap().iter().map(name).collect()
}

#[tokio::test]
async fn programs_hold_their_keys_over_a_kill_and_a_stop() {
    let exchange = Exchange::start(FREE).await;
    let mut daemon = Daemon::start(&at(&exchange, DISK, &format!("keys = [\"c\"]\n{STORE}"))).await;
    for (key, holder) in [("b", "x"), ("a", "x"), ("b", "y"), ("gone", "x")] {
        subscribe(&daemon, key, holder).await;
    }
    daemon.api.put(&format!("{PATH}/own?holder=x"), said("SUBSCRIBE", &["p", "q"])).await.expect(201);
    daemon.api.put(&format!("{PATH}/leased?holder=x&lease=2s"), "").await.expect(201);
    daemon.api.put(&format!("{PATH}/long?holder=x&lease=1h"), "").await.expect(201);
    unsubscribe(&daemon, "gone", "x").await;
    daemon.kill();
    daemon.relaunch().await;
    let back = exchange.until("all are back", |all| all.len() == 2 && all[1].heard.len() >= 7).await;
    assert_eq!(back[1].heard[..7], ["+c", "+b", "+a", "+p", "+q", "+leased", "+long"], "in their order");
    assert_eq!(holders(&daemon, "b").await, ["x", "y"]);
    // It could not be renewed while there was no daemon, so it goes on for a while, and ends.
    exchange.last_has(2, &["a", "b", "c", "long", "p", "q"]).await;
    unsubscribe(&daemon, "a", "x").await;
    unsubscribe(&daemon, "b", "x").await;
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.end().await.success());
    daemon.relaunch().await;
    exchange.last_has(3, &["b", "c", "long", "p", "q"]).await;
    assert_eq!(holders(&daemon, "b").await, ["y"]);
    until_shown(&daemon, &[("c", "active"), ("b", "active"), ("own", "active"), ("long", "active")]).await;
}

#[tokio::test]
async fn a_disk_that_is_full_is_told_of_and_who_holds_what_goes_there_once_it_has_room() {
    let exchange = Exchange::start(FREE).await;
    let mut daemon = Daemon::made(&at(&exchange, DISK, "[storage]\ndir = \"{folder}/store\""));
    let Some(disk) = SmallDisk::mount(&daemon.folder().join("store"), "4m") else { return };
    daemon.launch();
    daemon.ready().await;
    subscribe(&daemon, "before", "x").await;
    let filler = disk.fill();
    for key in 0..20 {
        subscribe(&daemon, &format!("key-{key}"), "x").await;
    }
    let keys: Vec<String> = ["before".to_owned()].into_iter().chain((0..20).map(|key| format!("key-{key}"))).collect();
    let mut wanted: Vec<&str> = keys.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    exchange.last_has(1, &wanted).await;
    until("word of it", || async {
        if daemon.log().contains("kept in memory only, until the store takes it") {
            Ok(())
        } else {
            Err(daemon.log().lines().last().map(str::to_owned))
        }
    })
    .await;
    fs::remove_file(filler).unwrap();
    until("all of it on disk", || async {
        if daemon.log().contains("on disk again") {
            Ok(())
        } else {
            Err(daemon.log().lines().last().map(str::to_owned))
        }
    })
    .await;
    daemon.kill();
    daemon.relaunch().await;
    exchange.last_has(2, &wanted).await;
}

#[tokio::test]
async fn what_is_not_durable_any_more_is_forgotten() {
    let exchange = Exchange::start(FREE).await;
    let mut daemon = Daemon::start(&at(&exchange, DISK, STORE)).await;
    subscribe(&daemon, "a", "x").await;
    exchange.last_has(1, &["a"]).await;
    daemon.configure(&at(&exchange, "", STORE));
    daemon.api.post("/v1/reload", &[], "").await.expect(200);
    subscribe(&daemon, "b", "x").await;
    exchange.last_has(1, &["a", "b"]).await;
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.end().await.success());
    daemon.configure(&at(&exchange, DISK, STORE));
    daemon.relaunch().await;
    daemon.api.ready_after("e/0", 0).await;
    until_shown(&daemon, &[]).await;
}

#[tokio::test]
async fn a_message_of_its_own_is_enough_where_the_configuration_says_nothing_of_subscriptions() {
    let exchange = Exchange::start(FREE).await;
    let config = format!("{QUICK}\n[endpoints.e]\nurl = \"ws://127.0.0.1:{}\"\n{DISK}\n{STORE}", exchange.port);
    let mut daemon = Daemon::start(&config).await;
    daemon.api.ready_after("e/0", 0).await;
    daemon.api.put(&format!("{PATH}/none"), "").await.expect(409);
    daemon.api.put(&format!("{PATH}/ab?holder=x"), said("SUBSCRIBE", &["a", "b"])).await.expect(201);
    exchange.last_has(2, &["a", "b"]).await;
    daemon.api.put(&format!("{PATH}/c?holder=x"), said("SUBSCRIBE", &["c"])).await.expect(201);
    exchange.last_has(2, &["a", "b", "c"]).await;
    daemon.configure(&format!("{config}\n[endpoints.e.heartbeat]\nidle = \"7s\""));
    daemon.api.post("/v1/reload", &[], "").await.expect(200);
    daemon.kill();
    daemon.relaunch().await;
    exchange.last_has(3, &["a", "b", "c"]).await;
    // A reload says no more of subscriptions than before; with a change that needs no new connection, and with one that does.
    for more in ["heartbeat = { idle = \"8s\" }", "headers = { X-New = \"1\" }"] {
        daemon.configure(&config.replace(DISK, &format!("{DISK}\n{more}")));
        daemon.api.post("/v1/reload", &[], "").await.expect(200);
        until_shown(&daemon, &[("ab", "active"), ("c", "active")]).await;
    }
    exchange.last_has(4, &["a", "b", "c"]).await;
    daemon.kill();
    daemon.relaunch().await;
    exchange.last_has(5, &["a", "b", "c"]).await;
    let end = said("UNSUBSCRIBE", &["a", "b"]);
    daemon.api.call_with("DELETE", &format!("{PATH}/ab?holder=x"), end).await.expect(204);
    exchange.last_has(5, &["c"]).await;
    // Nothing says what ends this one; the next connection has it no more.
    unsubscribe(&daemon, "c", "x").await;
    daemon.api.post("/v1/links/e/0/reconnect", &[], "").await.expect(200);
    exchange.last_has(6, &[]).await;
}

#[tokio::test]
async fn keys_that_were_held_stay_over_a_restart_with_a_configuration_that_would_not_take_them() {
    let exchange = Exchange::start(FREE).await;
    let config = at(&exchange, DISK, STORE);
    let mut daemon = Daemon::start(&config).await;
    for key in ["a", "b", "c"] {
        subscribe(&daemon, key, "x").await;
    }
    exchange.last_has(1, &["a", "b", "c"]).await;
    let fewer = at(&exchange, DISK, &format!("max_keys = 1\n{STORE}"));
    let silent: Vec<&str> = config.lines().filter(|line| !line.starts_with("add =")).collect();
    for (config, state) in [(&fewer, "active"), (&silent.join("\n"), "refused"), (&config, "active")] {
        daemon.kill();
        daemon.configure(config);
        daemon.relaunch().await;
        until_shown(&daemon, &[("a", state), ("b", state), ("c", state)]).await;
        if *config == fewer {
            daemon.api.put(&format!("{PATH}/d?holder=x"), "").await.expect(409);
            assert!(daemon.log().contains("more keys than subscriptions.max_keys"), "{}", daemon.log());
            let explained = daemon.api.get("/v1/links/e/0/explain").await.expect(200).json();
            assert!(explained["advice"].to_string().contains("more than subscriptions.max_keys = 1"), "{explained}");
        }
    }
    assert_eq!(holders(&daemon, "b").await, ["x"]);
}

#[tokio::test]
async fn an_endpoint_that_a_reload_takes_out_releases_its_keys_and_says_so() {
    let exchange = Exchange::start(FREE).await;
    let config = at(&exchange, DISK, STORE);
    let daemon = Daemon::start(&config).await;
    for key in ["a", "b"] {
        subscribe(&daemon, key, "x").await;
    }
    exchange.last_has(1, &["a", "b"]).await;
    let other = config.replace("[endpoints.e", "[endpoints.other");
    for (config, connections) in [(&other, 2), (&config, 3)] {
        daemon.configure(config);
        daemon.api.post("/v1/reload", &[], "").await.expect(200);
        exchange.until("another connection", |all| all.len() == connections).await;
    }
    until_shown(&daemon, &[]).await;
    let log = daemon.log();
    assert!(log.contains("keys that programs held are released") && log.contains("\"keys\":2"), "{log}");
}
