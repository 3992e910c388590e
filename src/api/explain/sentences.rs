//! What is the case with a link, in plain words: one sentence for each phase and reason, each end, each rule.

use std::time::SystemTime;

use super::open;
use crate::{
    api::wire,
    observe::{visible, words},
};
use wskeeper_core::{
    close::{Cause, Closed},
    link::Policy,
    outcome::Action,
    phase::{Phase, Reason},
    session::{SUBSCRIBE, Waits},
};
use wskeeper_link::{
    link::{lacked_room, was_read},
    pool::{AwayView, LinkView, RequestsView},
};

/// `phaseReason` in plain words.
pub(super) fn why(view: &LinkView, is_held: bool, policy: &Policy, at: SystemTime) -> String {
    match view.reason {
        Reason::Starting => "It has just been made.".into(),
        Reason::Admission if is_held => "Its server is down, and another link looks whether it is back.".into(),
        Reason::Admission => "It waits its turn: admission limits how many links dial at once.".into(),
        Reason::Underway => match view.phase {
            Phase::Ready => return open::trouble(view, policy, at).unwrap_or_else(|| well(view, at)),
            Phase::Closing => "The connection is being closed.",
            Phase::Opening => return opening(view),
            Phase::Waiting | Phase::Connecting | Phase::Parked | Phase::Paused => return underway(view),
        }
        .into(),
        Reason::Backoff => match view.attempt {
            0 => "It waits before it dials again.".into(),
            1 => "It waits before it dials again, because the last attempt made no connection that lasted.".into(),
            attempts => format!(
                "It waits before it dials again; {} attempts in a row made no connection that lasted.",
                words::grouped(attempts.into())
            ),
        },
        Reason::RetryAfter => "The server asked for this delay with Retry-After.".into(),
        Reason::ServiceRestart => {
            "The peer said that it restarts (1012); links come back spread over 5 to 30 s.".into()
        }
        Reason::Immediate => "A rule of outcomes says to dial again at once.".into(),
        Reason::Slow => "A rule of outcomes says to wait long.".into(),
        Reason::Refresh => "The peer refused the credentials. They are read again for one more try.".into(),
        Reason::NextUrl => "The next URL of the endpoint is tried.".into(),
        Reason::Operator => match view.phase {
            Phase::Paused => "An operator or a local program stopped it.",
            Phase::Waiting | Phase::Connecting | Phase::Opening | Phase::Ready | Phase::Closing | Phase::Parked => {
                "An operator or a local program asked for it."
            }
        }
        .into(),
        Reason::Budget => "The endpoint has made all attempts that reconnect.budget allows for now.".into(),
        Reason::Asleep => match view.phase {
            Phase::Paused => "Nobody sends, subscribes or listens, so it has no connection.",
            Phase::Waiting | Phase::Connecting | Phase::Opening | Phase::Ready | Phase::Closing | Phase::Parked => {
                "Nobody has sent, subscribed or listened for idle_timeout, so its connection is closed."
            }
        }
        .into(),
        Reason::StayClosed => "The peer closed it, and the configuration says to stay closed then.".into(),
        Reason::Unauthorized => {
            "The peer refused the credentials, and refused them again after they were read again.".into()
        }
        Reason::Refused => "The peer refused in the same way too many times in a row.".into(),
        Reason::Panicked => "Its task panicked too often: a bug in wskeeper.".into(),
        Reason::Rotate => "Its old connection is closed; the new one is open already.".into(),
        Reason::Reload => match view.phase {
            Phase::Paused => "A changed configuration has it no more.",
            Phase::Waiting | Phase::Connecting | Phase::Opening | Phase::Ready | Phase::Closing | Phase::Parked => {
                "A changed configuration asks for it."
            }
        }
        .into(),
        Reason::Shutdown => "The daemon is stopping.".into(),
    }
}

