//! A link that is lost in the middle of a message: half of it has left, and nobody can take that back.

use crate::{
    LEAST, QUICK, endpoint,
    recorder::Recorder,
    support::{daemon::Daemon, until},
};

/// More than the system buffers between two ends.
const BIG: usize = 12 << 20;
/// Lines of an outbox that takes it.
const ROOM: &str = "max_message = \"16MiB\"\nmax_bytes = \"64MiB\"";

#[tokio::test]
async fn at_most_once_a_message_that_had_begun_to_leave_is_unknown_and_not_sent_again() {
    let (texts, state) = lose_half(ROOM).await;
    assert_eq!((texts, state.as_str()), (vec![5], "unknown"));
}

#[tokio::test]
async fn at_least_once_a_message_that_had_begun_to_leave_is_sent_again_as_a_whole() {
    let (texts, state) = lose_half(&format!("{ROOM}\n{LEAST}")).await;
    assert_eq!((texts, state.as_str()), (vec![BIG, 5], "confirmed"));
}

/// Loses a link while a big message is on its way. Answers with the lengths of what arrived in the end, and what became of it.
async fn lose_half(outbox: &str) -> (Vec<usize>, String) {
    let recorder = Recorder::listen().await;
    let daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", recorder.port, outbox))).await;
    daemon.api.ready_after("e/0", 0).await;
    // It is waiting for a message already: this one it still reads.
    recorder.stall(true);
    daemon.api.send_text("e", "first").await.expect(202);
    recorder.until_exactly(&["first".to_owned()]).await;
    let big = daemon.api.send_text("e", &"x".repeat(BIG)).await.expect(202).json();
    daemon.api.link_until("e/0", "lost", |link| link["lastClose"]["cause"] == "pong_timeout").await;
    recorder.stall(false);
    daemon.api.send_text("e", "after").await.expect(202);
    until("the last message", || async {
        let texts = recorder.texts();
        if texts.last().is_some_and(|last| last == "after") { Ok(()) } else { Err(texts.len()) }
    })
    .await;
    let path = format!("/v1/messages/{}", big["id"].as_str().unwrap());
    let receipt = until("an end", || async {
        let receipt = daemon.api.get(&path).await.expect(200).json();
        if ["unknown", "confirmed"].iter().any(|end| receipt["state"] == *end) { Ok(receipt) } else { Err(receipt) }
    })
    .await;
    let lengths = recorder.texts().iter().skip_while(|text| *text == "first").map(String::len).collect();
    (lengths, receipt["state"].as_str().unwrap().to_owned())
}
