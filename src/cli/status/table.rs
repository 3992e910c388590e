//! The tables of `status` as text.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use comfy_table::{Attribute, Cell, Color};

use crate::{
    api::wire::{LastClose, Link, Status, Store},
    cli::{
        facts::{self, moment},
        grid::{bold, empty, right, trimmed},
        output::{Output, Paint},
        words,
    },
    core::phase::Phase,
    observe::visible,
};

/// One line over the daemon and all links.
pub(super) fn summary(daemon: &Status, links: &[Link], address: &str) -> String {
    let version = daemon.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    let up = daemon.uptime_seconds.map(|seconds| format!(", up {}", words::span(Duration::from_secs(seconds))));
    let phases: Vec<String> = Phase::ALL
        .into_iter()
        .filter_map(|phase| {
            let number = links.iter().filter(|link| facts::phase(link) == Some(phase)).count();
            (number > 0).then(|| format!("{} {} {phase}", words::shape(Some(phase)), words::grouped(number as u64)))
        })
        .collect();
    let queued = links.iter().map(|link| link.queued_messages).sum();
    let buffered = links.iter().map(|link| link.buffered_amount).sum();
    let separator = if phases.is_empty() { "" } else { "  " };
    format!(
        "wskeeper{version} at {address}{}: {}{separator}{}; {} queued, {} buffered",
        up.unwrap_or_default(),
        words::count(links.len() as u64, "link"),
        phases.join("  "),
        words::count(queued, "message"),
        words::bytes(buffered)
    )
}

/// Lines over the store and what waits for an operator, where there is anything to say.
pub(super) fn store(store: &Store, output: &Output) -> Vec<String> {
    let mut lines = Vec::new();
    let held = format!(
        "{}, {} of {}",
        words::count(store.messages, "message"),
        words::bytes(store.bytes),
        words::bytes(store.limit_bytes)
    );
    match (&store.failure, store.state.as_str()) {
        (Some(why), _) => {
            let line = format!("store: takes no messages, durable endpoints refuse them: {}", visible(why));
            lines.push(output.paint(&line, Paint::Red));
        }
        (None, "unused") => {}
        (None, _) => lines.push(format!("store: {held}")),
    }
    if let (None, Some(why)) = (&store.failure, &store.inbox_failure) {
        let line =
            format!("store: takes no inbox entries, consumers cannot resume them after a restart: {}", visible(why));
        lines.push(output.paint(&line, Paint::Yellow));
    }
    let told = |number: u64, noun: &str, verb: &str| {
        let line = format!("{}: `wskeeper {verb} list`", words::count(number, noun));
        (number > 0).then(|| output.paint(&line, Paint::Yellow))
    };
    lines.extend(told(store.dead_letters, "dead letter", "dead"));
    lines.extend(told(store.orphans, "orphan", "orphans"));
    lines
}

/// One row per link.
pub(super) fn links(links: &[Link], now: SystemTime, output: &Output) -> String {
    let mut table = empty(&["LINK", "STATE", "FOR", "GEN", "RTT", "QUEUED", "LAST CLOSE", "NEXT TRY"], output);
    for link in links {
        let phase = facts::phase(link);
        table.add_row(vec![
            bold(facts::name(link)),
            state(phase, &link.phase),
            right(moment(&link.since).map(|since| words::between(since, now)).unwrap_or_default()),
            right(link.generation.to_string()),
            right(link.rtt_ms.map(words::millis).unwrap_or_default()),
            right(queued(link.queued_messages, link.buffered_amount)),
            Cell::new(link.last_close.as_ref().map(|close| last_close(close, now)).unwrap_or_default()),
            Cell::new(next(link, now)),
        ]);
    }
    trimmed(&table)
}

/// One row per endpoint.
pub(super) fn endpoints(links: &[Link], output: &Output) -> String {
    let mut table =
        empty(&["ENDPOINT", "LINKS", "READY", "UNDER WAY", "WAITING", "PARKED", "PAUSED", "QUEUED"], output);
    let mut endpoints: BTreeMap<&str, Vec<&Link>> = BTreeMap::new();
    for link in links {
        endpoints.entry(&link.endpoint).or_default().push(link);
    }
    for (name, links) in endpoints {
        let number = |phases: &[Phase]| {
            let number =
                links.iter().filter(|link| facts::phase(link).is_some_and(|phase| phases.contains(&phase))).count();
            right(if number == 0 { String::new() } else { words::grouped(number as u64) })
        };
        let (messages, bytes) =
            (links.iter().map(|link| link.queued_messages).sum(), links.iter().map(|link| link.buffered_amount).sum());
        table.add_row(vec![
            bold(name),
            right(words::grouped(links.len() as u64)),
            number(&[Phase::Ready]).fg(Color::DarkGreen),
            number(&[Phase::Connecting, Phase::Opening, Phase::Closing]).fg(Color::DarkYellow),
            number(&[Phase::Waiting]).fg(Color::DarkYellow),
            number(&[Phase::Parked]).fg(Color::DarkRed),
            number(&[Phase::Paused]),
            right(queued(messages, bytes)),
        ]);
    }
    format!("{}\n\none row per endpoint; `status --links` or `status --endpoint NAME` shows the links", trimmed(&table))
}

