//! What the server finds on a new connection.

use crate::{
    at,
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
