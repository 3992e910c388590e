//! `dead` and `orphans` against a scripted API.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{Api, ok, problem, stderr, stdout};

/// A dead letter without its data.
pub(crate) fn letter(id: &str) -> Value {
    json!({"id": id, "endpoint": "trades", "link": 0, "key": "k", "kind": "text", "bytes": 1536, "reason": "poison",
        "acceptedAt": "2020-01-01T00:00:00.000Z", "diedAt": "2020-01-01T00:00:01.000Z"})
}

fn with_data(kind: &str, data: &str) -> Value {
    let mut letter = letter("1");
    letter["kind"] = kind.into();
    letter["data"] = data.into();
    letter
}

fn receipt() -> Response {
    ok(&json!({"id": "new", "endpoint": "trades", "link": 1, "state": "queued", "bytes": 4,
        "acceptedAt": "2020-01-01T00:00:00.000Z", "updatedAt": "2020-01-01T00:00:00.000Z", "generation": null, "reason": null}))
}

fn page(asked: &str) -> Response {
    if asked.contains("after=2") {
        ok(&json!({"items": [letter("3")], "next": null}))
    } else {
        ok(&json!({"items": [letter("1"), letter("2")], "next": "2"}))
    }
}

#[test]
fn dead_letters_are_listed_page_by_page() {
    let api = Api::start(|asked, _| page(&asked.line));
    let text = stdout(&api.run(&["dead", "list", "--endpoint", "trades"]));
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0].join(" "), "ID LINK DIED WHY KIND SIZE KEY");
    assert_eq!(rows.len(), 4, "{text}");
    assert!(rows[3].join(" ").starts_with("3 trades/0 ") && text.contains("poison  text  1.5 KiB  k"), "{text}");
    assert_eq!(api.lines()[0], "GET /v1/dead-letters?limit=1000&endpoint=trades");
    let json: Vec<Value> =
        stdout(&api.run(&["dead", "list", "--json"])).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json, ["1", "2", "3"].map(letter));
    let none = Api::start(|_, _| ok(&json!({"items": [], "next": null})));
    assert_eq!(stdout(&none.run(&["dead", "list"])), "there are no dead letters\n");
}

#[test]
fn a_payload_is_shown_safely_or_given_byte_for_byte() {
    let api = Api::start(|asked, _| match asked.line.as_str() {
        "GET /v1/dead-letters/text" => ok(&with_data("text", "a\u{1b}[2J\nb")),
        _ => ok(&with_data("binary", "AP8=")),
    });
    let text = stdout(&api.run(&["dead", "show", "text"]));
    assert!(text.starts_with("1  text, 1.5 KiB, for trades/0\n"), "{text}");
    assert!(text.contains("closed the link on it three times") && text.ends_with("\n\na␛[2J\nb\n"), "{text:?}");
    assert_eq!(api.run(&["dead", "show", "text", "--raw"]).stdout, b"a\x1b[2J\nb");
    assert!(stdout(&api.run(&["dead", "show", "binary"])).contains("00000000  00 ff "));
    assert_eq!(api.run(&["dead", "show", "binary", "--raw"]).stdout, [0, 0xff]);
    let json: Value = serde_json::from_str(&stdout(&api.run(&["dead", "show", "binary", "--json"]))).unwrap();
    assert_eq!(json, with_data("binary", "AP8="));
}

#[test]
fn letters_are_sent_again_one_by_one_and_a_refusal_is_told() {
    let api = Api::start(|asked, _| match asked.line.as_str() {
        "POST /v1/dead-letters/2/retry" => problem(429, "The outbox is full", "x"),
        line if line.starts_with("POST") => receipt(),
        line => page(line),
    });
    let output = api.run(&["dead", "retry", "1"]);
    assert_eq!(stdout(&output), "1 sent again: queued on trades/1  new\n");
    let output = api.run(&["dead", "retry", "--all", "trades"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output).lines().count(), 2);
    assert_eq!(stderr(&output), "2: The outbox is full: x (HTTP 429)\n2 dead letters sent again, 1 not\n");
    let json: Value = serde_json::from_str(&stdout(&api.run(&["dead", "retry", "1", "--json"]))).unwrap();
    assert_eq!(json["id"], "new");
}

#[test]
fn letters_are_dropped() {
    let api = Api::start(|asked, _| match asked.line.as_str() {
        "DELETE /v1/dead-letters/9" => problem(404, "There is no such thing", "no dead letter"),
        _ => StatusCode::NO_CONTENT.into_response(),
    });
    let output = api.run(&["dead", "drop", "1", "9", "2"]);
    assert_eq!(stdout(&output), "1 dropped\n2 dropped\n");
    assert_eq!(stderr(&output), "9: There is no such thing: no dead letter (HTTP 404)\n");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn orphans_are_listed_moved_and_discarded() {
    let api = Api::start(|asked, _| {
        if asked.line.starts_with("GET") {
            return ok(
                &json!({"items": [{"endpoint": "trades", "link": 3, "messages": 1200, "bytes": 1536}], "next": null}),
            );
        }
        ok(&json!({"messages": 1200}))
    });
    let text = stdout(&api.run(&["orphans", "list"]));
    assert!(text.ends_with("trades/3     1,200  1.5 KiB\n"), "{text:?}");
    assert_eq!(
        stdout(&api.run(&["orphans", "move", "trades/3", "b c/1"])),
        "1,200 messages moved from trades/3 to b c/1\n"
    );
    assert_eq!(stdout(&api.run(&["orphans", "discard", "trades/3"])), "1,200 messages of trades/3 discarded\n");
    let asked = api.asked.lock();
    assert_eq!(asked[1].line, "POST /v1/orphans/trades/3/move");
    assert_eq!(serde_json::from_slice::<Value>(&asked[1].body).unwrap(), json!({"endpoint": "b c", "link": 1}));
    assert_eq!(asked[2].line, "DELETE /v1/orphans/trades/3");
}
