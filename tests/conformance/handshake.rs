//! RFC 6455 §4.1 and RFC 7692 §5 and §7.1: what a client makes of the answer to its upgrade.

use std::{collections::HashMap, fmt::Write as _, sync::Arc};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{
    SETTINGS,
    support::{
        daemon::Daemon,
        raw::{Raw, header},
    },
};

/// An answer.
struct Answer {
    demand: &'static str,
    what: &'static str,
    /// What is offered: keys of the endpoint.
    keys: &'static str,
    /// The lines of the answer; `{accept}` is what answers the key.
    lines: String,
    then: Then,
}

/// What follows.
#[derive(Clone, Copy)]
enum Then {
    /// The connection is open, with this subprotocol and these extensions.
    Opens(&'static str, &'static str),
    /// It never was, for this cause, and in these words.
    Fails(&'static str, &'static str),
}

const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n";
const NOTHING: &str = "";
const PROTOCOLS: &str = "protocols = [\"v2\", \"v1\"]";
const DEFLATE: &str = "compression = \"auto\"";
const SMALL: &str = "compression = \"auto\"\ncompression_context = \"peer\"\ncompression_window_bits = 10";
const LEAST: &str = "compression = \"auto\"\ncompression_context = \"both\"";

/// What the rows are about.
pub fn demands() -> impl Iterator<Item = &'static str> {
    rows().into_iter().map(|row| row.demand)
}

fn rows() -> Vec<Answer> {
    [answers(), extensions(), parameters(), windows()].into_iter().flatten().collect()
}

fn answer(demand: &'static str, what: &'static str, keys: &'static str, lines: String) -> impl FnOnce(Then) -> Answer {
    move |then| Answer { demand, what, keys, lines, then }
}

fn with(more: &str) -> String {
    format!("{GOOD}{more}\r\n")
}

fn without(line: &str) -> String {
    GOOD.split_inclusive("\r\n").filter(|kept| !kept.starts_with(line)).collect()
}

fn answers() -> Vec<Answer> {
    use Then::{Fails, Opens};
    let refused = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n");
    let plain = |demand, what, lines, then| answer(demand, what, NOTHING, lines)(then);
    let chosen = |what, keys, name: &str, then| {
        answer("4.1/subprotocol", what, keys, with(&format!("Sec-WebSocket-Protocol: {name}")))(then)
    };
    let (accept, no_accept) = ("{accept}", "dGhlIHNhbXBsZSBub25jZQ==");
    vec![
        plain("4.1/status", "a 101 with all that it needs", GOOD.to_owned(), Opens("", "")),
        plain("4.1/status", "a 200", refused("200 OK"), Fails("upgrade", "status 200")),
        plain("4.1/status", "a 101 of HTTP/1.0", GOOD.replace("HTTP/1.1", "HTTP/1.0"), Fails("upgrade", "HTTP/1.1")),
        plain("4.1/status", "a 403", refused("403 Forbidden"), Fails("upgrade", "status 403")),
        plain("4.1/upgrade", "no Upgrade", without("Upgrade"), Fails("upgrade", "Upgrade header")),
        plain(
            "4.1/upgrade",
            "another Upgrade",
            GOOD.replace("Upgrade: websocket", "Upgrade: h2c"),
            Fails("upgrade", "Upgrade header"),
        ),
        plain("4.1/upgrade", "Upgrade in capitals", GOOD.replace("websocket", "WEBSOCKET"), Opens("", "")),
        plain("4.1/connection", "no Connection", without("Connection"), Fails("upgrade", "Connection header")),
        plain(
            "4.1/connection",
            "another Connection",
            GOOD.replace(": Upgrade", ": close"),
            Fails("upgrade", "Connection header"),
        ),
        plain(
            "4.1/connection",
            "Connection with more",
            GOOD.replace(": Upgrade", ": keep-alive, uPGRADE"),
            Opens("", ""),
        ),
        plain("4.1/accept", "no Accept", without("Sec-WebSocket-Accept"), Fails("upgrade", "Sec-WebSocket-Accept")),
        plain(
            "4.1/accept",
            "an Accept for another key",
            GOOD.replace(accept, no_accept),
            Fails("upgrade", "Sec-WebSocket-Accept"),
        ),
        plain(
            "4.1/accept",
            "an Accept in other case",
            GOOD.replace(accept, "{lower}"),
            Fails("upgrade", "Sec-WebSocket-Accept"),
        ),
        plain("4.1/accept", "an Accept between spaces", GOOD.replace(accept, "  {accept}  "), Opens("", "")),
        chosen("one of those offered", PROTOCOLS, "v1", Opens("v1", "")),
        chosen("one that was not", PROTOCOLS, "v3", Fails("subprotocol", "not offered")),
        chosen("one in other case", PROTOCOLS, "V1", Fails("subprotocol", "not offered")),
        chosen("two", PROTOCOLS, "v2, v1", Fails("subprotocol", "not offered")),
        chosen("one where none was offered", NOTHING, "v1", Fails("subprotocol", "not offered")),
    ]
}

