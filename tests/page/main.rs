//! The status page in Debian's Chromium, driven by Node with playwright-core: `*.mjs` beside this file.
//!
//! `tests/run` installs what it needs and sets `WSKEEPER_TEST_REAL`; without it the tests say that they are skipped. Pictures
//! of each view are kept in `target/artifacts/page`.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::{env, path::Path, process::Command};

use parking_lot::Mutex;

/// One browser at a time: four of them starve each other on a small machine.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn people_look_and_operate_by_pointer_and_by_keyboard() {
    drive("operate.mjs");
}

#[test]
fn people_send_follow_retry_and_reload() {
    drive("work.mjs");
}

#[test]
fn the_page_runs_no_text_of_a_peer_and_shows_nothing_without_a_token() {
    drive("trust.mjs");
}

#[test]
fn the_page_says_when_its_daemon_is_away() {
    drive("away.mjs");
}

#[test]
fn the_page_holds_three_links_and_ten_thousand() {
    drive("sizes.mjs");
}

/// Runs the cases of a file with Node's own test runner.
fn drive(file: &str) {
    if env::var_os("WSKEEPER_TEST_REAL").is_none() {
        eprintln!("skipped: tests/run brings Chromium and sets WSKEEPER_TEST_REAL");
        return;
    }
    let _turn = TURN.lock();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let status = Command::new("node")
        .args(["--test", "--test-concurrency=1", "--test-reporter=spec"])
        .arg(root.join("tests/page").join(file))
        .env("WSKEEPER_BIN", env!("CARGO_BIN_EXE_wskeeper"))
        .env("WSKEEPER_ARTIFACTS", root.join("target/artifacts/page"))
        .status();
    assert!(status.is_ok_and(|status| status.success()), "{file}: see above");
}
