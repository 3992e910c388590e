//! Keys over several links: which connection has which, what a lost one changes for the others, and links that come and go with their keys.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use crate::{
    PATH, at,
    exchange::{Exchange, FREE, Limits, Record},
    shown, subscribe,
    support::{daemon::Daemon, until},
    unsubscribe, until_shown,
};

fn open(records: &[Record]) -> Vec<(usize, &Record)> {
    records.iter().enumerate().filter(|(_, record)| record.is_open).collect()
}

/// The keys of all open connections; `None`: two have one.
fn keys(records: &[Record]) -> Option<BTreeSet<String>> {
    let open = open(records);
    let all: BTreeSet<String> = open.iter().flat_map(|(_, record)| record.has.clone()).collect();
    (all.len() == open.iter().map(|(_, record)| record.has.len()).sum::<usize>()).then_some(all)
}

/// Waits until so many connections are open and have so many keys together, no two the same.
async fn until_spread(exchange: &Exchange, connections: usize, count: usize) -> Vec<Record> {
    let is = |records: &[Record]| {
        open(records).len() == connections && keys(records).is_some_and(|keys| keys.len() == count)
    };
    exchange.until(&format!("{count} keys on {connections} connections"), is).await
}

/// The link that a key is with.
async fn link_of(daemon: &Daemon, key: &str) -> Option<u64> {
    daemon.api.get(&format!("{PATH}/{key}")).await.expect(200).json()["link"].as_u64()
}

/// What the links are called.
async fn links(daemon: &Daemon) -> Vec<u64> {
    let list = daemon.api.get("/v1/links?endpoint=e").await.expect(200).json();
    list["items"].as_array().unwrap().iter().map(|link| link["index"].as_u64().unwrap()).collect()
}

async fn until_links(daemon: &Daemon, wanted: &[u64]) {
    until(&format!("links {wanted:?}"), || async {
        let seen = links(daemon).await;
        if seen == wanted { Ok(()) } else { Err(seen) }
    })
    .await;
}

async fn until_active(daemon: &Daemon, count: f64) {
    until("all are active", || async {
        let active = daemon.api.metric("wskeeper_subscriptions{endpoint=\"e\",state=\"active\"}").await;
        if active == Some(count) { Ok(()) } else { Err(active) }
    })
    .await;
}

#[tokio::test]
async fn five_thousand_keys_are_spread_and_a_lost_link_disturbs_no_other() {
    let mut exchange = Exchange::start(Limits { keys: 200, rate: 5 }).await;
    let configured: Vec<String> = (0..4000).map(|number| format!("c{number}")).collect();
    let more = format!(
        "keys = {configured:?}\nbatch = 100\nrate = 5\nper_link = 200\nlinks = {{ max = 25 }}\nready_when = \"confirmed\""
    );
    let daemon = Daemon::start(&at(&exchange, "", &more)).await;
    for first in (0..1000).step_by(50) {
        let put = async |number: usize| subscribe(&daemon, &format!("p{number}"), "x").await;
        join_all((first..first + 50).map(put)).await;
    }
    let before = until_spread(&exchange, 25, 5000).await;
    assert!(before.iter().all(|record| record.faults.is_empty() && record.has.len() == 200), "{before:?}");
    until_active(&daemon, 5000.0).await;
    let refused = daemon.api.put(&format!("{PATH}/more"), "").await.expect(409).json();
    assert_eq!(
        (&refused["type"], &refused["perLink"]),
        (&"urn:wskeeper:problem:subscriptions-full".into(), &200.into())
    );

    // One is lost: its keys come back, and nothing is said on another connection.
    exchange.cut(3);
    exchange.until("another connection", |records| records.len() == 26).await;
    let after = until_spread(&exchange, 25, 5000).await;
    assert_eq!((after.len(), &after[25].has, &after[25].heard), (26, &before[3].has, &before[3].heard));
    let others = |records: &[Record]| -> Vec<usize> {
        (0..25).filter(|index| *index != 3).map(|index| records[index].heard.len()).collect()
    };
    assert_eq!(others(&after), others(&before), "no other key was asked for again");

    // A rotation has all of them before the old connection is closed.
    let key = after[25].has.first().unwrap();
    let link = link_of(&daemon, key).await.unwrap();
    daemon.api.post(&format!("/v1/links/e/{link}/rotate"), &[], "").await.expect(200);
    let is = |records: &[Record]| records.len() == 27 && !records[25].is_open;
    let rotated = exchange.until("the rotation", is).await;
    assert_eq!((&rotated[26].has, &rotated[25].has), (&before[3].has, &before[3].has));
    assert_eq!(others(&rotated), others(&before));

    // All are lost.
    exchange.kill().await;
    exchange.restart().await;
    let restarted = until_spread(&exchange, 25, 5000).await;
    let of_each = |records: &[Record]| -> BTreeSet<BTreeSet<String>> {
        open(records).into_iter().map(|(_, record)| record.has.clone()).collect()
    };
    assert_eq!(of_each(&restarted), of_each(&before), "each link asked for its own");
    assert!(restarted.iter().all(|record| record.faults.is_empty()));

    // Two programs share one.
    until_active(&daemon, 5000.0).await;
    subscribe(&daemon, "p7", "y").await;
    unsubscribe(&daemon, "p7", "x").await;
    assert_eq!(keys(&exchange.records()).unwrap().len(), 5000);
    unsubscribe(&daemon, "p7", "y").await;
    let gone = until_spread(&exchange, 25, 4999).await;
    let said: usize =
        gone.iter().map(|record| record.heard.iter().filter(|heard| heard.starts_with('-')).count()).sum();
    assert_eq!(said, 1);
}

