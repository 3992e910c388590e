//! Senders that hang up at any moment and repeat with their keys: each message arrives once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{io::AsyncWriteExt, net::UnixStream, task::JoinSet};

use crate::{
    LEAST, MOST, QUICK,
    chance::Chance,
    endpoint,
    recorder::Recorder,
    support::{daemon::Daemon, until},
};

const SENDERS: u64 = 8;
/// Of each sender.
const MESSAGES: u64 = 100;

#[tokio::test]
async fn posts_that_are_cut_off_and_repeated_with_their_keys_arrive_once() {
    for outbox in ["", MOST, LEAST] {
        let recorder = Recorder::listen().await;
        let daemon = Arc::new(Daemon::start(&format!("{QUICK}{}", endpoint("e", recorder.port, outbox))).await);
        daemon.api.ready_after("e/0", 0).await;
        let chance = Chance::new("posts_that_are_cut_off");
        let mut senders = JoinSet::new();
        for sender in 0..SENDERS {
            senders.spawn(send(Arc::clone(&daemon), chance.split(), sender));
        }
        let mut wanted = BTreeMap::new();
        for texts in senders.join_all().await {
            wanted.extend(texts.into_iter().map(|text| (text, 1)));
        }
        until("each message, once", || async {
            let counts = recorder.counts();
            if counts == wanted { Ok(()) } else { Err(difference(&wanted, &counts)) }
        })
        .await;
    }
}

/// Sends its messages, each cut off a few times and then repeated until it is accepted.
async fn send(daemon: Arc<Daemon>, chance: Chance, sender: u64) -> Vec<String> {
    let socket = daemon.folder().join("api.sock");
    let mut texts = Vec::new();
    for number in 0..MESSAGES {
        let text = format!("message {number} of {sender}");
        let key = format!("key of {text}");
        let request = format!(
            "POST /v1/endpoints/e/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
             Idempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        for _ in 0..=chance.below(2) {
            let mut stream = UnixStream::connect(&socket).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            // Hangs up at some moment of the daemon's work on it, or a little later. A timer would be too coarse.
            let until = tokio::time::Instant::now() + Duration::from_micros(chance.below(1000));
            while tokio::time::Instant::now() < until {
                tokio::task::yield_now().await;
            }
        }
        let headers = [("content-type", "text/plain"), ("idempotency-key", &*key)];
        let answer = daemon.api.post("/v1/endpoints/e/messages", &headers, text.clone()).await.expect(202).json();
        let id = answer["id"].as_str().unwrap();
        daemon.api.get(&format!("/v1/messages/{id}")).await.expect(200);
        texts.push(text);
    }
    texts
}

/// The messages that did not arrive once.
fn difference(wanted: &BTreeMap<String, usize>, counts: &BTreeMap<String, usize>) -> Vec<(String, usize)> {
    let count = |text: &String| counts.get(text).copied().unwrap_or_default();
    let wrong = wanted.keys().filter(|text| count(text) != 1);
    wrong.map(|text| (text.clone(), count(text))).collect()
}
