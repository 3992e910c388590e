//! Bodies that do not come to their end, or are too large.

use tokio::io::AsyncWriteExt;

use super::bench::{Bench, rest};

const FEED: &str = "body_timeout = \"200ms\"\nmax_body = \"64KiB\"\n[endpoints.feed]\nurl = \"ws://127.0.0.1:1/\"";

async fn posted(path: &str, said: &str) -> String {
    let bench = Bench::new(FEED).await;
    let mut stream = bench.dial().await;
    let request = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{said}");
    stream.write_all(request.as_bytes()).await.unwrap();
    rest(&mut stream).await
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408_and_the_connection_ends() {
    let answer = posted("/v1/endpoints/feed/messages", "Content-Length: 10\r\n\r\nhell").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("urn:wskeeper:problem:body-timeout"), "{answer}");
    let answer = posted("/v1/links/feed/0/close", "Transfer-Encoding: chunked\r\n\r\n3\r\n{\"c").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn a_line_of_a_batch_that_does_not_come_to_its_end_ends_the_batch() {
    let said = "Transfer-Encoding: chunked\r\n\r\n8\r\n\"whole\"\n\r\n5\r\n\"half\r\n";
    let answer = posted("/v1/endpoints/feed/messages:batch", said).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("\"state\":\"queued\""), "{answer}");
    assert!(answer.contains("urn:wskeeper:problem:body-timeout"), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413() {
    let answer = posted("/v1/endpoints/feed/messages", "Content-Length: 70000\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("api.max_body"), "{answer}");
}
