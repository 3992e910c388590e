//! RFC 6455 and RFC 7692, row by row: what a server says, and what the real daemon does then, on the wire and in what it shows.
//!
//! [`demands`] lists what the RFCs demand of a client; [`framing`], [`closing`], [`deflate`] and [`handshake`] are tables of what servers
//! say. A row is tried on each kind of connection that can tell a difference (see [`row::Lane`]), and with its bytes in one piece, one by
//! one, and cut in two: wherever, if they are few.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(unreachable_pub, reason = "what tests share is as public as a library's items")]
#![allow(clippy::print_stderr, reason = "a failed test says why")]

#[path = "../support/mod.rs"]
mod support;

mod closing;
mod deflate;
mod demands;
mod framing;
mod handshake;
mod peer;
mod row;
mod sends;

use std::{collections::BTreeMap, collections::HashMap, fmt::Write as _};

use serde_json::Value;

use peer::{Report, splits};
use row::{End, Lane, Row};
use support::{daemon::Daemon, raw::Raw};

/// Each connection is made once; what it leaves stays to be seen.
const SETTINGS: &str = "
[admission]
per_host = 100
total = 100
[defaults]
connect_timeout = \"60s\"
close_timeout = \"60s\"
outcomes = [
    { match = { code = \"1000-4999\" }, then = \"stay_closed\" },
    { match = { class = \"upgrade\" }, then = \"stay_closed\" },
    { match = { class = \"subprotocol\" }, then = \"stay_closed\" },
]
[defaults.heartbeat]
idle = \"10min\"
[defaults.reconnect]
first = \"1ms\"
[defaults.inbox]
max_message = \"64KiB\"
max_bytes = \"8MiB\"
";

fn rows() -> Vec<Row> {
    [framing::rows(), closing::rows(), deflate::rows()].concat()
}

#[test]
fn every_demand_has_a_row_and_every_row_a_demand() {
    let named =
        rows().into_iter().map(|row| row.demand).chain(handshake::demands()).chain(sends::DEMANDS.iter().copied());
    let mut counts: BTreeMap<&str, usize> = demands::DEMANDS.iter().map(|(name, _)| (*name, 0)).collect();
    assert_eq!(counts.len(), demands::DEMANDS.len(), "each demand stands there once");
    for name in named {
        *counts.get_mut(name).unwrap_or_else(|| panic!("{name} is no demand")) += 1;
    }
    let missing: Vec<_> = counts.into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect();
    assert_eq!(missing, Vec::<&str>::new(), "no row is about these");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_row_has_the_answer_and_the_end_that_the_rfcs_want() {
    let peer = Raw::listen().await;
    let (mut served, mut sections, mut expected) = (HashMap::new(), SETTINGS.to_owned(), 0);
    for (number, row) in rows().into_iter().enumerate() {
        for lane in row.lanes {
            let name = format!("row-{number}-{lane:?}").to_lowercase();
            let (port, links) = (peer.port, splits(row.bytes.len()).len());
            let compression = if lane.extension().is_empty() { "off" } else { "auto" };
            let url = format!("ws://127.0.0.1:{port}/{name}");
            let keys = format!("url = \"{url}\"\nlinks = {links}\ncompression = \"{compression}\"");
            write!(sections, "\n[endpoints.{name}]\n{keys}\n").unwrap();
            expected += links;
            served.insert(name, (row.clone(), *lane));
        }
    }
    let mut reports = peer::serve(peer, served.clone());
    let daemon = Daemon::start(&sections).await;
    let mut faults = Vec::new();
    for _ in 0..expected {
        let report =
            tokio::time::timeout(support::PATIENCE, reports.recv()).await.expect("the next connection").unwrap();
        let (row, lane) = &served[&report.path];
        if let Err(fault) = said_as_it_should(row, &report) {
            faults.push(format!("{} ({}, {lane:?}, in pieces of {:?}): {fault}", row.demand, row.what, report.pieces));
        }
    }
    for (name, (row, lane)) in &served {
        for fault in shown(&daemon, name, row, *lane).await {
            faults.push(format!("{} ({}, {lane:?}): {fault}", row.demand, row.what));
        }
    }
    eprintln!("{} rows, {} endpoints, {expected} connections", rows().len(), served.len());
    faults.sort();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// What the client says on the wire.
fn said_as_it_should(row: &Row, report: &Report) -> Result<(), String> {
    let close = match row.end {
        End::GoesOn => Some(Some(1000)),
        End::Fails(code, ..) => Some(Some(code)),
        End::Closed(_, _, answer) => Some(answer),
        End::Lost => None,
    };
    let (mut said, mut answers) = (report.said.clone(), row.answers.clone());
    if let Some(code) = close {
        let Some((0x88, body)) = said.pop() else { return Err(format!("no Close at the end of {:?}", report.said)) };
        let closed = body.first_chunk().map(|code| u16::from_be_bytes(*code));
        if closed != code || body.len() == 1 {
            return Err(format!("it closed with {body:?}"));
        }
    }
    if row.last_is_enough && said.len() < answers.len() {
        answers.drain(..answers.len() - 1);
    }
    if said == answers { Ok(()) } else { Err(format!("it answered {said:?}")) }
}

/// What is wrong with what the daemon shows of it.
async fn shown(daemon: &Daemon, name: &str, row: &Row, lane: Lane) -> Vec<String> {
    let links = splits(row.bytes.len()).len();
    let mut faults = Vec::new();
    for index in 0..links {
        let link = format!("{name}/{index}");
        let seen = daemon.api.link_until(&link, "closed", |link| link["lastClose"].is_object()).await;
        if let Err(fault) = closed_as_it_should(row, &seen["lastClose"]) {
            faults.push(fault);
        }
        if seen["extensions"].as_str().is_some_and(|extensions| !extensions.is_empty()) && lane.extension().is_empty() {
            faults.push(format!("extensions are {}", seen["extensions"]));
        }
    }
    let history = daemon.api.get(&format!("/v1/links/{name}/0/history")).await.expect(200).json();
    if let End::Fails(code, cause, words) = row.end {
        let text = history.to_string();
        if !(text.contains(words) && text.contains(cause) && text.contains("1006")) {
            faults.push(format!("the history does not tell of {code}: {text}"));
        }
    }
    let mut received: Vec<Vec<(Vec<u8>, bool)>> = vec![Vec::new(); links];
    let (mut errors, mut closed) = (0, 0);
    let mut events = daemon.api.events(name, "from=oldest").await;
    while closed < links {
        let event = events.next().await;
        match event.kind.as_str() {
            "message" => received[usize::try_from(event.data["link"].as_u64().unwrap()).unwrap()].push(event.payload()),
            "error" => errors += 1,
            "close" => {
                closed += 1;
                faults.extend(closed_as_it_should(row, &event.data).err().map(|fault| format!("the event: {fault}")));
            }
            _ => {}
        }
    }
    let mut wanted = row.received.clone();
    if !lane.before().is_empty() {
        wanted.insert(0, (b"before".to_vec(), false));
    }
    for received in received.into_iter().filter(|received| *received != wanted) {
        let shortly: Vec<_> = received
            .iter()
            .map(|(data, binary)| (String::from_utf8_lossy(&data[..data.len().min(40)]).into_owned(), *binary))
            .collect();
        faults.push(format!("consumers received {shortly:?}"));
    }
    let is_failure = matches!(row.end, End::Fails(..) | End::Lost);
    if errors != if is_failure { links } else { 0 } {
        faults.push(format!("{errors} `error` events for {links} connections"));
    }
    faults
}

fn closed_as_it_should(row: &Row, close: &Value) -> Result<(), String> {
    let (code, reason, clean, cause) = match row.end {
        End::GoesOn => (1000, "", true, "remote"),
        End::Closed(code, reason, _) => (code, reason, true, "remote"),
        End::Fails(_, cause, _) => (1006, "", false, cause),
        End::Lost => (1006, "", false, "reset"),
    };
    let shown = (&close["code"], &close["reason"], &close["wasClean"], &close["cause"]);
    if shown != (&code.into(), &reason.into(), &clean.into(), &cause.into()) {
        return Err(format!("it shows {close}"));
    }
    // Events do not say what was sent; the wire has.
    if let End::Fails(sent, _, words) = row.end
        && (close["sentCode"].as_u64().is_some_and(|code| code != u64::from(sent))
            || !text_of(close, "detail").contains(words))
    {
        return Err(format!("it shows {close}"));
    }
    Ok(())
}

fn text_of<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_default()
}
