//! Messages of an endpoint go to NATS: what each is there, and that none is lost, whoever is killed.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    bridge,
    broker::{Client, number},
    endpoint, feed, shown, shown_until,
    support::{
        daemon::Daemon,
        free_port,
        peer::{Peer, Recipe},
        sse::Events,
        until,
    },
};

const MARKET: &str = "publish = \"md.${json:/s}\"\njetstream = \"MARKET\"";

async fn stream(port: u16) -> Client {
    let mut client = Client::connect(port).await;
    client.stream("MARKET", &["md.>"], json!({})).await;
    client
}

/// Waits until the stream has so many messages.
async fn stored_until(client: &mut Client, count: u64) {
    let client = tokio::sync::Mutex::new(client);
    until(&format!("{count} messages in the stream"), || async {
        let stored = client.lock().await.count("MARKET").await;
        if stored >= count { Ok(()) } else { Err(stored) }
    })
    .await;
}

#[tokio::test]
async fn each_message_is_published_under_its_subject_with_what_it_is_in_headers() {
    let Some(nats) = Peer::start(Recipe::Broker(String::new())).await else { return };
    let mut client = Client::connect(nats.port).await;
    client.subscribe("md.>").await;
    let more = bridge("md", "publish = \"md.${json:/s}\"");
    let daemon = Daemon::start(&endpoint(feed::start().await, nats.port, &more)).await;
    let first = client.next().await;
    assert_eq!((&*first.subject, first.header("wskeeper-type")), ("md.gap", Some("gap")), "{first:?}");
    let told: Value = serde_json::from_slice(&first.payload).unwrap();
    assert_eq!((&told["type"], &told["kind"]), (&"gap".into(), &"restart".into()), "{told}");
    feed::send(&daemon, 2).await;
    for (wanted, s) in [(0, "even"), (1, "odd")] {
        let message = client.next().await;
        assert_eq!((number(&message), &*message.subject), (wanted, &*format!("md.{s}")));
        let cursor = message.header("wskeeper-cursor").unwrap().to_owned();
        let headers = ["wskeeper-endpoint", "wskeeper-link", "wskeeper-generation", "wskeeper-type", "nats-msg-id"];
        let headers = headers.map(|name| message.header(name).unwrap_or_default().to_owned());
        assert_eq!(headers, ["e", "0", "1", "text", &format!("e:{cursor}")].map(str::to_owned));
    }
    // None of them is another's, and one without a subject is left out, counted and told.
    for message in [json!({ "n": 7, "s": "BRK.B *>" }), json!({ "n": 8 }), json!({ "n": 9, "s": 5 })] {
        daemon.api.send_text("e", &message.to_string()).await.expect(202);
    }
    let messages = client.take(3).await;
    let subjects: Vec<&str> = messages.iter().map(|message| &*message.subject).collect();
    assert_eq!(subjects, ["md.BRK%2EB%20%2A%3E", "md.gap", "md.5"]);
    let told: Value = serde_json::from_slice(&messages[1].payload).unwrap();
    assert_eq!((&told["kind"], &told["missed"]), (&"refused".into(), &1.into()), "{told}");
    let now = shown_until(&daemon, "md", "all taken", |now| now["behind"] == 0).await;
    assert_eq!((&now["skipped"], &now["gaps"], &now["delivered"]), (&1.into(), &2.into(), &4.into()), "{now}");
    assert!(now["connectedSince"].is_string() && now["lastError"].as_str().unwrap().contains("nothing at /s"), "{now}");
    let explained = daemon.api.get("/v1/links/e/0/explain").await.expect(200).json();
    assert_eq!(explained["bridges"][0]["broker"], "main", "{explained}");
    let metric = |name: &str| format!("wskeeper_bridge_{name}{{bridge=\"md\",endpoint=\"e\"}}");
    for (name, wanted) in [("delivered_total", 4.0), ("skipped_total", 1.0), ("connected", 1.0), ("failing", 0.0)] {
        assert_eq!(daemon.api.metric(&metric(name)).await, Some(wanted), "{name}");
    }
}

#[tokio::test]
async fn a_stream_has_each_message_once_and_in_order_though_the_broker_is_killed() {
    let Some(mut nats) = Peer::start(Recipe::Broker(String::new())).await else { return };
    drop(stream(nats.port).await);
    let more = format!("inbox = {{ max_messages = 100000, max_bytes = \"64MiB\" }}\n{}", bridge("md", MARKET));
    let daemon = Daemon::start(&endpoint(feed::start().await, nats.port, &more)).await;
    let mut sent = 0;
    for _ in 0..4 {
        feed::send(&daemon, 3000).await;
        sent += 3000;
        shown_until(&daemon, "md", "a part taken", |now| now["delivered"].as_u64() >= Some(sent - 2500)).await;
        nats.kill();
        shown_until(&daemon, "md", "lost", |now| now["connectedSince"].is_null()).await;
        nats.restart().await;
    }
    shown_until(&daemon, "md", "all taken", |now| now["behind"] == 0).await;
    let mut client = Client::connect(nats.port).await;
    let all = client.stored("MARKET").await;
    let numbers: Vec<u64> = all.iter().filter(|(subject, _)| subject != "md.gap").map(|(_, one)| number(one)).collect();
    assert_eq!(numbers, (0..sent).collect::<Vec<_>>());
    let gaps: Vec<Value> = all
        .iter()
        .filter(|(subject, _)| subject == "md.gap")
        .map(|(_, one)| serde_json::from_slice(&one.payload).unwrap())
        .collect();
    assert!(gaps.iter().all(|gap| gap["kind"] == "restart"), "{gaps:?}");
}

