//! `GET /v1/links/{name}/{index}/explain`: why a link is where it is, for a person at 3 a.m.
//!
//! The daemon says it, not the command line, so that the status page and a curious `curl` read the same. Sentences hold no
//! times that pass; those stand beside them as values.

mod advice;
mod digest;
mod ends;
mod offer;
mod open;
mod proxy;
mod sentences;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, sync::Arc};

use axum::{
    Extension,
    extract::{Path, State},
    response::Response,
};
use http::StatusCode;

use super::{
    Shared,
    access::Grant,
    convert,
    links::{no_link, number},
    problem::{Problem, answer},
    wire,
};
use crate::{config::InForce, observe::visible};
use wskeeper_core::session::{Place, Waits};
use wskeeper_link::{
    endpoint::Endpoint,
    pool::{AttemptEnd, AttemptView, Explained, LinkView, RejectionView, StandingView},
};

/// Why a link is where it is, what comes next, what would help.
#[cfg_attr(test, utoipa::path(get, path = "/v1/links/{name}/{index}/explain", tag = "links", operation_id = "explain",
    params(("name" = String, Path, description = "The endpoint."),
        ("index" = u32, Path, description = "The link's number, from 0.")),
    responses((status = 200, description = "Facts, and sentences that say the same.", body = wire::Explanation), (status = "default", description = "A problem (RFC 9457).", content_type = "application/problem+json", body = wire::Problem))))]
pub(super) async fn explain(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
    Path((name, index)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let explained = shared.pool.explain(&name, number(&name, &index)?).ok_or_else(|| no_link(&name, &index))?;
    let pushes = shared.pushes.of(&name, false).iter().map(convert::push).collect();
    let bridges = shared.pushes.of(&name, true).iter().map(convert::bridge).collect();
    let explanation = explanation(&explained, &shared.config, &|endpoint| grant.sees(endpoint));
    let rejection = explained.rejection.as_deref().filter(|_| grant.is_admin()).map(rejection);
    Ok(answer(StatusCode::OK, &wire::Explanation { rejection, pushes, bridges, ..explanation }))
}

fn explanation(explained: &Explained, in_force: &InForce, sees: &dyn Fn(&str) -> bool) -> wire::Explanation {
    let Explained {
        view,
        config,
        outage,
        standing,
        attempts,
        unconfirmed,
        rejection: _,
        subscriptions,
        surplus,
        requests,
        streams,
        cookies,
        budget,
        at,
    } = explained;
    let is_held = standing.as_ref().is_some_and(|standing| standing.down_since.is_some());
    wire::Explanation {
        link: convert::link(view, in_force),
        session: view.waits.map(step),
        proxy: config.proxy.shown_for(&view.url),
        cookies: cookies.map(|cookies| u32::try_from(cookies).unwrap_or(u32::MAX)),
        budget: budget.map(convert::budget),
        why: sentences::why(view, is_held, &config.link, *at),
        ended: view.last_close.as_deref().map(|(closed, _)| sentences::ended(closed)),
        outage: outage.as_ref().map(|(since, lost)| wire::Outage {
            since: wire::time(*since),
            lost: lost.as_deref().map(|closed| convert::close(closed, *since)),
        }),
        rule: sentences::rule(view, &config.link),
        admission: standing.as_ref().map(|standing| place(standing, sees)),
        next: sentences::next(view, is_held),
        advice: {
            let mut advice = advice::advice(&as_it_failed(explained), config, standing.as_ref(), *at);
            advice.extend(subscriptions.and_then(|counts| advice::about_subscriptions(view, counts)));
            advice.extend(surplus.map(advice::about_surplus));
            advice.extend(budget.and_then(|budget| advice::about_budget(view, budget)));
            advice
        },
        subscriptions: subscriptions.map(convert::subscriptions),
        attempts: attempts.iter().map(|attempt| tried(attempt, config)).collect(),
        rejection: None,
        unconfirmed_messages: *unconfirmed,
        pushes: Vec::new(),
        bridges: Vec::new(),
        requests: requests.map(|requests| convert::requests(requests, config)),
        requests_why: requests.and_then(|requests| sentences::requests(view, requests, &config.link)),
        streams: streams.iter().map(convert::stream).collect(),
    }
}

/// The link with the URL that failed, where it has several: the one in use is the one that is dialled next.
fn as_it_failed(explained: &Explained) -> Cow<'_, LinkView> {
    let Explained { view, config, attempts, .. } = explained;
    if config.urls.len() < 2 {
        return Cow::Borrowed(view);
    }
    let failed = attempts.iter().rev().find(|attempt| attempt.end.is_some());
    let url = failed.map_or_else(|| "the URL that failed".into(), |attempt| config.shown_url(attempt.url));
    Cow::Owned(LinkView { url, ..view.clone() })
}

/// Where its session waits.
fn step(Waits { place, of, act }: Waits) -> wire::SessionStep {
    let list = match place {
        Place::Dial(_) => "dial",
        Place::Open(_) => "open",
        Place::On(_) => "on",
        Place::Every(_) => "every",
        Place::Leave(_) => "leave",
    };
    wire::SessionStep { list: list.into(), at: place.at() as u64, of: of.into(), act: act.into() }
}

fn place(standing: &StandingView, sees: &dyn Fn(&str) -> bool) -> wire::Standing {
    let awaited = standing.awaited.as_ref();
    wire::Standing {
        ahead: standing.ahead as u64,
        holders: standing.holders.iter().filter(|link| sees(&link.endpoint)).map(ToString::to_string).collect(),
        connecting: standing.connecting as u64,
        held_by_rate: standing.held_by_rate,
        down_since: standing.down_since.map(wire::time),
        awaits: awaited.filter(|(link, _)| sees(&link.endpoint)).map(|(link, _)| link.to_string()),
        next_look_at: awaited.and_then(|(_, at)| at.map(wire::time)),
    }
}

fn rejection(view: &RejectionView) -> wire::Rejection {
    let RejectionView { at, status, said } = view;
    let header = |(name, value): &(Box<str>, Box<str>)| wire::AnswerHeader {
        name: name.to_string(),
        value: visible(value).into_owned(),
    };
    let lines: Vec<_> = said.body.lines().map(visible).collect();
    wire::Rejection {
        at: wire::time(*at),
        status: *status,
        headers: said.headers.iter().map(header).collect(),
        body: lines.join("\n"),
        is_cut: said.is_cut,
    }
}

fn tried(attempt: &AttemptView, config: &Endpoint) -> wire::Attempt {
    let base = wire::Attempt {
        at: wire::time(attempt.at),
        attempt: attempt.attempt,
        url: config.shown_url(attempt.url).to_string(),
        timings: attempt.timings.as_ref().map(convert::timings),
        then_waits_ms: attempt.then.map(convert::millis),
        ..wire::Attempt::default()
    };
    match &attempt.end {
        None => wire::Attempt { result: "unfinished".into(), ..base },
        Some(AttemptEnd::Open { address }) => {
            wire::Attempt { result: "open".into(), address: address.map(|address| address.to_string()), ..base }
        }
        Some(AttemptEnd::Failed { cause, status, detail }) => wire::Attempt {
            result: "failed".into(),
            cause: Some(cause.to_string()),
            status: *status,
            detail: Some(detail.to_string()),
            ..base
        },
    }
}
