//! Links with several URLs: the first goes down, another takes them in, the first comes back, and they return to it.
//!
//! What a reader would get wrong: the messages that the first server had read when it went down may have been unproven. They are sent again, at
//! least once; from then on nothing may come twice.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    QUICK,
    rotation::talk,
    scribe::{Note, Scribe},
    support::{api::Api, daemon::Daemon, raw::Raw, until},
};

fn urls(scribes: &[&Scribe], more: &str) -> String {
    let urls: Vec<_> = scribes.iter().map(|scribe| format!("\"{}\"", url(scribe))).collect();
    let inbox = "inbox = { max_messages = 100000, max_bytes = \"64MiB\" }";
    format!("{QUICK}\n[endpoints.e]\nurls = [{}]\n{inbox}\n{more}", urls.join(", "))
}

fn url(scribe: &Scribe) -> String {
    format!("ws://127.0.0.1:{}/feed", scribe.port)
}

/// Waits until a link is ready there, and nothing goes on beside.
async fn at(api: &Api, link: &str, scribe: &Scribe) -> Value {
    api.link_until(link, "ready there", |link| {
        link["url"] == *url(scribe) && link["phase"] == "ready" && link["rotation"].is_null()
    })
    .await
}

async fn reads(scribe: &Scribe, count: usize) {
    until("messages at the peer", || async {
        let read = scribe.read().len();
        if read >= count { Ok(()) } else { Err(read) }
    })
    .await;
}

async fn away(api: &Api) -> Option<f64> {
    api.metric("wskeeper_links_away{endpoint=\"e\"}").await
}

#[tokio::test]
async fn a_link_goes_back_to_a_primary_that_is_back_and_no_message_is_lost_or_doubled() {
    let (primary, backup) = (Scribe::listen().await, Scribe::listen().await);
    let keys = "delivery = \"at_least_once\"\nclose_timeout = \"30s\"\nfailback_after = \"2s\"\n";
    let daemon = Daemon::start(&urls(&[&primary, &backup], keys)).await;
    let api = &daemon.api;
    assert_eq!(at(api, "e/0", &primary).await["away"], Value::Null);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let talking = tokio::spawn(talk(api.clone(), stopped));
    reads(&primary, 30).await;

    primary.go_down();
    let link = at(api, "e/0", &backup).await;
    assert_eq!((&link["away"]["home"], &link["away"]["returns"]), (&url(&primary).into(), &true.into()));
    assert_eq!(away(api).await, Some(1.0));
    reads(&backup, 30).await;
    api.link_until("e/0", "a probe that fails", |link| {
        link["away"]["failure"].as_str().is_some_and(|failure| failure.contains("503"))
    })
    .await;
    let explained = api.get("/v1/links/e/0/explain").await.expect(200).json();
    let why = explained["why"].as_str().unwrap().to_owned();
    assert!(why.contains("not at the first of its URLs") && why.contains("503") && why.contains("for 2s"), "{why}");
    let before = primary.read();
    assert_eq!(backup.notes(), [Note::Open(1)]);

    primary.refuse(false);
    assert_eq!(at(api, "e/0", &primary).await["away"], Value::Null);
    reads(&primary, before.len() + 30).await;
    stop.send(true).unwrap();
    let sent: Vec<_> = (0..talking.await.unwrap().len()).map(|number| format!("m{number}")).collect();
    until("all messages at the peers", || async {
        let read: BTreeSet<_> = primary.read().into_iter().chain(backup.read()).collect();
        if read.len() >= sent.len() { Ok(()) } else { Err(read.len()) }
    })
    .await;
    // From the backup on each once, and in order; before, all up to there.
    let after: Vec<_> = backup.read().into_iter().chain(primary.read().split_off(before.len())).collect();
    let (first, unsent) = (sent.len() - after.len(), before.len());
    assert!(first <= unsent, "{first} of {unsent}");
    assert!(before == sent[..unsent] && after == sent[first..], "what came, and what should have");
    assert_eq!(backup.notes(), [Note::Open(1), Note::Close(1, Some(1000))]);
    assert_eq!(away(api).await, Some(0.0));
    let mut events = api.events("e", "from=oldest").await;
    let mut replies = Vec::new();
    while replies.last() != sent.last() {
        let event = events.next().await;
        if event.kind == "message" {
            replies.push(String::from_utf8(event.payload().0).unwrap());
        }
    }
    assert!(replies.ends_with(&after), "each reply once");
}

