//! Consumers that stop reading: for a while, or for good.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::bench::{Bench, PATIENCE, echo, until};
use wskeeper_core::message::Payload;
use wskeeper_link::pool::Send;

/// Sends so much that no socket can hold it, and waits until it has come back.
async fn flood(bench: &Bench, messages: usize) {
    for _ in 0..messages {
        let before = bench.pool.endpoint("feed").unwrap().totals.inbox_cursor;
        let payload = Payload::binary(vec![0; 256 << 10]);
        let send = Send { patience: PATIENCE, ..Send::new("feed", payload) };
        bench.pool.send(send).await.unwrap();
        until("the echo", async || (bench.pool.endpoint("feed").unwrap().totals.inbox_cursor > before).then_some(()))
            .await;
    }
}

async fn bench(write_timeout: &str) -> Bench {
    let port = echo().await;
    let feed = format!("[endpoints.feed]\nurl = \"ws://127.0.0.1:{port}/\"\ninbox.max_messages = 4");
    let bench = Bench::new(&format!("write_timeout = {write_timeout:?}\nmax_connections = 4\n{feed}")).await;
    until("a ready link", async || (bench.pool.endpoint("feed").unwrap().totals.phases[3] == 1).then_some(())).await;
    bench
}

fn consumers(bench: &Bench) -> u64 {
    bench.pool.endpoint("feed").unwrap().totals.consumers
}

const EVENTS: &[u8] = b"GET /v1/endpoints/feed/events HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn a_consumer_that_takes_nothing_is_cut_off_in_time_and_gives_its_place_back() {
    let bench = bench("300ms").await;
    let mut stream = bench.dial().await;
    stream.write_all(EVENTS).await.unwrap();
    let _socket = bench.socket("/v1/endpoints/feed/ws", None).await;
    until("two consumers", async || (consumers(&bench) == 2).then_some(())).await;
    flood(&bench, 64).await;
    until("no consumer", async || (consumers(&bench) == 0).then_some(())).await;
}

#[tokio::test]
async fn a_consumer_that_sleeps_for_less_gets_its_gap_and_goes_on() {
    let bench = bench("1min").await;
    let mut stream = bench.dial().await;
    stream.write_all(EVENTS).await.unwrap();
    until("a consumer", async || (consumers(&bench) == 1).then_some(())).await;
    flood(&bench, 64).await;
    let (mut bytes, mut tail) = (vec![0; 1 << 20], String::new());
    let reading = async {
        while !tail.contains("event: gap") {
            let read = stream.read(&mut bytes).await.unwrap();
            assert!(read > 0, "the stream ended");
            let kept = tail.split_off(tail.len().saturating_sub(64));
            tail = kept + &String::from_utf8_lossy(&bytes[..read]);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.expect("a gap in time");
}
