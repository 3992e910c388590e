//! Clients that ask and do not read.

use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

use crate::{
    inboxes::flooding,
    support::{PATIENCE, daemon::Daemon, until},
};

async fn ask(daemon: &Daemon, path: &str) -> UnixStream {
    let mut stream = UnixStream::connect(daemon.folder().join("api.sock")).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn readers_that_take_nothing_of_long_messages_are_counted_together() {
    const READERS: usize = 100;
    let port = flooding(4, 900_000).await;
    let sections = format!(
        "[limits]\nmemory = \"16MiB\"\n[endpoints.e]\nurl = \"ws://127.0.0.1:{port}/\"\ninbox.max_bytes = \"4MiB\"\n"
    );
    let daemon = Daemon::start(&sections).await;
    until("the messages", async || {
        let read = daemon.api.metric("wskeeper_messages_total{direction=\"in\",endpoint=\"e\",type=\"binary\"}").await;
        if read == Some(4.0) { Ok(()) } else { Err(read) }
    })
    .await;
    let before = daemon.memory();
    let (mut deaf, mut sockets) = (Vec::new(), Vec::new());
    for _ in 0..READERS {
        deaf.push(ask(&daemon, "/v1/endpoints/e/events?from=oldest").await);
        sockets.push(daemon.api.socket("e", "from=oldest", true).await);
    }
    // They have all been told something by the time that one who reads is told everything.
    let mut reader = daemon.api.events("e", "from=oldest&types=message").await;
    for stream in &mut deaf {
        stream.readable().await.unwrap();
    }
    let held = daemon.memory();
    assert!(held < before + (16 << 20) + (40 << 20), "{held} after {before}");
    // Room comes back when they have gone; nobody's message was lost for want of it.
    drop((deaf, sockets));
    for _ in 0..4 {
        assert_eq!(reader.next().await.kind, "message");
    }
}

/// Each ping has a pong, which waits until the client takes it.
#[tokio::test]
async fn a_client_that_pings_and_does_not_read_is_not_read_either() {
    const CLIENTS: u64 = 20;
    let daemon = Daemon::start("write_timeout = \"1s\"\n[endpoints.e]\nurl = \"ws://127.0.0.1:1/\"\n").await;
    let before = daemon.peak_memory();
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let pings = [&[0x89, 0xfd, 0, 0, 0, 0][..], &[b'p'; 125]].concat().repeat(400);
    let clients = (0..CLIENTS).map(async |_| {
        let mut stream = UnixStream::connect(daemon.folder().join("api.sock")).await.unwrap();
        let head = format!("GET /v1/endpoints/e/ws HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut sent = 0_u64;
        while stream.write_all(&pings).await.is_ok() {
            sent += pings.len() as u64;
            assert!(sent < 64 << 20, "it is read for ever");
        }
    });
    timeout(PATIENCE, futures_util::future::join_all(clients)).await.expect("each is cut off");
    let held = daemon.peak_memory() - before;
    assert!(held < CLIENTS * (512 << 10), "{held} bytes for {CLIENTS} clients");
}

/// Waits for as long as the header timeout: until a client that says nothing has been cut off for that.
async fn outlast_header_timeout(daemon: &Daemon) {
    let mut silent = UnixStream::connect(daemon.folder().join("api.sock")).await.unwrap();
    let ended = timeout(PATIENCE, silent.read_to_end(&mut Vec::new())).await;
    // How it is cut off is all the same.
    drop(ended.expect("it is never cut off"));
}

/// An answer of several hundred kilobytes.
async fn with_long_metrics(api: &str) -> Daemon {
    let endpoint = |index| format!("[endpoints.endpoint-{index}]\nurl = \"ws://127.0.0.1:1/\"\n");
    let endpoints = (0..150).map(endpoint).collect::<Vec<_>>().concat();
    Daemon::start(&format!("{api}\n[limits]\nmemory = \"64MiB\"\n{endpoints}")).await
}

#[tokio::test]
async fn an_answer_that_is_read_slowly_is_read_to_its_end() {
    let daemon = with_long_metrics("header_timeout = \"300ms\"\nwrite_timeout = \"10s\"").await;
    let whole = daemon.api.get("/metrics").await.expect(200).body.len();
    assert!(whole > 600_000, "{whole}");
    let mut stream = ask(&daemon, "/metrics").await;
    let (mut read, mut piece) = (0, vec![0; 128 << 10]);
    while read < whole {
        outlast_header_timeout(&daemon).await;
        let got = stream.read(&mut piece).await.unwrap();
        assert!(got > 0, "cut after {read} of {whole} bytes");
        read += got;
    }
}

#[tokio::test]
async fn a_reader_that_opens_no_window_is_cut_off_as_one_that_does_not_read() {
    let port = flooding(4, 100_000).await;
    let sections = format!(
        "header_timeout = \"300ms\"\nwrite_timeout = \"1s\"\n[endpoints.e]\nurl = \"ws://127.0.0.1:{port}/\"\n"
    );
    let daemon = Daemon::start(&sections).await;
    // None at all, and one in which any of the answers stands still.
    for (window, path) in [0, 100]
        .into_iter()
        .flat_map(|window| ["/metrics", "/v1/links", "/v1/endpoints/e/events?from=oldest"].map(|path| (window, path)))
    {
        let stream = UnixStream::connect(daemon.folder().join("api.sock")).await.unwrap();
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window).initial_connection_window_size(65_535);
        let (mut sender, connection) =
            builder.handshake::<_, http_body_util::Empty<bytes::Bytes>>(TokioIo::new(stream)).await.unwrap();
        let ended = tokio::spawn(connection);
        let request = http::Request::get(format!("http://localhost{path}")).body(http_body_util::Empty::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(timeout(PATIENCE, ended).await.is_ok(), "{path} with a window of {window} still stands");
        drop(answer);
    }
}

#[tokio::test]
async fn an_http_2_reader_that_is_slow_is_read_to_its_end() {
    let daemon = with_long_metrics("header_timeout = \"300ms\"\nwrite_timeout = \"10s\"").await;
    let stream = UnixStream::connect(daemon.folder().join("api.sock")).await.unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    let (mut sender, connection) =
        builder.handshake::<_, http_body_util::Empty<bytes::Bytes>>(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("http://localhost/metrics").body(http_body_util::Empty::new()).unwrap();
    let mut body = sender.send_request(request).await.unwrap().into_body();
    let (mut read, mut frames) = (0, 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.unwrap_or_else(|error| panic!("cut after {read} bytes: {error}"));
        read += frame.into_data().map_or(0, |data| data.len());
        frames += 1;
        if frames % 8 == 0 {
            outlast_header_timeout(&daemon).await;
        }
    }
    assert!(read > 600_000, "{read}");
}

#[tokio::test]
async fn sixteen_who_scrape_at_once_are_served_from_few_texts() {
    let daemon = with_long_metrics("").await;
    let texts = (0..16).map(async |_| daemon.api.get("/metrics").await.expect(200).body);
    let texts = futures_util::future::join_all(texts).await;
    // Each text says how much of the processor the daemon has had by then.
    let different: std::collections::HashSet<_> = texts.into_iter().collect();
    assert!(different.len() <= 4, "{}", different.len());
}
