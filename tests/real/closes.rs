//! A close with each code: what was received is what is shown, and the link comes back as the table says.

use serde_json::json;

use crate::{
    one,
    support::{
        daemon::Daemon,
        peer::{Peer, Recipe},
    },
};

#[tokio::test]
async fn each_close_code_of_python_is_shown_and_the_link_comes_back() {
    let Some(peer) = Peer::start(Recipe::Python).await else { return };
    let daemon = Daemon::start(&one(peer.port, "/", "")).await;
    let mut generation = 0;
    for code in [1000, 1001, 1008, 1011, 1013, 3000, 4401] {
        generation = daemon.api.ready_after("e/0", generation).await["generation"].as_u64().unwrap();
        daemon.api.send_text("e", &format!("!close {code} because {code}")).await.expect(202);
        let link = daemon.api.link_until("e/0", "closed", |link| link["lastClose"]["code"] == code).await;
        assert_close(&link, code, &format!("because {code}"));
    }
    daemon.api.ready_after("e/0", generation).await;
}

#[tokio::test]
async fn each_close_code_of_node_is_shown_and_the_link_comes_back() {
    let Some(peer) = Peer::start(Recipe::Node).await else { return };
    let daemon = Daemon::start(&one(peer.port, "/", "")).await;
    let mut generation = 0;
    for code in [1005, 1000, 1011, 4401] {
        generation = daemon.api.ready_after("e/0", generation).await["generation"].as_u64().unwrap();
        let (command, reason) =
            if code == 1005 { ("!close".to_owned(), "") } else { (format!("!close {code} so it is"), "so it is") };
        daemon.api.send_text("e", &command).await.expect(202);
        let link = daemon.api.link_until("e/0", "closed", |link| link["lastClose"]["code"] == code).await;
        assert_close(&link, code, reason);
    }
    daemon.api.ready_after("e/0", generation).await;
}

#[tokio::test]
async fn a_service_restart_is_waited_for_and_an_operator_can_cut_it_short() {
    let Some(peer) = Peer::start(Recipe::Python).await else { return };
    let daemon = Daemon::start(&one(peer.port, "/", "")).await;
    daemon.api.ready_after("e/0", 0).await;
    daemon.api.send_text("e", "!close 1012 restarting").await.expect(202);
    let link = daemon.api.link_until("e/0", "waiting", |link| link["phase"] == "waiting").await;
    assert_close(&link, 1012, "restarting");
    assert_eq!(link["phaseReason"], "service_restart", "{link}");
    assert!(link["nextAttemptAt"].is_string(), "{link}");
    daemon.api.post("/v1/links/e/0/reconnect", &[], "").await;
    daemon.api.ready_after("e/0", 1).await;
}

#[tokio::test]
async fn a_policy_violation_five_times_in_a_row_parks_the_link_and_a_probe_brings_it_back() {
    let Some(peer) = Peer::start(Recipe::Python).await else { return };
    // Stable only after an hour: else each quick success would end the row.
    let daemon = Daemon::start(&one(peer.port, "/", "[endpoints.e.reconnect]\nstable = \"1h\"")).await;
    for generation in 0..5 {
        daemon.api.ready_after("e/0", generation).await;
        daemon.api.send_text("e", "!close 1008 no").await.expect(202);
    }
    let history = || async {
        let body = daemon.api.get("/v1/links/e/0/history").await.expect(200).body;
        let text = String::from_utf8_lossy(&body).into_owned();
        if text.contains("\"parked\"") { Ok(()) } else { Err(text) }
    };
    crate::support::until("a parked link in the history", history).await;
    daemon.api.ready_after("e/0", 5).await;
}

#[tokio::test]
async fn an_operators_close_is_sent_and_the_link_stays_paused_until_resumed() {
    let Some(peer) = Peer::start(Recipe::Python).await else { return };
    let daemon = Daemon::start(&one(peer.port, "/", "")).await;
    daemon.api.ready_after("e/0", 0).await;
    let body = json!({"code": 4000, "reason": "enough"}).to_string();
    let answer = daemon.api.post("/v1/links/e/0/close", &[("content-type", "application/json")], body).await;
    assert!(answer.status < 300, "{answer:?}");
    let link = daemon.api.link_until("e/0", "paused", |link| link["phase"] == "paused").await;
    assert_eq!(link["lastClose"]["sentCode"], 4000, "{link}");
    assert_eq!(link["lastClose"]["code"], 4000, "the peer answers with the code it got: {link}");
    assert_eq!(link["lastClose"]["cause"], "operator", "{link}");
    daemon.api.post("/v1/links/e/0/resume", &[], "").await;
    daemon.api.ready_after("e/0", 1).await;
}

#[track_caller]
fn assert_close(link: &serde_json::Value, code: u16, reason: &str) {
    let close = &link["lastClose"];
    assert_eq!(close["code"], code, "{close}");
    assert_eq!(close["reason"], reason, "{close}");
    assert_eq!(close["wasClean"], true, "{close}");
    assert_eq!(close["cause"], "remote", "{close}");
}
