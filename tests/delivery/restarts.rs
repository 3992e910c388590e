//! What a restart must not change: an idempotency key leads to its first message, and a stop keeps what it could not send.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::Instant;

use crate::{
    LEAST, MOST, QUICK, endpoint,
    recorder::Recorder,
    support::{daemon::Daemon, until},
};

#[tokio::test]
async fn an_idempotency_key_leads_to_the_first_message_after_a_crash_too() {
    for (outbox, is_sent) in [(LEAST, true), (MOST, true), (LEAST, false), (MOST, false)] {
        let recorder = Recorder::listen().await;
        recorder.stall(!is_sent);
        let mut daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", recorder.port, outbox))).await;
        let first = send(&daemon, "once").await;
        if is_sent {
            reached(&daemon, &first, &["written", "confirmed"]).await;
            recorder.until_exactly(&["once".to_owned()]).await;
        }
        daemon.kill();
        daemon.relaunch().await;
        assert_eq!(send(&daemon, "again").await, first, "{outbox}");
        recorder.stall(false);
        // Behind everything that could still come.
        daemon.api.ready_after("e/0", 0).await;
        daemon.api.send_text("e", "last").await.expect(202);
        until("the last one", || async {
            let texts = recorder.first_arrivals();
            if texts.last().is_some_and(|last| last == "last") { Ok(()) } else { Err(texts) }
        })
        .await;
        let texts = recorder.first_arrivals();
        assert!(!texts.contains(&"again".to_owned()), "{outbox}: {texts:?}");
        assert!(outbox == MOST || texts.contains(&"once".to_owned()), "{outbox}: {texts:?}");
    }
}

#[tokio::test]
async fn a_stop_keeps_what_a_deaf_peer_did_not_read_and_says_what_it_drops() {
    let (deaf, deaf_too) = (Recorder::listen().await, Recorder::listen().await);
    deaf.stall(true);
    deaf_too.stall(true);
    // Neither ever answers the upgrade: all of it is held.
    let sections = format!("{QUICK}{}{}", endpoint("kept", deaf.port, LEAST), endpoint("held", deaf_too.port, ""));
    let mut daemon = Daemon::start(&sections).await;
    let texts: Vec<String> = (0..30).map(|number| format!("message {number}")).collect();
    for text in &texts {
        daemon.api.send_text("kept", text).await.expect(202);
        daemon.api.send_text("held", text).await.expect(202);
    }
    let asked = Instant::now();
    daemon.signal(Signal::SIGTERM);
    let status = daemon.end().await;
    assert!(status.success(), "{status}");
    // limits.drain, and what a loaded machine takes to end a process.
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
    let log = daemon.log();
    let last: Vec<&str> = log.lines().rev().take(6).collect();
    let says = |words: [&str; 3]| last.iter().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(says(["kept on disk", "\"endpoint\":\"kept\"", "\"messages\":30"]), "{last:#?}");
    assert!(says(["dropped", "\"endpoint\":\"held\"", "\"messages\":30"]), "{last:#?}");
    deaf.stall(false);
    deaf_too.stall(false);
    daemon.relaunch().await;
    deaf.until_exactly(&texts).await;
    assert_eq!(deaf_too.texts(), Vec::<String>::new());
}

#[tokio::test]
async fn a_stop_names_also_what_was_written_and_not_confirmed() {
    let recorder = Recorder::listen().await;
    let mut daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", recorder.port, LEAST))).await;
    daemon.api.ready_after("e/0", 0).await;
    recorder.stall(true);
    let texts: Vec<String> = (0..10).map(|number| format!("message {number}")).collect();
    for text in &texts {
        daemon.api.send_text("e", text).await.expect(202);
    }
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.end().await.success());
    let log = daemon.log();
    let last: Vec<&str> = log.lines().rev().take(6).collect();
    let named = |line: &&str| line.contains("kept on disk") && line.contains("\"endpoint\":\"e\"");
    assert!(last.iter().any(named), "{last:#?}");
    recorder.stall(false);
    daemon.relaunch().await;
    until("all of them", || async {
        let texts_seen = recorder.first_arrivals();
        if texts_seen == texts { Ok(()) } else { Err(texts_seen) }
    })
    .await;
}

async fn send(daemon: &Daemon, text: &str) -> String {
    let headers = [("content-type", "text/plain"), ("idempotency-key", "the key")];
    let answer = daemon.api.post("/v1/endpoints/e/messages", &headers, text.to_owned()).await.expect(202).json();
    answer["id"].as_str().unwrap().to_owned()
}

async fn reached(daemon: &Daemon, id: &str, states: &[&str]) {
    until("a state", || async {
        let receipt = daemon.api.get(&format!("/v1/messages/{id}")).await.expect(200).json();
        if states.iter().any(|state| receipt["state"] == *state) { Ok(()) } else { Err(receipt) }
    })
    .await;
}