#[tokio::test]
async fn a_primary_that_comes_and_goes_draws_no_link() {
    let (primary, backup) = (Scribe::listen().await, Scribe::listen().await);
    let daemon = Daemon::start(&urls(&[&primary, &backup], "failback_after = \"4s\"\n")).await;
    at(&daemon.api, "e/0", &primary).await;
    primary.go_down();
    at(&daemon.api, "e/0", &backup).await;
    // Ten probes would have to be answered.
    primary.refuse_one_in(3);
    primary.refuse(false);
    let before = primary.upgrades();
    until("many probes", || async {
        let probes = primary.upgrades() - before;
        if probes >= 12 { Ok(()) } else { Err(probes) }
    })
    .await;
    assert_eq!(backup.notes(), [Note::Open(1)], "it stays");
    primary.refuse_one_in(0);
    at(&daemon.api, "e/0", &primary).await;
    assert_eq!(backup.notes(), [Note::Open(1), Note::Close(1, Some(1000))]);
}

#[tokio::test]
async fn a_link_that_is_to_stay_is_taken_back_by_an_operator_alone() {
    let (primary, backup) = (Scribe::listen().await, Scribe::listen().await);
    let keys = "failback = false\nfailback_after = \"1s\"\nreconnect.stable = \"1s\"\n";
    let daemon = Daemon::start(&urls(&[&primary, &backup], keys)).await;
    at(&daemon.api, "e/0", &primary).await;
    primary.go_down();
    assert_eq!(at(&daemon.api, "e/0", &backup).await["away"]["returns"], false);
    daemon.api.link_until("e/0", "stable", |link| link["attempt"] == 0).await;
    let before = primary.upgrades();
    primary.refuse(false);
    backup.cut();
    daemon
        .api
        .link_until("e/0", "another connection", |link| link["generation"] == 3 && link["phase"] == "ready")
        .await;
    at(&daemon.api, "e/0", &backup).await;
    assert_eq!(primary.upgrades(), before, "nobody asks there");
    let explained = daemon.api.get("/v1/links/e/0/explain").await.expect(200).json();
    assert!(explained["why"].as_str().unwrap().contains("`wskeeper rotate e/0` takes it there"), "{explained}");
    daemon.api.post("/v1/links/e/0/rotate", &[], "").await.expect(200);
    at(&daemon.api, "e/0", &primary).await;
}

#[tokio::test]
async fn a_primary_that_lets_in_and_throws_out_keeps_nobody_from_the_backup() {
    let (primary, backup) = (Raw::listen().await, Scribe::listen().await);
    let urls = format!("[\"ws://127.0.0.1:{}/\", \"{}\"]", primary.port, url(&backup));
    let thrower = tokio::spawn(async move {
        loop {
            drop(primary.accept_and_send(b"\x88\x02\x03\xf5").await);
        }
    });
    let daemon = Daemon::start(&format!("{QUICK}\n[endpoints.e]\nurls = {urls}\n")).await;
    let link = at(&daemon.api, "e/0", &backup).await;
    assert!(link["generation"].as_u64().unwrap() > 1, "the first has let it in: {link}");
    thrower.abort();
}

#[tokio::test]
async fn shuffled_links_are_spread_and_come_back_to_where_they_were() {
    let scribes = [Scribe::listen().await, Scribe::listen().await, Scribe::listen().await];
    let all: Vec<_> = scribes.iter().collect();
    let keys = "links = 12\nurl_order = \"shuffle\"\nfailback_after = \"1s\"\n";
    let daemon = Daemon::start(&urls(&all, keys)).await;
    let spread = |wanted: [usize; 3]| {
        let (api, scribes) = (&daemon.api, &scribes);
        until("links at the servers", move || async move {
            let links = api.get("/v1/links?endpoint=e").await.expect(200).json()["items"].as_array().unwrap().clone();
            let is_at = |link: &&Value, scribe: &Scribe| link["phase"] == "ready" && link["url"] == *url(scribe);
            let counts = scribes.each_ref().map(|scribe| links.iter().filter(|link| is_at(link, scribe)).count());
            if counts == wanted { Ok(()) } else { Err(counts) }
        })
    };
    spread([4, 4, 4]).await;
    scribes[1].go_down();
    spread([6, 0, 6]).await;
    scribes[1].refuse(false);
    spread([4, 4, 4]).await;
}
