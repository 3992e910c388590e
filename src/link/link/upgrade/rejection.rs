//! What a server says when it refuses an upgrade, read for a moment, and without what is secret.
//!
//! What a reader would get wrong: the answer is known already, so nothing here can fail, and nothing may hold it up: a body that is slow or
//! has no end is kept as far as it has come.

use std::{sync::Arc, time::Duration};

use h2::RecvStream;
use http::{HeaderMap, HeaderName, header};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::timeout,
};

use super::Wish;
use wskeeper_core::{
    confidences::{Confidences, HIDDEN, confidences},
    rejection::{MOST_BODY, Rejection},
};

/// A body is waited for so long.
const PATIENCE: Duration = Duration::from_millis(500);
/// What the sizes of chunks may take beside what is kept of the body.
const CHUNKS: usize = 4 << 10;
/// Headers whose values are for nobody.
const PRIVATE: [HeaderName; 5] = [
    header::SET_COOKIE,
    header::COOKIE,
    header::AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
];

/// Reads as much of the body as is kept and comes in time; `came` has come already.
pub(super) async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    headers: &HeaderMap,
    mut came: Vec<u8>,
    wish: &Wish<'_>,
) -> Arc<Rejection> {
    let form = Form::of(headers);
    let most = form.most();
    let reading = async {
        while came.len() < most && !form.is_whole(&came) {
            came.reserve(most.min(1 << 10));
            // Where it breaks off is where it ends.
            if stream.read_buf(&mut came).await.unwrap_or_default() == 0 {
                return form == Form::UntilEnd;
            }
        }
        form.is_whole(&came)
    };
    let is_whole = timeout(patience(wish), reading).await.unwrap_or_default();
    made(headers, &form.body(&came), is_whole, wish)
}

/// The same of an answer over HTTP/2.
pub(in crate::link) async fn read_carried(
    headers: &HeaderMap,
    mut body: RecvStream,
    wish: &Wish<'_>,
) -> Arc<Rejection> {
    let mut came = Vec::new();
    let reading = async {
        while came.len() <= MOST_BODY {
            let Some(Ok(part)) = body.data().await else { return body.is_end_stream() };
            // Where the stream has ended, there is no window to make wider.
            let _ = body.flow_control().release_capacity(part.len());
            came.extend_from_slice(&part[..part.len().min(MOST_BODY + 1)]);
        }
        false
    };
    let is_whole = timeout(patience(wish), reading).await.unwrap_or_default();
    made(headers, &came, is_whole, wish)
}

fn patience(wish: &Wish<'_>) -> Duration {
    wish.patience.min(PATIENCE)
}

fn made(headers: &HeaderMap, body: &[u8], is_whole: bool, wish: &Wish<'_>) -> Arc<Rejection> {
    let told = wish.confidences();
    let cookies: Vec<_> =
        headers.get_all(header::SET_COOKIE).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    // What follows the cookie is how long it lasts and where it goes.
    let cookies = confidences(cookies.iter().filter_map(|value| value.split(';').next()));
    let confidences = Confidences::of(told.iter().map(String::as_str).chain(cookies));
    let shown = headers.iter().map(|(name, value)| {
        let is_private = PRIVATE.contains(name);
        (name.as_str(), if is_private { HIDDEN.into() } else { String::from_utf8_lossy(value.as_bytes()) })
    });
    Arc::new(Rejection::new(shown, body, is_whole).without(&confidences))
}

/// How the end of a body is known (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Chunked,
    Length(u64),
    UntilEnd,
}

impl Form {
    fn of(headers: &HeaderMap) -> Self {
        let is_chunked = |value: &http::HeaderValue| {
            value.to_str().is_ok_and(|value| value.trim().to_ascii_lowercase().ends_with("chunked"))
        };
        if headers.get_all(header::TRANSFER_ENCODING).iter().any(is_chunked) {
            return Self::Chunked;
        }
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        length.map_or(Self::UntilEnd, Self::Length)
    }

    /// Bytes that are read at most.
    fn most(self) -> usize {
        match self {
            Self::Chunked => MOST_BODY + CHUNKS,
            // One more says that there is more.
            Self::Length(_) | Self::UntilEnd => MOST_BODY + 1,
        }
    }

    fn is_whole(self, came: &[u8]) -> bool {
        match self {
            Self::Chunked => unchunked(came).1,
            Self::Length(length) => came.len() as u64 >= length,
            Self::UntilEnd => false,
        }
    }

