//! While the server is away messages are held, in order, within the limits, and the API and the metrics say how much.

use crate::{
    one,
    support::{
        daemon::Daemon,
        free_port,
        peer::{Peer, Recipe},
        until,
    },
};

const BUFFERED: &str = "wskeeper_buffered_amount_bytes{endpoint=\"e\"}";

#[tokio::test]
async fn five_hundred_messages_sent_while_the_server_is_away_arrive_in_order_and_once() {
    let Some(mut peer) = Peer::start(Recipe::Python).await else { return };
    let daemon = Daemon::start(&one(peer.port, "/", "")).await;
    daemon.api.ready_after("e/0", 0).await;
    let mut events = daemon.api.events("e", "from=latest&types=message").await;
    peer.kill();
    daemon.api.link_until("e/0", "down", |link| link["phase"] != "ready").await;
    let mut held = 0;
    for number in 0..500 {
        let text = format!("message {number}");
        held += text.len();
        daemon.api.send_text("e", &text).await.expect(202);
    }
    let link = daemon.api.link("e/0").await;
    assert_eq!((&link["bufferedAmount"], &link["queuedMessages"]), (&held.into(), &500.into()), "{link}");
    peer.restart().await;
    for number in 0..500 {
        let (data, _) = events.next_of("message").await.payload();
        assert_eq!(String::from_utf8(data).unwrap(), format!("message {number}"));
    }
    daemon.api.send_text("e", "the last one").await.expect(202);
    assert_eq!(events.next_of("message").await.payload().0, b"the last one", "nothing came twice");
    daemon.api.link_until("e/0", "drained", |link| link["bufferedAmount"] == 0).await;
    until("a metric of 0", || async { daemon.api.metric(BUFFERED).await.filter(|value| *value == 0.0).ok_or(()) })
        .await;
}

#[tokio::test]
async fn buffered_amount_is_the_sum_of_what_is_held_at_each_step_up_to_the_limit() {
    let limit = "[endpoints.e.outbox]\nmax_bytes = \"10KiB\"\nmax_message = \"10KiB\"";
    let daemon = Daemon::start(&one(free_port(), "/", limit)).await;
    let mut held = 0;
    for size in [0, 1, 1000, 125, 126, 4096, 3000] {
        daemon.api.send_binary("e", vec![7; size]).await.expect(202);
        held += size;
        assert_held(&daemon, held).await;
    }
    let room = 10 * 1024 - held;
    let answer = daemon.api.send_binary("e", vec![7; room + 1]).await.expect(429);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let problem = answer.json();
    assert!(problem["type"].is_string() && problem["status"] == 429, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("full"), "{problem}");
    assert_held(&daemon, held).await;
    let refused = "wskeeper_outbox_refused_total{endpoint=\"e\",reason=\"full\"}";
    assert_eq!(daemon.api.metric(refused).await, Some(1.0), "it is counted before the caller is told");
    daemon.api.send_binary("e", vec![7; room]).await.expect(202);
    assert_held(&daemon, 10 * 1024).await;
}

async fn assert_held(daemon: &Daemon, bytes: usize) {
    let link = daemon.api.link("e/0").await;
    assert_eq!(link["bufferedAmount"], bytes, "{link}");
    // A text of metrics is shared by those who ask for it together, and may be of a moment ago.
    until("the metric", || async {
        let metric = daemon.api.metric(BUFFERED).await.map(|value| value.to_string());
        if metric == Some(bytes.to_string()) { Ok(()) } else { Err(metric) }
    })
    .await;
}
