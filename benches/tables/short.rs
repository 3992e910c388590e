//! What a user wants to know first, taken from the tables: the head of `docs/performance.md`.
//!
//! What a reader would get wrong: these are medians of tables that were measured at different times. A row compares within its own
//! table only.

use std::{collections::BTreeMap, fmt::Write as _};

use super::results::{Table, number};

/// A question, and where its answer stands.
struct Question {
    asked: &'static str,
    table: &'static str,
    column: &'static str,
    ours: &'static str,
    /// What people use or write in its place.
    beside: &'static [&'static str],
}

const QUESTIONS: [Question; 10] = [
    Question {
        asked: "messages of 64 B that arrive, for each second of one core",
        table: "ingest",
        column: "messages per second of processor",
        ours: "wskeeper",
        beside: &["tungstenite, default buffers", "gorilla", "Node ws"],
    },
    Question {
        asked: "the same, if each goes on to a program",
        table: "ingest",
        column: "messages per second of processor",
        ours: "wskeeper, one local consumer",
        beside: &[],
    },
    Question {
        asked: "processor time of a message out and its answer back, 64 B",
        table: "relay",
        column: "64 B",
        ours: "wskeeper",
        beside: &["HAProxy", "websocat", "Node ws"],
    },
    Question {
        asked: "what it adds to a round trip",
        table: "latency",
        column: "added",
        ours: "wskeeper",
        beside: &["HAProxy", "websocat", "Node ws"],
    },
    Question {
        asked: "sends by HTTP, for each second of one core",
        table: "http",
        column: "requests per second of processor",
        ours: "wskeeper",
        beside: &["the same route doing nothing"],
    },
    Question {
        asked: "memory of an idle `ws://` link",
        table: "idle",
        column: "a link",
        ours: "wskeeper",
        beside: &["tungstenite, 4 KiB", "gorilla", "Node ws"],
    },
    Question {
        asked: "memory of an idle `wss://` link",
        table: "idle-tls",
        column: "a link",
        ours: "wskeeper",
        beside: &["tungstenite + rustls, 4 KiB"],
    },
    Question {
        asked: "memory without links",
        table: "idle",
        column: "without links",
        ours: "wskeeper",
        beside: &["Node ws"],
    },
    Question {
        asked: "10,000 links ready again after their server was away for six seconds",
        table: "storm",
        column: "all ready after",
        ours: "wskeeper",
        beside: &["immediate retry", "partysocket"],
    },
    Question {
        asked: "processor time of those 10,000 while it was away",
        table: "storm",
        column: "processor while down",
        ours: "wskeeper",
        beside: &["immediate retry", "partysocket"],
    },
];

/// A line for each question whose table has been measured.
pub(super) fn in_short(tables: &BTreeMap<String, Table>) -> String {
    let mut out = String::from("| | wskeeper | beside it |\n|---|--:|---|\n");
    for Question { asked, table, column, ours, beside } in QUESTIONS {
        let Some(table) = tables.get(table) else { continue };
        let Some(index) = table.columns.iter().position(|of| of.name == column) else { continue };
        let unit = &table.columns[index].unit;
        let figure = |contestant: &str| Some(format!("{} {unit}", number(table.median(contestant, index)?)));
        let Some(figure_of_ours) = figure(ours) else { continue };
        let beside = beside.iter().filter_map(|name| Some(format!("{name}: {}", figure(name)?)));
        let _ = writeln!(out, "| {asked} | {figure_of_ours} | {} |", beside.collect::<Vec<_>>().join("; "));
    }
    out
}
