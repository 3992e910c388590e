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
        "refusing/0 is down: 503 Service Unavailable",
        "stalling/0 is connected",
        "None vanished.",
    ] {
        assert!(text.contains(part), "{part:?} is missing:\n{text}{}", stderr(&output));
    }
    let summary = text.rsplit("\n\n").next().unwrap();
    assert!(!summary.contains(" 0 confirmed") && !summary.starts_with("0 messages"), "{summary}");
}

/// What a shell of its own says first.
fn first_line(line: &str) -> Option<String> {
    let mut command = Command::new("sh");
    // As the leader of a shell's job, so that the whole of it can be ended.
    command.args(["-c", &format!("exec {}", line.trim())]).env_clear().env("PATH", "/usr/bin:/bin");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut second = command.spawn().unwrap();
    let first = BufReader::new(second.stdout.take().unwrap()).lines().next();
    let _ = second.kill();
    second.wait().unwrap();
    first.map(Result::unwrap)
}

/// The lines below "Try in another terminal" as a shell of its own gets them.
#[test]
fn what_the_demo_says_to_try_works_in_a_second_terminal() {
    let mut child = demo(&["--port", "0"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let page = lines.find(|line| line.starts_with("See it in a browser: ")).unwrap();
    assert!(page.ends_with('/') && page.contains("http://127.0.0.1:"), "{page}");
    assert!(lines.any(|line| line == "Try in another terminal:"));
    let tries: Vec<String> = lines.by_ref().take_while(|line| line.starts_with("  ")).collect();
    assert_eq!(tries.len(), 5);
    assert!(lines.any(|line| line.contains("is connected")), "it never said that a link is connected");
    for line in &tries {
        // A link that is down has no connection to break; it comes back within seconds.
        let tries = if line.contains(" chaos ") { 1000 } else { 1 };
        let first = (0..tries).find_map(|_| first_line(line));
        assert!(first.is_some_and(|first| !first.is_empty()), "{line} says nothing");
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    assert!(lines.any(|line| line.contains("None vanished.")), "no summary");
    assert_eq!(child.wait().unwrap().code(), Some(0));
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
