//! `send` against a scripted API: one message, and lines of stdin with everything that can become of them.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Output, Stdio},
};

use axum::{
    body::Bytes,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{Api, Asked, ok, problem, stderr, stdout};

#[test]
fn send_hands_on_what_it_is_told_and_shows_the_receipt() {
    let api = Api::start(|_, _| receipt("confirmed"));
    let args = [
        "send",
        "trades",
        "hello",
        "--wait",
        "confirmed",
        "--timeout",
        "2s",
        "--key",
        "a b",
        "--ttl",
        "5s",
        "--link",
        "1",
    ];
    let output = api.run(&args);
    assert_eq!(stdout(&output), "confirmed on trades/1  0123\n");
    assert_eq!(
        api.lines(),
        ["POST /v1/endpoints/trades/messages?wait=confirmed&timeout=2000ms&key=a%20b&ttl=5000ms&link=1"]
    );
    assert_eq!(api.asked.lock()[0].body, "hello");
}

#[test]
fn an_idempotency_key_is_of_one_message() {
    let api = Api::start(|_, _| receipt("queued"));
    let output = api.run(&["send", "orders", "--idempotency-key", "order 17", "buy"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(api.asked.lock()[0].headers["idempotency-key"], "order 17");
    for (rest, said) in
        [(&["one\u{e9}", "buy"][..], "visible ASCII"), (&["one"], "--idempotency-key is for one message")]
    {
        let output = api.run(&[&["send", "orders", "--idempotency-key"], rest].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
    assert_eq!(api.lines().len(), 1);
}

#[test]
fn lines_of_stdin_go_out_together_in_order_and_a_full_outbox_is_waited_for() {
    let api = Api::start(|asked, before| {
        let full = before == 0;
        batch(asked, |index, _| if full && index > 0 { refusal(429, "outbox-full", "x") } else { accepted("queued") })
    });
    let output = feed(api.command(&["send", "trades"]).stdin(Stdio::piped()).spawn().unwrap(), "one\ntwo\n\n\"4\"\n");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "4 messages accepted\n");
    let bodies: Vec<Bytes> = api.asked.lock().iter().map(|asked| asked.body.clone()).collect();
    assert_eq!(bodies, ["\"one\"\n\"two\"\n\"\"\n\"\\\"4\\\"\"\n", "\"two\"\n\"\"\n\"\\\"4\\\"\"\n"]);
    assert_eq!(api.lines(), ["POST /v1/endpoints/trades/messages:batch?on_full=stop"; 2]);
}

#[test]
fn with_no_retry_a_full_outbox_refuses_lines() {
    let api = Api::start(|asked, _| {
        batch(asked, |index, _| if index == 1 { refusal(429, "outbox-full", "4 held") } else { accepted("queued") })
    });
    let child = api.command(&["send", "t", "--no-retry", "--key", "k"]).stdin(Stdio::piped()).spawn().unwrap();
    let output = feed(child, "a\nb\nc\n");
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.starts_with("2 messages accepted, 1 refused\n"), "{text}");
    assert!(text.contains("1 line from line 2 on: outbox-full: 4 held (HTTP 429)"), "{text}");
    let asked = &api.asked.lock()[0];
    assert!(asked.line.ends_with("messages:batch?on_full=next"));
    let first: Value = serde_json::from_slice(asked.body.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    assert_eq!(first, json!({"data": "a", "key": "k", "ttl": null, "link": null, "generation": null}));
}

#[test]
fn with_wait_each_line_of_stdin_is_followed_to_its_state() {
    let api = Api::start(|_, before| match before {
        0 => receipt("confirmed"),
        1 => receipt("expired"),
        2 => {
            let body = json!({"type": "urn:x:not-reached", "title": "Not in time", "status": 504, "detail": "still queued",
                "receipt": accepted("queued")});
            (StatusCode::GATEWAY_TIMEOUT, body.to_string()).into_response()
        }
        _ => problem(413, "Too big", "x"),
    });
    let args = ["send", "trades", "--wait", "confirmed", "--json"];
    let output = feed(api.command(&args).stdin(Stdio::piped()).spawn().unwrap(), "a\nb\nc\nd\n");
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.starts_with("1 message accepted, 2 accepted but failed, 1 refused\n"), "{text}");
    assert!(text.contains("1 line from line 2 on: ended as expired"), "{text}");
    let states: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&states[0]["state"], &states[2]["receipt"]["state"]), (&json!("confirmed"), &json!("queued")));
    assert_eq!((states.len(), &states[3]["status"]), (4, &json!(413)));
    assert!(api.lines().iter().all(|line| line.contains("/messages?wait=confirmed&timeout=30000ms")));
}

#[test]
fn an_endpoint_that_does_not_exist_ends_a_send_at_once() {
    let api = Api::start(|_, _| problem(404, "No such thing", "no endpoint t"));
    let output = feed(api.command(&["send", "t"]).stdin(Stdio::piped()).spawn().unwrap(), "a\nb\n");
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert_eq!(
        text,
        "0 messages accepted, 2 read but not sent\nwskeeper send: No such thing: no endpoint t (HTTP 404)\n"
    );
}

#[test]
fn a_daemon_that_stops_ends_a_send_and_what_was_accepted_is_told() {
    let api = Api::start(|asked, _| {
        batch(asked, |index, _| if index > 0 { refusal(503, "draining", "stopping") } else { accepted("queued") })
    });
    let output = feed(api.command(&["send", "t", "--json"]).stdin(Stdio::piped()).spawn().unwrap(), "a\nb\nc\n");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), format!("{}\n", accepted("queued")));
    let text = stderr(&output);
    assert_eq!(text, "1 message accepted, 2 read but not sent\nwskeeper send: draining: stopping (HTTP 503)\n");
}

