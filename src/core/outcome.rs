//! What follows a close: a table of data, walked by one function.
//!
//! An endpoint's own rows stand before the built-in ones; the first that matches decides. Nothing else in wskeeper looks
//! at a close code or an HTTP status to decide anything.

use std::{ops::RangeInclusive, time::Duration};

use super::{close::Cause, rejection::Rejection, session::Expression};

/// What a rule looks at; all parts given must match.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Match {
    /// Close code, 1005 and 1006 included.
    pub code: Option<RangeInclusive<u16>>,
    /// Text found in the Close frame's reason.
    pub reason: Option<Expression>,
    /// HTTP status of a refused upgrade.
    pub status: Option<RangeInclusive<u16>>,
    /// Failure class.
    pub class: Option<Cause>,
    /// What a session calls its failure.
    pub label: Option<Box<str>>,
    /// Text found in the body of a refused upgrade, in what is kept of it.
    pub body: Option<Expression>,
    /// Headers of it, each with text found in one of its values.
    pub headers: Box<[(Box<str>, Expression)]>,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Exponential backoff.
    Backoff,
    /// At once, once until the link has been stable; then exponential backoff, because a storm is never the answer.
    Now,
    /// Near the cap of the backoff, whatever the attempt.
    Slow,
    /// Park, with slow probes.
    Park,
    /// Evaluate the credentials again and try once; if that ends the same way, park.
    Refresh,
    /// The next URL of the endpoint; at once for one round of them until the link has been stable, then with backoff.
    NextUrl,
    /// Stay closed until an operator resumes the link.
    StayClosed,
    /// A random delay from this range (1012: 5–30 s).
    Within(Duration, Duration),
    /// What `Retry-After` says where that is longer than the exponential backoff; the other URLs of the endpoint need not wait for it.
    RetryAfter,
}

impl Action {
    /// The configuration's word. Those that only the built-in table knows have one for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backoff => "backoff",
            Self::Now => "now",
            Self::Slow => "slow",
            Self::Park => "park",
            Self::Refresh => "refresh",
            Self::NextUrl => "next_url",
            Self::StayClosed => "stay_closed",
            Self::Within(..) => "within",
            Self::RetryAfter => "retry_after",
        }
    }
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// What it looks at.
    pub when: Match,
    /// What follows.
    pub then: Action,
    /// Only from this many such ends in a row on; exponential backoff before. 1: at once.
    pub after: u32,
    /// Variables that a session keeps over a reconnect and is not to keep over this end.
    pub forget: Box<[Box<str>]>,
}

/// How something ended, as far as the table cares.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    /// Close code: 1006 also for an attempt that failed.
    pub code: u16,
    /// Reason of the Close frame.
    pub reason: &'a str,
    /// HTTP status of a refused upgrade.
    pub status: Option<u16>,
    /// What ended it.
    pub cause: Cause,
    /// What a session calls it.
    pub label: Option<&'a str>,
    /// What the server said that refused an upgrade.
    pub rejection: Option<&'a Rejection>,
}

/// Names the row that decided, so that ends in a row can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// Of the endpoint.
    Own(u32),
    /// Of the built-in table.
    BuiltIn(u32),
    /// None matched: exponential backoff.
    Default,
}

impl Row {
    /// What it says, and from how many in a row on. `None`: it has gone with a change of the configuration.
    pub fn rule(self, own: &[Rule]) -> Option<(Action, u32)> {
        match self {
            Self::Own(index) => own.get(index as usize).map(|rule| (rule.then, rule.after)),
            Self::BuiltIn(index) => BUILT_IN.get(index as usize).map(|row| (row.then, row.after)),
            Self::Default => Some((Action::Backoff, 1)),
        }
    }

    /// What it looks at, for people.
    pub fn describe(self, own: &[Rule]) -> String {
        match self {
            Self::Own(index) => {
                let when = own.get(index as usize).map(|rule| rule.when.describe()).unwrap_or_default();
                format!("row {} of outcomes ({when})", index + 1)
            }
            Self::BuiltIn(index) => BUILT_IN.get(index as usize).map(|row| row.key.describe()).unwrap_or_default(),
            Self::Default => "the default".into(),
        }
    }
}

