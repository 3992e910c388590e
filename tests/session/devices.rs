//! A charge point against a stand-in for a central system, and what a session is without a preset.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    QUICK, explained_when_parked, is_down,
    stand::{Stand, close, text},
    support::daemon::Daemon,
    with_preset,
};

/// Accepts each boot with a heartbeat a second, and answers the other calls.
fn central_system(heard: Option<&str>) -> Vec<Message> {
    let Some(call) = heard.and_then(|heard| serde_json::from_str::<Value>(heard).ok()) else { return Vec::new() };
    let body = match call[2].as_str() {
        Some("BootNotification") => {
            json!({ "status": "Accepted", "interval": 1, "currentTime": "2026-11-27T00:00:00Z" })
        }
        _ => json!({ "currentTime": "2026-11-27T00:00:00Z" }),
    };
    vec![text(&json!([3, call[1], body]).to_string())]
}

#[tokio::test]
async fn a_charge_point_boots_first_and_sends_heartbeats_as_it_is_told() {
    let mut stand = Stand::start("ocpp1.6", central_system).await;
    let values = "session.values = { vendor = \"Example\", model = \"One\" }";
    let daemon =
        Daemon::start(&with_preset("ocpp1.6", &format!("ws://127.0.0.1:{}/ocpp/CP-1", stand.port), values)).await;
    let link = daemon.api.ready_after("e/0", 0).await;
    let action = |heard: &String| serde_json::from_str::<Value>(heard).unwrap()[2].clone();
    let heard = stand.last("a heartbeat", |heard| heard.iter().any(|heard| action(heard) == "Heartbeat")).await;
    let boot: Value = serde_json::from_str(&heard[0]).unwrap();
    assert_eq!(boot[3], json!({ "chargePointVendor": "Example", "chargePointModel": "One" }), "{boot}");
    let mut events = daemon.api.events("e", "from=oldest&types=message").await;
    daemon.api.send_text("e", r#"[2,"mine","StatusNotification",{}]"#).await.expect(202);
    let (answer, _) = events.next_of("message").await.payload();
    assert!(String::from_utf8_lossy(&answer).contains("mine"), "answers to its own calls are hidden");

    stand.stop().await;
    daemon.api.link_until("e/0", "down", is_down).await;
    daemon.api.send_text("e", r#"[2,"queued","StatusNotification",{}]"#).await.expect(202);
    stand.restart().await;
    daemon.api.ready_after("e/0", link["generation"].as_u64().unwrap()).await;
    let heard = stand.last("the queued one", |heard| heard.iter().any(|heard| heard.contains("queued"))).await;
    assert_eq!(action(&heard[0]), "BootNotification", "{heard:?}");
}

#[tokio::test]
async fn a_login_that_is_refused_after_a_word_of_the_operator_parks_the_link_and_is_no_storm() {
    let asked = AtomicU32::new(0);
    let answer = move |heard: Option<&str>| match heard {
        Some(_) if asked.fetch_add(1, Ordering::Relaxed) == 0 => vec![text("welcome")],
        Some(_) => vec![close(4403, "no more of you")],
        None => Vec::new(),
    };
    let stand = Stand::start("", answer).await;
    let session = "session.open = [{ send = \"hello\" }, { expect = { text = \"welcome\" } }]";
    let config = format!("{QUICK}\n[endpoints.e]\nurl = \"ws://127.0.0.1:{}\"\n{session}", stand.port);
    let daemon = Daemon::start(&config).await;
    daemon.api.ready_after("e/0", 0).await;
    daemon.api.post("/v1/links/e/0/reconnect", &[], "").await.expect(200);
    let explained = explained_when_parked(&daemon).await;
    assert!(explained.contains("no more of you"), "{explained}");
    assert!(stand.heard().len() <= 3, "{} connections", stand.heard().len());
}

#[tokio::test]
async fn a_session_that_a_reload_brings_runs_on_a_new_connection() {
    let stand = Stand::start("", |_| Vec::new()).await;
    let config = |session: &str| format!("{QUICK}\n[endpoints.e]\nurl = \"ws://127.0.0.1:{}\"\n{session}", stand.port);
    let daemon = Daemon::start(&config("")).await;
    let link = daemon.api.ready_after("e/0", 0).await;
    daemon.configure(&config("session.open = [{ send = \"subscribe ${endpoint}\" }]"));
    let report = daemon.api.post("/v1/reload", &[], "").await.expect(200).json();
    assert!(report.to_string().contains("session.open"), "{report}");
    daemon.api.ready_after("e/0", link["generation"].as_u64().unwrap()).await;
    stand.last("the subscription", |heard| heard == ["subscribe e"]).await;
}
