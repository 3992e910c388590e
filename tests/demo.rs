//! The demo as a newcomer meets it: the real binary, from the first line to the summary.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Command, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

fn demo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wskeeper"));
    command.arg("demo").args(args).env_remove("WSKEEPER_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn within_seconds_links_are_held_lost_and_held_again_and_messages_confirmed() {
    let output = demo(&["--port", "0", "--for", "9s"]).output().unwrap();
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    for part in [
        "holds three links",
        "wskeeper status --watch",
        "dropping/0 is connected",
        "dropping/0 is down",
        "dropping/0 is connected again",
        "refusing/0 is down: the server refused the WebSocket upgrade",
        "stalling/0 is connected",
        "None vanished.",
    ] {
        assert!(text.contains(part), "{part:?} is missing:\n{text}{}", stderr(&output));
    }
    let summary = text.lines().last().unwrap();
    assert!(!summary.contains(" 0 confirmed") && !summary.starts_with("0 messages"), "{summary}");
}

#[test]
fn a_taken_port_is_said_and_another_one_used() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = demo(&["--port", &port, "--for", "1s"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains(&format!("Port {port} is taken")), "{}", stderr(&output));
    assert!(!stdout(&output).contains(&format!(":{port}")));
}

#[test]
fn ctrl_c_ends_the_demo_with_its_summary() {
    let mut child = demo(&["--port", "0"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("is connected")), "it never said that a link is connected");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    assert!(lines.any(|line| line.contains("None vanished.")), "no summary");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
