//! `GET /v1/endpoints/{name}/frames`: the endpoint's traffic as it goes by, for a person who looks.
//!
//! It is no place to read messages from: nothing is kept, and a reader that is too slow misses frames and is told how many.
//! Payloads are shown to admins who ask for them, for they may be anything.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, RawQuery, State},
    response::Response,
};

use super::{
    Shared,
    access::{Grant, Pass, forbidden},
    convert::BinaryType,
    links::{no_endpoint, no_link},
    problem::Problem,
    query::Params,
    sse::{self, Events},
    stopped, wire,
};
use wskeeper_link::link::{Direction, FrameKind, Looker, Sight, Tapped};

/// Sent at once, so that the client knows that it is looking.
const HELLO: &[u8] = b": wskeeper\n\n";

/// `GET /v1/endpoints/{name}/frames`
#[cfg_attr(test, utoipa::path(get, path = "/v1/endpoints/{name}/frames", tag = "events", operation_id = "frames",
    params(("name" = String, Path, description = "The endpoint."),
        ("link" = Option<u32>, Query, description = "Only this link's frames."),
        ("payloads" = Option<bool>, Query, description = "`true` shows the first 4 KiB of each payload; needs the scope `admin`.")),
    responses((status = 200, description = "Server-sent events `frame`, and `gap` if the reader was too slow; `data` is this JSON.", body = wire::Frame, content_type = "text/event-stream"), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn frames(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
    Extension(pass): Extension<Pass>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let params = Params::read(query.as_deref(), &["link", "payloads"])?;
    let link: Option<u32> = params.parse("link", "the number of a link")?;
    let payloads = params.parse("payloads", "true or false")?.unwrap_or(false);
    if payloads && !grant.is_admin() {
        let detail = "payloads are shown to the scope admin; without `payloads=true` the frames are, to the scope read";
        return Err(forbidden(detail));
    }
    let looker = shared.pool.look(&name, payloads).ok_or_else(|| no_endpoint(&name))?;
    if let Some(index) = link.filter(|index| shared.pool.link(&name, *index).is_none()) {
        return Err(no_link(&name, &index.to_string()));
    }
    let (stop, pass) = (shared.stop.clone(), pass.of_admin(payloads));
    let pieces =
        futures_util::stream::unfold((looker, stop, pass), move |(mut looker, mut stop, mut pass)| async move {
            let frame = tokio::select! {
                biased;
                _ = pass.withdrawn() => return None,
                frame = next(&mut looker, link) => frame,
                () = stopped(&mut stop) => return None,
            };
            let mut events = Events::default();
            let put = events.put(None, &frame.kind, &frame);
            Some((put.map(|()| events.into_bytes()), (looker, stop, pass)))
        });
    Ok(sse::answer(HELLO, pieces, shared.config.get().api.keepalive))
}

async fn next(looker: &mut Looker, link: Option<u32>) -> wire::Frame {
    loop {
        match looker.next().await {
            Sight::Missed(missed) => {
                return wire::Frame { kind: "gap".into(), missed: Some(missed), ..wire::Frame::default() };
            }
            Sight::Frame(tapped) if link.is_none_or(|link| link == tapped.link.index) => {
                return frame(&tapped, looker.wants_payloads());
            }
            Sight::Frame(_) => {}
        }
    }
}

fn frame(tapped: &Tapped, payloads: bool) -> wire::Frame {
    let Tapped { link, generation, at, direction, kind, bytes, start } = tapped;
    let (word, close) = match kind {
        FrameKind::Text => ("text", None),
        FrameKind::Binary => ("binary", None),
        FrameKind::Ping => ("ping", None),
        FrameKind::Pong => ("pong", None),
        FrameKind::Close(close) => ("close", close.as_ref()),
    };
    let shown = start.as_ref().filter(|_| payloads && !matches!(kind, FrameKind::Close(_)));
    wire::Frame {
        kind: "frame".into(),
        link: Some(link.to_string()),
        generation: Some(*generation),
        at: Some(wire::time(*at)),
        direction: Some(match direction {
            Direction::In => "in".into(),
            Direction::Out => "out".into(),
        }),
        opcode: Some(word.into()),
        bytes: Some(*bytes as u64),
        code: close.map(|close| close.code),
        reason: close.map(|close| close.reason.to_string()),
        data: shown.map(|start| match kind {
            // A character may have been cut in two.
            FrameKind::Text => String::from_utf8_lossy(start).into_owned(),
            FrameKind::Binary | FrameKind::Ping | FrameKind::Pong | FrameKind::Close(_) => {
                BinaryType::Base64.write(start)
            }
        }),
        truncated: shown.is_some_and(|start| start.len() < *bytes),
        missed: None,
    }
}