#[tokio::test]
async fn a_killed_daemon_with_a_durable_inbox_goes_on_where_it_was() {
    let Some(nats) = Peer::start(Recipe::Broker(String::new())).await else { return };
    let mut client = stream(nats.port).await;
    let more = format!(
        "inbox = {{ durability = \"disk\", max_messages = 100000, max_bytes = \"64MiB\" }}\n{}",
        bridge("md", &format!("{MARKET}\nmax_in_flight = 20"))
    );
    let mut daemon = Daemon::start(&endpoint(feed::start().await, nats.port, &more)).await;
    let mut sent = 0;
    for _ in 0..3 {
        feed::send(&daemon, 500).await;
        sent += 500;
        daemon.api.link_until("e/0", "all received", |link| link["receivedMessages"] == 500).await;
        until("an inbox on disk", || async {
            let left = daemon.api.metric("wskeeper_inbox_unstored_entries{endpoint=\"e\"}").await;
            if left == Some(0.0) { Ok(()) } else { Err(left) }
        })
        .await;
        daemon.kill();
        daemon.relaunch().await;
    }
    stored_until(&mut client, sent).await;
    let all = client.stored("MARKET").await;
    let numbers: Vec<u64> = all.iter().filter(|(subject, _)| subject != "md.gap").map(|(_, one)| number(one)).collect();
    assert_eq!(numbers, (0..sent).collect::<Vec<_>>(), "what came again was known by its id");
}

#[tokio::test]
async fn a_broker_that_is_absent_at_the_start_delays_nothing_and_gets_everything_later() {
    let Some(mut nats) = Peer::start(Recipe::Broker(String::new())).await else { return };
    drop(stream(nats.port).await);
    nats.kill();
    let daemon = Daemon::start(&endpoint(feed::start().await, nats.port, &bridge("md", MARKET))).await;
    let mut events = daemon.api.events("e", "from=latest&types=message").await;
    feed::send(&daemon, 50).await;
    let heard = numbers(&mut events, 50).await;
    assert_eq!(heard, (0..50).collect::<Vec<_>>(), "another consumer has all of it");
    let now = shown_until(&daemon, "md", "failing", |now| !now["failingSince"].is_null()).await;
    assert!(now["lastError"].as_str().unwrap().contains("refused") && now["connectedSince"].is_null(), "{now}");
    nats.restart().await;
    shown_until(&daemon, "md", "all taken", |now| now["behind"] == 0 && now["failingSince"].is_null()).await;
    let mut client = Client::connect(nats.port).await;
    assert_eq!(client.count("MARKET").await, 51, "with the gap of the start");
}

#[tokio::test]
async fn a_message_that_a_broker_refuses_is_left_out_or_stops_the_bridge() {
    let Some(nats) = Peer::start(Recipe::Broker("max_payload: 4096".into())).await else { return };
    drop(stream(nats.port).await);
    let stops = "publish = \"other.x\"\non_refused = \"stop\"";
    let more = bridge("skips", MARKET) + &bridge("stops", stops);
    let daemon = Daemon::start(&endpoint(feed::start().await, nats.port, &more)).await;
    daemon.api.ready_after("e/0", 0).await;
    let large = json!({ "n": 0, "s": "a", "x": "x".repeat(4096) });
    daemon.api.send_text("e", &large.to_string()).await.expect(202);
    daemon.api.send_text("e", &json!({ "n": 1, "s": "a" }).to_string()).await.expect(202);
    let now = shown_until(&daemon, "skips", "skipped", |now| now["skipped"] == 1 && now["behind"] == 0).await;
    assert!(now["lastError"].as_str().unwrap().contains("max_payload"), "{now}");
    shown_until(&daemon, "stops", "stopped", |now| now["state"] == "stopped").await;
    let mut client = Client::connect(nats.port).await;
    let all = client.stored("MARKET").await;
    let subjects: Vec<&str> = all.iter().map(|(subject, _)| &**subject).collect();
    assert_eq!(subjects.last(), Some(&"md.a"));
    assert!(all.iter().any(|(_, one)| String::from_utf8_lossy(&one.payload).contains("\"refused\"")), "{subjects:?}");
}

