//! A request's body, whole and in time.
//!
//! Nothing is read of a body that will not be used: a message's endpoint is looked at first, and what says itself that it is too
//! long is refused by its head. What arrives in pieces counts in the budget while it does. A body that trickles is refused with
//! 408, however little of it is left: `api.body_timeout` is for all of it.

use std::{fmt::Display, pin::pin, sync::Arc};

use axum::{
    body::{Bytes, HttpBody},
    extract::{FromRequest, Request},
};
use bytes::BytesMut;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, StatusCode, header};
use http_body_util::BodyExt as _;

use super::{Shared, links::no_endpoint, problem::Problem};
use wskeeper_core::budget::{Budget, Rank};

/// What a connection is read into.
const BUFFER: usize = 8 << 10;
/// A body that is copied.
const SMALL: usize = BUFFER / 2;

/// Refuses a body that is compressed, whichever header says so (RFC 9110 §15.5.16, RFC 9112 §6.1): what arrives is sent as it is, and
/// nobody could read it.
pub(super) fn look_at_coding(headers: &HeaderMap) -> Result<(), Problem> {
    // Chunked once is how a body is sent; twice, or after another coding, there is more to undo than is undone here.
    let mut codings = words(headers, &header::TRANSFER_ENCODING).enumerate();
    if !codings.all(|(place, word)| place == 0 && word.eq_ignore_ascii_case("chunked")) {
        return Err(Problem::new(
            StatusCode::NOT_IMPLEMENTED,
            "unsupported-transfer-coding",
            "The transfer coding is not understood",
            "send the body as it is: with a Content-Length, or with `Transfer-Encoding: chunked` alone",
        ));
    }
    if words(headers, &header::CONTENT_ENCODING).all(|word| word.eq_ignore_ascii_case("identity")) {
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

/// The words of the lists in all headers of this name.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    // What is no text is no word that is known.
    let lists = headers.get_all(name).into_iter().map(|value| value.to_str().unwrap_or("?"));
    lists.flat_map(|list| list.split(',')).map(str::trim).filter(|word| !word.is_empty())
}

/// All of a body.
#[derive(Debug)]
pub(super) struct Whole(pub(super) Bytes);

impl FromRequest<Arc<Shared>> for Whole {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let read = read(request.into_body(), shared, shared.max_body).await;
        read.map(Self).map_err(|fault| fault.problem(shared))
    }
}

/// Reads a body that may have so many bytes.
pub(super) async fn up_to(longest: usize, body: axum::body::Body, shared: &Shared) -> Result<Bytes, Problem> {
    let read = read(body, shared, longest.min(shared.max_body)).await;
    read.map_err(|fault| match fault {
        Fault::TooLong(bytes) if longest <= shared.max_body => {
            Problem::too_large(format!("the body has {bytes} bytes or more; at most {longest} are read here"))
        }
        fault @ (Fault::TooLong(_) | Fault::NoRoom | Fault::Late | Fault::Unreadable(_)) => fault.problem(shared),
    })
}

/// Reads a message for this endpoint.
pub(super) async fn message<B>(body: B, shared: &Shared, endpoint: &str) -> Result<Bytes, Problem>
where
    B: HttpBody<Data = Bytes, Error: Display> + Unpin,
{
    let longest = shared.pool.longest(endpoint).ok_or_else(|| no_endpoint(endpoint))?;
    let read = read(body, shared, longest.min(shared.max_body)).await;
    read.map_err(|fault| match fault {
        Fault::TooLong(bytes) if longest <= shared.max_body => shared.pool.too_long(endpoint, bytes).into(),
        fault @ (Fault::TooLong(_) | Fault::NoRoom | Fault::Late | Fault::Unreadable(_)) => fault.problem(shared),
    })
}

/// Why there is no body.
#[derive(Debug)]
enum Fault {
    /// It has so many bytes, at least.
    TooLong(usize),
    NoRoom,
    Late,
    Unreadable(String),
}

impl Fault {
    fn problem(self, shared: &Shared) -> Problem {
        match self {
            Self::TooLong(bytes) => {
                Problem::too_large(format!("the body has {bytes} bytes or more; api.max_body is {}", shared.max_body))
            }
            Self::NoRoom => Problem::no_room(),
            Self::Late => Problem::late_body("the body was not complete within api.body_timeout"),
            Self::Unreadable(why) => Problem::bad_request(format!("the body cannot be read: {why}")),
        }
    }
}

