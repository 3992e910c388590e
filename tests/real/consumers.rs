//! Local consumers: one that reads nothing costs nobody anything, and is told what it missed.

use futures_util::StreamExt;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    one,
    support::{
        PATIENCE,
        daemon::Daemon,
        peer::{Peer, Recipe},
    },
};

/// How long consumers read nothing, in seconds. The peer keeps the time; the test waits for its report alone.
const SLEEP: &str = "60";

#[tokio::test]
async fn consumers_that_read_nothing_for_a_minute_delay_no_pong_and_no_other_consumer_and_get_their_gap() {
    let Some(peer) = Peer::start(Recipe::Python).await else { return };
    // The window holds five seconds of the peer's pace: a reader that is ever further behind gets a gap of its own.
    let settings = "[endpoints.e.heartbeat]\nidle = \"1s\"\ntimeout = \"10s\"\n[endpoints.e.inbox]\nmax_messages = 256\nmax_bytes = \"8MiB\"";
    let daemon = Daemon::start(&one(peer.port, "/", settings)).await;
    daemon.api.ready_after("e/0", 0).await;
    let mut sleeper = daemon.api.events("e", "from=latest").await;
    let mut sleeping_socket = daemon.api.socket("e", "from=latest", true).await;
    let mut reader = daemon.api.events("e", "from=latest&types=message").await;

    daemon.api.send_text("e", &format!("!pace {SLEEP}")).await.expect(202);
    let mut number: u64 = 0;
    let report: Value = loop {
        let event = reader.next().await;
        assert_eq!(event.kind, "message", "the reader lost something to the sleepers: {event:?}");
        let text = String::from_utf8(event.payload().0).unwrap();
        if text.starts_with('{') {
            break serde_json::from_str(&text).unwrap();
        }
        assert_eq!(text.parse::<u64>().unwrap(), number);
        number += 1;
    };
    assert_eq!(report["messages"], number, "{report}");
    // One is on its way at any time. A consumer that held up pongs would hold up hundreds.
    assert!(report["unanswered"].as_u64().unwrap() <= 25, "{report}");
    let link = daemon.api.link("e/0").await;
    assert_eq!((&link["phase"], &link["generation"]), (&"ready".into(), &1.into()), "{link}");
    assert_eq!(daemon.api.metric("wskeeper_heartbeat_timeouts_total{endpoint=\"e\"}").await, Some(0.0));

    let mut account = Account::default();
    while !account.take(&sleeper.next().await.data) {}
    account.assert_gap(number);
    let mut account = Account::default();
    loop {
        let arrived = tokio::time::timeout(PATIENCE, sleeping_socket.next()).await.expect("an event in time");
        match arrived.expect("the sleeper's socket is still there").unwrap() {
            Message::Text(text) if account.take(&serde_json::from_str(&text).unwrap()) => break,
            Message::Text(_) | Message::Ping(_) => {}
            other @ (Message::Binary(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_)) => {
                panic!("the sleeper's socket got {other:?}")
            }
        }
    }
    account.assert_gap(number);
}

/// What a consumer was told: every cursor once, as an event or as part of a gap.
#[derive(Default)]
struct Account {
    cursor: Option<u64>,
    messages: u64,
    missed: u64,
}

impl Account {
    /// Whether this was the peer's report.
    fn take(&mut self, event: &Value) -> bool {
        let number = |key: &str| event[key].as_str().and_then(|text| text.parse::<u64>().ok()).or(event[key].as_u64());
        let (from, to) = if event["type"] == "gap" && event["kind"] == "lag" {
            self.missed += number("missed").unwrap();
            assert_eq!(number("to").unwrap() - number("from").unwrap() + 1, number("missed").unwrap(), "{event}");
            (number("from").unwrap(), number("to").unwrap())
        } else {
            self.messages += u64::from(event["type"] == "message");
            (number("cursor").unwrap(), number("cursor").unwrap())
        };
        assert_eq!(from, self.cursor.map_or(from, |last| last + 1), "not told of what is between");
        self.cursor = Some(to);
        event["data"].as_str().is_some_and(|data| data.starts_with('{'))
    }

    fn assert_gap(&self, sent: u64) {
        // The report is a message too. It slept through most of a minute: of that only the window is kept.
        assert!(self.missed > sent / 2, "missed {} of {sent}", self.missed);
        assert!(self.messages > 256, "it went on with the window, {} messages", self.messages);
        assert_eq!(self.messages + self.missed, sent + 1);
    }
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