#[tokio::test]
async fn a_stream_that_is_not_there_or_full_is_waited_for() {
    let Some(nats) = Peer::start(Recipe::Broker(String::new())).await else { return };
    let daemon = Daemon::start(&endpoint(feed::start().await, nats.port, &bridge("md", MARKET))).await;
    feed::send(&daemon, 5).await;
    let now = shown_until(&daemon, "md", "failing", |now| !now["failingSince"].is_null()).await;
    assert!(now["lastError"].as_str().unwrap().contains("no stream of JetStream"), "{now}");
    let mut client = Client::connect(nats.port).await;
    client.stream("MARKET", &["md.>"], json!({ "max_msgs": 8, "discard": "new" })).await;
    shown_until(&daemon, "md", "taken", |now| now["delivered"] == 5).await;
    feed::send(&daemon, 5).await;
    let now = shown_until(&daemon, "md", "full", |now| !now["failingSince"].is_null()).await;
    assert!(now["lastError"].as_str().unwrap().contains("maximum messages exceeded"), "{now}");
    client.js("STREAM.PURGE.MARKET", json!({})).await;
    let now = shown_until(&daemon, "md", "all", |now| now["delivered"] == 10).await;
    assert_eq!(now["skipped"], 0, "{now}");
}

#[tokio::test]
async fn a_broker_that_stands_still_delays_no_link_and_no_other_consumer() {
    let Some(nats) = Peer::start(Recipe::Broker(String::new())).await else { return };
    let mut client = stream(nats.port).await;
    let more = format!("inbox.max_messages = 10000\n{}", bridge("md", &format!("{MARKET}\ntimeout = \"300ms\"")));
    let daemon = Daemon::start(&endpoint(feed::start().await, nats.port, &more)).await;
    shown_until(&daemon, "md", "connected", |now| now["connectedSince"].is_string()).await;
    nats.signal(Signal::SIGSTOP);
    let mut events = daemon.api.events("e", "from=latest&types=message").await;
    feed::send(&daemon, 2000).await;
    assert_eq!(numbers(&mut events, 2000).await.len(), 2000);
    let link = daemon.api.link("e/0").await;
    assert_eq!(link["phase"], "ready", "{link}");
    shown_until(&daemon, "md", "failing", |now| !now["failingSince"].is_null()).await;
    nats.signal(Signal::SIGCONT);
    shown_until(&daemon, "md", "all taken", |now| now["behind"] == 0).await;
    let all = client.stored("MARKET").await;
    let stored: Vec<u64> = all.iter().filter(|(subject, _)| subject != "md.gap").map(|(_, one)| number(one)).collect();
    assert_eq!(stored, (0..2000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_reload_changes_a_bridge_and_touches_no_link() {
    let Some(nats) = Peer::start(Recipe::Broker(String::new())).await else { return };
    let mut client = Client::connect(nats.port).await;
    client.subscribe("*.x").await;
    let feed_port = feed::start().await;
    let with = |subject: &str| {
        endpoint(feed_port, nats.port, &bridge("md", &format!("publish = \"{subject}\"\ngaps = \"gaps\"")))
    };
    let daemon = Daemon::start(&with("one.x")).await;
    feed::send(&daemon, 1).await;
    assert_eq!(&*client.next().await.subject, "one.x");
    daemon.configure(&with("two.x"));
    let reload = daemon.api.post("/v1/reload", &[], "").await.expect(200).json();
    assert_eq!(
        (&reload["changes"][0]["action"], &reload["changes"][0]["why"][0]),
        (&"applied live".into(), &"bridges".into()),
        "{reload}"
    );
    feed::send(&daemon, 1).await;
    let message = client.next().await;
    assert_eq!((&*message.subject, number(&message)), ("two.x", 1));
    daemon.configure(&endpoint(feed_port, nats.port, ""));
    daemon.api.post("/v1/reload", &[], "").await.expect(200);
    let endpoint = daemon.api.get("/v1/endpoints/e").await.expect(200).json();
    assert_eq!(endpoint["bridges"], json!([]), "{endpoint}");
    let port = free_port();
    daemon.configure(&with("a.x").replace(&nats.port.to_string(), &port.to_string()));
    daemon.api.post("/v1/reload", &[], "").await.expect(200);
    let now = shown_until(&daemon, "md", "failing", |now| !now["failingSince"].is_null()).await;
    assert!(now["lastError"].as_str().unwrap().contains(&format!("nats://127.0.0.1:{port}")), "{now}");
    assert_eq!(shown(&daemon, "md").await["direction"], "out");
}

/// The numbers of so many messages of the feed.
async fn numbers(events: &mut Events, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let (payload, _) = events.next_of("message").await.payload();
        numbers.extend(serde_json::from_slice::<Value>(&payload).ok().and_then(|value| value["n"].as_u64()));
    }
    numbers
}
