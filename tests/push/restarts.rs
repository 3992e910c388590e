//! Kills and stops of the daemon: what is durable goes on where it was.

use std::{collections::BTreeSet, fs};

use nix::sys::signal::Signal;

use crate::{
    endpoint, feed, push,
    receiver::{Asked, Receiver},
    shown, shown_until,
    support::{daemon::Daemon, disk::SmallDisk, free_port, until},
};

/// Waits until all of the inbox is on disk.
async fn on_disk(daemon: &Daemon) {
    until("an inbox on disk", || async {
        let left = daemon.api.metric("wskeeper_inbox_unstored_entries{endpoint=\"e\"}").await;
        if left == Some(0.0) { Ok(()) } else { Err(left) }
    })
    .await;
}

#[tokio::test]
async fn a_receiver_that_was_down_while_the_daemon_was_killed_gets_every_message_in_order() {
    let (port, feed_port) = (free_port(), feed::start().await);
    let keys = format!("url = \"http://127.0.0.1:{port}/\"");
    let mut daemon =
        Daemon::start(&endpoint(feed_port, &format!("inbox.durability = \"disk\"\n{}", push("hook", &keys)))).await;
    let mut asked: Vec<Asked> = Vec::new();
    let mut sent = 0;
    for round in 0..4 {
        feed::send(&daemon, 25).await;
        sent += 25;
        // Each life of the daemon hears so many.
        daemon.api.link_until("e/0", "all received", |link| link["receivedMessages"] == 25).await;
        if round % 2 == 0 {
            // The receiver is down.
            shown_until(&daemon, "hook", "behind", |now| now["behind"].as_u64() >= Some(25)).await;
            on_disk(&daemon).await;
            daemon.kill();
            daemon.relaunch().await;
            continue;
        }
        let receiver = Receiver::at(port, |_| None).await;
        receiver.asked_times(20).await;
        on_disk(&daemon).await;
        // While it takes the rest.
        daemon.kill();
        asked.extend(receiver.asked());
        drop(receiver);
        daemon.relaunch().await;
    }
    let receiver = Receiver::at(port, |_| None).await;
    until("all of them", || async {
        let numbers: BTreeSet<u64> = asked.iter().chain(&receiver.asked()).map(Asked::number).collect();
        if numbers.len() == sent { Ok(()) } else { Err(numbers.len()) }
    })
    .await;
    asked.extend(receiver.asked());
    let (mut newest, mut last, mut cuts) = (None, None, 0);
    for number in asked.iter().map(Asked::number) {
        assert!(number <= newest.map_or(0, |newest| newest + 1), "{number} after {newest:?}");
        cuts += usize::from(last.is_some_and(|last| number <= last));
        (newest, last) = (newest.max(Some(number)), Some(number));
    }
    // It goes back where the daemon was killed, and nowhere else.
    assert!(cuts <= 4, "{cuts}: {:?}", asked.iter().map(Asked::number).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_end_in_order_repeats_nothing() {
    let receiver = Receiver::start().await;
    let more = format!("inbox.durability = \"disk\"\n{}", push("hook", &receiver.url()));
    let mut daemon = Daemon::start(&endpoint(feed::start().await, &more)).await;
    for round in 1..=3 {
        feed::send(&daemon, 10).await;
        receiver.asked_times(round * 10).await;
        daemon.signal(Signal::SIGTERM);
        assert!(daemon.end().await.success());
        daemon.launch();
        daemon.ready().await;
    }
    feed::send(&daemon, 1).await;
    let asked = receiver.asked_times(31).await;
    assert_eq!(asked.iter().map(Asked::number).collect::<Vec<_>>(), (0..31).collect::<Vec<_>>());
    assert!(asked.iter().all(|asked| !asked.header("wskeeper-gap").contains("lag")), "{asked:?}");
}

#[tokio::test]
async fn a_stop_during_a_request_ends_within_the_drain_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let keys = format!("url = \"http://127.0.0.1:{}/\"", silent.local_addr().unwrap().port());
    let more = format!("inbox.durability = \"disk\"\n{}", push("hook", &keys));
    let mut daemon = Daemon::start(&endpoint(feed::start().await, &more)).await;
    feed::send(&daemon, 1).await;
    shown_until(&daemon, "hook", "sending", |now| now["state"] == "sending").await;
    daemon.signal(Signal::SIGTERM);
    // It is waited for no longer than 15 s, of 40.
    assert!(daemon.end().await.success());
    daemon.launch();
    daemon.ready().await;
    shown_until(&daemon, "hook", "sending again", |now| now["state"] == "sending").await;
}

#[tokio::test]
async fn a_store_without_room_for_the_cursor_is_told_of_and_holds_up_nothing() {
    let receiver = Receiver::start().await;
    let port = free_port();
    let full = format!(
        "inbox.durability = \"disk\"\nstorage_is_full = 0\n{}[endpoints.full]\nurl = \"ws://127.0.0.1:{port}/\"\noutbox = {{ durability = \"disk\", max_bytes = \"64MiB\", max_messages = 100000 }}\n",
        push("hook", &receiver.url())
    );
    let sections = endpoint(feed::start().await, &full)
        .replace("storage_is_full = 0\n", "")
        .replace("dir = \"{folder}/store\"", "dir = \"{folder}/store\"\nmax_bytes = \"1MiB\"");
    let without = sections.replace("[[endpoints.e.push]]", "[[endpoints.e.streams]]\nmatch = { \"/a\" = 1 }");
    let without: String = without
        .lines()
        .filter(|line| !line.starts_with("retry") && !line.starts_with("url = \"http"))
        .collect::<Vec<_>>()
        .join("\n");
    let daemon = Daemon::start(&without).await;
    for size in [100_000, 10_000, 1000, 10] {
        while daemon.api.send_text("full", &"x".repeat(size)).await.status == 202 {}
    }
    daemon.configure(&sections);
    daemon.api.post("/v1/reload", &[], "").await.expect(200);
    shown_until(&daemon, "hook", "not kept", |now| !now["notKept"].is_null()).await;
    feed::send(&daemon, 3).await;
    receiver.asked_times(3).await;
    let now = shown(&daemon, "hook").await;
    assert_eq!((&now["durable"], &now["failingSince"]), (&true.into(), &().into()), "{now}");
}

#[tokio::test]
async fn what_is_not_meant_for_a_receiver_is_nothing_it_missed() {
    let receiver = Receiver::start().await;
    let keys = format!("{}\nmatch = {{ \"/rare\" = true }}", receiver.url());
    let more = format!("inbox = {{ durability = \"disk\", max_messages = 1000 }}\n{}", push("hook", &keys));
    let mut daemon = Daemon::start(&endpoint(feed::start().await, &more)).await;
    feed::send(&daemon, 1).await;
    receiver.asked_times(1).await;
    feed::send(&daemon, 2999).await;
    let link = |link: &serde_json::Value| link["receivedMessages"] == 3000;
    daemon.api.link_until("e/0", "all received", link).await;
    shown_until(&daemon, "hook", "passed over", |now| now["behind"] == 0).await;
    on_disk(&daemon).await;
    daemon.kill();
    daemon.relaunch().await;
    feed::send(&daemon, 1).await;
    let asked = receiver.asked_times(2).await;
    assert_eq!(asked.iter().map(Asked::number).collect::<Vec<_>>(), [0, 3000]);
    assert!(!asked[1].header("wskeeper-gap").contains("lag"), "{asked:?}");
}

#[tokio::test]
async fn a_disk_that_is_full_loses_nothing_in_silence() {
    let receiver = Receiver::start().await;
    let more = format!("inbox.durability = \"disk\"\n{}", push("hook", &receiver.url()));
    let mut daemon = Daemon::made(&endpoint(feed::start().await, &more));
    let Some(disk) = SmallDisk::mount(&daemon.folder().join("store"), "4m") else { return };
    daemon.launch();
    daemon.ready().await;
    feed::send(&daemon, 10).await;
    receiver.asked_times(10).await;
    on_disk(&daemon).await;
    until("its cursor on disk", || async {
        let now = shown(&daemon, "hook").await;
        if now["behind"] == 0 { Ok(()) } else { Err(now) }
    })
    .await;
    let filler = disk.fill();
    // The receiver is not held up, and it is told that its cursor is not on disk.
    feed::send(&daemon, 10).await;
    receiver.asked_times(20).await;
    shown_until(&daemon, "hook", "not kept", |now| !now["notKept"].is_null()).await;
    let refused = daemon.api.metric("wskeeper_push_cursor_refused_total{endpoint=\"e\",push=\"hook\"}").await;
    assert!(refused >= Some(1.0), "{refused:?}");
    assert!(daemon.log().contains("the cursor of a push is not on disk"));
    daemon.kill();
    fs::remove_file(filler).unwrap();
    daemon.relaunch().await;
    feed::send(&daemon, 10).await;
    let all = until("the last", || async {
        let all = receiver.asked();
        if all.iter().any(|asked| asked.number() == 29) { Ok(all) } else { Err(all.len()) }
    })
    .await;
    let numbers: BTreeSet<u64> = all.iter().map(Asked::number).collect();
    assert_eq!(numbers, (0..30).collect(), "the first twenty had come before");
    // What was not on disk and what came then are not the same to it: what may be missing between them is told.
    let after = all.iter().skip(20).find(|asked| asked.number() >= 20).unwrap();
    let back: Vec<_> = all.iter().skip(20).take_while(|asked| asked.number() < 20).map(Asked::number).collect();
    let is_whole = back.ends_with(&[19]);
    assert!(is_whole || !after.header("wskeeper-gap").is_empty(), "{back:?}, then {:?}", after.headers);
    shown_until(&daemon, "hook", "kept again", |now| now["notKept"].is_null()).await;
}
