//! `outcomes`: the endpoint's own rows of the table that says what follows a close.

use std::ops::RangeInclusive;

use super::{
    item::Item,
    section::{Section, suggestion},
    session,
};
use wskeeper_core::{
    close::Cause,
    outcome::{Action, Match, Rule},
    session::Expression,
};
use wskeeper_link::endpoint::{FieldName, Session};

/// The list, where it is written; rows with a fault are left out.
pub(in crate::config) fn read(section: &Section<'_>, rules: &mut Vec<Rule>) {
    if let Some(list) = section.list("outcomes") {
        *rules = list.iter().filter_map(rule).collect();
    }
}

/// `on_clean_close = "stay_closed"` as rows. Only for what the peer closed: a Close that answers ours is no such end.
pub(super) fn stay_closed() -> impl Iterator<Item = Rule> {
    [1000, 1001, 1005].into_iter().map(|code| Rule {
        when: Match { code: Some(code..=code), class: Some(Cause::Remote), ..Match::default() },
        then: Action::StayClosed,
        after: 1,
        forget: Box::default(),
    })
}

/// What an end forgets is something that the session keeps.
pub(super) fn look_at_forgotten(section: &Section<'_>, rules: &[Rule], session: Option<&Session>) {
    let kept = |name: &str| session.is_some_and(|session| session.keeps(name));
    for name in rules.iter().flat_map(|rule| &rule.forget).filter(|name| section.has("outcomes") && !kept(name)) {
        section.fault(
            "outcomes",
            format!("a row forgets `{name}`, which no connection leaves to the next"),
            "list it in session.keep, or leave it out",
        );
    }
}

/// `next_url` needs a next URL.
pub(super) fn look_at_urls(section: &Section<'_>, rules: &[Rule], urls: usize) {
    if urls == 1 && section.has("outcomes") && rules.iter().any(|rule| rule.then == Action::NextUrl) {
        section.fault(
            "outcomes",
            "a row says \"next_url\", and there is one URL",
            "list more in `urls`, or write \"backoff\"",
        );
    }
}

fn rule(section: &Section<'_>) -> Option<Rule> {
    const WORDS: [(&str, Action); 7] = [
        ("backoff", Action::Backoff),
        ("now", Action::Now),
        ("slow", Action::Slow),
        ("park", Action::Park),
        ("refresh", Action::Refresh),
        ("next_url", Action::NextUrl),
        ("stay_closed", Action::StayClosed),
    ];
    let matching = section.section("match");
    let when = when(&matching);
    let then = section.get("then").and_then(|item| item.word(&WORDS));
    let after = section.get("after").map_or(Some(1), |item| item.integer(1..=1_000_000));
    let forget = section.get("forget").and_then(|item| item.list()).unwrap_or_default();
    let forget = forget.iter().filter_map(|item| item.text().map(Into::into)).collect();
    section.finish();
    if !section.has("then") {
        section.fault("then", "is missing", "say what follows, such as \"park\"");
    }
    if when == Match::default() {
        if !["code", "reason", "status", "class", "label", "body", "header"].iter().any(|key| matching.has(key)) {
            section.fault(
                "match",
                "matches every end",
                "give it at least one of `code`, `reason`, `status`, `class`, `label`, `body` and `header`",
            );
        }
        return None;
    }
    Some(Rule { when, then: then?, after: u32::try_from(after?).ok()?, forget })
}

fn when(section: &Section<'_>) -> Match {
    let when = Match {
        code: section.get("code").and_then(|item| range(&item, 1000..=4999, "4000-4099")),
        reason: section.get("reason").and_then(|item| expression(&item)),
        status: section.get("status").and_then(|item| range(&item, 100..=599, "500-599")),
        class: section.get("class").and_then(|item| class(&item)),
        label: section.get("label").and_then(|item| session::label(&item)),
        body: section.get("body").and_then(|item| expression(&item)),
        headers: headers(section),
    };
    section.finish();
    let of_refusal = [("body", when.body.is_some()), ("header", !when.headers.is_empty())];
    if let Some((key, _)) = of_refusal.into_iter().find(|(_, is_there)| *is_there)
        && (section.has("code") || section.has("reason") || when.class.is_some_and(|class| class != Cause::Upgrade))
    {
        section.fault(
            key,
            "only an upgrade that was refused says anything, so the row matches nothing",
            "leave out `code`, `reason` and `class`, or make two rows of it",
        );
    }
    if when.label.is_some() && when.class.is_some_and(|class| class != Cause::Session && class != Cause::Mute) {
        section.fault(
            "class",
            "only the end of a session has a label, so the row matches nothing",
            "write \"session\"",
        );
    }
    if section.has("code") && section.has("status") {
        section.fault(
            "status",
            "a refused upgrade has no close code, so the row matches nothing",
            "make two rows of it",
        );
    }
    when
}

/// `header`: names, and a regular expression for each.
fn headers(section: &Section<'_>) -> Box<[(Box<str>, Expression)]> {
    let headers = section.section("header");
    let mut read = Vec::new();
    for (name, item) in headers.entries() {
        if name.parse::<FieldName>().is_err() {
            item.fault("is not a header's name", "use letters, digits and dashes");
        } else if let Some(pattern) = expression(&item) {
            read.push((name.to_ascii_lowercase().into(), pattern));
        }
    }
    read.into()
}

/// A number, or a range as text.
pub(super) fn range(item: &Item<'_>, within: RangeInclusive<u16>, example: &str) -> Option<RangeInclusive<u16>> {
    let hint = || format!("write a number from {} to {}, or a range such as {example:?}", within.start(), within.end());
    let (from, to) = if let config::ValueKind::String(text) = &item.value.kind {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        (from.trim().parse::<u16>().ok(), to.trim().parse::<u16>().ok())
    } else {
        let number = item.integer((*within.start()).into()..=(*within.end()).into())?;
        (u16::try_from(number).ok(), u16::try_from(number).ok())
    };
    let range = from.zip(to).map(|(from, to)| from..=to);
    let fits = range
        .filter(|range| range.start() <= range.end() && within.contains(range.start()) && within.contains(range.end()));
    if fits.is_none() {
        item.fault("is not such a number or range", hint());
    }
    fits
}

fn expression(item: &Item<'_>) -> Option<Expression> {
    let read = Expression::parse(item.text()?);
    read.map_err(|error| {
        let hint = "write one that Rust's `regex` crate reads, without Unicode's classes";
        item.fault(format!("is not a regular expression: {error}"), hint);
    })
    .ok()
}

fn class(item: &Item<'_>) -> Option<Cause> {
    let words: Vec<&str> = Cause::ALL.into_iter().filter(|cause| cause.is_failure()).map(Cause::as_str).collect();
    let word = item.text()?;
    let cause = Cause::from_word(word).filter(|cause| cause.is_failure());
    if cause.is_none() {
        item.fault("is not a failure class", suggestion(word, &words));
    }
    cause
}
