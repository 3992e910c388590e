//! The tables of `status` as text.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use comfy_table::{Attribute, Cell, Color};
use serde_json::Value;

use crate::{
    api::wire::{LastClose, Link, Status, Store},
    cli::{
        facts::{self, moment},
        grid::{bold, lines, right, rigid},
        output::{Output, Paint, clipped, folded},
        words,
    },
    observe::visible,
};
use wskeeper_core::phase::{Phase, Reason};

/// Lines over the daemon and all links.
pub(super) fn summary(daemon: &Status, links: &[Link], address: &str, width: usize) -> Vec<String> {
    let version = daemon.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    let up = daemon.uptime_seconds.map(|seconds| format!(", up {}", words::span(Duration::from_secs(seconds))));
    let queued = links.iter().map(|link| link.queued_messages).sum();
    let buffered = links.iter().map(|link| link.buffered_amount).sum();
    let phases = phases(links);
    let separator = if phases.is_empty() { "" } else { "  " };
    let first = format!("wskeeper{version} at {address}{}", up.unwrap_or_default());
    let second = format!(
        "{}{separator}{phases}; {} queued, {} buffered",
        words::count(links.len() as u64, "link"),
        words::count(queued, "message"),
        words::bytes(buffered)
    );
    [first, second].iter().flat_map(|line| folded(line, width, 0)).collect()
}

/// Lines over a daemon that stops, or whose last reload was refused.
pub(super) fn state(daemon: &Value, now: SystemTime, width: usize, output: &Output) -> Vec<String> {
    let mut told = Vec::new();
    if daemon.get("state").and_then(Value::as_str) == Some("draining") {
        told.push("the daemon is draining: it takes no new messages, sends what it can, and stops".to_owned());
    }
    if daemon.pointer("/lastReload/ok").and_then(Value::as_bool) == Some(false) {
        let applied = daemon.pointer("/lastReload/appliedAt").and_then(Value::as_str).and_then(moment);
        let applied = applied.map(|at| format!(", applied {} ago,", words::between(at, now))).unwrap_or_default();
        told.push(format!("the last reload was refused: the configuration before it{applied} is in force"));
    }
    let lines = told.iter().flat_map(|line| folded(line, width, 2));
    lines.map(|line| output.paint(&line, Paint::Yellow)).collect()
}

/// How many links are in each phase that occurs.
fn phases(links: &[Link]) -> String {
    let counts = Phase::ALL.into_iter().filter_map(|phase| {
        let number = links.iter().filter(|link| facts::phase(link) == Some(phase)).count();
        (number > 0).then(|| format!("{} {} {phase}", words::shape(Some(phase)), words::grouped(number as u64)))
    });
    counts.collect::<Vec<_>>().join("  ")
}

/// The line for links that find no room.
pub(super) fn more(links: &[Link], width: usize) -> String {
    clipped(&format!("… and {} more  {}", words::grouped(links.len() as u64), phases(links)), width)
}

/// Less is shown first: what a person should look at.
pub(super) fn urgency(link: &Link) -> u8 {
    match facts::phase(link) {
        Some(Phase::Parked) => 0,
        Some(Phase::Waiting) => 1,
        Some(Phase::Connecting) => 2,
        Some(Phase::Closing) => 3,
        None => 4,
        Some(Phase::Opening) => 5,
        Some(Phase::Paused) => 6,
        Some(Phase::Ready) => 7,
    }
}

/// Lines over the store and what waits for an operator, where there is anything to say.
pub(super) fn store(store: &Store, width: usize, output: &Output) -> Vec<String> {
    let mut lines = Vec::new();
    let mut tell =
        |line: &str, paint| lines.extend(folded(line, width, 2).iter().map(|line| output.paint(line, paint)));
    let held = format!(
        "{}, {} of {}",
        words::count(store.messages, "message"),
        words::bytes(store.bytes),
        words::bytes(store.limit_bytes)
    );
    match (&store.failure, store.state.as_str()) {
        (Some(why), _) => {
            let line = format!("store: takes no messages, durable endpoints refuse them: {}", visible(why));
            tell(&line, Paint::Red);
        }
        (None, "unused") => {}
        (None, _) => tell(&format!("store: {held}"), Paint::Plain),
    }
    if let (None, Some(why)) = (&store.failure, &store.inbox_failure) {
        let line =
            format!("store: takes no inbox entries, consumers cannot resume them after a restart: {}", visible(why));
        tell(&line, Paint::Yellow);
    }
    for (number, noun, verb) in [(store.dead_letters, "dead letter", "dead"), (store.orphans, "orphan", "orphans")] {
        if number > 0 {
            tell(&format!("{}: `wskeeper {verb} list`", words::count(number, noun)), Paint::Yellow);
        }
    }
    lines
}

