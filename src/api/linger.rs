//! What is left of a request's body when its answer has been decided.
//!
//! An HTTP/1 client that is still writing would get a broken connection in place of its answer, if that were closed under it. So the
//! rest is taken and forgotten for a while. Who waits to be told to continue (`Expect`) is not waiting to write.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::HttpBody;
use bytes::Bytes;
use http::{Request, Version, header};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming, SizeHint};

/// What such a client gets to write the rest and read its answer.
const LINGER: Duration = Duration::from_secs(2);

/// A body whose rest is taken when nobody wants it any more.
#[derive(Debug)]
pub(super) struct Lingering {
    /// `None`: it is over.
    body: Option<Incoming>,
    lingers: bool,
}

impl Lingering {
    pub(super) fn of(request: Request<Incoming>) -> Request<Self> {
        let lingers = request.version() < Version::HTTP_2 && !request.headers().contains_key(header::EXPECT);
        request.map(|body| Self { body: Some(body), lingers })
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if let Some(mut body) = self.body.take().filter(|body| self.lingers && !body.is_end_stream()) {
            let rest = async move { while let Some(Ok(_)) = body.frame().await {} };
            // Without a runtime all is over.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move { tokio::time::timeout(LINGER, rest).await });
            }
        }
    }
}

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), HttpBody::size_hint)
    }
}