const AGREED: &str = "permessage-deflate; server_no_context_takeover";

fn extension(demand: &'static str, what: &'static str, keys: &'static str, value: &str, then: Then) -> Answer {
    answer(demand, what, keys, with(&format!("Sec-WebSocket-Extensions: {value}")))(then)
}

fn extensions() -> Vec<Answer> {
    use Then::{Fails, Opens};
    let deflate = |demand, what, value: &str, then| extension(demand, what, DEFLATE, value, then);
    let fails = |words| Fails("upgrade", words);
    vec![
        extension(
            "4.1/extension",
            "one where none was offered",
            NOTHING,
            "x-webkit-deflate-frame",
            fails("not offered"),
        ),
        extension("4.1/extension", "no value", NOTHING, "", Opens("", "")),
        deflate("4.1/extension", "another than was offered", "permessage-bzip2", fails("not offered")),
        deflate("4.1/extension", "that and another", &format!("{AGREED}, x-other"), fails("not offered")),
        deflate(
            "4.1/extension",
            "its name in capitals",
            "Permessage-Deflate; server_no_context_takeover",
            fails("not offered"),
        ),
        deflate("4.1/extension", "none", "", Opens("", "")),
        extension("7692 5.1/unasked", "permessage-deflate", NOTHING, "permessage-deflate", fails("not offered")),
        deflate("7692 7.1/offer", "what was offered", AGREED, Opens("", AGREED)),
        deflate(
            "7692 7.1/offer",
            "the same without spaces",
            "permessage-deflate;server_no_context_takeover",
            Opens("", AGREED),
        ),
        deflate(
            "7692 7.1/offer",
            "the same between spaces",
            "  permessage-deflate \t; \tserver_no_context_takeover ",
            Opens("", AGREED),
        ),
        deflate(
            "7692 7.1/offer",
            "without server_no_context_takeover",
            "permessage-deflate",
            fails("server_no_context_takeover"),
        ),
        extension("7692 7.1/offer", "with it where it was not asked for", LEAST, AGREED, Opens("", AGREED)),
    ]
}

fn parameters() -> Vec<Answer> {
    let twice = format!("{AGREED}\r\nSec-WebSocket-Extensions: {AGREED}");
    let both = format!("{AGREED}, {AGREED}");
    let deflate = |demand, what, value: &str, then| extension(demand, what, DEFLATE, value, then);
    let fails = |words| Then::Fails("upgrade", words);
    vec![
        deflate("7692 7.1/unknown", "a parameter of its own", &format!("{AGREED}; quality=9"), fails("unknown")),
        deflate(
            "7692 7.1/unknown",
            "a parameter in capitals",
            "permessage-deflate; Server_No_Context_Takeover",
            fails("unknown"),
        ),
        deflate("7692 7.1/unknown", "a semicolon and nothing", &format!("{AGREED};"), fails("unknown")),
        deflate("7692 7.1/value", "a value where there is none", &format!("{AGREED}=1"), fails("unknown")),
        deflate(
            "7692 7.1/value",
            "no value where there is one",
            &format!("{AGREED}; server_max_window_bits"),
            fails("unknown"),
        ),
        deflate("7692 7.1/twice", "the extension twice in a line", &both, fails("twice")),
        deflate("7692 7.1/twice", "the extension in two lines", &twice, fails("twice")),
        deflate(
            "7692 7.1/twice",
            "a parameter twice",
            &format!("{AGREED}; server_no_context_takeover"),
            fails("twice"),
        ),
        deflate(
            "7692 7.1/twice",
            "two window bits",
            &format!("{AGREED}; server_max_window_bits=9; server_max_window_bits=9"),
            fails("twice"),
        ),
    ]
}

