//! Rotations of the real daemon under traffic both ways: nothing is lost, told wrongly, or out of order, and the peer never sees
//! fewer than one connection.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use crate::{
    QUICK, plan, reload,
    scribe::{Note, Scribe},
    support::{api::Api, daemon::Daemon, until},
    told,
};

fn one(scribe: &Scribe, more: &str) -> String {
    let url = format!("ws://127.0.0.1:{}/feed", scribe.port);
    format!(
        "{QUICK}\n[endpoints.e]\nurl = \"{url}\"\ninbox = {{ max_messages = 100000, max_bytes = \"64MiB\" }}\n{more}"
    )
}

/// Waits until connection `generation` has taken over and is alone.
async fn rotated(api: &Api, generation: u64) -> Value {
    api.link_until("e/0", "a rotation that is over", |link| {
        link["generation"] == generation && link["rotation"].is_null() && link["phase"] == "ready"
    })
    .await
}

/// Sends numbered messages one after the other until it is told to stop; answers with their receipts' names.
pub async fn talk(api: Api, stop: tokio::sync::watch::Receiver<bool>) -> Vec<String> {
    let mut ids = Vec::new();
    while !*stop.borrow() {
        let answer = api.send_text("e", &format!("m{}", ids.len())).await.expect(202);
        ids.push(answer.json()["id"].as_str().unwrap().to_owned());
    }
    ids
}

/// What consumers were given of the endpoint: replies in order, and the ticks. Panics at a gap.
async fn consumed(api: &Api, replies: usize, ticks: u64) -> (Vec<String>, BTreeSet<u64>) {
    let mut events = api.events("e", "from=oldest").await;
    let (mut echoed, mut ticked) = (Vec::new(), BTreeSet::new());
    while echoed.len() < replies || ticked.last().is_none_or(|last| *last < ticks) {
        let event = events.next().await;
        assert_ne!(event.kind, "gap", "{event:?}");
        if event.kind == "message" {
            let text = String::from_utf8(event.payload().0).unwrap();
            match text.strip_prefix("tick ") {
                Some(number) => drop(ticked.insert(number.parse().unwrap())),
                None => echoed.push(text),
            }
        }
    }
    (echoed, ticked)
}

#[tokio::test]
async fn under_traffic_both_ways_rotations_lose_nothing_and_the_peer_is_never_without_a_connection() {
    const ROUNDS: u64 = 12;
    for delivery in ["at_most_once", "at_least_once"] {
        let scribe = Scribe::listen().await;
        let daemon =
            Daemon::start(&one(&scribe, &format!("delivery = \"{delivery}\"\nclose_timeout = \"30s\"\n"))).await;
        rotated(&daemon.api, 1).await;
        scribe.tick(Duration::from_millis(2));
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let talking = tokio::spawn(talk(daemon.api.clone(), stopped));
        for round in 1..=ROUNDS {
            daemon.api.post("/v1/links/e/0/rotate", &[], "").await.expect(200);
            rotated(&daemon.api, 1 + round).await;
        }
        stop.send(true).unwrap();
        let ids = talking.await.unwrap();
        let ticks = scribe.stop_ticking();
        assert!(ids.len() > 50 && ticks > 50, "{} messages, {ticks} ticks", ids.len());

        let sent: Vec<_> = (0..ids.len()).map(|number| format!("m{number}")).collect();
        until("all messages at the peer", || async {
            let read = scribe.read().len();
            if read >= sent.len() { Ok(()) } else { Err(read) }
        })
        .await;
        each_once_in_order(&scribe.read(), &sent);
        let (echoed, ticked) = consumed(&daemon.api, sent.len(), ticks).await;
        each_once_in_order(&echoed, &sent);
        let missed: Vec<_> = (1..=ticks).filter(|number| !ticked.contains(number)).collect();
        assert_eq!(missed, Vec::<u64>::new(), "{delivery}: of {ticks} ticks");
        receipts_are_true(&daemon.api, &ids, delivery).await;
        each_was_open_before_the_one_before_it_was_closed(&scribe.notes(), 1 + ROUNDS);
        let closes = "wskeeper_closes_total{cause=\"rotate\",clean=\"true\",code=\"1000\",endpoint=\"e\"}";
        assert_eq!(daemon.api.metric(closes).await, Some(12.0));
        assert_eq!(daemon.api.metric("wskeeper_links{endpoint=\"e\",phase=\"ready\"}").await, Some(1.0));
    }
}

/// Names the first that is not where it belongs: there are thousands.
fn each_once_in_order(seen: &[String], sent: &[String]) {
    let wrong = seen.iter().zip(sent).position(|(seen, sent)| seen != sent);
    assert_eq!(wrong.map(|at| (&seen[at], &sent[at])), None, "what came, and what should have");
    assert_eq!(seen.len(), sent.len());
}

/// A message whose pong had to prove it before a switch is confirmed; no message ended otherwise than by having arrived.
async fn receipts_are_true(api: &Api, ids: &[String], delivery: &str) {
    for id in ids {
        let path = format!("/v1/messages/{id}");
        until("an end that says that it arrived", || async {
            let receipt = api.get(&path).await.expect(200).json();
            match (receipt["state"].as_str().unwrap(), delivery) {
                ("confirmed", _) | ("written", "at_most_once") => Ok(()),
                ("unknown" | "dropped" | "expired" | "dead", _) => panic!("{receipt}"),
                (_, _) => Err(receipt),
            }
        })
        .await;
    }
}

