//! Servers that allow so many connections within a time: how many attempts leave, over reloads and restarts, and what is said of that.

use std::{
    fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    QUICK, explained, lazy,
    support::{api::Api, daemon::Daemon, until},
};

/// A server that counts who comes, and lets nobody in.
async fn refusing() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::<AtomicUsize>::default());
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, SeqCst);
            drop(stream);
        }
    });
    (port, count)
}

fn endpoint(port: u16, links: u32, budget: &str) -> String {
    format!(
        "storage.dir = \"{{folder}}/store\"\n{QUICK}\n[endpoints.e]\nurl = \"ws://127.0.0.1:{port}\"\nlinks = {links}\n{budget}\n"
    )
    .replacen("storage.dir", "[storage]\ndir", 1)
}

fn of(attempts: u32) -> String {
    format!("reconnect.budget = {{ attempts = {attempts}, per = \"1h\" }}")
}

/// Waits until all these links wait for the budget: none of them dials before that says so. How it stands then.
async fn spent(api: &Api, links: u32, used: u32) -> Value {
    until("a budget that is spent", || async {
        let found = api.get("/v1/links?endpoint=e").await.expect(200).json();
        let waits = |link: &Value| link["phase"] == "waiting" && link["phaseReason"] == "budget";
        let all = found["items"].as_array().unwrap();
        let budget = api.get("/v1/endpoints/e").await.expect(200).json()["totals"]["budget"].clone();
        let is_so = all.len() == links as usize && all.iter().all(waits) && budget["used"] == used;
        if is_so { Ok(budget) } else { Err((found, budget)) }
    })
    .await
}

async fn reload(daemon: &Daemon, sections: &str) {
    daemon.configure(sections);
    daemon.api.post("/v1/reload", &[], "").await.expect(200);
}

/// Waits until the disk has so many attempts.
async fn stored(daemon: &Daemon, attempts: u32) {
    let needle = format!("\":{attempts}}}");
    until("the count on disk", || async {
        let log = fs::read(daemon.folder().join("store/store.sqlite-wal")).unwrap_or_default();
        if log.windows(needle.len()).any(|window| window == needle.as_bytes()) { Ok(()) } else { Err(log.len()) }
    })
    .await;
}

fn status(daemon: &Daemon) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wskeeper"));
    command.args(["--api", &format!("unix:{}", daemon.folder().join("api.sock").display()), "status", "--links"]);
    command
}

#[tokio::test]
async fn links_share_their_attempts_over_reloads_a_kill_and_a_stop_and_say_when_they_go_on() {
    let (port, count) = refusing().await;
    let mut daemon = Daemon::made(&endpoint(port, 3, &of(6)));
    fs::create_dir(daemon.folder().join("store")).unwrap();
    daemon.launch();
    daemon.alive().await;
    let budget = spent(&daemon.api, 3, 6).await;
    assert_eq!(count.load(SeqCst), 6);
    assert_eq!((&budget["attempts"], &budget["perMs"], &budget["kept"]), (&json!(6), &json!(3_600_000), &json!(true)));
    let until_when = budget["until"].as_str().unwrap();
    let link = daemon.api.link("e/1").await;
    assert_eq!(link["nextAttemptAt"].as_str().unwrap()[..17], until_when[..17], "{link}");
    let said = explained(&daemon).await.replace("\n    ", " ");
    for wanted in [
        "all attempts that reconnect.budget allows for now",
        "has made 6 of 6 attempts within 1h; the next may begin in 1h",
        "raise reconnect.budget.attempts and reload",
        "a reload with a higher reconnect.budget.attempts dials now",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    let mut command = status(&daemon);
    let printed = tokio::task::spawn_blocking(move || command.env("COLUMNS", "200").output().unwrap()).await.unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.contains("(budget spent)"), "{printed}");
    assert_eq!(daemon.api.metric("wskeeper_reconnect_budget_used_attempts{endpoint=\"e\"}").await, Some(6.0));
    assert_eq!(daemon.api.metric("wskeeper_reconnect_budget_attempts{endpoint=\"e\"}").await, Some(6.0));

    // An operator does not get past it by a verb, and is told how.
    let refused = daemon.api.post("/v1/links/e/0/reconnect", &[], "").await.expect(409).json();
    assert_eq!(refused["type"], "urn:wskeeper:problem:attempts-spent");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.starts_with("6 of the 6 attempts that reconnect.budget allows are used within 1h"), "{detail}");
    assert!(
        detail.contains(until_when.split('.').next().unwrap()) && detail.contains("A reload with a higher"),
        "{detail}"
    );
    reload(&daemon, &endpoint(port, 3, &of(8))).await;
    spent(&daemon.api, 3, 8).await;
    assert_eq!(count.load(SeqCst), 8);

    // What has been used is known to the next life.
    stored(&daemon, 8).await;
    daemon.kill();
    daemon.relaunch().await;
    spent(&daemon.api, 3, 8).await;
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.end().await.success());
    daemon.relaunch().await;
    spent(&daemon.api, 3, 8).await;
    assert_eq!(count.load(SeqCst), 8);

    // Without the key they are as free as ever, and what was counted is forgotten.
    reload(&daemon, &endpoint(port, 3, "")).await;
    until("more attempts", || async { if count.load(SeqCst) > 20 { Ok(()) } else { Err(count.load(SeqCst)) } }).await;
    assert!(daemon.api.get("/v1/endpoints/e").await.json()["totals"]["budget"].is_null());
    assert_eq!(daemon.api.metric("wskeeper_reconnect_budget_attempts{endpoint=\"e\"}").await, None);
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.end().await.success());
    let before = count.load(SeqCst);
    daemon.configure(&endpoint(port, 3, &of(4)));
    daemon.relaunch().await;
    spent(&daemon.api, 3, 4).await;
    assert_eq!(count.load(SeqCst) - before, 4);
}

