//! Many messages in one request: each line has its answer, and what finds no room is not overtaken.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    one,
    support::{daemon::Daemon, free_port, raw},
};

const PATH: &str = "/v1/endpoints/e/messages:batch";

async fn told(daemon: &Daemon, query: &str, lines: &str) -> Vec<String> {
    let answer = daemon.api.post(&format!("{PATH}{query}"), &[], lines.to_owned()).await.expect(200);
    let lines = std::str::from_utf8(&answer.body).unwrap().lines();
    let answers = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let word = |answer: Value| answer["state"].as_str().or(answer["type"].as_str()).unwrap_or_default().to_owned();
    answers.map(|answer| word(answer).replace("urn:wskeeper:problem:", "")).collect()
}

#[tokio::test]
async fn behind_a_line_that_found_no_room_nothing_is_tried_when_the_caller_says_so() {
    let daemon = Daemon::start(&one(free_port(), "/", "outbox = { max_messages = 2, max_message = \"8B\" }")).await;
    let lines = "\"long enough\"\n\"a\"\nno json\n\"b\"\n\"c\"\n\"long enough\"\n\"d\"\n";
    assert_eq!(
        told(&daemon, "?on_full=stop", lines).await,
        ["too-large", "queued", "bad-request", "queued", "outbox-full", "not-tried", "not-tried"]
    );
    assert_eq!(told(&daemon, "", "\"e\"\n\"long enough\"\n").await, ["outbox-full", "too-large"]);
    daemon.api.post(&format!("{PATH}?on_full=perhaps"), &[], "").await.expect(400);
}

#[tokio::test]
async fn every_line_of_a_pipe_arrives_in_order_through_an_outbox_of_three() {
    let port = raw::honest().await;
    let daemon = Daemon::start(&one(port, "/", "outbox = { max_messages = 3 }")).await;
    daemon.api.ready_after("e/0", 0).await;
    let socket = daemon.config().with_file_name("api.sock");
    let mut arriving = daemon.api.events("e", "from=latest&types=message").await;
    let sent = tokio::task::spawn_blocking(move || {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wskeeper"))
            .args(["send", "e", "--api", &format!("unix:{}", socket.display())])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines: Vec<String> = (0..500).map(|number| number.to_string()).collect();
        child.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    });
    let output = sent.await.unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "500 messages accepted\n");
    assert_eq!(output.status.code(), Some(0));
    for number in 0..500 {
        let (text, _) = arriving.next_of("message").await.payload();
        assert_eq!(String::from_utf8(text).unwrap(), number.to_string());
    }
}