/// Counts ends in a row that the same row decided.
#[derive(Debug, Default)]
pub(crate) struct Streak {
    last: Option<(Row, u32)>,
    /// The last end was followed by a refresh, or would have been but for one before it.
    refreshed: bool,
}

impl Streak {
    /// What follows `end`, and how many ends in a row its row has now decided.
    pub(crate) fn decide(&mut self, own: &[Rule], end: End<'_>) -> (Action, u32) {
        let (row, then, after) = find(own, end);
        let count = match self.last {
            Some((last, count)) if last == row => count.saturating_add(1),
            Some(_) | None => 1,
        };
        self.last = Some((row, count));
        // Two rows that take turns are no reason for a refresh each.
        let refreshed = std::mem::replace(&mut self.refreshed, then == Action::Refresh && count >= after);
        let action = match then {
            _ if count < after => Action::Backoff,
            Action::Refresh if refreshed => Action::Park,
            Action::Backoff
            | Action::Now
            | Action::Slow
            | Action::Park
            | Action::Refresh
            | Action::NextUrl
            | Action::StayClosed
            | Action::Within(..)
            | Action::RetryAfter => then,
        };
        (action, count)
    }

    /// The row that decided last, and how many ends in a row it has decided.
    pub(crate) fn last(&self) -> Option<(Row, u32)> {
        self.last
    }

    /// The link has been stable, or an operator intervened: nothing is in a row any more.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

fn find(own: &[Rule], end: End<'_>) -> (Row, Action, u32) {
    if let Some((index, rule)) = own.iter().enumerate().find(|(_, rule)| rule.when.is_met(end)) {
        return (Row::Own(number(index)), rule.then, rule.after);
    }
    BUILT_IN
        .iter()
        .enumerate()
        .find(|(_, row)| row.key.is_met(end))
        .map_or((Row::Default, Action::Backoff, 1), |(index, row)| (Row::BuiltIn(number(index)), row.then, row.after))
}

/// The place of a row. Four billion of them are in no configuration.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

impl Match {
    fn describe(&self) -> String {
        let range = |name: &str, range: &Option<RangeInclusive<u16>>| {
            range.as_ref().map(|range| match (range.start(), range.end()) {
                (low, high) if low == high => format!("{name} {low}"),
                (low, high) => format!("{name} {low}-{high}"),
            })
        };
        let parts = [
            range("close code", &self.code),
            self.reason.as_ref().map(|pattern| format!("reason like {:?}", pattern.source())),
            range("HTTP status", &self.status),
            self.class.map(|class| format!("class {class}")),
            self.label.as_ref().map(|label| format!("label {label:?}")),
            self.body.as_ref().map(|pattern| format!("body like {:?}", pattern.source())),
        ];
        let headers = self.headers.iter().map(|(name, pattern)| format!("header {name} like {:?}", pattern.source()));
        let parts: Vec<_> = parts.into_iter().flatten().chain(headers).collect();
        if parts.is_empty() { "everything".into() } else { parts.join(", ") }
    }

