//! What clients send and never finish, or send to nowhere.

use futures_util::{FutureExt, SinkExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{PATIENCE, api::Socket, daemon::Daemon};

/// An endpoint that nobody answers, in a daemon that may hold 16 MiB.
const DOWN: &str =
    "[limits]\nmemory = \"16MiB\"\n[endpoints.e]\nurl = \"ws://127.0.0.1:1/\"\noutbox.max_message = \"1MiB\"\n";
/// What is not counted: buffers of connections, the heap's own waste.
const SLACK: u64 = 24 << 20;

async fn dial(daemon: &Daemon) -> UnixStream {
    UnixStream::connect(daemon.folder().join("api.sock")).await.unwrap()
}

/// Says it all, and hears nothing yet.
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

/// Waits until so many of them have their answer; the others go on waiting, for as long as their connections are kept.
async fn answered<T>(
    mut all: FuturesUnordered<BoxFuture<'_, T>>,
    most: usize,
) -> (Vec<T>, FuturesUnordered<BoxFuture<'_, T>>) {
    let mut answers = Vec::new();
    while answers.len() < most {
        match timeout(PATIENCE, all.next()).await {
            Ok(answer) => answers.push(answer.unwrap()),
            Err(late) => panic!("{} of {most} have their answer: {late}", answers.len()),
        }
    }
    (answers, all)
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
        let answered = timeout(PATIENCE, status(&mut stream)).await;
        assert_eq!(answered, Ok(expected), "{name} {length}: no byte of the body was sent");
    }
    let series = "wskeeper_outbox_refused_total{endpoint=\"e\",reason=\"too_big\"}";
    assert_eq!(daemon.api.metric(series).await, Some(2.0));
}

#[tokio::test]
async fn a_client_that_writes_all_before_it_reads_has_its_answer_too() {
    let daemon = Daemon::start(DOWN).await;
    let body = vec![b'x'; 8 << 20];
    for (name, expected) in [("nowhere", 404), ("e", 413)] {
        let mut stream = dial(&daemon).await;
        stream.write_all(post(name, body.len()).as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap_or_else(|error| panic!("{name}: cut off while it writes: {error}"));
        assert_eq!(timeout(PATIENCE, status(&mut stream)).await, Ok(expected), "{name}");
    }
}

#[tokio::test]
async fn bodies_that_never_end_are_counted_and_refused_when_there_is_no_room() {
    let daemon = Daemon::start(DOWN).await;
    let before = daemon.memory();
    let (body, mut open) = (vec![b'x'; (1 << 20) - 1], Vec::new());
    for _ in 0..64 {
        let mut stream = dial(&daemon).await;
        say(&mut stream, &post("e", 1 << 20), &body).await;
        open.push(stream);
    }
    // A quarter of the memory has room for four.
    let all = open.iter_mut().map(|stream| status(stream).boxed()).collect();
    let (answers, _waiting) = answered(all, 60).await;
    assert_eq!(answers, [429; 60]);
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

/// The code that it is closed with; `None`: it is cut off.
async fn closing(socket: &mut Socket) -> Option<u16> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return None,
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
    assert_eq!(timeout(PATIENCE, closing(&mut socket)).await, Ok(Some(1009)));

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
    let all = sockets.iter_mut().map(|socket| closing(socket).boxed()).collect();
    let (codes, _waiting) = answered(all, 44).await;
    assert_eq!(codes, [Some(1013); 44]);
    assert!(daemon.memory() < before + (16 << 20) + SLACK, "{} after {before}", daemon.memory());
}
