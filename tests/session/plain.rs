//! What a session is without a preset.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::{
    QUICK, explained_when_parked,
    stand::{Stand, close, text},
    support::daemon::Daemon,
};

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
