//! Numbers as large as they can be said: nothing panics, and what is to last for ever does.

use super::*;

const SECONDS: [u64; 4] = [1 << 33, 4_000_000_000_000_000_000, 1 << 63, u64::MAX];

async fn durable(folder: &std::path::Path) -> Pool {
    let folder = folder.display();
    let text = format!(
        "[storage]\ndir = '{folder}'\n[endpoints.e]\nurl = 'ws://127.0.0.1:9/'\n\
         outbox = {{ durability = 'disk', on_full = 'drop_oldest', max_messages = 4 }}"
    );
    let settings = written::settings(&text);
    Pool::start(settings, Arc::new(Silent), 1).await
}

#[tokio::test]
async fn a_message_that_may_wait_for_ever_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = durable(folder.path()).await;
    let mut receipts = Vec::new();
    for seconds in SECONDS {
        let ttl = Some(Duration::new(seconds, 999_999_999));
        receipts.push(pool.send(Send { ttl, ..send("e") }).await.expect("it is accepted"));
    }
    pool.shut_down(Instant::now() + Duration::from_secs(1)).await;
    let pool = durable(folder.path()).await;
    // A message behind them pushes the oldest out, when the link has looked at all of them.
    pool.send(send("e")).await.expect("it is accepted");
    let evicted = pool.settle(receipts[0].id, State::Confirmed, PATIENCE).await.expect("the receipt is kept");
    assert_eq!((evicted.state, evicted.end_reason), (State::Dropped, Some(EndReason::Evicted)));
    for receipt in &receipts[1..] {
        assert_eq!(pool.receipt(receipt.id).map(|receipt| receipt.state), Some(State::Stored), "{receipt:?}");
    }
}