fn windows() -> Vec<Answer> {
    use Then::{Fails, Opens};
    let server = |value: &str| format!("{AGREED}; server_max_window_bits={value}");
    let client = |value: &str| format!("{AGREED}; client_max_window_bits={value}");
    let bits = |what, value: &str, then| extension("7692 7.1.2/bits", what, DEFLATE, value, then);
    let offer = |what, value: &str, then| extension("7692 7.1/offer", what, SMALL, value, then);
    let (unknown, fails) = (Fails("upgrade", "unknown"), |words| Fails("upgrade", words));
    vec![
        bits(
            "8 bits of the server",
            &server("8"),
            Opens("", "permessage-deflate; server_no_context_takeover; server_max_window_bits=8"),
        ),
        bits(
            "15 bits in quotes",
            &server("\"15\""),
            Opens("", "permessage-deflate; server_no_context_takeover; server_max_window_bits=15"),
        ),
        bits(
            "9 bits of the client",
            &client("9"),
            Opens("", "permessage-deflate; server_no_context_takeover; client_max_window_bits=9"),
        ),
        bits("7", &server("7"), unknown),
        bits("16", &server("16"), unknown),
        bits("15x", &server("15x"), unknown),
        bits("08", &server("08"), unknown),
        bits("+9", &client("+9"), unknown),
        bits("nothing behind the sign", &server(""), unknown),
        bits("nothing in quotes", &server("\"\""), unknown),
        bits("a quote that does not end", &server("\"15"), unknown),
        bits("a number beyond all", &client("99999999999999999999"), unknown),
        offer(
            "the bits that were asked for",
            "permessage-deflate; server_max_window_bits=10",
            Opens("", "permessage-deflate; server_max_window_bits=10"),
        ),
        offer(
            "fewer bits than were asked for",
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=10",
            Opens("", "permessage-deflate; server_max_window_bits=9; client_max_window_bits=10"),
        ),
        offer(
            "more bits than were asked for",
            "permessage-deflate; server_max_window_bits=11",
            fails("server_max_window_bits"),
        ),
        offer("no bits where some were asked for", "permessage-deflate", fails("server_max_window_bits")),
        offer(
            "more bits of the client than it has",
            "permessage-deflate; server_max_window_bits=10; client_max_window_bits=11",
            fails("client_max_window_bits"),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_to_the_upgrade_opens_the_connection_or_fails_it_as_the_rfcs_want() {
    let peer = Raw::listen().await;
    let rows = rows();
    let mut sections = SETTINGS.to_owned();
    let mut answers = HashMap::new();
    for (number, row) in rows.iter().enumerate() {
        // One hears it as a whole, the other byte by byte.
        write!(
            sections,
            "\n[endpoints.h{number}]\nurl = \"ws://127.0.0.1:{}/h{number}\"\nlinks = 2\n{}\n",
            peer.port, row.keys
        )
        .unwrap();
        answers.insert(format!("/h{number}"), format!("{}\r\n", row.lines));
    }
    let mut heard = serve(peer, answers);
    let daemon = Daemon::start(&sections).await;
    let mut faults = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        for index in 0..2 {
            if let Err(fault) = judged(&daemon, &format!("h{number}/{index}"), row.then).await {
                faults.push(format!("{} ({}, link {index}): {fault}", row.demand, row.what));
            }
        }
    }
    drop(daemon);
    while let Some((path, frames)) = heard.recv().await {
        if !frames.is_empty() {
            faults.push(format!("{path}: the client said {frames:?}"));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Reports what each client says on its connection, until the daemon has gone and all is told.
fn serve(peer: Raw, answers: HashMap<String, String>) -> mpsc::Receiver<(String, Vec<u8>)> {
    let (reports, heard) = mpsc::channel(2 * answers.len());
    let answers = Arc::new(answers);
    tokio::spawn(async move {
        for count in 0..2 * answers.len() {
            let (mut stream, request) = peer.accept().await;
            let (answers, reports) = (Arc::clone(&answers), reports.clone());
            tokio::spawn(async move {
                let path = request.split(' ').nth(1).unwrap().to_owned();
                let accept = derive_accept_key(header(&request, "sec-websocket-key").as_bytes());
                let lower = accept.to_lowercase();
                let answer = answers[&path].replace("{accept}", &accept).replace("{lower}", &lower);
                let piece = if count % 2 == 0 { answer.len() } else { 1 };
                for piece in answer.as_bytes().chunks(piece) {
                    // The client may hang up in the middle of it.
                    let _sent = stream.write_all(piece).await;
                    tokio::task::yield_now().await;
                }
                let mut said = Vec::new();
                // It is over when the client has gone, however it goes.
                let _ended = stream.read_to_end(&mut said).await;
                // Nobody listens where the test has failed.
                let _sent = reports.send((path, said)).await;
            });
        }
    });
    heard
}

async fn judged(daemon: &Daemon, link: &str, then: Then) -> Result<(), String> {
    let is_settled = |link: &serde_json::Value| link["readyState"] == 1 || link["lastClose"].is_object();
    let seen = daemon.api.link_until(link, "open, or refused", is_settled).await;
    let is_as_wanted = match then {
        Then::Opens(protocol, extensions) => {
            seen["readyState"] == 1 && seen["protocol"] == protocol && seen["extensions"] == extensions
        }
        Then::Fails(cause, words) => {
            let close = &seen["lastClose"];
            let is_failed =
                (&close["code"], &close["cause"], &close["wasClean"]) == (&1006.into(), &cause.into(), &false.into());
            is_failed
                && seen["generation"] == 0
                && close["detail"].as_str().is_some_and(|detail| detail.contains(words))
        }
    };
    if is_as_wanted { Ok(()) } else { Err(seen.to_string()) }
}
