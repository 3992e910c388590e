//! Server-sent events (WHATWG HTML §9.2): an answer's body that goes on, several events in one piece where several are there.
//!
//! What a reader would get wrong: `axum::response::Sse` makes a piece of the body of each event, which costs more than the event. A
//! comment is sent when nothing else has been for `api.keepalive`, so that proxies do not take the silence for an end.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use futures_util::{Stream, StreamExt};
use http::{HeaderValue, header};
use serde::Serialize;

use super::problem::unbuffered;

/// Sent at once, so that the client knows that it is heard; with what it waits before it connects again, in milliseconds.
pub(super) const HELLO: &[u8] = b"retry: 1000\n: wskeeper\n\n";
const KEEPALIVE: &[u8] = b":\n\n";

/// Events that leave together.
#[derive(Debug, Default)]
pub(super) struct Events(Vec<u8>);

impl Events {
    /// Adds one. Fails where the data cannot be written as JSON, which no type of ours does.
    pub(super) fn put(&mut self, id: Option<u64>, kind: &str, data: &impl Serialize) -> Result<(), serde_json::Error> {
        if let Some(id) = id {
            self.line("id: ", id.to_string().as_bytes());
        }
        self.line("event: ", kind.as_bytes());
        self.0.extend_from_slice(b"data: ");
        // JSON on one line: a line break in a text is escaped.
        serde_json::to_writer(&mut self.0, data)?;
        self.0.extend_from_slice(b"\n\n");
        Ok(())
    }

    /// Bytes of all.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// As a piece of the body.
    pub(super) fn into_bytes(self) -> Bytes {
        self.0.into()
    }

    fn line(&mut self, field: &str, value: &[u8]) {
        self.0.extend_from_slice(field.as_bytes());
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }
}

/// An answer that begins with `hello` and goes on with these pieces; `keepalive` is the longest silence.
pub(super) fn answer(
    hello: &'static [u8],
    pieces: impl Stream<Item = Result<Bytes, serde_json::Error>> + Send + 'static,
    keepalive: Duration,
) -> Response {
    let first = futures_util::stream::once(std::future::ready(Ok(Bytes::from_static(hello))));
    let kept = futures_util::stream::unfold(Box::pin(pieces), move |mut pieces| async move {
        let piece = match tokio::time::timeout(keepalive, pieces.next()).await {
            Ok(piece) => piece?,
            Err(_silence) => Ok(Bytes::from_static(KEEPALIVE)),
        };
        Some((piece, pieces))
    });
    let head = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    unbuffered((head, Body::from_stream(first.chain(kept))).into_response())
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use serde_json::json;
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn events_stand_one_after_another_each_with_an_empty_line_behind_it() {
        let mut events = Events::default();
        events.put(Some(7), "message", &json!({"data": "a\n\nb"})).unwrap();
        events.put(None, "gap", &json!({})).unwrap();
        let text = "id: 7\nevent: message\ndata: {\"data\":\"a\\n\\nb\"}\n\nevent: gap\ndata: {}\n\n";
        assert_eq!(events.into_bytes(), text);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silence_is_broken_by_a_comment_and_loses_no_piece() {
        let began = Instant::now();
        let pieces = futures_util::stream::once(async {
            tokio::time::sleep(Duration::from_secs(25)).await;
            Ok(Bytes::from_static(b"late"))
        });
        let body = answer(HELLO, pieces, Duration::from_secs(10)).into_body();
        let all = body.collect().await.unwrap().to_bytes();
        assert_eq!(all, [HELLO, KEEPALIVE, KEEPALIVE, b"late"].concat());
        assert_eq!(began.elapsed(), Duration::from_secs(25));
    }
}