/// Where its session waits.
fn opening(view: &LinkView) -> String {
    let Some(waits) = view.waits else {
        return "The connection is open, and its session begins.".into();
    };
    if waits.act == SUBSCRIBE {
        let (so_far, all) = (waits.place.at(), waits.of);
        return format!("The connection is open, and asks for its subscriptions: {so_far} of {all} so far.");
    }
    format!("The connection is open, and its session is not ready: {}", waiting(waits))
}

/// An attempt, whose session may have something to do before it connects.
fn underway(view: &LinkView) -> String {
    let before = view.waits.map(|waits| format!(" Before it connects, {}", waiting(waits)));
    format!("An attempt is under way.{}", before.unwrap_or_default())
}

fn waiting(Waits { place, of, act }: Waits) -> String {
    format!("it waits at {place}, step {} of {of} (`{act}`).", place.at().saturating_add(1))
}

/// What goes on beside a connection that is well.
fn well(view: &LinkView, at: SystemTime) -> String {
    let well = match view.away.as_deref() {
        None => "All is well.".to_owned(),
        Some(away) => format!("It is connected. {}", elsewhere(view, away, at)),
    };
    let Some(rotation) = view.rotation.as_deref() else { return well };
    let beside = match (rotation.stage, &rotation.failure) {
        ("leaving", None) => "An old connection is on its way out.".to_owned(),
        ("standby", _) => {
            "A new connection is open; it takes over when the peer has read what was sent before.".to_owned()
        }
        (_, Some(failure)) => format!(
            "A new connection is to take over, but none could be made yet: {}. {} so far.",
            visible(failure),
            words::count(rotation.attempt.into(), "attempt")
        ),
        ("opening", None) => "A new connection is open, which is to take over when its session is ready.".to_owned(),
        (_, None) => "A new connection is being made, which is to take over.".to_owned(),
    };
    format!("{well} {beside}")
}

/// That it is not where it would rather be, and what becomes of that.
fn elsewhere(view: &LinkView, away: &AwayView, at: SystemTime) -> String {
    let home = visible(&away.home_url);
    let is = format!("It is at {}, not at the first of its URLs, {home}:", visible(&view.url));
    if !away.returns {
        let link = format!("{}/{}", view.endpoint, view.index);
        return format!("{is} it stays where it is (failback = false), and `wskeeper rotate {link}` takes it there.");
    }
    match (&away.failure, away.returns_at) {
        (Some(failure), _) => {
            let wait = words::span(away.wait);
            format!(
                "{is} that does not answer a probe ({}). It goes back once that has answered for {wait}.",
                visible(failure)
            )
        }
        (None, Some(back)) if back > at => {
            format!("{is} that answers probes again, and the link goes back in about {}.", words::between(at, back))
        }
        (None, Some(_)) => format!("{is} that has answered probes for long enough, and the link is about to go back."),
        (None, None) => format!("{is} it goes back once that has answered probes for {}.", words::span(away.wait)),
    }
}

/// How a connection or an attempt ended.
pub(super) fn ended(closed: &Closed) -> String {
    let Closed { code, reason, was_clean, cause, sent_code: _, status: _, label, detail } = closed;
    let clean = if *was_clean { "cleanly" } else { "not cleanly" };
    let reason = if reason.is_empty() { String::new() } else { format!(", reason {reason:?}") };
    let detail = if detail.is_empty() { String::new() } else { format!(": {}", visible(detail)) };
    let cause = if *cause == Cause::Secret && was_read(&closed.detail) {
        "the value of a reference cannot be used"
    } else if lacked_room(&closed.detail) {
        "a message could not be kept"
    } else {
        words::cause(*cause)
    };
    let label = label.as_ref().map(|label| format!(" ({label})")).unwrap_or_default();
    if closed.cause.is_of_attempt() {
        return format!("It failed: {cause}{detail}.");
    }
    format!("It ended {clean}, with {code}{reason}: {cause}{label}{detail}.")
}