#[test]
fn lines_whose_answers_are_lost_are_counted_as_what_they_are() {
    let api = Api::start(|asked, _| batch(asked, |index, _| if index < 2 { accepted("queued") } else { Value::Null }));
    let output = feed(api.command(&["send", "t"]).stdin(Stdio::piped()).spawn().unwrap(), "a\nb\nc\n");
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.starts_with("2 messages accepted, 1 under way, so accepted or not\n"), "{text}");
    assert!(text.contains("2 of 3 lines were answered"), "{text}");
}

#[test]
fn binary_stdin_is_one_message_byte_for_byte() {
    let api = Api::start(|_, _| receipt("queued"));
    let output = feed(api.command(&["send", "trades", "--binary"]).stdin(Stdio::piped()).spawn().unwrap(), "a\nb\n\0");
    assert_eq!(output.status.code(), Some(0));
    let asked = api.asked.lock();
    assert_eq!(asked[0].body, "a\nb\n\0");
    assert_eq!(asked[0].headers["content-type"], "application/octet-stream");
}

#[test]
fn a_refused_line_is_exit_code_1_and_does_not_stop_the_others() {
    let api = Api::start(|asked, _| {
        let too_big = || refusal(413, "too-large", "outbox.max_message is 3");
        batch(asked, |_, line| if line.len() > 5 { too_big() } else { accepted("queued") })
    });
    let output = feed(api.command(&["send", "trades"]).stdin(Stdio::piped()).spawn().unwrap(), "one\nlong\nx\n");
    assert_eq!(output.status.code(), Some(1));
    let why = "  1 line from line 2 on: too-large: outbox.max_message is 3 (HTTP 413)\n";
    assert_eq!(stderr(&output), format!("2 messages accepted, 1 refused\n{why}"));
}

#[test]
fn a_message_that_ended_badly_or_late_is_a_failure() {
    let api =
        Api::start(
            |_, before| {
                if before == 0 { receipt("expired") } else { (StatusCode::GATEWAY_TIMEOUT, "{}").into_response() }
            },
        );
    let args = ["send", "trades", "x", "--wait", "written", "--timeout", "1s"];
    assert!(stderr(&api.run(&args)).contains("ended as expired"));
    let output = api.run(&args);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("accepted, but not written within 1s"), "{}", stderr(&output));
}

#[test]
fn ctrl_c_ends_a_send_well_and_says_how_many_were_accepted() {
    let api = Api::start(|asked, _| batch(asked, |_, _| accepted("queued")));
    let mut child = api.command(&["send", "trades", "--json"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"one\n").unwrap();
    // The receipt is printed once the line was accepted; stdin stays open.
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(input);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "stopped early: 1 message accepted\n");
}

pub(crate) fn accepted(state: &str) -> Value {
    json!({"id": "0123", "endpoint": "trades", "link": 1, "state": state, "bytes": 5, "generation": null, "reason": null,
        "acceptedAt": "2020-01-01T00:00:00.000Z", "updatedAt": "2020-01-01T00:00:00.000Z"})
}

fn refusal(status: u16, name: &str, detail: &str) -> Value {
    json!({"type": format!("urn:x:{name}"), "title": name, "status": status, "detail": detail})
}

fn receipt(state: &str) -> Response {
    ok(&accepted(state))
}

/// A line for each line; `null`: the answer breaks off.
fn batch(asked: &Asked, answer: impl Fn(usize, &str) -> Value) -> Response {
    let lines = std::str::from_utf8(&asked.body).unwrap().lines().enumerate();
    let answers = lines.map(|(index, line)| answer(index, line)).take_while(|answer| !answer.is_null());
    answers.flat_map(|answer| [answer.to_string(), "\n".into()]).collect::<String>().into_response()
}

fn feed(mut child: Child, text: &str) -> Output {
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}
