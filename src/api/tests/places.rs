//! A full house, silent clients, and what a probe sees of them.

use std::{io::ErrorKind, time::Duration};

use tokio::io::AsyncWriteExt;

use super::bench::{Bench, rest, until};
use crate::config::parse_toml;

const FEED: &str = "[endpoints.feed]\nurl = \"ws://127.0.0.1:1/\"";

#[tokio::test]
async fn a_full_house_answers_probes_and_refuses_the_rest_at_once() {
    let bench = Bench::new("max_connections = 2\nheader_timeout = \"1min\"").await;
    let _silent = (bench.dial().await, bench.dial().await);
    let (status, body) =
        until("a full house", async || Some(bench.get("/v1/links").await).filter(|it| it.0 != 200)).await;
    assert_eq!(status, 503);
    assert!(body.contains("urn:wskeeper:problem:connections-full"), "{body}");
    assert_eq!(bench.get("/livez").await.0, 200);
    assert_eq!(bench.get("/readyz").await.0, 200);
    let (_, metrics) = bench.get("/metrics").await;
    assert!(metrics.contains("\nwskeeper_api_connections 2\n"), "{metrics}");
    assert!(metrics.contains("\nwskeeper_api_connections_limit 2\n"), "{metrics}");
    assert!(!metrics.contains("\nwskeeper_api_connections_refused_total 0\n"), "{metrics}");
}

#[tokio::test]
async fn a_flood_of_silent_connections_does_not_starve_a_probe() {
    let bench = Bench::new("max_connections = 2\nheader_timeout = \"1min\"").await;
    let mut flood = Vec::new();
    for round in 0..5 {
        for _ in 0..50 {
            flood.push(bench.dial().await);
        }
        assert_eq!(bench.get("/livez").await.0, 200, "round {round}");
    }
    // Those in the reserve have been pushed out by later ones, the first two keep their places.
    let pushed_out = tokio::time::timeout(Duration::from_secs(3), rest(&mut flood[2])).await;
    assert_eq!(pushed_out.as_deref(), Ok(""));
    assert!(matches!(flood[0].try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock));
}

#[tokio::test]
async fn a_client_that_says_nothing_or_half_a_head_loses_its_place() {
    let bench = Bench::new("max_connections = 3\nheader_timeout = \"200ms\"").await;
    for said in ["", "PRI * HTT", "GET /livez HTTP/1.1\r\nHost: local", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = bench.dial().await;
        stream.write_all(said.as_bytes()).await.unwrap();
        let _ = rest(&mut stream).await;
    }
    until("a free house", async || {
        bench.get("/metrics").await.1.contains("\nwskeeper_api_connections 1\n").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_was_used_and_is_idle_is_closed() {
    let bench = Bench::new("header_timeout = \"200ms\"").await;
    let mut stream = bench.dial().await;
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert!(rest(&mut stream).await.contains("alive"));
}

#[tokio::test]
async fn an_event_stream_outlives_the_time_for_a_head() {
    let bench = Bench::new(&format!("header_timeout = \"50ms\"\nkeepalive = \"100ms\"\n{FEED}")).await;
    let mut stream = bench.dial().await;
    stream.write_all(b"GET /v1/endpoints/feed/events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut seen = String::new();
    until("five comments", async || {
        let mut bytes = [0; 1024];
        let read = tokio::io::AsyncReadExt::read(&mut stream, &mut bytes).await.unwrap();
        assert!(read > 0, "the stream ended after {seen:?}");
        seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
        (seen.matches("\n:").count() >= 5).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_websocket_keeps_its_place_for_its_whole_life() {
    let bench = Bench::new(&format!("max_connections = 1\nheader_timeout = \"100ms\"\n{FEED}")).await;
    let socket = bench.socket("/v1/endpoints/feed/ws", None).await;
    assert_eq!(bench.get("/v1/links").await.0, 503);
    assert!(bench.try_socket("/v1/endpoints/feed/ws", None).await.is_err());
    drop(socket);
    until("a free place", async || (bench.get("/v1/links").await.0 == 200).then_some(())).await;
}

#[tokio::test]
async fn a_stop_waits_until_websockets_are_told() {
    let bench = Bench::new(FEED).await;
    let mut socket = bench.socket("/v1/endpoints/feed/ws", None).await;
    bench.stop().await;
    loop {
        let next = futures_util::StreamExt::next(&mut socket).await.unwrap().unwrap();
        if let tokio_tungstenite::tungstenite::Message::Close(Some(frame)) = next {
            assert_eq!(u16::from(frame.code), 1001);
            return;
        }
    }
}

#[tokio::test]
async fn a_reloaded_listen_address_does_not_change_what_host_is_served() {
    let bench = Bench::new(FEED).await;
    let ask = "GET /v1/links HTTP/1.1\r\nHost: 10.1.2.3\r\nConnection: close\r\n\r\n";
    assert_eq!(bench.ask(ask).await.0, 421);
    for listen in ["unix:/run/elsewhere.sock", "127.0.0.2:7700"] {
        let text = format!("[api]\nlisten = {listen:?}\n{FEED}");
        bench.apply(parse_toml(&text, "test.toml").unwrap()).await;
        assert_eq!(bench.ask(ask).await.0, 421, "{listen}");
        assert_eq!(bench.get("/v1/links").await.0, 200, "{listen}");
    }
}