fn state(phase: Option<Phase>, word: &str) -> Cell {
    let cell = Cell::new(format!("{} {word}", words::shape(phase)));
    match words::tint(phase) {
        Paint::Plain => cell,
        Paint::Dim => cell.add_attribute(Attribute::Dim),
        Paint::Bold => cell.add_attribute(Attribute::Bold),
        Paint::Green => cell.fg(Color::DarkGreen),
        Paint::Yellow => cell.fg(Color::DarkYellow),
        Paint::Red => cell.fg(Color::DarkRed),
    }
}

fn queued(messages: u64, bytes: u64) -> String {
    if messages == 0 { String::new() } else { format!("{} / {}", words::grouped(messages), words::bytes(bytes)) }
}

fn last_close(close: &LastClose, now: SystemTime) -> String {
    let ago = moment(&close.at).map(|at| format!(" {} ago", words::between(at, now))).unwrap_or_default();
    format!("{} {}{ago}", close.code, close.cause)
}

fn next(link: &Link, now: SystemTime) -> String {
    let Some(at) = link.next_attempt_at.as_deref().and_then(moment) else {
        return String::new();
    };
    let wait = at.duration_since(now).map_or_else(|_| "now".to_owned(), |wait| format!("in {}", words::span(wait)));
    if link.attempt > 1 { format!("{wait} (attempt {})", link.attempt + 1) } else { wait }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Output {
        // Under a test runner stdout may be a terminal; tables are compared without colours.
        Output::plain()
    }

    fn link(endpoint: &str, index: u32, phase: &str) -> Link {
        Link {
            endpoint: endpoint.into(),
            index,
            phase: phase.into(),
            since: "2026-01-01T00:00:00.000Z".into(),
            ..Link::default()
        }
    }

    fn now() -> SystemTime {
        moment("2026-01-01T00:02:10.000Z").unwrap()
    }

    #[test]
    fn a_link_row_says_what_a_person_asks_first() {
        let mut waiting = link("trades", 1, "waiting");
        waiting.queued_messages = 12;
        waiting.buffered_amount = 1536;
        waiting.next_attempt_at = Some("2026-01-01T00:02:14.000Z".into());
        waiting.attempt = 3;
        waiting.last_close = Some(LastClose {
            code: 1006,
            cause: "reset".into(),
            at: "2026-01-01T00:02:00.000Z".into(),
            ..LastClose::default()
        });
        let mut ready = link("trades", 0, "ready");
        ready.generation = 2;
        ready.rtt_ms = Some(0.42);
        let text = links(&[ready, waiting], now(), &plain());
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0].join(" "), "LINK STATE FOR GEN RTT QUEUED LAST CLOSE NEXT TRY");
        assert_eq!(lines[1].join(" "), "trades/0 ● ready 2m 10s 2 0.42 ms");
        assert_eq!(lines[2].join(" "), "trades/1 ○ waiting 2m 10s 0 12 / 1.5 KiB 1006 reset 10s ago in 4s (attempt 4)");
    }

    #[test]
    fn the_summary_counts_only_phases_that_occur() {
        let links = [link("a", 0, "ready"), link("a", 1, "ready"), link("b", 0, "parked")];
        let daemon = Status { version: Some("1.2.3".into()), uptime_seconds: Some(3900), ..Status::default() };
        assert_eq!(
            summary(&daemon, &links, "unix:/run/api.sock"),
            "wskeeper 1.2.3 at unix:/run/api.sock, up 1h 5m: 3 links  ● 2 ready  ✕ 1 parked; 0 messages queued, 0 B buffered"
        );
    }

    #[test]
    fn the_store_is_told_of_where_there_is_one_and_what_waits_where_there_is_any() {
        let unused = Store { state: "unused".into(), ..Store::default() };
        assert_eq!(store(&unused, &plain()), [""; 0]);
        let ok = Store {
            state: "ok".into(),
            messages: 1,
            bytes: 1536,
            limit_bytes: 1 << 30,
            orphans: 2,
            dead_letters: 1,
            ..Store::default()
        };
        assert_eq!(
            store(&ok, &plain()),
            [
                "store: 1 message, 1.5 KiB of 1.0 GiB",
                "1 dead letter: `wskeeper dead list`",
                "2 orphans: `wskeeper orphans list`"
            ]
        );
        let failed = Store { state: "failed".into(), failure: Some("no space".into()), ..Store::default() };
        assert_eq!(store(&failed, &plain()), ["store: takes no messages, durable endpoints refuse them: no space"]);
    }

    #[test]
    fn inboxes_that_the_store_refuses_are_told_of_unless_it_refuses_everything() {
        let why = Some("no space".to_owned());
        let behind = Store { state: "ok".into(), inbox_failure: why.clone(), ..Store::default() };
        let line = "store: takes no inbox entries, consumers cannot resume them after a restart: no space";
        assert_eq!(store(&behind, &plain())[1..], [line]);
        let failed = Store { failure: why, ..behind };
        assert_eq!(store(&failed, &plain()).len(), 1);
    }

    #[test]
    fn many_links_become_a_row_per_endpoint() {
        let links: Vec<Link> = (0..1500).map(|index| link("fleet", index, "ready")).collect();
        let text = endpoints(&links, &plain());
        let row: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row, ["fleet", "1,500", "1,500"]);
    }

    #[test]
    fn a_phase_of_a_newer_daemon_is_shown_by_its_word() {
        assert!(links(&[link("a", 0, "rotating")], now(), &plain()).contains("? rotating"));
    }
}
