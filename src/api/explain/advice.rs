//! What would help: for each cause, code and status what a person can do, with the names of the settings concerned.
//!
//! It is written for somebody who was woken: what to look at, what to type. It shows where a secret comes from, never the
//! secret. A ready link gets no advice about its past.

use std::time::SystemTime;

use super::{
    ends::{about_end, is_of_the_server},
    open,
};
use crate::observe::words;
use wskeeper_core::phase::{Phase, Reason};
use wskeeper_link::{
    endpoint::Endpoint,
    pool::{BudgetView, LinkView, StandingView},
};

/// Of 100 attempts that may be made, so many are near the end.
const NEAR: u64 = 80;

/// Sentences, the most likely help first.
pub(super) fn advice(
    view: &LinkView,
    config: &Endpoint,
    standing: Option<&StandingView>,
    now: SystemTime,
) -> Vec<String> {
    let mut advice = Vec::new();
    if view.phase == Phase::Ready {
        return open::advice(view, config, now);
    }
    let stopped_by_hand = matches!(view.reason, Reason::Operator | Reason::Asleep) && view.phase == Phase::Paused;
    let closed = view.last_close.as_deref().map(|(closed, _)| closed).filter(|_| !stopped_by_hand);
    if let Some(closed) = closed {
        advice.extend(about_pings(view, config));
        advice.extend(about_end(view, closed, config));
    }
    advice.extend(about_phase(view, config));
    advice.extend(standing.map(|standing| about_admission(standing, now)));
    let another_may_help = closed.is_some_and(is_of_the_server);
    if another_may_help && !closed_for_good(view) && config.urls.len() == 1 && view.attempt >= 10 {
        advice.push("It has one URL only; `urls` takes several, and the next is tried when one fails.".into());
    }
    advice
}

fn closed_for_good(view: &LinkView) -> bool {
    matches!(view.phase, Phase::Paused | Phase::Parked)
}

fn name(view: &LinkView) -> String {
    format!("{}/{}", view.endpoint, view.index)
}

/// What to do about a peer that hangs up on pings.
pub(super) fn about_pings(view: &LinkView, config: &Endpoint) -> Option<String> {
    open::ended_after_ping(view).map(|times| {
        format!(
            "It ended {times} times in a row right after our ping, which was not answered: some peers hang up on pings. It pings \
             after {} of silence (heartbeat.idle); heartbeat.ping = false sends none.",
            words::span(config.link.heartbeat.idle)
        )
    })
}

/// What to do about keys that are refused.
pub(super) fn about_subscriptions(view: &LinkView, [_, _, refused]: [usize; 3]) -> Option<String> {
    (refused > 0).then(|| {
        format!(
            "The peer has refused {}, or has not answered in time: `wskeeper subscriptions {}` says why. They are asked for again on the \
             next connection.",
            words::count(refused as u64, "subscription"),
            view.endpoint
        )
    })
}

/// What to do where programs hold more keys than are taken now.
pub(super) fn about_surplus((keys, max_keys): (usize, usize)) -> String {
    format!(
        "The endpoint has {}, more than subscriptions.max_keys = {max_keys} allows: none is let go, and no other is taken until enough \
         are released. Raise it if they are meant to stay.",
        words::count(keys as u64, "subscription")
    )
}

/// What to do where few attempts are left, or none.
pub(super) fn about_budget(view: &LinkView, budget: BudgetView) -> Option<String> {
    let BudgetView { attempts, per, used, until, is_kept: _ } = budget;
    let is_near = u64::from(used) * 100 > u64::from(attempts) * NEAR;
    let of = format!("{} of the {} attempts", words::grouped(used.into()), words::grouped(attempts.into()));
    let then = match until {
        Some(_) => "no link dials until the oldest no longer count",
        None => "past that no link dials, and rotations and probes stop a tenth sooner",
    };
    is_near.then(|| {
        format!(
            "The links of {} have made {of} that reconnect.budget allows within {}: {then}. Look for what makes them reconnect; if the server \
             allows more, raise reconnect.budget.attempts and reload, and they dial at once.",
            view.endpoint,
            words::span(per)
        )
    })
}

fn about_phase(view: &LinkView, config: &Endpoint) -> Option<String> {
    let name = name(view);
    let probe = words::span(config.link.park_probe);
    match view.reason {
        Reason::Operator | Reason::StayClosed if view.phase == Phase::Paused => {
            Some(format!("`wskeeper resume {name}` lets it dial again."))
        }
        Reason::Asleep if view.phase == Phase::Paused => Some(format!(
            "It is lazy (start = \"lazy\"): `wskeeper send {} …` or `wskeeper tail {}` wakes it, and so does `wskeeper resume {name}`.",
            view.endpoint, view.endpoint
        )),
        Reason::Unauthorized | Reason::Refused => Some(format!(
            "When it is put right, `wskeeper resume {name}` tries now; by itself it probes every {probe} \
             (reconnect.park_probe)."
        )),
        Reason::Panicked => Some(format!(
            "Please report it with the log; `wskeeper resume {name}` tries again, by itself it does every {probe}."
        )),
        Reason::Slow | Reason::RetryAfter | Reason::ServiceRestart => {
            Some(format!("`wskeeper reconnect {name}` does not wait for that."))
        }
        Reason::Starting
        | Reason::Admission
        | Reason::Underway
        | Reason::Backoff
        | Reason::Immediate
        | Reason::Refresh
        | Reason::NextUrl
        | Reason::Operator
        | Reason::Asleep
        | Reason::Budget
        | Reason::StayClosed
        | Reason::Reload
        | Reason::Rotate
        | Reason::Shutdown => None,
    }
}

fn about_admission(standing: &StandingView, now: SystemTime) -> String {
    let StandingView { ahead, holders, connecting, held_by_rate, down_since, awaited } = standing;
    if let Some(since) = down_since {
        let next = match awaited {
            None => String::new(),
            // Which link it is, those who may see it are told in `awaits`.
            Some((_, None)) => " One tries now.".into(),
            Some((_, Some(at))) => {
                let left = at.duration_since(now).unwrap_or_default();
                format!(" The next try is in {}.", words::span(left))
            }
        };
        return format!(
            "Its server has been down for {}: one link at a time tries it, and when that one gets in, those that wait with this reason may follow.{next}",
            words::span(now.duration_since(*since).unwrap_or_default())
        );
    }
    let ahead = match ahead {
        0 => "It is the next in line".to_owned(),
        ahead => format!("{} before it in line", words::count(*ahead as u64, "attempt")),
    };
    if *held_by_rate {
        return format!("{ahead}; admission.rate lets it go a little later. Raise it if the server can take more.");
    }
    match holders.len() as u64 {
        0 => format!(
            "{ahead}; {} are under way in the whole pool, as many as admission.total allows.",
            words::count(*connecting as u64, "attempt")
        ),
        holders => format!(
            "{ahead}; {} to the same address are under way, as many as admission.per_host allows. Raise it if the server \
             is yours.",
            words::count(holders, "attempt")
        ),
    }
}