const TWO_EACH: &str = "per_link = 2\nlinks = { max = 3, close_after = \"300ms\" }";

#[tokio::test]
async fn links_come_and_go_with_their_keys() {
    let exchange = Exchange::start(FREE).await;
    let daemon = Daemon::start(&at(&exchange, "", TWO_EACH)).await;
    until_links(&daemon, &[0]).await;
    for key in ["a", "b", "c", "d", "e", "f"] {
        subscribe(&daemon, key, "x").await;
    }
    until_links(&daemon, &[0, 1, 2]).await;
    let records = until_spread(&exchange, 3, 6).await;
    assert_eq!(daemon.api.put(&format!("{PATH}/g"), "").await.status, 409);
    for key in ["c", "d"] {
        unsubscribe(&daemon, key, "x").await;
    }
    until_links(&daemon, &[0, 2]).await;
    let middle = records.iter().position(|record| record.has.contains("c")).unwrap();
    let closed = exchange.until("the one in the middle is closed", |all| all[middle].closed.is_some()).await;
    assert_eq!((closed[middle].closed, open(&closed).len()), (Some(1001), 2));
    assert_eq!(daemon.api.get("/v1/links/e/1").await.status, 404);
    subscribe(&daemon, "g", "x").await;
    until_links(&daemon, &[0, 1, 2]).await;
    let records = until_spread(&exchange, 3, 5).await;
    let again: Vec<&String> = records.iter().flat_map(|record| &record.heard).filter(|heard| *heard == "+a").collect();
    assert_eq!((again.len(), link_of(&daemon, "g").await), (1, Some(1)), "none has moved");
    assert_eq!(daemon.api.metric("wskeeper_links{endpoint=\"e\",phase=\"ready\"}").await, Some(3.0));
}

