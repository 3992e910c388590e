//! What clients send and never finish, or send to nowhere.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};
use tokio_tungstenite::tungstenite::Message;

use crate::support::daemon::Daemon;

/// An endpoint that nobody answers, in a daemon that may hold 16 MiB.
const DOWN: &str =
    "[limits]\nmemory = \"16MiB\"\n[endpoints.e]\nurl = \"ws://127.0.0.1:1/\"\noutbox.max_message = \"1MiB\"\n";
/// What is not counted: buffers of connections, the heap's own waste.
const SLACK: u64 = 24 << 20;

async fn dial(daemon: &Daemon) -> UnixStream {
    UnixStream::connect(daemon.folder().join("api.sock")).await.unwrap()
}

/// Says it all, and answers with the status; 0 where there is none yet and the client waits no longer.
async fn say(stream: &mut UnixStream, head: &str, body: &[u8]) {
    stream.write_all(head.as_bytes()).await.unwrap();
    // The daemon may have refused it meanwhile, and not read it.
    let _sent = stream.write_all(body).await;
}

async fn status(stream: &mut UnixStream) -> u16 {
    let mut line = [0; 12];
    stream.read_exact(&mut line).await.unwrap();
    String::from_utf8_lossy(&line[9..]).parse().unwrap()
}

fn post(name: &str, length: usize) -> String {
    format!("POST /v1/endpoints/{name}/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")
}

#[tokio::test]
async fn a_body_that_will_not_be_used_is_refused_by_its_head() {
    let daemon = Daemon::start(DOWN).await;
    for (name, length, expected) in [("nowhere", 1000, 404), ("e", (1 << 20) + 1, 413), ("e", 20 << 20, 413)] {
        let mut stream = dial(&daemon).await;
        stream.write_all(post(name, length).as_bytes()).await.unwrap();
        let answered = tokio::time::timeout(Duration::from_secs(10), status(&mut stream)).await;
        assert_eq!(answered, Ok(expected), "{name} {length}: no byte of the body was sent");
    }
    let series = "wskeeper_outbox_refused_total{endpoint=\"e\",reason=\"too_big\"}";
    assert_eq!(daemon.api.metric(series).await, Some(2.0));
}

#[tokio::test]
async fn bodies_that_never_end_are_counted_and_refused_when_there_is_no_room() {
    let daemon = Daemon::start(DOWN).await;
    let before = daemon.memory();
    let (body, mut refused, mut open) = (vec![b'x'; (1 << 20) - 1], 0, Vec::new());
    for _ in 0..64 {
        let mut stream = dial(&daemon).await;
        say(&mut stream, &post("e", 1 << 20), &body).await;
        let answered = tokio::time::timeout(Duration::from_millis(50), status(&mut stream)).await;
        refused += u32::from(answered == Ok(429));
        open.push(stream);
    }
    assert!(refused >= 32, "{refused}");
    assert!(daemon.memory() < before + (16 << 20) + SLACK, "{} after {before}", daemon.memory());
    // A small message has come with its head, and needs none of that room.
    daemon.api.send_text("e", "small").await.expect(202);
}

#[tokio::test]
async fn keys_are_short_wherever_they_are_given() {
    let daemon = Daemon::start(DOWN).await;
    let (good, long) = ("k".repeat(512), "k".repeat(513));
    let path = |key: &str| format!("/v1/endpoints/e/messages?key={key}");
    daemon.api.post(&path(&good), &[], "x").await.expect(202);
    daemon.api.post(&path(&long), &[], "x").await.expect(400);
    let name = "n".repeat(256);
    daemon.api.post("/v1/endpoints/e/messages", &[("idempotency-key", &name)], "x").await.expect(400);
    let line = |key: &str, name: &str| format!("{{\"data\":\"x\",\"key\":\"{key}\",\"idempotencyKey\":\"{name}\"}}\n");
    let lines = [line(&good, "n"), line(&long, "n2"), line("k", &name)].concat();
    let answer = daemon.api.post("/v1/endpoints/e/messages:batch", &[], lines).await.expect(200);
    let statuses: Vec<_> = String::from_utf8(answer.body.to_vec())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["status"].clone())
        .collect();
    assert_eq!(statuses, [serde_json::Value::Null, 400.into(), 400.into()]);
    let mut socket = daemon.api.socket("e", "from=latest", true).await;
    let envelope = format!("{{\"type\":\"send\",\"data\":\"x\",\"key\":\"{long}\"}}");
    socket.send(Message::text(envelope)).await.unwrap();
    loop {
        let arrived = socket.next().await.unwrap().unwrap().into_text().unwrap();
        let told: serde_json::Value = serde_json::from_str(&arrived).unwrap();
        if told["type"] == "problem" {
            assert_eq!(told["problem"]["status"], 400);
            break;
        }
    }
}

#[tokio::test]
async fn a_frame_is_refused_by_its_head_and_frames_that_never_end_are_counted() {
    let daemon = Daemon::start(DOWN).await;
    let mut socket = daemon.api.socket("e", "from=latest", false).await;
    // Text of 15 MiB is announced, and nothing of it comes.
    let mut head = vec![0x81, 0xff];
    head.extend((15_u64 << 20).to_be_bytes());
    head.extend([0; 4]);
    socket.get_mut().write_all(&head).await.unwrap();
    let closed = loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Close(frame) => break frame.unwrap(),
            _other => {}
        }
    };
    assert_eq!(u16::from(closed.code), 1009);

    let before = daemon.memory();
    let (mut sockets, part) = (Vec::new(), vec![0; (1 << 20) - 16]);
    for _ in 0..48 {
        let mut socket = daemon.api.socket("e", "from=latest", false).await;
        let mut head = vec![0x82, 0xff];
        head.extend((1_u64 << 20).to_be_bytes());
        head.extend([0; 4]);
        socket.get_mut().write_all(&head).await.unwrap();
        // It may be closed meanwhile.
        let _sent = socket.get_mut().write_all(&part).await;
        sockets.push(socket);
    }
    let mut refused = 0;
    for socket in &mut sockets {
        let arrived = tokio::time::timeout(Duration::from_millis(50), socket.next()).await;
        refused +=
            u32::from(matches!(arrived, Ok(Some(Ok(Message::Close(Some(frame))))) if u16::from(frame.code) == 1013));
    }
    assert!(refused >= 24, "{refused}");
    assert!(daemon.memory() < before + (16 << 20) + SLACK, "{} after {before}", daemon.memory());
}
