//! Programs that read, that end, and that do neither.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    endpoint, feed, push, shown_until,
    support::{daemon::Daemon, until},
};

/// A shell with this script.
fn shell(script: &str) -> String {
    format!("command = [\"/bin/sh\", \"-c\", '''{script}''']")
}

fn numbers(daemon: &Daemon) -> Vec<u64> {
    let text = fs::read_to_string(daemon.folder().join("out")).unwrap_or_default();
    let number = |line: &str| {
        let event: Value = serde_json::from_str(line).ok()?;
        serde_json::from_str::<Value>(event["data"].as_str()?).ok()?["n"].as_u64()
    };
    text.lines().filter_map(number).collect()
}

async fn has_all(daemon: &Daemon, count: u64) {
    let wanted: Vec<u64> = (0..count).collect();
    until("all lines", || async {
        let seen = numbers(daemon);
        if seen == wanted { Ok(()) } else { Err(seen) }
    })
    .await;
}

#[tokio::test]
async fn a_program_gets_a_line_each_and_what_it_says_is_logged() {
    let script = "echo \"I am here, ${WSKEEPER_SECRET:-without secrets}\" >&2; exec cat >> {folder}/out";
    let mut daemon = Daemon::made(&endpoint(feed::start().await, &push("pipe", &shell(&script.replace("${", "$${")))));
    daemon.set_variable("WSKEEPER_SECRET", "with secrets");
    daemon.launch();
    daemon.ready().await;
    feed::send(&daemon, 300).await;
    has_all(&daemon, 300).await;
    until("its word", || async { if daemon.log().contains("I am here, without secrets") { Ok(()) } else { Err(()) } })
        .await;
    // A stop ends its input.
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.end().await.success());
}

#[tokio::test]
async fn what_a_program_had_not_read_when_it_ended_goes_to_the_next_one_and_nothing_twice() {
    // `read` takes one line from the pipe, and no more.
    let script = "for i in 1 2 3; do IFS= read -r line && printf \"%s\\\\n\" \"$line\" >> {folder}/out; done";
    let daemon = Daemon::start(&endpoint(feed::start().await, &push("pipe", &shell(script)))).await;
    feed::send(&daemon, 20).await;
    has_all(&daemon, 20).await;
    let now = shown_until(&daemon, "pipe", "all taken", |now| now["delivered"] == 20).await;
    assert!(now["failed"].as_u64() >= Some(6), "{now}");
}

#[tokio::test]
async fn a_program_that_ends_at_once_is_started_again_ever_more_seldom() {
    let keys = "command = [\"/bin/false\"]\nretry = { initial = \"50ms\", max = \"10s\" }";
    let more = push("pipe", "X").replace("retry = { initial = \"20ms\", max = \"100ms\" }\nX", keys);
    let daemon = Daemon::start(&endpoint(feed::start().await, &more)).await;
    feed::send(&daemon, 1).await;
    let began = Instant::now();
    let now = shown_until(&daemon, "pipe", "lost", |now| now["failed"].as_u64() >= Some(5)).await;
    assert_eq!(now["lastError"], "the program ended with exit status: 1");
    assert_eq!(now["delivered"], 0);
    let starts = daemon.log().matches("the program of a push has started").count() as u128;
    assert!(starts < 12 + began.elapsed().as_millis() / 25, "{starts} in {:?}", began.elapsed());
}

#[tokio::test]
async fn a_program_that_is_back_is_well_though_nothing_has_come_for_it() {
    let script = "[ -e {folder}/twice ] || { touch {folder}/twice; exit 3; }; exec cat >> {folder}/out";
    // The gap that a consumer begins with may be taken as soon as the program is back: it must be away for long enough to be seen.
    let seldom =
        push("pipe", &shell(script)).replace("initial = \"20ms\", max = \"100ms\"", "initial = \"2s\", max = \"4s\"");
    assert!(seldom.contains("2s"), "{seldom}");
    let daemon = Daemon::start(&endpoint(feed::start().await, &seldom)).await;
    let failing = shown_until(&daemon, "pipe", "lost", |now| !now["failingSince"].is_null()).await;
    assert_eq!(failing["lastError"], "the program ended with exit status: 3");
    let well = shown_until(&daemon, "pipe", "well", |now| now["failingSince"].is_null()).await;
    assert_eq!((&well["delivered"], &well["failed"]), (&json!(0), &json!(1)), "{well}");
    assert!(daemon.log().contains("the receiver of a push is there again"));
}

#[tokio::test]
async fn of_what_a_program_says_without_end_a_part_is_logged_and_how_much_is_not() {
    let script = "seq 100000 >&2; exec cat >> {folder}/out";
    let daemon = Daemon::start(&endpoint(feed::start().await, &push("pipe", &shell(script)))).await;
    feed::send(&daemon, 3).await;
    has_all(&daemon, 3).await;
    until("a word of what is left out", || async {
        if daemon.log().contains("says more lines than are logged") { Ok(()) } else { Err(()) }
    })
    .await;
    let logged = daemon.log().matches("the program of a push says something").count();
    assert!((100..50_000).contains(&logged), "{logged}");
}

#[tokio::test]
async fn a_program_that_never_reads_is_ended_with_all_that_it_started() {
    let script = "sleep 600 & echo $$! > {folder}/child; wait".replace("$$!", "$!");
    let keys = format!("{}\ntimeout = \"300ms\"", shell(&script));
    let mut daemon = Daemon::start(&endpoint(feed::start().await, &push("pipe", &keys))).await;
    feed::send(&daemon, 1).await;
    let now = shown_until(&daemon, "pipe", "late", |now| {
        now["lastError"].as_str().is_some_and(|error| error.contains("had not read"))
    })
    .await;
    assert_eq!(now["delivered"], 0);
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.end().await.success());
    let child = fs::read_to_string(daemon.folder().join("child")).unwrap();
    until("the end of its child", || async {
        let status = fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        if status.is_empty() || status.contains(") Z ") { Ok(()) } else { Err(status) }
    })
    .await;
}