/// What a row of the table says of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Link,
    State,
    For,
    Generation,
    Rtt,
    Queued,
    Close,
    /// Without when.
    ShortClose,
    Next,
    /// Without which attempt.
    ShortNext,
}

use Column::{Close, For, Generation, Next, Queued, Rtt, ShortClose, ShortNext, State};

/// From the widest to the narrowest; the first that fits is taken.
const LAYOUTS: [&[Column]; 7] = [
    &[Column::Link, State, For, Generation, Rtt, Queued, Close, Next],
    &[Column::Link, State, For, Queued, Close, Next],
    &[Column::Link, State, For, Queued, ShortClose, ShortNext],
    &[Column::Link, State, For, ShortClose, ShortNext],
    &[Column::Link, State, ShortClose, ShortNext],
    &[Column::Link, State, ShortNext],
    &[Column::Link, State],
];

impl Column {
    const fn title(self) -> &'static str {
        match self {
            Self::Link => "LINK",
            State => "STATE",
            For => "FOR",
            Generation => "GEN",
            Rtt => "RTT",
            Queued => "QUEUED",
            Close | ShortClose => "LAST CLOSE",
            Next | ShortNext => "NEXT TRY",
        }
    }

    fn text(self, link: &Link, now: SystemTime) -> String {
        match self {
            Self::Link => facts::name(link) + facts::mark(link),
            State => format!("{} {}", words::shape(facts::phase(link)), link.phase),
            For => moment(&link.since).map(|since| words::between(since, now)).unwrap_or_default(),
            Generation => link.generation.to_string(),
            Rtt => link.rtt_ms.map(words::millis).unwrap_or_default(),
            Queued => {
                let paced = if link.paced_until.is_some() && link.queued_messages > 0 { ", paced" } else { "" };
                format!("{}{paced}", queued(link.queued_messages, link.buffered_amount))
            }
            Close => link.last_close.as_ref().map(|close| last_close(close, now)).unwrap_or_default(),
            ShortClose => {
                link.last_close.as_ref().map(|close| format!("{} {}", close.code, close.cause)).unwrap_or_default()
            }
            Next => next(link, now),
            ShortNext => next(link, now).split(" (").next().unwrap_or_default().to_owned(),
        }
    }

    fn cell(self, text: &str, link: &Link) -> Cell {
        match self {
            Self::Link => bold(text),
            State => tinted(facts::phase(link), text),
            For | Generation | Rtt | Queued => right(text),
            Close | ShortClose | Next | ShortNext => Cell::new(text),
        }
    }
}

/// One row per link, below a header, in at most `width` characters.
pub(super) fn links(links: &[Link], now: SystemTime, width: usize, output: &Output) -> Vec<String> {
    let texts = |columns: &[Column]| -> Vec<Vec<String>> {
        links.iter().map(|link| columns.iter().map(|column| column.text(link, now)).collect()).collect()
    };
    let narrowest = LAYOUTS[LAYOUTS.len() - 1];
    let fits = |columns: &&&[Column]| measured(columns, &texts(columns)) <= width;
    let columns = LAYOUTS.iter().find(fits).copied().unwrap_or(narrowest);
    let mut rows = texts(columns);
    let over = measured(columns, &rows).saturating_sub(width);
    let longest = rows.iter().map(|row| row[0].chars().count()).max().unwrap_or_default();
    let mut table = rigid(&columns.iter().map(|column| column.title()).collect::<Vec<_>>(), output);
    for (link, row) in links.iter().zip(&mut rows) {
        row[0] = clipped(&row[0], longest.saturating_sub(over));
        table.add_row(columns.iter().zip(row).map(|(column, text)| column.cell(text, link)).collect::<Vec<_>>());
    }
    lines(&table)
}