#[tokio::test]
async fn the_links_of_a_dynamic_endpoint_share_theirs_and_a_change_of_it_is_followed_at_once() {
    let (port, count) = refusing().await;
    let daemon = Daemon::start(&format!("dynamic = \"memory\"\n{QUICK}")).await;
    for attempts in [5, 9] {
        let body = json!({
            "url": format!("ws://127.0.0.1:{port}"), "links": 4,
            "reconnect": { "budget": { "attempts": attempts, "per": "1h" } },
        });
        let answer = daemon.api.put("/v1/endpoints/e", body.to_string()).await;
        assert!([200, 201].contains(&answer.status), "{answer:?}");
        let budget = spent(&daemon.api, 4, attempts).await;
        assert_eq!((count.load(SeqCst), &budget["kept"]), (attempts as usize, &json!(false)), "there is no store");
    }
    let answer = daemon
        .api
        .put("/v1/endpoints/e", "{\"url\":\"ws://h/\",\"links\":4,\"reconnect\":{\"budget\":{\"attempts\":3}}}")
        .await;
    assert_eq!(
        (answer.status, answer.json()["errors"][0]["pointer"].as_str()),
        (422, Some("/reconnect/budget/attempts"))
    );
    assert!(explained(&daemon).await.contains("a restart forgets them"));
}

#[tokio::test]
async fn rotations_leave_a_tenth_to_links_that_are_down() {
    let (port, _) = lazy::watching(0).await;
    let daemon = Daemon::start(&endpoint(port, 1, &of(10))).await;
    let mut generation = daemon.api.ready_after("e/0", 0).await["generation"].as_u64().unwrap();
    // The first attempt is used.
    for _ in 1..9 {
        daemon.api.post("/v1/links/e/0/rotate", &[], "").await.expect(200);
        generation = daemon.api.ready_after("e/0", generation).await["generation"].as_u64().unwrap();
    }
    let refused = daemon.api.post("/v1/links/e/0/rotate", &[], "").await.expect(409).json();
    let detail = refused["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("9 of the 10") && detail.contains("the rest is for links without a connection"),
        "{detail}"
    );
    let advice = daemon.api.get("/v1/links/e/0/explain").await.expect(200).json()["advice"].to_string();
    assert!(advice.contains("have made 9 of the 10 attempts"), "a ready link says so too: {advice}");
    daemon.api.post("/v1/links/e/0/reconnect", &[], "").await.expect(200);
    let now = daemon.api.ready_after("e/0", generation).await["generation"].as_u64().unwrap();
    daemon.api.post("/v1/links/e/0/reconnect", &[], "").await.expect(409);
    let link = daemon.api.link("e/0").await;
    assert_eq!((&link["phase"], link["generation"].as_u64()), (&json!("ready"), Some(now)), "it keeps what it has");
}
