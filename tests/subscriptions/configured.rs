//! What the configuration says: keys of its own, batches, pace, and what is refused.

use std::time::Duration;

use serde_json::json;

use crate::{
    PATH, at,
    exchange::{Exchange, FREE, Limits, Record},
    subscribe,
    support::daemon::Daemon,
    until_shown,
};

#[tokio::test]
async fn a_reload_adds_and_takes_away_keys_without_a_new_connection() {
    let exchange = Exchange::start(FREE).await;
    let daemon = Daemon::start(&at(&exchange, "", "keys = [\"a\", \"b\"]")).await;
    exchange.last_has(1, &["a", "b"]).await;
    subscribe(&daemon, "a", "x").await;
    daemon.configure(&at(&exchange, "", "keys = [\"b\", \"c\"]"));
    let report = daemon.api.post("/v1/reload", &[], "").await.expect(200).json().to_string();
    assert!(report.contains("subscriptions.keys"), "{report}");
    exchange.last_has(1, &["a", "b", "c"]).await;
    daemon.configure(&at(&exchange, "", ""));
    daemon.api.post("/v1/reload", &[], "").await.expect(200);
    let record = exchange.last_has(1, &["a"]).await;
    assert_eq!(record.heard[..2], ["+a", "+b"]);
}

/// The configuration without its subscriptions.
fn without(config: &str) -> &str {
    config.split("[endpoints.e.subscriptions]").next().unwrap()
}

async fn reload(daemon: &Daemon, config: &str) {
    daemon.configure(config);
    daemon.api.post("/v1/reload", &[], "").await.expect(200);
}

/// Waits until the connection that is open has exactly these keys, and gives its record.
async fn open_has(exchange: &Exchange, keys: &[&str]) -> Record {
    let is = |record: &&Record| record.is_open && record.has.iter().map(String::as_str).eq(keys.iter().copied());
    let is_so =
        |all: &[Record]| all.iter().filter(|record| record.is_open).count() == 1 && all.iter().any(|one| is(&one));
    let records = exchange.until(&format!("{keys:?} and no others"), is_so).await;
    records.iter().find(is).unwrap().clone()
}

#[tokio::test]
async fn subscriptions_that_a_reload_takes_away_and_another_brings_back_begin_anew() {
    let exchange = Exchange::start(FREE).await;
    let with = at(&exchange, "", "keys = [\"c\"]");
    let daemon = Daemon::start(&with).await;
    for key in ["old1", "old2", "old3"] {
        subscribe(&daemon, key, "x").await;
    }
    exchange.last_has(1, &["c", "old1", "old2", "old3"]).await;
    reload(&daemon, without(&with)).await;
    reload(&daemon, &with).await;
    until_shown(&daemon, &[("c", "active")]).await;
    let record = open_has(&exchange, &["c"]).await;
    for key in ["new1", "new2", "new3", "old1"] {
        subscribe(&daemon, key, "x").await;
    }
    let all = [("c", "active"), ("new1", "active"), ("new2", "active"), ("new3", "active"), ("old1", "active")];
    until_shown(&daemon, &all).await;
    let later = open_has(&exchange, &["c", "new1", "new2", "new3", "old1"]).await;
    assert!(later.heard.starts_with(&record.heard), "no other connection: {later:?}");
}

#[tokio::test]
async fn keys_that_programs_brought_are_forgotten_with_the_subscriptions_they_went_into() {
    let exchange = Exchange::start(FREE).await;
    let with = at(&exchange, "", "keys = [\"c\"]");
    let daemon = Daemon::start(without(&with)).await;
    let bring = async |key: &str| {
        let message = json!({ "method": "SUBSCRIBE", "params": [key], "id": format!("its {key}") }).to_string();
        daemon.api.put(&format!("{PATH}/{key}"), message).await.expect(201);
    };
    bring("old1").await;
    bring("old2").await;
    open_has(&exchange, &["old1", "old2"]).await;
    reload(&daemon, &with).await;
    open_has(&exchange, &["c", "old1", "old2"]).await;
    reload(&daemon, without(&with)).await;
    bring("new1").await;
    open_has(&exchange, &["new1"]).await;
    bring("new2").await;
    open_has(&exchange, &["new1", "new2"]).await;
    until_shown(&daemon, &[("new1", "active"), ("new2", "active")]).await;
}

