//! What the server finds on a new connection.

use std::{collections::VecDeque, time::Duration};

use crate::{
    PATH, at,
    exchange::{Exchange, FREE},
    shown, subscribe,
    support::daemon::Daemon,
    unsubscribe, until_shown,
};

async fn with_three() -> (Exchange, Daemon) {
    let exchange = Exchange::start(FREE).await;
    let daemon = Daemon::start(&at(&exchange, "", "keys = [\"c\"]")).await;
    daemon.api.ready_after("e/0", 0).await;
    for key in ["b", "a"] {
        subscribe(&daemon, key, "x").await;
    }
    exchange.last_has(1, &["a", "b", "c"]).await;
    (exchange, daemon)
}

#[tokio::test]
async fn all_keys_come_back_in_their_order_and_before_what_waited_however_the_connection_is_lost() {
    let (mut exchange, daemon) = with_three().await;
    let mut connections = 1;
    for cause in ["close", "cut", "kill", "reconnect"] {
        let generation = daemon.api.link("e/0").await["generation"].as_u64().unwrap();
        match cause {
            "close" => drop(daemon.api.send_text("e", "leave").await.expect(202)),
            "cut" => exchange.cut(connections - 1),
            "kill" => {
                exchange.kill().await;
                daemon.api.link_until("e/0", "down", |link| link["phase"] != "ready").await;
                daemon.api.send_text("e", "queued").await.expect(202);
                until_shown(&daemon, &[("c", "pending"), ("b", "pending"), ("a", "pending")]).await;
                exchange.restart().await;
            }
            _ => drop(daemon.api.post("/v1/links/e/0/reconnect", &[], "").await.expect(200)),
        }
        daemon.api.ready_after("e/0", generation).await;
        connections += 1;
        let record = exchange.last_has(connections, &["a", "b", "c"]).await;
        assert_eq!(record.heard[..3], ["+c", "+b", "+a"], "after {cause}: {record:?}");
        if cause == "kill" {
            let records = exchange.until("the queued one", |all| all.last().unwrap().heard.len() > 3).await;
            assert_eq!(records.last().unwrap().heard[3..], ["queued"]);
        }
        until_shown(&daemon, &[("c", "active"), ("b", "active"), ("a", "active")]).await;
    }
}

#[tokio::test]
async fn a_new_connection_has_all_keys_before_it_takes_over() {
    let (exchange, daemon) = with_three().await;
    for turn in 1..4 {
        daemon.api.post("/v1/links/e/0/rotate", &[], "").await.expect(200);
        let record = exchange.last_has(turn + 1, &["a", "b", "c"]).await;
        assert_eq!(record.heard[..3], ["+c", "+b", "+a"]);
        let records = exchange.until("the old one is closed", |all| !all[turn - 1].is_open).await;
        assert_eq!(records[turn - 1].has.len(), 3, "it kept its keys to the end");
        daemon.api.link_until("e/0", "no rotation", |link| link["rotation"].is_null()).await;
    }
    assert_eq!(shown(&daemon).await.len(), 3);
    unsubscribe(&daemon, "a", "x").await;
    exchange.last_has(4, &["b", "c"]).await;
}

#[tokio::test]
async fn what_is_released_while_there_is_no_connection_is_not_asked_for_again() {
    let (mut exchange, daemon) = with_three().await;
    exchange.kill().await;
    daemon.api.link_until("e/0", "down", |link| link["phase"] != "ready").await;
    unsubscribe(&daemon, "b", "x").await;
    subscribe(&daemon, "d", "x").await;
    exchange.restart().await;
    let record = exchange.last_has(2, &["a", "c", "d"]).await;
    assert_eq!(record.heard, ["+c", "+a", "+d"]);
}

/// Programs put keys and release them, more than are asked for in that time.
async fn churn(daemon: &Daemon) {
    let mut held = VecDeque::new();
    for number in 0.. {
        subscribe(daemon, &format!("c{number}"), "x").await;
        held.push_back(number);
        if held.len() > 30
            && let Some(oldest) = held.pop_front()
        {
            daemon.api.delete(&format!("{PATH}/c{oldest}?holder=x")).await.expect(204);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn keys_that_come_and_go_faster_than_they_are_asked_for_hold_up_neither_ready_nor_a_rotation() {
    let exchange = Exchange::start(FREE).await;
    let keys: Vec<String> = (0..10).map(|number| format!("k{number}")).collect();
    let more = format!("keys = {keys:?}\nrate = 20\nready_when = \"confirmed\"");
    let daemon = Daemon::start(&at(&exchange, "", &more)).await;
    daemon.api.ready_after("e/0", 0).await;
    let has_all = |connection: usize| {
        let records = exchange.records();
        keys.iter().all(|key| records[connection].has.contains(key))
    };
    let story = async {
        exchange.until("the churn goes on", |all| all[0].heard.len() > 40).await;
        exchange.cut(0);
        let generation = daemon.api.ready_after("e/0", 1).await["generation"].as_u64().unwrap();
        assert!(has_all(1), "it is ready with those that stood: {:?}", exchange.records()[1]);
        daemon.api.post("/v1/links/e/0/rotate", &[], "").await.expect(200);
        daemon.api.ready_after("e/0", generation).await;
        assert!(has_all(2), "it takes over with those that stood: {:?}", exchange.records()[2]);
        exchange.until("the old one is closed", |all| !all[1].is_open).await;
    };
    tokio::select! {
        () = churn(&daemon) => {}
        () = story => {}
    }
}
