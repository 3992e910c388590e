//! A server that counts what it gets, by the time when it got it.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use parking_lot::Mutex;
use tokio::{net::TcpListener, time::Instant};

use crate::{
    QUICK, explained,
    support::{daemon::Daemon, until},
};

type Arrivals = Arc<Mutex<Vec<(Instant, usize)>>>;

/// A server that notes when each message came, and on which connection.
async fn counting() -> (u16, Arrivals) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, arrivals) = (listener.local_addr().unwrap().port(), Arrivals::default());
    let noted = Arc::clone(&arrivals);
    tokio::spawn(async move {
        for connection in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            let noted = Arc::clone(&noted);
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() {
                        noted.lock().push((Instant::now(), connection));
                    }
                }
            });
        }
    });
    (port, arrivals)
}

fn arrived(arrivals: &Arrivals) -> Vec<(Instant, usize)> {
    arrivals.lock().clone()
}

async fn all(arrivals: &Arrivals, count: usize) -> Vec<(Instant, usize)> {
    until("all messages", || async {
        let arrived = arrived(arrivals);
        if arrived.len() >= count { Ok(arrived) } else { Err(arrived.len()) }
    })
    .await
}

/// From the first to the last.
fn took(arrived: &[(Instant, usize)]) -> Duration {
    arrived.last().unwrap().0 - arrived.first().unwrap().0
}

#[tokio::test]
async fn a_link_sends_no_faster_than_its_rate_and_says_when_the_next_message_leaves() {
    let (port, arrivals) = counting().await;
    let daemon = Daemon::start(&format!(
        "{QUICK}\n[endpoints.e]\nurl = \"ws://127.0.0.1:{port}\"\noutbox = {{ rate = 4, burst = 2 }}\n"
    ))
    .await;
    daemon.api.ready_after("e/0", 0).await;
    for number in 0..9 {
        daemon.api.send_text("e", &number.to_string()).await.expect(202);
    }
    daemon.api.link_until("e/0", "a link that is paced", |link| link["pacedUntil"].is_string()).await;
    until("a sentence", || async {
        let said = explained(&daemon).await;
        if said.contains("by the rates of outbox; the next is in ") { Ok(()) } else { Err(said) }
    })
    .await;
    let arrived = all(&arrivals, 9).await;
    // One of the burst at once, then four a second.
    assert!(took(&arrived) >= Duration::from_millis(1900), "{:?}", took(&arrived));
    daemon.api.link_until("e/0", "nothing that waits", |link| link["pacedUntil"].is_null()).await;
    let paced = daemon.api.metric("wskeeper_outbox_paced_seconds_total{endpoint=\"e\"}").await;
    assert!(paced.is_some_and(|seconds| seconds > 1.0), "{paced:?}");
}

#[tokio::test]
async fn a_link_and_the_links_together_send_no_more_bytes_than_their_rates() {
    for (section, links) in [("outbox", 1), ("outbox.total", 3)] {
        let (port, arrivals) = counting().await;
        let daemon = Daemon::start(&format!(
            "{QUICK}\n[endpoints.e]\nurl = \"ws://127.0.0.1:{port}\"\nlinks = {links}\n\
             [endpoints.e.{section}]\nrate_bytes = 2000\nburst_bytes = \"1000B\"\n[admission]\nper_host = 3\n"
        ))
        .await;
        for link in 0..links {
            daemon.api.ready_after(&format!("e/{link}"), 0).await;
        }
        for _ in 0..9 {
            daemon.api.send_text("e", &"x".repeat(500)).await.expect(202);
        }
        // Two of the burst at once, then four a second.
        let took = took(&all(&arrivals, 9).await);
        assert!(took >= Duration::from_millis(1500), "{section}: {took:?}");
    }
}

#[tokio::test]
async fn links_of_an_endpoint_take_turns_within_its_total() {
    let (port, arrivals) = counting().await;
    let daemon = Daemon::start(&format!(
        "{QUICK}\n[endpoints.e]\nurl = \"ws://127.0.0.1:{port}\"\nlinks = 3\noutbox.total = {{ rate = 10, burst = 1 }}\n\
         [admission]\nper_host = 3\n"
    ))
    .await;
    for link in ["e/0", "e/1", "e/2"] {
        daemon.api.ready_after(link, 0).await;
    }
    for number in 0..8 {
        for link in 0..3 {
            let path = format!("/v1/endpoints/e/messages?link={link}");
            daemon.api.post(&path, &[("Content-Type", "text/plain")], number.to_string()).await.expect(202);
        }
    }
    let arrived = all(&arrivals, 24).await;
    assert!(took(&arrived) >= Duration::from_secs(2), "ten a second: {:?}", took(&arrived));
    // Each of them had its turns among the first half.
    let mut of_each = [0; 3];
    for (_, connection) in &arrived[..12] {
        of_each[*connection] += 1;
    }
    assert!(of_each.iter().all(|count| *count >= 2), "{of_each:?}");
}

#[tokio::test]
async fn a_reload_that_takes_the_rate_away_lets_all_go_at_once() {
    let (port, arrivals) = counting().await;
    let paced = |rate: &str| format!("{QUICK}\n[endpoints.e]\nurl = \"ws://127.0.0.1:{port}\"\n{rate}\n");
    let daemon = Daemon::start(&paced("outbox = { rate = 0.01, burst = 1 }")).await;
    daemon.api.ready_after("e/0", 0).await;
    for _ in 0..5 {
        daemon.api.send_text("e", "x").await.expect(202);
    }
    all(&arrivals, 1).await;
    daemon.configure(&paced(""));
    let plan = daemon.api.get("/v1/plan").await.expect(200).json();
    assert!(plan.to_string().contains("applied live"), "{plan}");
    daemon.api.post("/v1/reload", &[], "").await.expect(200);
    all(&arrivals, 5).await;
    assert_eq!(daemon.api.link("e/0").await["generation"], 1, "on the connection that it has");
}

#[tokio::test]
async fn a_reload_that_raises_the_total_is_followed_by_links_that_wait_for_a_far_turn() {
    let (port, arrivals) = counting().await;
    let paced = |rate: &str| {
        format!(
            "{QUICK}\n[endpoints.e]\nurl = \"ws://127.0.0.1:{port}\"\noutbox.total = {{ rate = {rate}, burst = 1 }}\n"
        )
    };
    let daemon = Daemon::start(&paced("0.001")).await;
    daemon.api.ready_after("e/0", 0).await;
    for _ in 0..3 {
        daemon.api.send_text("e", "x").await.expect(202);
    }
    daemon.api.link_until("e/0", "a link that is paced", |link| link["pacedUntil"].is_string()).await;
    daemon.configure(&paced("20"));
    daemon.api.post("/v1/reload", &[], "").await.expect(200);
    all(&arrivals, 3).await;
}
