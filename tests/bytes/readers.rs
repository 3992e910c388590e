//! Clients that ask and do not read.

use std::time::Duration;

use futures_util::StreamExt;
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::Instant,
};

use crate::{
    inboxes::flooding,
    support::{daemon::Daemon, until},
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

/// An answer of a few megabytes.
async fn with_long_metrics(api: &str) -> Daemon {
    let endpoints: String =
        (0..150).map(|index| format!("[endpoints.endpoint-{index}]\nurl = \"ws://127.0.0.1:1/\"\n")).collect();
    Daemon::start(&format!("{api}\n[limits]\nmemory = \"64MiB\"\n{endpoints}")).await
}

#[tokio::test]
async fn an_answer_that_is_read_slowly_is_read_to_its_end() {
    let daemon = with_long_metrics("header_timeout = \"300ms\"\nwrite_timeout = \"10s\"").await;
    let whole = daemon.api.get("/metrics").await.expect(200).body.len();
    assert!(whole > 600_000, "{whole}");
    let mut stream = ask(&daemon, "/metrics").await;
    let (began, mut read, mut piece) = (Instant::now(), 0, vec![0; 64 << 10]);
    while read < whole {
        // The pace of a slow reader, which takes several times the header timeout.
        tokio::time::sleep(Duration::from_millis(150)).await;
        let got = stream.read(&mut piece).await.unwrap();
        assert!(got > 0, "cut after {read} of {whole} bytes and {:?}", began.elapsed());
        read += got;
    }
    assert!(began.elapsed() > Duration::from_millis(900));
}

#[tokio::test]
async fn a_reader_that_opens_no_window_is_cut_off_as_one_that_does_not_read() {
    let daemon = with_long_metrics("header_timeout = \"300ms\"\nwrite_timeout = \"1s\"").await;
    let stream = UnixStream::connect(daemon.folder().join("api.sock")).await.unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    // Small enough for any answer to stand still in it.
    builder.initial_stream_window_size(1024).initial_connection_window_size(65_535);
    let (mut sender, connection) =
        builder.handshake::<_, http_body_util::Empty<bytes::Bytes>>(TokioIo::new(stream)).await.unwrap();
    let ended = tokio::spawn(connection);
    let request = http::Request::get("http://localhost/metrics").body(http_body_util::Empty::new()).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let end = tokio::time::timeout(Duration::from_secs(30), ended).await;
    assert!(end.is_ok(), "it still stands");
    drop(answer);
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
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }
    assert!(read > 600_000, "{read}");
}

#[tokio::test]
async fn sixteen_who_scrape_at_once_are_served_from_few_texts() {
    let daemon = with_long_metrics("").await;
    let mut streams = Vec::new();
    for _ in 0..16 {
        streams.push(ask(&daemon, "/metrics").await);
    }
    let all = futures_util::stream::iter(streams).map(|mut stream| async move {
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        String::from_utf8_lossy(&head).into_owned()
    });
    let heads: Vec<_> = all.buffered(16).collect().await;
    assert!(heads.iter().all(|head| head == "HTTP/1.1 200"), "{heads:?}");
}
