//! A message that its peer refuses each time: it goes to the dead letters, and those behind it arrive.

use serde_json::Value;

use crate::{
    LEAST, QUICK, endpoint,
    recorder::Recorder,
    support::{daemon::Daemon, until},
};

#[tokio::test]
async fn after_three_closes_in_a_row_a_message_is_dead_and_those_behind_it_arrive() {
    let recorder = Recorder::that_refuses("poison").await;
    let mut daemon = Daemon::start(&format!("{QUICK}{}", endpoint("e", recorder.port, LEAST))).await;
    daemon.api.send_text("e", "first").await.expect(202);
    let poison = daemon.api.send_text("e", "poison").await.expect(202).json();
    for number in 0..5 {
        daemon.api.send_text("e", &format!("behind {number}")).await.expect(202);
    }
    let behind: Vec<String> = (0..5).map(|number| format!("behind {number}")).collect();
    until("those behind it", || async {
        let first = recorder.first_arrivals();
        if first.ends_with(&behind) { Ok(()) } else { Err(first) }
    })
    .await;
    // Once too often would be one refusal more than the rule asks for.
    assert_eq!(recorder.counts()["poison"], 3);
    assert_dead(&daemon, &poison).await;

    daemon.kill();
    daemon.relaunch().await;
    assert_dead(&daemon, &poison).await;
    daemon.api.send_text("e", "last").await.expect(202);
    until("the last one", || async { recorder.texts().contains(&"last".to_owned()).then_some(()).ok_or("not yet") })
        .await;
    assert_eq!(recorder.counts()["poison"], 3);
}

async fn assert_dead(daemon: &Daemon, poison: &Value) {
    let path = format!("/v1/messages/{}", poison["id"].as_str().unwrap());
    until("a dead letter", || async {
        let receipt = daemon.api.get(&path).await.expect(200).json();
        let is_dead = receipt["state"] == "dead" && receipt["reason"] == "poison";
        let letters = daemon.api.metric("wskeeper_dead_letters").await;
        if is_dead && letters == Some(1.0) { Ok(()) } else { Err((receipt, letters)) }
    })
    .await;
}