/// How wide a table is: a space before each cell and one behind, but for those at the end of a line.
fn measured(columns: &[Column], rows: &[Vec<String>]) -> usize {
    let width = |(at, column): (usize, &Column)| {
        let widest = rows.iter().map(|row| row[at].chars().count()).max().unwrap_or_default();
        widest.max(column.title().len()) + 2
    };
    columns.iter().enumerate().map(width).sum::<usize>().saturating_sub(1)
}

/// Rows per endpoint, those in trouble first, at most `room` of them.
pub(super) fn endpoints(links: &[Link], room: usize, width: usize, output: &Output) -> Vec<String> {
    let mut endpoints: BTreeMap<&str, Vec<&Link>> = BTreeMap::new();
    for link in links {
        endpoints.entry(&link.endpoint).or_default().push(link);
    }
    let mut endpoints: Vec<_> = endpoints.into_iter().collect();
    endpoints.sort_by_key(|(_, links)| links.iter().map(|link| urgency(link)).min());
    // What stands beside the name, and the queue where there is room for it.
    let is_narrow = width < 80;
    let name_room = width.saturating_sub(if is_narrow { 58 } else { 76 }).max(8);
    let titles = ["ENDPOINT", "LINKS", "READY", "UNDER WAY", "WAITING", "PARKED", "PAUSED", "QUEUED"];
    let mut table = rigid(&titles[..titles.len() - usize::from(is_narrow)], output);
    // A hint below, and a line that counts those left out.
    let shown = if endpoints.len() + 2 > room { room.saturating_sub(3).max(1) } else { endpoints.len() };
    for (name, links) in &endpoints[..shown.min(endpoints.len())] {
        let mark = links.first().map_or("", |link| facts::mark(link));
        let mut cells = row(&(clipped(name, name_room.saturating_sub(mark.len())) + mark), links);
        cells.truncate(titles.len() - usize::from(is_narrow));
        table.add_row(cells);
    }
    let mut told = lines(&table);
    if shown < endpoints.len() {
        told.push(clipped(
            &format!("… and {} more", words::count((endpoints.len() - shown) as u64, "endpoint")),
            width,
        ));
    }
    told.push(String::new());
    told.push(clipped("one row per endpoint; `status --links` or `--endpoint NAME` shows the links", width));
    told.iter().map(|line| if output.colours() { line.clone() } else { clipped(line, width) }).collect()
}

fn row(name: &str, links: &[&Link]) -> Vec<Cell> {
    let number = |phases: &[Phase]| {
        let number =
            links.iter().filter(|link| facts::phase(link).is_some_and(|phase| phases.contains(&phase))).count();
        right(if number == 0 { String::new() } else { words::grouped(number as u64) })
    };
    let (messages, bytes) =
        (links.iter().map(|link| link.queued_messages).sum(), links.iter().map(|link| link.buffered_amount).sum());
    vec![
        bold(name),
        right(words::grouped(links.len() as u64)),
        number(&[Phase::Ready]).fg(Color::DarkGreen),
        number(&[Phase::Connecting, Phase::Opening, Phase::Closing]).fg(Color::DarkYellow),
        number(&[Phase::Waiting]).fg(Color::DarkYellow),
        number(&[Phase::Parked]).fg(Color::DarkRed),
        number(&[Phase::Paused]),
        right(queued(messages, bytes)),
    ]
}

fn tinted(phase: Option<Phase>, text: &str) -> Cell {
    let cell = Cell::new(text);
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
    let label = close.label.as_ref().map(|label| format!(" {}", visible(label))).unwrap_or_default();
    format!("{} {}{label}{ago}", close.code, close.cause)
}

fn next(link: &Link, now: SystemTime) -> String {
    if link.phase_reason == Reason::Asleep.as_str() {
        return "when used".to_owned();
    }
    let Some(at) = link.next_attempt_at.as_deref().and_then(moment) else {
        return String::new();
    };
    let wait = at.duration_since(now).map_or_else(|_| "now".to_owned(), |wait| format!("in {}", words::span(wait)));
    if link.phase_reason == Reason::Budget.as_str() {
        return format!("{wait} (budget spent)");
    }
    if link.attempt > 1 { format!("{wait} (attempt {})", link.attempt + 1) } else { wait }
}

#[cfg(test)]
mod tests;