fn each_was_open_before_the_one_before_it_was_closed(notes: &[Note], connections: u64) {
    let place = |wanted: &Note| notes.iter().position(|note| note == wanted);
    for connection in 1..connections {
        let opened = place(&Note::Open(connection + 1)).expect("it was opened");
        let closed = place(&Note::Close(connection, Some(1000))).unwrap_or_else(|| panic!("{connection}: {notes:?}"));
        assert!(opened < closed, "{notes:?}");
    }
    assert_eq!(place(&Note::Open(connections + 1)), None, "{notes:?}");
}

#[tokio::test]
async fn a_reload_that_changes_a_header_rotates_and_drops_nothing() {
    let scribe = Scribe::listen().await;
    let header = |value: &str| one(&scribe, &format!("headers = {{ X-Key = \"{value}\" }}\n"));
    let daemon = Daemon::start(&header("old")).await;
    rotated(&daemon.api, 1).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let talking = tokio::spawn(talk(daemon.api.clone(), stopped));
    daemon.configure(&header("new"));
    let planned = plan(&daemon).await;
    assert_eq!(told(&planned), ["e/0 rotate headers"]);
    assert_eq!(reload(&daemon).await, planned);
    let link = rotated(&daemon.api, 2).await;
    assert_eq!(link["lastClose"]["cause"], "rotate");
    stop.send(true).unwrap();
    let sent: Vec<_> = (0..talking.await.unwrap().len()).map(|number| format!("m{number}")).collect();
    until("all messages at the peer", || async {
        let read = scribe.read();
        if read == sent { Ok(()) } else { Err(read) }
    })
    .await;
    assert_eq!(scribe.keys(), ["old", "new"]);
    let history = daemon.api.get("/v1/links/e/0/history").await.expect(200).json();
    let events: Vec<_> =
        history["items"].as_array().unwrap().iter().map(|entry| entry["event"].as_str().unwrap()).collect();
    assert_eq!(events[events.len() - 4..], ["rotating", "open", "rotated", "close"]);
}

#[tokio::test]
async fn a_server_that_refuses_the_new_connection_keeps_the_old_one_and_says_why_until_it_takes_it() {
    let scribe = Scribe::listen().await;
    let daemon = Daemon::start(&one(&scribe, "")).await;
    rotated(&daemon.api, 1).await;
    scribe.refuse(true);
    daemon.api.post("/v1/links/e/0/rotate", &[], "").await.expect(200);
    let refused = |link: &Value| {
        link["rotation"]["failure"].as_str().is_some_and(|failure| failure.contains("503")) && link["phase"] == "ready"
    };
    daemon.api.link_until("e/0", "a refusal", refused).await;
    daemon.api.send_text("e", "meanwhile").await.expect(202);
    until("the message on the old connection", || async {
        if scribe.read() == ["meanwhile"] { Ok(()) } else { Err(scribe.read()) }
    })
    .await;
    let why = daemon.api.get("/v1/links/e/0/explain").await.expect(200).json()["why"].clone();
    assert!(why.as_str().unwrap().contains("none could be made yet"), "{why}");
    assert!(daemon.api.metric("wskeeper_connect_attempts_total{endpoint=\"e\",result=\"upgrade\"}").await > Some(0.0));
    scribe.refuse(false);
    rotated(&daemon.api, 2).await;
    each_was_open_before_the_one_before_it_was_closed(&scribe.notes(), 2);
}

#[tokio::test]
async fn where_the_server_takes_one_connection_at_a_time_the_old_one_is_closed_first() {
    let scribe = Scribe::listen().await;
    let text = |value: &str| one(&scribe, &format!("headers = {{ X-Key = \"{value}\" }}\nrotation.enabled = false\n"));
    let daemon = Daemon::start(&text("old")).await;
    rotated(&daemon.api, 1).await;
    daemon.configure(&text("new"));
    assert_eq!(told(&plan(&daemon).await), ["e/0 reconnect headers"]);
    reload(&daemon).await;
    rotated(&daemon.api, 2).await;
    daemon.api.post("/v1/links/e/0/rotate", &[], "").await.expect(200);
    rotated(&daemon.api, 3).await;
    let opens_and_closes: Vec<_> = scribe.notes().into_iter().collect();
    let expected =
        [Note::Open(1), Note::Close(1, Some(1000)), Note::Open(2), Note::Close(2, Some(1000)), Note::Open(3)];
    assert_eq!(opens_and_closes, expected);
}

#[tokio::test]
async fn a_link_without_a_connection_says_that_it_cannot_rotate() {
    let scribe = Scribe::listen().await;
    let daemon = Daemon::start(&one(&scribe, "")).await;
    rotated(&daemon.api, 1).await;
    daemon.api.post("/v1/links/e/0/pause", &[], "").await.expect(200);
    daemon.api.link_until("e/0", "paused", |link| link["phase"] == "paused").await;
    let refused = daemon.api.post("/v1/links/e/0/rotate", &[], "").await.expect(409).json();
    assert_eq!(refused["type"], "urn:wskeeper:problem:no-connection");
    assert!(refused["detail"].as_str().unwrap().contains("e/0 is paused and has no connection"), "{refused}");
    daemon.api.post("/v1/links/e/0/resume", &[], "").await.expect(200);
    rotated(&daemon.api, 2).await;
    daemon.api.post("/v1/links/e/0/rotate", &[], "").await.expect(200);
    rotated(&daemon.api, 3).await;
}