#[tokio::test]
async fn keys_go_in_batches_no_faster_than_the_peer_takes_them() {
    let exchange = Exchange::start(Limits { keys: 100, rate: 5 }).await;
    let keys: Vec<String> = (0..70).map(|number| format!("k{number}")).collect();
    let more = format!("keys = {keys:?}\nbatch = 10\nrate = 5\nready_when = \"confirmed\"");
    let daemon = Daemon::start(&at(&exchange, "", &more)).await;
    daemon.api.ready_after("e/0", 0).await;
    let record = exchange.records().pop().unwrap();
    assert_eq!((record.has.len(), record.messages, record.faults.len()), (70, 7, 0), "{record:?}");
    // A machine that is busy makes this longer, never shorter.
    assert!(record.took >= Duration::from_millis(6 * 200), "{record:?}");
    let asked: Vec<String> = keys.iter().map(|key| format!("+{key}")).collect();
    assert_eq!(record.heard, asked);
    assert_eq!(daemon.api.metric("wskeeper_subscriptions{endpoint=\"e\",state=\"active\"}").await, Some(70.0));
}

#[tokio::test]
async fn a_key_that_is_refused_says_why_and_is_asked_for_again_on_the_next_connection() {
    let exchange = Exchange::start(FREE).await;
    let daemon = Daemon::start(&at(&exchange, "", "keys = [\"bad\", \"good\"]\nready_when = \"confirmed\"")).await;
    daemon.api.ready_after("e/0", 0).await;
    until_shown(&daemon, &[("bad", "refused"), ("good", "active")]).await;
    let key = daemon.api.get(&format!("{PATH}/bad")).await.expect(200).json();
    assert!(key["why"].as_str().unwrap().contains("there is no bad"), "{key}");
    assert!(key["advice"].as_str().unwrap().contains("put the key again"), "{key}");
    let explained = daemon.api.get("/v1/links/e/0/explain").await.expect(200).json();
    assert!(explained["advice"].to_string().contains("refused 1 subscription"), "{explained}");
    exchange.cut(0);
    let records = exchange.until("it is asked for again", |all| all.len() == 2 && all[1].heard.len() == 2).await;
    assert_eq!(records[1].heard, ["+bad", "+good"]);
    until_shown(&daemon, &[("bad", "refused"), ("good", "active")]).await;
}

#[tokio::test]
async fn a_peer_that_does_not_answer_keeps_no_link_from_being_ready() {
    let exchange = Exchange::start(FREE).await;
    let more = "keys = [\"a\"]\ntimeout = \"300ms\"\nready_when = \"confirmed\"\n";
    let silent = at(&exchange, "", more).replace("has = [\"/result\"]", "has = [\"/never\"]");
    let daemon = Daemon::start(&silent).await;
    daemon.api.ready_after("e/0", 0).await;
    until_shown(&daemon, &[("a", "refused")]).await;
}

#[tokio::test]
async fn a_key_that_nothing_asks_for_any_more_says_so_and_comes_back_with_what_does() {
    let exchange = Exchange::start(FREE).await;
    let with = at(&exchange, "", "");
    let daemon = Daemon::start(&with).await;
    subscribe(&daemon, "a", "x").await;
    exchange.last_has(1, &["a"]).await;
    let without_add: Vec<&str> = with.lines().filter(|line| !line.starts_with("add =")).collect();
    reload(&daemon, &without_add.join("\n")).await;
    until_shown(&daemon, &[("a", "refused")]).await;
    let key = daemon.api.get(&format!("{PATH}/a")).await.expect(200).json();
    assert!(key["why"].as_str().unwrap().contains("`subscriptions.add` is not given"), "{key}");
    assert!(key["advice"].as_str().unwrap().contains("write subscriptions.add"), "{key}");
    reload(&daemon, &with).await;
    until_shown(&daemon, &[("a", "active")]).await;
    open_has(&exchange, &["a"]).await;
}

#[tokio::test]
async fn what_a_program_numbers_itself_is_not_taken_for_what_was_numbered_for_it() {
    let exchange = Exchange::start(FREE).await;
    let daemon = Daemon::start(&at(&exchange, "", "")).await;
    daemon.api.ready_after("e/0", 0).await;
    // The first message of a connection would have this number, too; and it is one, however it is written.
    for (key, id) in [("bad", json!(1)), ("bad2", json!(2.0))] {
        let own = json!({ "method": "SUBSCRIBE", "params": [key], "id": id }).to_string();
        daemon.api.put(&format!("{PATH}/{key}?holder=x"), own).await.expect(201);
    }
    subscribe(&daemon, "good", "x").await;
    let wanted = [("bad", "refused"), ("bad2", "refused"), ("good", "active")];
    until_shown(&daemon, &wanted).await;
    exchange.cut(0);
    daemon.api.ready_after("e/0", 1).await;
    exchange.until("all are asked for again", |all| all.len() == 2 && all[1].heard.len() == 3).await;
    until_shown(&daemon, &wanted).await;
}
