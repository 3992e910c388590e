//! A request's body, whole and in time.
//!
//! A body that trickles is refused with 408, however little of it is left: `api.body_timeout` is for all of it.

use std::{fmt::Display, pin::pin, sync::Arc};

use axum::{
    body::{Bytes, HttpBody},
    extract::{FromRequest, Request},
};
use bytes::BytesMut;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;

use super::{Shared, problem::Problem};

/// What a connection is read into.
const BUFFER: usize = 8 << 10;
/// A body that is copied.
const SMALL: usize = BUFFER / 2;

/// Refuses a body that is compressed (RFC 9110 §15.5.16): what arrives is sent as it is, and nobody could read it.
pub(super) fn look_at_coding(headers: &HeaderMap) -> Result<(), Problem> {
    let is_plain = |value: &HeaderValue| {
        value.to_str().is_ok_and(|list| list.split(',').all(|word| matches!(word.trim(), "" | "identity" | "Identity")))
    };
    if headers.get_all(header::CONTENT_ENCODING).iter().all(is_plain) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported-coding",
        "The body is compressed",
        "send it without Content-Encoding; to send compressed data as it is, send it as application/octet-stream and say in \
         the data itself what it is",
    ))
}

/// All of a body.
#[derive(Debug)]
pub(super) struct Whole(pub(super) Bytes);

impl FromRequest<Arc<Shared>> for Whole {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Problem> {
        Self::read(request.into_body(), shared).await
    }
}

impl Whole {
    /// Reads all of a body.
    pub(super) async fn read<B>(body: B, shared: &Shared) -> Result<Self, Problem>
    where
        B: HttpBody<Data = Bytes, Error: Display> + Unpin,
    {
        // Not read at all where it says itself that it is too large.
        if body.size_hint().lower() > shared.max_body as u64 {
            return Err(too_large());
        }
        let mut reading = pin!(collect(body, shared.max_body));
        // Most have come with their heads, and need no timer.
        let bytes = match reading.as_mut().now_or_never() {
            Some(read) => read,
            // In a box, as it is rare: it would make the future of every request larger.
            None => Box::pin(tokio::time::timeout(shared.body_timeout, reading))
                .await
                .map_err(|_| Problem::late_body("the body was not complete within api.body_timeout"))?,
        };
        bytes.map(Self)
    }
}

/// A body of one piece is copied only if it is small: it would keep a buffer for itself that is as large as [`BUFFER`], for as
/// long as the message is held.
async fn collect<B>(mut body: B, limit: usize) -> Result<Bytes, Problem>
where
    B: HttpBody<Data = Bytes, Error: Display> + Unpin,
{
    let (mut first, mut whole) = (Bytes::new(), BytesMut::new());
    while !body.is_end_stream()
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|error| Problem::bad_request(format!("the body cannot be read: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + whole.len() + data.len() > limit {
            return Err(too_large());
        }
        if first.is_empty() && whole.is_empty() {
            first = data;
            continue;
        }
        whole.extend_from_slice(&std::mem::take(&mut first));
        whole.extend_from_slice(&data);
    }
    Ok(match (whole.is_empty(), first.len()) {
        (false, _) => whole.freeze(),
        (true, ..=SMALL) => Bytes::copy_from_slice(&first),
        (true, _) => first,
    })
}

fn too_large() -> Problem {
    Problem::too_large("the body is larger than api.max_body")
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[tokio::test]
    async fn a_small_body_holds_nothing_but_itself() {
        let buffer = Bytes::from(vec![b'x'; BUFFER]);
        for (length, is_own) in [(0, true), (64, true), (SMALL, true), (SMALL + 1, false)] {
            let read = collect(Full::new(buffer.slice(..length)), BUFFER).await.unwrap();
            assert_eq!(read, buffer[..length]);
            assert_eq!(read.is_empty() || read.is_unique(), is_own, "{length}");
        }
    }
}