    fn is_met(&self, end: End<'_>) -> bool {
        self.code.as_ref().is_none_or(|codes| codes.contains(&end.code))
            && self.reason.as_ref().is_none_or(|pattern| pattern.is_match(end.reason.as_bytes()))
            && self.status.as_ref().is_none_or(|range| end.status.is_some_and(|status| range.contains(&status)))
            && self.class.is_none_or(|class| class == end.cause)
            && self.label.as_ref().is_none_or(|label| end.label == Some(label))
            && self
                .body
                .as_ref()
                .is_none_or(|pattern| end.rejection.is_some_and(|said| pattern.is_match(said.body.as_bytes())))
            && self.headers.iter().all(|(name, pattern)| {
                let is_met = |said: &Rejection| said.values(name).any(|value| pattern.is_match(value.as_bytes()));
                end.rejection.is_some_and(is_met)
            })
    }
}

#[derive(Debug)]
enum Key {
    Codes(&'static [u16]),
    Statuses(&'static [u16]),
    /// A session's own word.
    Label(&'static str),
}

impl Key {
    fn describe(&self) -> String {
        let (what, numbers) = match self {
            Self::Codes(codes) => ("close code", codes),
            Self::Statuses(statuses) => ("HTTP status", statuses),
            Self::Label(label) => return format!("class session, label {label:?}"),
        };
        let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
        format!("{what} {}", numbers.join(" or "))
    }

    fn is_met(&self, end: End<'_>) -> bool {
        match self {
            Self::Codes(codes) => end.cause == Cause::Remote && codes.contains(&end.code),
            Self::Statuses(statuses) => end.status.is_some_and(|status| statuses.contains(&status)),
            Self::Label(label) => end.cause == Cause::Session && end.label == Some(label),
        }
    }
}

#[derive(Debug)]
struct BuiltIn {
    key: Key,
    then: Action,
    after: u32,
}

/// The built-in table (contract, section 4). What no row names is followed by exponential backoff, clean closes included.
static BUILT_IN: [BuiltIn; 11] = [
    BuiltIn { key: Key::Statuses(&[401, 403]), then: Action::Refresh, after: 1 },
    // Of a proxy.
    BuiltIn { key: Key::Statuses(&[407]), then: Action::Refresh, after: 1 },
    BuiltIn { key: Key::Codes(&[4401, 4403]), then: Action::Refresh, after: 1 },
    BuiltIn { key: Key::Label("unauthorized"), then: Action::Refresh, after: 1 },
    BuiltIn { key: Key::Label("rejected"), then: Action::Park, after: 5 },
    BuiltIn { key: Key::Label("park"), then: Action::Park, after: 1 },
    BuiltIn { key: Key::Statuses(&[404, 410]), then: Action::Park, after: 5 },
    BuiltIn { key: Key::Codes(&[1002, 1003, 1007, 1008, 1010]), then: Action::Park, after: 5 },
    BuiltIn { key: Key::Statuses(&[429, 503]), then: Action::RetryAfter, after: 1 },
    BuiltIn { key: Key::Label("http"), then: Action::RetryAfter, after: 1 },
    BuiltIn {
        key: Key::Codes(&[1012]),
        then: Action::Within(Duration::from_secs(5), Duration::from_secs(30)),
        after: 1,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: u16) -> End<'static> {
        End { code, reason: "", status: None, cause: Cause::Remote, label: None, rejection: None }
    }

    fn refused(status: u16) -> End<'static> {
        End { code: 1006, reason: "", status: Some(status), cause: Cause::Upgrade, label: None, rejection: None }
    }

    fn decide(end: End<'_>) -> Action {
        Streak::default().decide(&[], end).0
    }

    fn rule(when: Match, then: Action, after: u32) -> Rule {
        Rule { when, then, after, forget: [].into() }
    }

    #[test]
    fn clean_and_abnormal_closes_are_followed_by_backoff() {
        for code in [1000, 1001, 1005, 1006, 1011, 1013, 1014, 3000] {
            assert_eq!(decide(closed(code)), Action::Backoff, "{code}");
        }
    }

    #[test]
    fn a_service_restart_is_spread_over_5_to_30_seconds() {
        assert_eq!(decide(closed(1012)), Action::Within(Duration::from_secs(5), Duration::from_secs(30)));
    }

    #[test]
    fn missing_credentials_get_one_refresh_and_then_the_link_is_parked() {
        for end in [refused(401), refused(403), refused(407), closed(4401), closed(4403)] {
            let mut streak = Streak::default();
            assert_eq!(streak.decide(&[], end).0, Action::Refresh);
            assert_eq!(streak.decide(&[], end).0, Action::Park);
            assert_eq!(streak.decide(&[], end).0, Action::Park);
            streak.reset();
            assert_eq!(streak.decide(&[], end).0, Action::Refresh);
        }
    }

    #[test]
    fn a_refusal_for_good_parks_at_the_fifth_in_a_row() {
        for end in [refused(404), refused(410), closed(1008), closed(1002), closed(1003), closed(1007), closed(1010)] {
            let mut streak = Streak::default();
            for _ in 0..4 {
                assert_eq!(streak.decide(&[], end).0, Action::Backoff);
            }
            assert_eq!(streak.decide(&[], end).0, Action::Park);
        }
    }

    #[test]
    fn another_end_in_between_starts_the_count_over() {
        let mut streak = Streak::default();
        for _ in 0..4 {
            let _ = streak.decide(&[], closed(1008));
        }
        let _ = streak.decide(&[], closed(1006));
        assert_eq!(streak.decide(&[], closed(1008)), (Action::Backoff, 1));
    }

    #[test]
    fn our_own_verdict_on_the_peer_is_not_the_peers_refusal() {
        let end = End { code: 1002, reason: "", status: None, cause: Cause::Protocol, label: None, rejection: None };
        let mut streak = Streak::default();
        assert!((0..9).all(|_| streak.decide(&[], end).0 == Action::Backoff));
    }

    #[test]
    fn too_many_requests_obey_retry_after() {
        assert_eq!(decide(refused(429)), Action::RetryAfter);
        assert_eq!(decide(refused(503)), Action::RetryAfter);
        assert_eq!(decide(refused(500)), Action::Backoff);
    }

    #[test]
    fn a_call_that_fails_obeys_retry_after() {
        let end =
            End { code: 1006, reason: "", status: None, cause: Cause::Session, label: Some("http"), rejection: None };
        assert_eq!(decide(end), Action::RetryAfter);
        assert_eq!(decide(End { cause: Cause::Remote, ..end }), Action::Backoff);
    }

    #[test]
    fn the_endpoints_own_rows_come_first_and_all_their_parts_must_match() {
        let own = [
            rule(
                Match {
                    code: Some(4000..=4099),
                    reason: Some(Expression::literal("bye").unwrap()),
                    ..Match::default()
                },
                Action::StayClosed,
                1,
            ),
            rule(Match { code: Some(4000..=4099), ..Match::default() }, Action::Slow, 1),
            rule(Match { class: Some(Cause::Dns), ..Match::default() }, Action::NextUrl, 1),
            rule(Match { status: Some(400..=499), ..Match::default() }, Action::Park, 2),
        ];
        let bye = End { reason: "good bye", ..closed(4001) };
        let mut streak = Streak::default();
        assert_eq!(streak.decide(&own, bye).0, Action::StayClosed);
        assert_eq!(streak.decide(&own, closed(4001)).0, Action::Slow);
        let dns = End { code: 1006, reason: "", status: None, cause: Cause::Dns, label: None, rejection: None };
        assert_eq!(streak.decide(&own, dns).0, Action::NextUrl);
        assert_eq!(streak.decide(&own, refused(401)).0, Action::Backoff);
        assert_eq!(streak.decide(&own, refused(404)).0, Action::Park);
    }

    #[test]
    fn a_refusal_is_matched_by_what_it_said() {
        let pattern = |text: &str| Expression::parse(text).unwrap();
        let headers = [("x-why".into(), pattern("^ban"))].into();
        let own = [
            rule(Match { body: Some(pattern("(?i)too many")), ..Match::default() }, Action::Slow, 1),
            rule(Match { headers, status: Some(400..=499), ..Match::default() }, Action::Park, 1),
        ];
        let of = |headers: &[(&str, &str)], body: &str| Rejection {
            headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            body: body.into(),
            is_cut: false,
        };
        let decide =
            |said: Option<&Rejection>| Streak::default().decide(&own, End { rejection: said, ..refused(418) }).0;
        assert_eq!(decide(Some(&of(&[], "TOO MANY connections"))), Action::Slow);
        assert_eq!(decide(Some(&of(&[("X-Why", "other"), ("X-Why", "banned")], ""))), Action::Park);
        assert_eq!(decide(Some(&of(&[("X-Why", "not banned")], "x"))), Action::Backoff);
        assert_eq!(decide(None), Action::Backoff);
        let told = Row::Own(1).describe(&own);
        assert_eq!(told, "row 2 of outcomes (HTTP status 400-499, header x-why like \"^ban\")");
    }

    #[test]
    fn two_rows_that_take_turns_get_one_refresh() {
        let mut streak = Streak::default();
        assert_eq!(streak.decide(&[], refused(401)).0, Action::Refresh);
        assert_eq!(streak.decide(&[], closed(4401)).0, Action::Park);
        assert_eq!(streak.decide(&[], refused(403)).0, Action::Park);
        assert_eq!(streak.decide(&[], closed(1011)).0, Action::Backoff);
        assert_eq!(streak.decide(&[], closed(4401)).0, Action::Refresh);
    }
}