#[tokio::test]
async fn a_link_that_is_not_needed_stays_until_its_messages_have_left() {
    let exchange = Exchange::start(FREE).await;
    let daemon = Daemon::start(&at(&exchange, "", TWO_EACH)).await;
    for key in ["a", "b", "c"] {
        subscribe(&daemon, key, "x").await;
    }
    until_spread(&exchange, 2, 3).await;
    daemon.api.post("/v1/links/e/1/pause", &[], "").await.expect(200);
    let sent = daemon.api.post("/v1/endpoints/e/messages?link=1", &[], "late").await.expect(202).json();
    unsubscribe(&daemon, "c", "x").await;
    // Others are closed meanwhile.
    for key in ["d", "e"] {
        subscribe(&daemon, key, "x").await;
    }
    unsubscribe(&daemon, "d", "x").await;
    unsubscribe(&daemon, "e", "x").await;
    until_shown(&daemon, &[("a", "active"), ("b", "active")]).await;
    daemon.api.post("/v1/links/e/1/resume", &[], "").await.expect(200);
    let heard = |records: &[Record]| records.iter().any(|record| record.heard.contains(&"late".to_owned()));
    exchange.until("the message", heard).await;
    until_links(&daemon, &[0]).await;
    let id = sent["id"].as_str().unwrap();
    let receipt = daemon.api.get(&format!("/v1/messages/{id}")).await.expect(200).json();
    assert!(["written", "confirmed"].contains(&receipt["state"].as_str().unwrap()), "{receipt}");
}

#[tokio::test]
async fn keys_of_a_link_that_stays_away_go_to_others_and_theirs_stay() {
    let exchange = Exchange::start(FREE).await;
    let own = "links = 2";
    let daemon = Daemon::start(&at(&exchange, own, "spread_after = \"400ms\"")).await;
    until_links(&daemon, &[0, 1]).await;
    for key in ["a", "b", "c", "d"] {
        subscribe(&daemon, key, "x").await;
    }
    let records = until_spread(&exchange, 2, 4).await;
    let lost = link_of(&daemon, "a").await.unwrap();
    daemon.api.post(&format!("/v1/links/e/{lost}/pause"), &[], "").await.expect(200);
    let moved = until_spread(&exchange, 1, 4).await;
    let (other, before) = records.iter().enumerate().find(|(_, record)| !record.has.contains("a")).unwrap();
    assert_eq!(moved[other].heard[..2], before.heard[..2]);
    assert_eq!(moved[other].heard.len(), 4, "only those of the lost link were asked for");
    daemon.api.post(&format!("/v1/links/e/{lost}/resume"), &[], "").await.expect(200);
    exchange.until("it is back", |records| open(records).len() == 2).await;
    daemon.api.ready_after(&format!("e/{lost}"), 1).await;
    subscribe(&daemon, "e", "x").await;
    let records = until_spread(&exchange, 2, 5).await;
    let sizes: BTreeSet<usize> = open(&records).iter().map(|(_, record)| record.has.len()).collect();
    assert_eq!(sizes, [1, 4].into(), "none moves back, and the new one goes where the fewest are");
}

#[tokio::test]
async fn a_reload_that_leaves_less_room_says_which_keys_wait_for_it() {
    let exchange = Exchange::start(FREE).await;
    let daemon = Daemon::start(&at(&exchange, "", TWO_EACH)).await;
    for key in ["a", "b", "c", "d"] {
        subscribe(&daemon, key, "x").await;
    }
    until_spread(&exchange, 2, 4).await;
    let reload = async |more: &str| {
        daemon.configure(&at(&exchange, "", more));
        daemon.api.post("/v1/reload", &[], "").await.expect(200).json().to_string()
    };
    assert!(reload("per_link = 1\nlinks = { max = 2 }").await.contains("applied live"));
    until_spread(&exchange, 2, 2).await;
    let all = shown(&daemon).await;
    assert_eq!(all.iter().filter(|(_, state)| state == "pending").count(), 2, "{all:?}");
    let list = daemon.api.get(PATH).await.expect(200).json();
    let waits = list["items"].as_array().unwrap().iter().find(|item| item["link"].is_null()).unwrap();
    assert!(waits["why"].as_str().unwrap().contains("no link has room"), "{waits}");
    let key = waits["key"].as_str().unwrap();
    let advice = daemon.api.get(&format!("{PATH}/{key}")).await.expect(200).json()["advice"].to_string();
    assert!(advice.contains("subscriptions.links.max"), "{advice}");
    reload("per_link = 1\nlinks = { max = 4 }").await;
    until_spread(&exchange, 4, 4).await;
    until_links(&daemon, &[0, 1, 2, 3]).await;
    until_shown(&daemon, &[("a", "active"), ("b", "active"), ("c", "active"), ("d", "active")]).await;
}