    fn body(self, came: &[u8]) -> Vec<u8> {
        match self {
            Self::Chunked => unchunked(came).0,
            Self::Length(length) => came[..came.len().min(usize::try_from(length).unwrap_or(usize::MAX))].to_vec(),
            Self::UntilEnd => came.to_vec(),
        }
    }
}

/// The data of chunks, and whether the last one has come. What is no chunk ends it.
fn unchunked(mut came: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((head, size))) = httparse::parse_chunk_size(came) else {
            return (body, false);
        };
        came = &came[head..];
        if size == 0 {
            return (body, true);
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        body.extend_from_slice(&came[..came.len().min(size)]);
        match came.get(size..).and_then(|rest| rest.strip_prefix(b"\r\n")) {
            Some(rest) => came = rest,
            None => return (body, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::{
        clock::Calendar,
        endpoint::{Secret, url::Target},
    };

    /// What is kept of an answer whose stream never ends.
    async fn said(head: &[(&'static str, &str)], bytes: &'static [u8]) -> (Rejection, Duration) {
        let headers =
            head.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
        let (mut near, mut far) = tokio::io::duplex(64);
        tokio::spawn(async move {
            let _ended = far.write_all(bytes).await;
            std::future::pending::<()>().await;
        });
        let target = Target::parse("ws://user:pass-of-ours@h/?token=hunter2").unwrap();
        let wish = Wish {
            target: &target,
            headers: &[("X-Key".parse().unwrap(), Secret::new("k3y of ours"))],
            open: &(Vec::new(), Vec::new()),
            protocols: &[],
            compression: None,
            protocols_optional: false,
            retry_after_max: Duration::ZERO,
            next: crate::link::upgrade::MayFollow::default(),
            authorization: Some(Secret::new("Digest realm=\"there\", response=\"0123456789abcdef\"")),
            jar: None,
            patience: Duration::from_secs(9),
            calendar: Calendar::default(),
        };
        let began = tokio::time::Instant::now();
        let rejection = read(&mut near, &headers, Vec::new(), &wish).await;
        (Arc::unwrap_or_clone(rejection), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_read_to_its_end_to_4_kib_or_for_half_a_second() {
        let (whole, took) = said(&[("content-length", "3")], b"abcdef").await;
        assert_eq!((&*whole.body, whole.is_cut, took), ("abc", false, Duration::ZERO));
        let (chunked, took) = said(&[("transfer-encoding", "chunked")], b"3\r\nabc\r\n0\r\n\r\n").await;
        assert_eq!((&*chunked.body, chunked.is_cut, took), ("abc", false, Duration::ZERO));
        let (slow, took) = said(&[("content-length", "9")], b"\x1b[31m\xff").await;
        assert_eq!((&*slow.body, slow.is_cut, took), ("\u{1b}[31m\u{fffd}", true, PATIENCE));
        let (endless, took) = said(&[], &[b'x'; 9999]).await;
        assert_eq!((endless.body.len(), endless.is_cut, took), (MOST_BODY, true, Duration::ZERO));
        let (endless, took) = said(&[("transfer-encoding", "chunked")], b"fffff\r\nabc").await;
        assert_eq!((&*endless.body, endless.is_cut, took), ("abc", true, PATIENCE));
    }

    #[test]
    fn chunks_are_read_without_their_sizes_and_as_far_as_they_came() {
        assert_eq!(unchunked(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"), (b"abcde".to_vec(), true));
        assert_eq!(unchunked(b"3\r\nabc\r\n5\r\nde"), (b"abcde".to_vec(), false));
        assert_eq!(unchunked(b"3\r\nabcd"), (b"abc".to_vec(), false));
        assert_eq!(unchunked(b"zz\r\n"), (Vec::new(), false));
        assert_eq!(unchunked(b"ffffffffffffffff\r\nab"), (b"ab".to_vec(), false));
    }

    #[tokio::test(start_paused = true)]
    async fn cookies_challenges_of_a_proxy_and_what_we_have_said_are_hidden() {
        let head = [
            ("set-cookie", "sid=c00kie; Path=/there"),
            ("proxy-authenticate", "Basic"),
            ("x-why", "banned c00kie"),
            ("content-length", "91"),
        ];
        let (said, _) =
            said(&head, b"hunter2 dXNlcjpwYXNzLW9mLW91cnM= pass-of-ours k3y+of%20ours c00kie /there. 0123456789abcdef")
                .await;
        let values: Vec<&str> = said.headers.iter().map(|(_, value)| &**value).collect();
        assert_eq!(values, ["***", "***", "banned ***", "91"]);
        assert_eq!(&*said.body, "*** *** *** *** *** /there. ***");
    }
}
