//! What is the matter with a connection that is open: such as one over which nothing can be confirmed, or the last of many that did
//! not last.
//!
//! What a reader would get wrong: a link that is ready gets no advice about its past. Only what is known to come again, or to go on, is
//! told of it.

use std::time::SystemTime;

use super::{advice::about_pings, ends};
use crate::{api::wire, observe::words};
use wskeeper_core::{
    close::{Cause, Closed},
    link::Policy,
    outbox::Delivery,
};
use wskeeper_link::{endpoint::Endpoint, pool::LinkView};

/// Twice may be chance, but costs little to be told.
const NOT_CHANCE: u32 = 2;

/// What is not well; `None`: all is.
pub(super) fn trouble(view: &LinkView, policy: &Policy, at: SystemTime) -> Option<String> {
    if view.pongs_refused > 0 {
        return Some(format!(
            "The connection is open, but {} came without the payload of our ping: that proves nothing, so nothing that is sent \
             can be confirmed.",
            words::count(view.pongs_refused.into(), "pong")
        ));
    }
    if let Some((pings, since)) = unanswered(view, policy, at) {
        return Some(format!(
            "The connection is open, and stays so because something arrives on it, but {pings} pings in a row have had no pong \
             since {}: nothing that is sent can be confirmed.",
            wire::time(since)
        ));
    }
    if let Some(times) = ended_after_ping(view) {
        return Some(format!(
            "The connection is open, but {times} in a row before it ended right after our ping, which was not answered."
        ));
    }
    let (_, times) = short_lives(view)?;
    Some(format!("The connection is open, but not stable yet, and {times} in a row before it did not last."))
}

/// What would help.
pub(super) fn advice(view: &LinkView, config: &Endpoint, at: SystemTime) -> Vec<String> {
    let mut advice = Vec::new();
    if view.pongs_refused > 0 || unanswered(view, &config.link, at).is_some() {
        advice.push(about_proofs(view, config));
    } else if let Some(told) = about_pings(view, config) {
        advice.push(told);
    } else if let Some((closed, _)) = short_lives(view) {
        advice.extend(ends::about_end(view, closed, config));
    }
    advice
}

/// Connections in a row that the peer ended after a ping of ours.
pub(super) fn ended_after_ping(view: &LinkView) -> Option<u32> {
    Some(view.traffic.ended_after_ping).filter(|times| *times >= NOT_CHANCE)
}

/// Pings that wait for a pong, and since when, where that is longer than a pong takes.
fn unanswered(view: &LinkView, policy: &Policy, at: SystemTime) -> Option<(u32, SystemTime)> {
    let since = view.traffic.unanswered_since?;
    let is_late = at.duration_since(since).is_ok_and(|waited| waited >= policy.heartbeat.timeout);
    Some((view.traffic.unanswered_pings, since)).filter(|(pings, _)| is_late && *pings >= NOT_CHANCE)
}

/// How the connection before ended, where it was one of many in a row and this one has yet to show that it lasts.
fn short_lives(view: &LinkView) -> Option<(&Closed, u32)> {
    let (closed, _) = view.last_close.as_deref()?;
    let times = ends::in_a_row(view);
    let is_ours =
        matches!(closed.cause, Cause::Operator | Cause::Reload | Cause::Rotate | Cause::Idle | Cause::Shutdown);
    let is_stable = view.attempt <= ends::REPEATED;
    (!is_ours && !closed.cause.is_of_attempt() && !is_stable && times >= ends::REPEATED).then_some((closed, times))
}

fn about_proofs(view: &LinkView, config: &Endpoint) -> String {
    let answer =
        if view.pongs_refused > 0 { "a ping with its payload (RFC 6455 §5.5.3)" } else { "pings (RFC 6455 §5.5.2)" };
    let kept = match config.link.outbox.delivery {
        Delivery::AtLeastOnce => {
            " Delivery at least once keeps messages until they are confirmed, so the outbox fills, and sends are refused."
        }
        Delivery::AtMostOnce => "",
    };
    format!(
        "The peer, or something between, must answer {answer}. Until it does, send none (heartbeat.ping = false) and let its \
         application acknowledge messages (outbox.ack), or do without a proof: delivery = \"at_most_once\".{kept}"
    )
}
