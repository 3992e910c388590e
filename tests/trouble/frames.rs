//! The live look at frames: what is really on the wire, both ways, and payloads only for those who may.

use std::{fs, process::Command};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::{
    QUICK,
    chaos::inject,
    one,
    support::{
        daemon::Daemon,
        raw::{self, Raw},
        sse::Events,
        until,
    },
};

fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    [raw::head(opcode, payload.len() as u64), payload.to_vec()].concat()
}

/// The next frame but those of the heartbeat.
async fn seen(frames: &mut Events) -> Value {
    loop {
        let frame = frames.next_of("frame").await.data;
        if frame["opcode"] != "ping" || frame["direction"] == "in" {
            return frame;
        }
    }
}

fn gist(frame: &Value) -> (String, String, u64) {
    let text = |key: &str| frame[key].as_str().unwrap().to_owned();
    (text("direction"), text("opcode"), frame["bytes"].as_u64().unwrap())
}

fn said(direction: &str, opcode: &str, bytes: u64) -> (String, String, u64) {
    (direction.into(), opcode.into(), bytes)
}

#[tokio::test]
async fn every_frame_is_told_both_ways_with_its_answers_and_without_what_is_in_it() {
    let peer = Raw::listen().await;
    let daemon = Daemon::start(&format!("{QUICK}{}", one(peer.port, "heartbeat = { idle = \"1m\" }"))).await;
    let mut stream = peer.accept_and_send(b"").await;
    daemon.api.ready_after("e/0", 0).await;
    for none in ["/v1/endpoints/e/frames?link=9", "/v1/endpoints/e/events?stream=nix"] {
        let told = daemon.api.get(none).await.expect(404).json();
        assert!(told["detail"].as_str().unwrap().ends_with(|end: char| end.is_alphanumeric()), "{told}");
    }
    let mut frames = daemon.api.frames("e", "").await;
    stream.write_all(&frame(1, b"hush-hush")).await.unwrap();
    let first = seen(&mut frames).await;
    assert_eq!(gist(&first), said("in", "text", 9));
    assert_eq!((&first["link"], &first["generation"]), (&json!("e/0"), &json!(1)));
    daemon.api.send_binary("e", vec![0; 300_000]).await.expect(202);
    let out = seen(&mut frames).await;
    assert_eq!(gist(&out), said("out", "binary", 300_000), "fragments are one message");
    while raw::read_frame(&mut stream).await.unwrap().0 & 0x80 == 0 {}
    stream.write_all(&frame(9, b"hush?")).await.unwrap();
    let ping = seen(&mut frames).await;
    assert_eq!(gist(&ping), said("in", "ping", 5));
    let answered = seen(&mut frames).await;
    assert_eq!(gist(&answered), said("out", "pong", 5), "the answer that goes out by itself");
    stream.write_all(&frame(8, b"\x03\xe9away")).await.unwrap();
    let close = seen(&mut frames).await;
    assert_eq!(gist(&close), said("in", "close", 6));
    assert_eq!((&close["code"], &close["reason"]), (&json!(1001), &json!("away")));
    let answer = seen(&mut frames).await;
    assert_eq!(
        (gist(&answer).1.as_str(), &answer["direction"], &answer["code"]),
        ("close", &json!("out"), &json!(1001))
    );
    for frame in [first, out, ping, answered] {
        assert!(frame.get("data").is_none() && !frame.to_string().contains("hush"), "{frame}");
    }
}

#[tokio::test]
async fn a_close_of_ours_is_told_once_and_the_peers_answer_to_it_once() {
    let peer = Raw::listen().await;
    let daemon = Daemon::start(&format!("{QUICK}{}", one(peer.port, "heartbeat = { idle = \"1m\" }"))).await;
    let mut stream = peer.accept_and_send(b"").await;
    daemon.api.ready_after("e/0", 0).await;
    let mut frames = daemon.api.frames("e", "").await;
    daemon.api.post("/v1/links/e/0/reconnect", &[], "").await.expect(200);
    assert_eq!(raw::close_code(&mut stream).await, Some(1000));
    stream.write_all(&frame(8, b"\x03\xe8")).await.unwrap();
    drop(stream);
    let mut stream = peer.accept_and_send(&frame(1, b"next")).await;
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(gist(&seen(&mut frames).await));
    }
    assert_eq!(told, [said("out", "close", 2), said("in", "close", 2), said("in", "text", 4)]);
    inject(&daemon.api, &json!({"fault": "close", "code": 4000})).await.expect(200);
    assert_eq!(raw::close_code(&mut stream).await, Some(4000));
    let answer = seen(&mut frames).await;
    assert_eq!((gist(&answer), &answer["code"]), (said("out", "close", 2), &json!(4000)));
}

#[tokio::test]
async fn payloads_are_shown_to_admins_who_ask_for_them() {
    let peer = Raw::listen().await;
    let token = |name: &str, scopes: &str| {
        format!("[[api.tokens]]\nname = \"{name}\"\ntoken = \"${{file:{{folder}}/{name}}}\"\nscopes = {scopes}\n")
    };
    let tokens = token("reader", r#"["read"]"#) + &token("boss", r#"["read", "admin"]"#);
    let mut daemon = Daemon::made(&format!("{tokens}{}", one(peer.port, "")));
    for name in ["reader", "boss"] {
        fs::write(daemon.folder().join(name), name).unwrap();
    }
    daemon.launch();
    let mut stream = peer.accept_and_send(b"").await;
    daemon.ready().await;
    let reader = daemon.api.clone().with_token("reader");
    reader.get("/v1/endpoints/e/frames?payloads=true").await.expect(403);
    let boss = daemon.api.clone().with_token("boss");
    let (mut plain, mut shown) = (reader.frames("e", "").await, boss.frames("e", "payloads=true").await);
    stream.write_all(&frame(1, b"hello")).await.unwrap();
    stream.write_all(&frame(2, &[0xff; 5000])).await.unwrap();
    assert_eq!(seen(&mut shown).await["data"], "hello");
    let long = seen(&mut shown).await;
    assert_eq!(
        (&long["truncated"], long["data"].as_str().map(str::len)),
        (&json!(true), Some(4096_usize.div_ceil(3) * 4))
    );
    assert!(seen(&mut plain).await.get("data").is_none(), "another's wish does not show them to everybody");
}

#[tokio::test]
async fn the_verb_prints_frames_as_lines() {
    let port = raw::honest().await;
    let daemon = Daemon::start(&one(port, "")).await;
    daemon.api.ready_after("e/0", 0).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_wskeeper"));
    let address = format!("unix:{}", daemon.folder().join("api.sock").display());
    command.args(["--api", &address, "tail", "e", "--frames", "--payloads", "--link", "0", "--count", "2"]);
    let printed = tokio::task::spawn_blocking(move || command.output().unwrap());
    let printed = std::cell::RefCell::new(printed);
    // It may not look yet when the first ones go by.
    until("two frames", || async {
        daemon.api.send_text("e", "echo me").await.expect(202);
        if printed.borrow().is_finished() { Ok(()) } else { Err("it still waits") }
    })
    .await;
    let output = printed.into_inner().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    for line in lines {
        assert!(line.contains("e/0 #1 text 7 B  echo me"), "{line}");
        assert!(line.contains(" → ") || line.contains(" ← "), "{line}");
    }
}
