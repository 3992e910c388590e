//! Random requests and random frames, a bounded number of each: the daemon answers or hangs up, and never falls.
//!
//! The cases of a run are drawn anew; a failure prints the input that caused it. `PROPTEST_CASES` sets how many.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    strategy::ValueTree,
    test_runner::TestRunner,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

use crate::{
    endpoint, one,
    support::{daemon::Daemon, free_port, raw, raw::Raw},
};

#[tokio::test]
async fn random_requests_get_an_answer_that_is_no_server_error() {
    let daemon = Daemon::start(&one(free_port(), "/", "")).await;
    let socket = daemon.config().with_file_name("api.sock");
    let (mut runner, strategy) = (TestRunner::default(), request());
    for _ in 0..cases() {
        let request = strategy.new_tree(&mut runner).unwrap().current();
        let answer = answer_to(&socket, &request).await;
        // 503 is what a link that is down may say, 504 what an awaited state not reached says.
        let fault = ["HTTP/1.1 500", "HTTP/1.1 501", "HTTP/1.1 502"].iter().any(|status| answer.starts_with(status));
        assert!(!fault, "{}\ngot\n{answer}", String::from_utf8_lossy(&request));
    }
    daemon.api.get("/livez").await.expect(200);
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

#[tokio::test]
async fn random_frames_end_a_connection_and_never_the_link() {
    let peer = Raw::listen().await;
    let honest = endpoint("honest", &format!("ws://127.0.0.1:{}/", raw::honest().await), "");
    let hasty = "[endpoints.e.reconnect]\nfirst = \"1ms\"\ninitial = \"1ms\"\nmax = \"5ms\"\npark_probe = \"5ms\"";
    let daemon = Daemon::start(&one(peer.port, "/", &format!("{hasty}{honest}"))).await;
    daemon.api.ready_after("honest/0", 0).await;
    let (mut runner, strategy) = (TestRunner::default(), vec(frame(), 1..6));
    for _ in 0..cases() {
        let frames = strategy.new_tree(&mut runner).unwrap().current().concat();
        let mut stream = peer.accept_and_send(&frames).await;
        let _ended = stream.shutdown().await;
    }
    let _stream = peer.accept_and_send(b"").await;
    daemon.api.link_until("e/0", "ready", |link| link["phase"] == "ready").await;
    assert_eq!(daemon.api.link("honest/0").await["generation"], 1);
    assert_eq!(daemon.api.metric("wskeeper_link_panics_total{endpoint=\"e\"}").await, Some(0.0));
}

fn cases() -> usize {
    env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64)
}

/// What comes back within a moment; nothing where the request is not complete and the daemon waits for more.
async fn answer_to(socket: &PathBuf, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(Path::new(socket)).await.unwrap();
    let _sent = stream.write_all(request).await;
    let _ended = stream.shutdown().await;
    let mut answer = [0; 2048];
    let read = timeout(Duration::from_secs(2), stream.read(&mut answer)).await;
    String::from_utf8_lossy(&answer[..read.map_or(0, Result::unwrap_or_default)]).into_owned()
}

/// Near-valid requests: every part is sometimes right and sometimes anything.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let method = prop_oneof![Just("GET".to_owned()), Just("POST".to_owned()), Just("DELETE".to_owned()), "[A-Z]{1,8}"];
    let segment = prop_oneof![
        3 => prop_oneof!["v1", "endpoints", "links", "messages", "e", "0", "events", "messages:batch", "close", "history", "ws"],
        1 => "[ -~]{0,12}",
        1 => "%[0-9a-fA-F]{0,2}[a-z]{0,3}",
    ];
    let query = prop_oneof![
        Just(String::new()),
        "\\?(from|limit|after|wait|timeout|ttl|link|type|key|types)=[ -~]{0,12}",
        "\\?[!-~]{0,20}",
    ];
    let header = prop_oneof![
        Just("host: localhost".to_owned()),
        Just("content-type: application/json".to_owned()),
        Just("content-type: text/plain".to_owned()),
        Just("upgrade: websocket\r\nconnection: upgrade".to_owned()),
        "(last-event-id|content-length|origin|idempotency-key|authorization|accept): [ -~]{0,16}",
        "[!-~]{1,12}: [ -~]{0,12}",
    ];
    let body = prop_oneof![
        Just(Vec::new()),
        vec(any::<u8>(), 0..64),
        "\\{\"code\": ?[0-9\"a-z]{0,6}\\}".prop_map(String::into_bytes)
    ];
    (method, vec(segment, 0..6), query, vec(header, 0..4), body).prop_map(|(method, path, query, headers, body)| {
        let length = body.len();
        let mut lines = vec![format!("{method} /{}{query} HTTP/1.1", path.join("/")), "host: localhost".to_owned()];
        lines.extend(headers);
        lines.push(format!("content-length: {length}\r\nconnection: close\r\n\r\n"));
        [lines.join("\r\n").into_bytes(), body].concat()
    })
}

/// A frame with a head that is often right, a body, and sometimes a length that is not its own.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let first =
        prop_oneof![Just(0x81_u8), Just(0x82), Just(0x88), Just(0x89), Just(0x8a), Just(0x01), Just(0x00), any::<u8>()];
    let length = prop_oneof![4 => Just(None), 1 => any::<u8>().prop_map(Some)];
    (first, length, vec(any::<u8>(), 0..125)).prop_map(|(first, length, body)| {
        let length = length.unwrap_or(u8::try_from(body.len()).unwrap());
        [&[first, length], body.as_slice()].concat()
    })
}