/// Why requests have not been sent, where some have not.
pub(super) fn requests(view: &LinkView, requests: RequestsView, policy: &Policy) -> Option<String> {
    let RequestsView { waiting, asked } = requests;
    if waiting == 0 {
        return None;
    }
    let (wait, them) = if waiting == 1 { ("waits", "it") } else { ("wait", "them") };
    let subject = format!("{} {wait}", words::count(waiting, "request"));
    Some(match (view.phase, policy.requests.in_flight) {
        (Phase::Ready, Some(most)) if asked >= most.into() => format!(
            "{subject} for the reply to {} before {them}: requests.in_flight allows no more at once.",
            words::count(asked, "request")
        ),
        (Phase::Ready, Some(_)) => format!(
            "{subject} for {them_turn}: what timers of the session ask counts in requests.in_flight, and goes first.",
            them_turn = if waiting == 1 { "its turn" } else { "their turn" }
        ),
        (Phase::Ready, None) => format!("{subject} to be sent, in order."),
        (Phase::Waiting | Phase::Connecting | Phase::Opening | Phase::Closing | Phase::Parked | Phase::Paused, _) => {
            format!("{subject} until the link is ready, each as long as its timeout allows.")
        }
    })
}

/// The row of the outcome table that decided, where one had to.
pub(super) fn rule(view: &LinkView, policy: &Policy) -> Option<wire::Ruling> {
    let decided = match view.phase {
        Phase::Waiting | Phase::Parked | Phase::Paused => !matches!(view.reason, Reason::Operator | Reason::Asleep),
        Phase::Connecting | Phase::Opening | Phase::Ready | Phase::Closing => false,
    };
    let (row, in_a_row) = view.ruling.filter(|_| decided)?;
    let (then, after) = row.rule(&policy.outcomes)?;
    let matches = row.describe(&policy.outcomes);
    let still = if in_a_row < after {
        format!(", from the {} on; until then exponential backoff", nth(after))
    } else {
        String::new()
    };
    let sentence = format!("{matches}: {}{still}. This was the {} in a row.", followed(then), nth(in_a_row));
    Some(wire::Ruling { matches, then: then.as_str().into(), in_a_row, after, sentence })
}

fn followed(then: Action) -> &'static str {
    match then {
        Action::Backoff => "exponential backoff",
        Action::Now => "one try at once, then exponential backoff",
        Action::Slow => "a long wait",
        Action::Park => "the link is parked and probed slowly",
        Action::Refresh => "one try with credentials that are read again, then the link is parked and probed slowly",
        Action::NextUrl => "the next URL, and backoff when all have been tried",
        Action::StayClosed => "the link stays closed",
        Action::Within(..) => "a random wait, so that links do not come back all at once",
        Action::RetryAfter => "the wait that the server asks for, otherwise exponential backoff",
    }
}

fn nth(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// What comes next by itself. Where it has a time, that goes before the semicolon.
pub(super) fn next(view: &LinkView, is_held: bool) -> Option<String> {
    let now = format!("`wskeeper reconnect {}/{}` dials now", view.endpoint, view.index);
    match (view.phase, view.next_attempt_at) {
        (Phase::Waiting, Some(_)) if view.reason == Reason::Budget => {
            Some("It dials again; a reload with a higher reconnect.budget.attempts dials now.".into())
        }
        (Phase::Waiting, Some(_)) => Some(format!("It dials again; {now}.")),
        (Phase::Parked, Some(_)) => Some(format!("It probes; {now}.")),
        (Phase::Waiting, None) if is_held => Some(format!("It dials once its server is back; {now}.")),
        (Phase::Waiting, None) => Some("It dials as soon as it is admitted.".into()),
        (Phase::Paused, _) if view.reason == Reason::Asleep => {
            Some("It dials as soon as somebody sends, subscribes or listens.".into())
        }
        (Phase::Paused, _) => Some("It does not dial until it is resumed.".into()),
        (Phase::Connecting | Phase::Opening | Phase::Ready | Phase::Closing, _) | (Phase::Parked, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_endings() {
        let said: Vec<_> = [1, 2, 3, 4, 11, 12, 13, 21, 102, 111].map(nth).into();
        assert_eq!(said, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th"]);
    }
}
