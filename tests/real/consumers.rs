//! Local consumers: one that reads nothing costs nobody anything, and is told what it missed.

use crate::{
    one,
    support::{
        daemon::Daemon,
        peer::{Peer, Recipe},
    },
};

/// More than sockets and the window can hold: the sleeper must fall out of it.
const MESSAGES: usize = 400;
const SIZE: usize = 32 << 10;

#[tokio::test]
async fn a_consumer_that_reads_nothing_delays_no_pong_and_no_other_consumer_and_gets_its_gap() {
    let Some(peer) = Peer::start(Recipe::Python).await else { return };
    let settings =
        "[endpoints.e.heartbeat]\nidle = \"300ms\"\ntimeout = \"2s\"\n[endpoints.e.inbox]\nmax_messages = 16";
    let daemon = Daemon::start(&one(peer.port, "/", settings)).await;
    daemon.api.ready_after("e/0", 0).await;
    let mut sleeper = daemon.api.events("e", "from=latest").await;
    let mut reader = daemon.api.events("e", "from=latest&types=message").await;

    for number in 0..MESSAGES {
        let text = format!("{number:0SIZE$}");
        daemon.api.send_text("e", &text).await.expect(202);
        assert!(reader.next_of("message").await.payload().0 == text.as_bytes(), "message {number}");
    }
    daemon.api.send_text("e", "!ping").await.expect(202);
    let (pong, _) = reader.next_of("message").await.payload();
    let pong = String::from_utf8(pong).unwrap();
    let millis: u64 = pong.strip_prefix("pong ").unwrap().parse().unwrap();
    assert!(millis < 1000, "a pong took {millis} ms while a consumer slept");

    let gap = sleeper.next_of("gap").await.data;
    let missed = gap["missed"].as_u64().unwrap();
    assert!(missed > 0, "{gap}");
    assert_eq!(
        gap["to"].to_string().trim_matches('"').parse::<u64>().unwrap()
            - gap["from"].to_string().trim_matches('"').parse::<u64>().unwrap()
            + 1,
        missed,
        "{gap}"
    );
    // It goes on after the gap, up to the newest.
    loop {
        if sleeper.next_of("message").await.data["data"] == pong.as_str() {
            break;
        }
    }
    let link = daemon.api.link("e/0").await;
    assert_eq!(link["generation"], 1, "{link}");
    assert_eq!(daemon.api.metric("wskeeper_heartbeat_timeouts_total{endpoint=\"e\"}").await, Some(0.0));
}

#[tokio::test]
async fn a_consumer_resumes_where_it_was_by_its_cursor() {
    let Some(peer) = Peer::start(Recipe::Python).await else { return };
    let daemon = Daemon::start(&one(peer.port, "/", "")).await;
    daemon.api.ready_after("e/0", 0).await;
    let mut events = daemon.api.events("e", "from=latest&types=message").await;
    for number in 0..5 {
        daemon.api.send_text("e", &number.to_string()).await.expect(202);
    }
    let second = {
        events.next().await;
        events.next().await
    };
    drop(events);
    let mut resumed = daemon.api.events("e", &format!("from={}&types=message", second.id)).await;
    for number in 2..5 {
        assert_eq!(resumed.next_of("message").await.payload().0, number.to_string().as_bytes());
    }
}
