//! Messages that a program sends together, by a plain local WebSocket: they go as one thing, and a wire that is cut anywhere in it must
//! not show.
//!
//! What a reader would get wrong: a plain client hears nothing of its receipts, so what became of them is read from their counters.

use std::sync::Arc;

use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    QUICK,
    chance::Chance,
    compressing, endpoint,
    proxy::Proxy,
    recorder::{Arrival, Recorder},
    sender::settle,
    support::{api::Api, daemon::Daemon, until},
};

/// Messages of a burst: more than most connections live to carry.
const BURST: usize = 60;
/// More than the system buffers between two ends: so many messages of so many bytes.
const BIG: (usize, usize) = (5000, 3000);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_burst_that_is_cut_each_message_leaves_once_at_most_and_what_was_lost_is_unknown() {
    burst("", Recorder::listen().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_compressed_burst_that_is_cut_each_message_leaves_once_at_most_and_what_was_lost_is_unknown() {
    for context in ["none", "both"] {
        let recorder = Recorder::that_inflates().await;
        burst(context, recorder.clone()).await;
        assert!(recorder.compressed() > 0);
    }
}

async fn burst(context: &str, recorder: Recorder) {
    let chance = Arc::new(Chance::new("bursts"));
    let proxy = Proxy::to(recorder.port, chance.split()).await;
    let quick = compressing(context);
    let daemon = Daemon::start(&format!("{quick}{}", endpoint("e", proxy.port, ""))).await;
    let mut socket = daemon.api.socket("e", "", false).await;
    let mut sent = 0;
    while proxy.faults() < 8 {
        let before = recorder.connections();
        for number in sent..sent + BURST {
            let length = usize::try_from(chance.below(60)).unwrap();
            socket.feed(Message::text(format!("burst-{number:06}{}", ".".repeat(length)))).await.unwrap();
        }
        socket.flush().await.unwrap();
        sent += BURST;
        until("another connection, or all of it", || async {
            let last = format!("burst-{:06}", sent - 1);
            let has_all = recorder.arrivals().last().is_some_and(|arrival| arrival.text.starts_with(&last));
            if has_all || recorder.connections() > before { Ok(()) } else { Err(sent) }
        })
        .await;
    }
    proxy.behave();
    settle(&daemon.api, "e").await;
    judge(&daemon.api, &recorder, sent).await;
}

#[tokio::test]
async fn of_a_burst_that_a_deaf_peer_holds_up_what_had_begun_is_unknown_and_all_the_rest_leaves_again() {
    let recorder = Recorder::listen().await;
    let room = "max_messages = 6000\nmax_bytes = \"64MiB\"";
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", recorder.port, room))).await;
    daemon.api.ready_after("e/0", 0).await;
    // It is waiting for a message already: this one it still reads.
    recorder.stall(true);
    daemon.api.send_text("e", "first").await.expect(202);
    recorder.until_exactly(&["first".to_owned()]).await;
    let mut socket = daemon.api.socket("e", "", false).await;
    for number in 0..BIG.0 {
        socket.feed(Message::text(format!("burst-{number:06}{}", ".".repeat(BIG.1)))).await.unwrap();
    }
    socket.flush().await.unwrap();
    daemon.api.link_until("e/0", "lost", |link| link["lastClose"]["cause"] == "pong_timeout").await;
    recorder.stall(false);
    settle(&daemon.api, "e").await;
    let (sent, again) = judge(&daemon.api, &recorder, BIG.0).await;
    // The first was read, and no pong has told of it.
    assert_eq!(1 + sent - again, counted(&daemon.api, "unknown").await, "and nothing else is");
}

async fn counted(api: &Api, outcome: &str) -> usize {
    let series = format!("wskeeper_receipts_total{{endpoint=\"e\",outcome=\"{outcome}\"}}");
    api.metric(&series).await.map_or(0, |value| value.to_string().parse().unwrap())
}

/// Holds the peer's record against the counters. Answers with how many were sent, and how many arrived on another connection than the first.
async fn judge(api: &Api, recorder: &Recorder, sent: usize) -> (usize, usize) {
    let arrivals = recorder.arrivals();
    let of_burst = |arrival: &Arrival| -> Option<(usize, usize)> {
        Some((arrival.text.strip_prefix("burst-")?.get(..6)?.parse().ok()?, arrival.connection))
    };
    let burst: Vec<_> = arrivals.iter().filter_map(of_burst).collect();
    assert!(burst.is_sorted_by(|one, next| one.0 < next.0), "not in order, or not once: {burst:?}");
    let [confirmed, unknown, written] =
        [counted(api, "confirmed").await, counted(api, "unknown").await, counted(api, "written").await];
    let (arrived, lost) = (burst.len(), sent - burst.len());
    eprintln!("{sent} sent, {arrived} arrived, {confirmed} confirmed, {unknown} unknown, {written} written");
    assert!(lost <= unknown, "{lost} have not arrived, and {unknown} are unknown");
    assert!(confirmed <= arrivals.len(), "{confirmed} are confirmed, and {} have arrived", arrivals.len());
    // Each came to one end. Of what was sent beside them some may have been lost, too.
    let beside = arrivals.len() - arrived;
    assert!(confirmed + unknown >= sent + beside, "{confirmed} + {unknown} of {sent} + {beside}");
    assert!(written <= confirmed + unknown && unknown > 0, "nothing was tried");
    (sent, burst.iter().filter(|(_, connection)| *connection > 0).count())
}
