//! A connection of a link as a library expects its own: how a program comes by it, and what it is told of its end.
//!
//! What a reader would get wrong: a program gets a connection from its first message on, and one that no other program has spoken on.
//! Where the current one is not like that, the link makes a new one before the program's own opens. It makes one: where others go on to
//! send through the API, a third would be no better.

use std::sync::Arc;

use http::StatusCode;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};

use super::{
    super::{Shared, convert::BinaryType, links, messages::patience, problem::Problem, query::Params},
    End,
    claims::Claim,
    session::{Source, Terms},
};
use wskeeper_core::{
    close::{self, Cause, Closed, NO_STATUS},
    link::Verb,
    phase::Phase,
};
use wskeeper_link::{
    clock::Moment,
    hub::From,
    pool::{
        LinkView, Pool,
        local::{Consumer, EventType, Follower, Told, Wish},
    },
};

/// What a program is told where its connection was closed from here, for another to take its place (IANA: Service Restart).
const RESTART: u16 = 1012;

/// A connection for a program.
pub(super) struct Opened {
    pub(super) terms: Terms,
    pub(super) source: Source,
    pub(super) claim: Claim,
    pub(super) protocol: Box<str>,
}

/// Claims a link and waits until it is ready.
pub(super) async fn open(shared: &Shared, name: &str, query: Option<&str>) -> Result<Opened, Problem> {
    // Libraries have parameters of their own, which are for their servers.
    let params = Params::read_some(query, &["link", "timeout"]);
    let until = Instant::now().later(patience(params.duration("timeout")?)?);
    let endpoint = shared.config.endpoint(name).ok_or_else(|| links::no_endpoint(name))?;
    let asked = params.parse("link", "the number of a link")?;
    let claim = claim(shared, &endpoint.name, asked, !endpoint.transparent_shared)?;
    let link = claim.link();
    let types = Some(vec![EventType::Open, EventType::Close, EventType::Phase]);
    let (from, link_of) = (From::Latest, Some(link));
    let reading = Wish { from, types, link: link_of, close_on_lag: false, stream: None, filter: None, wakes: true };
    let mut events = Consumer::of(&shared.pool, name, reading).ok_or_else(|| links::no_endpoint(name))?;
    let mut replaced = 0;
    loop {
        let view = shared.pool.link(name, link).ok_or_else(|| links::no_link(name, &link.to_string()))?;
        if view.phase == Phase::Ready {
            let follower = Follower::of(&shared.pool, name, link, view.generation);
            let follower = follower.ok_or_else(|| links::no_endpoint(name))?;
            let is_fresh = || claim.is_unused(view.generation) && follower.is_whole();
            if !claim.is_exclusive() || is_fresh() && (replaced > 0 || !view.traffic.has_spoken) {
                claim.begin(view.generation);
                let (endpoint, generation) = (Arc::clone(&endpoint.name), Some(view.generation));
                let terms =
                    Terms { endpoint, link: Some(link), generation, envelope: false, binary: BinaryType::default() };
                return Ok(Opened { terms, source: Source::Connection(follower), claim, protocol: view.protocol });
            }
            if replaced < view.generation {
                replaced = view.generation;
                // Where it was lost a moment ago, the next one is a new one anyway.
                let _ = shared.pool.command(name, link, Verb::Reconnect).await;
            }
        }
        match timeout_at(until, events.next()).await {
            Ok(Told::Gone) => return Err(links::no_endpoint(name)),
            Ok(Told::Entry(_) | Told::Gap(_) | Told::Lagged(_)) => {}
            Err(_) => return Err(not_ready(&view)),
        }
    }
}

/// Claims the link that was asked for, or one that is nobody's: rather one that is ready.
fn claim(shared: &Shared, name: &Arc<str>, asked: Option<u32>, is_exclusive: bool) -> Result<Claim, Problem> {
    let mut views = match asked {
        Some(index) => {
            vec![shared.pool.link(name, index).ok_or_else(|| links::no_link(name, &index.to_string()))?]
        }
        None => shared.pool.links(&|other| *other == **name, None, None, usize::MAX).items,
    };
    views.sort_by_key(|view| view.phase != Phase::Ready);
    let mut free = views.iter().filter_map(|view| shared.claims.take(name, view.index, is_exclusive));
    free.next().ok_or_else(|| {
        let which = asked.map_or_else(|| format!("each link of {name:?}"), |index| format!("{name}/{index}"));
        let detail = format!(
            "{which} is another program's own already; try again when that one has gone, raise `links`, or let programs share one by \
             transparent = \"shared\""
        );
        Problem::new(StatusCode::CONFLICT, "in-use", "Another program has the connection", detail)
    })
}

fn not_ready(view: &LinkView) -> Problem {
    let link = format!("{}/{}", view.endpoint, view.index);
    let detail =
        format!("{link} is {} and was not ready in time; ask again, with a longer ?timeout= perhaps", view.phase);
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "link-down", "The link is not ready", detail)
        .with("link", link.into())
        .with("phase", view.phase.as_str().into())
        .retry_after(1)
}

/// How a program is told of the end of its connection.
pub(super) fn end(closed: &Closed) -> End {
    let frame = |code: u16, reason: &str| {
        End::Passed(Some(CloseFrame { code: CloseCode::from(code), reason: reason.to_owned().into() }))
    };
    // An operator's own words come back with the peer's answer; a plain end is no end for a library that wants to stay.
    let is_plain = closed.sent_code.is_none_or(|code| code < 3000);
    if matches!(closed.cause, Cause::Rotate | Cause::Reload) || closed.cause == Cause::Operator && is_plain {
        frame(RESTART, "the connection was replaced or closed by an operator")
    } else if closed.code == NO_STATUS {
        End::Passed(None)
    } else if close::may_be_sent(closed.code) {
        frame(closed.code, &closed.reason)
    } else {
        End::Gone
    }
}

/// Whether another connection is about to take the place of this one, or has.
pub(super) fn is_replaced(pool: &Pool, terms: &Terms) -> bool {
    let view = terms.link.and_then(|link| pool.link(&terms.endpoint, link));
    view.is_none_or(|view| view.rotation.is_some() || Some(view.generation) > terms.generation)
}

/// What it is told then.
pub(super) fn replaced() -> End {
    End::Farewell(RESTART, "the connection is being replaced".into())
}