async fn read<B>(body: B, shared: &Shared, limit: usize) -> Result<Bytes, Fault>
where
    B: HttpBody<Data = Bytes, Error: Display> + Unpin,
{
    // Not read at all where it says itself that it is too long.
    let claimed = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if claimed > limit {
        return Err(Fault::TooLong(claimed));
    }
    let mut reading = pin!(collect(body, limit, claimed, shared.pool.budget()));
    // Most have come with their heads, and need no timer.
    match reading.as_mut().now_or_never() {
        Some(read) => read,
        // In a box, as it is rare: it would make the future of every request larger.
        None => Box::pin(tokio::time::timeout(shared.body_timeout, reading)).await.unwrap_or(Err(Fault::Late)),
    }
}

/// A body of one piece is copied only if it is small: it would keep a buffer for itself that is as large as [`BUFFER`], for as
/// long as the message is held.
async fn collect<B>(mut body: B, limit: usize, claimed: usize, budget: &Arc<Budget>) -> Result<Bytes, Fault>
where
    B: HttpBody<Data = Bytes, Error: Display> + Unpin,
{
    let (mut first, mut whole, mut lease) = (Bytes::new(), BytesMut::new(), None);
    while !body.is_end_stream()
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|error| Fault::Unreadable(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        let length = first.len() + whole.len() + data.len();
        if length > limit {
            return Err(Fault::TooLong(length));
        }
        if !body.is_end_stream() && !lease.get_or_insert_with(|| budget.lease(Rank::Arriving)).resize(length as u64) {
            return Err(Fault::NoRoom);
        }
        if first.is_empty() && whole.is_empty() {
            first = data;
            continue;
        }
        if whole.is_empty() {
            // Memory that is not written to is not taken.
            whole.reserve(claimed.max(length));
            whole.extend_from_slice(&std::mem::take(&mut first));
        }
        whole.extend_from_slice(&data);
    }
    Ok(match (whole.is_empty(), first.len()) {
        // One that did not say how long it is may have grown a buffer of twice its length.
        (false, _) if whole.capacity() > whole.len() + whole.len() / 4 => Bytes::copy_from_slice(&whole),
        (false, _) => whole.freeze(),
        (true, ..=SMALL) => Bytes::copy_from_slice(&first),
        (true, _) => first,
    })
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    use super::*;

    #[test]
    fn a_coded_body_is_refused_whichever_header_says_so() {
        let (te, ce) = (header::TRANSFER_ENCODING, header::CONTENT_ENCODING);
        let look = |name: &HeaderName, values: &[&'static str]| {
            let values = values.iter().map(|value| (name.clone(), http::HeaderValue::from_static(value)));
            look_at_coding(&values.collect()).map_err(|problem| problem.json()["status"].as_u64().unwrap_or_default())
        };
        for values in [&[][..], &["chunked"], &["Chunked"], &[" chunked , "]] {
            assert_eq!(look(&te, values), Ok(()), "{values:?}");
        }
        for values in [
            &["gzip, chunked"][..],
            &["gzip", "chunked"],
            &["chunked, chunked"],
            &["chunked", "chunked"],
            &["identity, chunked"],
            &["chunked;a=b"],
        ] {
            assert_eq!(look(&te, values), Err(501), "{values:?}");
        }
        for values in [&["identity"][..], &["IDENTITY"], &[""], &["identity, identity"]] {
            assert_eq!(look(&ce, values), Ok(()), "{values:?}");
        }
        for values in [&["gzip"][..], &["identity", "br"], &["identity, zstd"]] {
            assert_eq!(look(&ce, values), Err(415), "{values:?}");
        }
    }

    #[tokio::test]
    async fn a_small_body_holds_nothing_but_itself() {
        let (buffer, budget) = (Bytes::from(vec![b'x'; BUFFER]), Budget::new(0));
        for (length, is_own) in [(0, true), (64, true), (SMALL, true), (SMALL + 1, false)] {
            let read = collect(Full::new(buffer.slice(..length)), BUFFER, length, &budget).await.unwrap();
            assert_eq!(read, buffer[..length]);
            assert_eq!(read.is_empty() || read.is_unique(), is_own, "{length}");
        }
    }

    #[tokio::test]
    async fn a_body_in_pieces_counts_while_it_arrives_and_no_more_than_there_is_room_for() {
        let pieces = |count: usize| {
            let frames = (0..count).map(|_| Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(&[b'x'; 100]))));
            StreamBody::new(stream::iter(frames.collect::<Vec<_>>()))
        };
        let budget = Budget::new(1000);
        assert_eq!(collect(pieces(10), 2000, 0, &budget).await.unwrap().len(), 1000);
        assert!(matches!(collect(pieces(11), 2000, 0, &budget).await, Err(Fault::NoRoom)));
        assert!(matches!(collect(pieces(9), 800, 0, &budget).await, Err(Fault::TooLong(900))));
        assert_eq!(budget.used(), 0);
    }
}
