//! Every verb against every refusal: the message names the verb and what to do, in the words of the command line, and the exit
//! code is 1.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::{Api, ok, stderr, stdout};

/// Verbs that ask a daemon, as somebody types them.
const VERBS: [&[&str]; 21] = [
    &["status"],
    &["status", "--json"],
    &["explain", "trades/0"],
    &["send", "trades", "text"],
    &["send", "trades", "text", "--wait", "confirmed"],
    &["tail", "trades"],
    &["tail", "trades", "--frames"],
    &["close", "trades/0"],
    &["reconnect", "trades/0"],
    &["rotate", "trades/0"],
    &["pause", "trades/0"],
    &["resume", "trades/0"],
    &["chaos", "trades/0", "drop"],
    &["plan"],
    &["reload"],
    &["dead", "list"],
    &["dead", "show", "019a"],
    &["dead", "retry", "--all", "trades"],
    &["orphans", "list"],
    &["orphans", "move", "trades/3", "trades/0"],
    &["orphans", "discard", "trades/3"],
];

fn refused(status: u16, name: &str, title: &str, detail: &str) -> Response {
    let kind = format!("urn:wskeeper:problem:{name}");
    let body = json!({"type": kind, "title": title, "status": status, "detail": detail}).to_string();
    (StatusCode::from_u16(status).unwrap(), [("content-type", "application/problem+json")], body).into_response()
}

fn fails(api: &Api, args: &[&str], parts: &[&str]) {
    let output = api.run(args);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {}{text}", stdout(&output));
    assert!(text.starts_with(&format!("wskeeper {}: ", args[0])), "{args:?}: {text}");
    for part in parts {
        assert!(text.contains(part), "{args:?}: {part:?} is missing: {text}");
    }
    for route in ["/v1/", "GET ", "POST ", "Authorization", "HTTP "] {
        assert!(!text.contains(route), "{args:?}: {route:?} is no word of the command line: {text}");
    }
}

#[test]
fn every_verb_says_what_is_wrong_with_its_token_in_its_own_words() {
    let none = Api::start(|_, _| {
        refused(401, "unauthorized", "A token is needed", "send `Authorization: Bearer TOKEN` with one of api.tokens")
    });
    let wrong =
        Api::start(|_, _| refused(401, "unauthorized", "A token is needed", "this token is none of api.tokens"));
    let scope = Api::start(|_, _| {
        refused(403, "forbidden", "The token does not allow this", "the token \"ops\" lacks the scope admin")
    });
    for verb in VERBS {
        fails(&none, verb, &["--token-file", "WSKEEPER_TOKEN"]);
        fails(&wrong, verb, &["the token given is none of", "WSKEEPER_TOKEN_FILE"]);
        fails(&scope, verb, &["lacks the scope admin", "--token-file"]);
    }
}

#[test]
fn every_verb_says_that_the_daemon_is_stopping() {
    let api = Api::start(|_, _| {
        refused(503, "draining", "The daemon is stopping", "the daemon is stopping; send again when it has started")
    });
    for verb in VERBS {
        fails(&api, verb, &["the daemon is stopping"]);
    }
}

/// A pool of two endpoints, in which everything else is not there.
fn pool(line: &str) -> Response {
    let name = |name: &str| json!({"name": name});
    if line.starts_with("GET /v1/endpoints?") {
        return ok(&json!({"items": [name("orders"), name("trades")], "next": null}));
    }
    if line.starts_with("GET /v1/links?limit=1000&endpoint=trades") {
        return ok(&json!({"items": [crate::link(0, "ready"), crate::link(1, "ready")], "next": null}));
    }
    if line.starts_with("GET /v1/links?") || line.starts_with("GET /v1/dead-letters?") {
        return ok(&json!({"items": [], "next": null}));
    }
    match line {
        "GET /livez" => ok(&json!({"status": "alive"})),
        "GET /v1/store" => ok(&crate::store("unused", 0, 0)),
        _ => refused(404, "not-found", "There is no such thing", "nothing; GET /v1/endpoints lists them"),
    }
}

#[test]
fn an_unknown_endpoint_or_link_is_an_error_of_every_verb_that_suggests_the_nearest() {
    let api = Api::start(|asked, _| pool(&asked.line));
    let slips: [&[&str]; 17] = [
        &["status", "-e", "trade"],
        &["status", "-e", "trade", "--json"],
        &["status", "-e", "trade", "--watch"],
        &["explain", "trade/0"],
        &["explain", "trade"],
        &["send", "trade", "text"],
        &["send", "trade", "text", "--link", "0"],
        &["tail", "trade"],
        &["close", "trade/0"],
        &["reconnect", "trade/0"],
        &["rotate", "trade/0"],
        &["pause", "trade/0"],
        &["resume", "trade/0"],
        &["dead", "list", "-e", "trade"],
        &["dead", "list", "-e", "trade", "--json"],
        &["dead", "drop", "--all", "trade"],
        &["orphans", "move", "gone/0", "trade/0"],
    ];
    for slip in slips {
        fails(&api, slip, &["no endpoint is named \"trade\"; did you mean \"trades\"?"]);
    }
    fails(&api, &["tail", "zzz"], &["no endpoint is named \"zzz\"; there are: orders, trades"]);
    for verb in ["explain", "close", "reconnect", "rotate", "pause", "resume"] {
        fails(&api, &[verb, "trades/7"], &["there is no link trades/7: trades has 2 links, trades/0 to trades/1"]);
    }
    fails(&api, &["dead", "show", "019a"], &["`wskeeper status` lists them"]);
    // What is there and holds nothing is no error.
    assert_eq!(api.run(&["dead", "list"]).status.code(), Some(0));
}

#[test]
fn a_refusal_that_no_token_would_change_asks_for_none() {
    let api = Api::start(|_, _| refused(403, "chaos-off", "Fault injection is off", "it needs `api.chaos = true`"));
    let output = api.run(&["chaos", "trades/0", "drop"]);
    let text = stderr(&output);
    assert!(output.status.code() == Some(1) && text.contains("api.chaos = true"), "{text}");
    assert!(!text.contains("token"), "{text}");
}

#[test]
fn a_token_for_some_endpoints_sees_them_without_what_is_of_all() {
    let api = Api::start(|asked, _| match asked.line.as_str() {
        "GET /v1/store" => refused(403, "forbidden", "The token does not allow this", "this is of all endpoints"),
        "GET /livez" => ok(&json!({"status": "alive"})),
        line if line.ends_with("/explain") => ok(&json!({
            "link": crate::link(0, "ready"), "why": "All is well.", "advice": [], "attempts": [],
        })),
        "GET /v1/endpoints/trades" => ok(&json!({"config": {"outbox": {"durability": "disk"}}})),
        line if line.starts_with("GET /v1/links?") => ok(&json!({"items": [crate::link(0, "ready")], "next": null})),
        "GET /v1/links/trades/0" => ok(&crate::link(0, "ready")),
        _ => ok(&json!({"items": [], "next": null})),
    });
    let shown = api.run(&["status"]);
    assert!(shown.status.success() && stdout(&shown).contains("trades/0"), "{}", stderr(&shown));
    let json: Value = serde_json::from_str(&stdout(&api.run(&["status", "--json"]))).unwrap();
    assert_eq!((&json["store"], &json["links"][0]["index"]), (&Value::Null, &json!(0)));
    let told = api.run(&["explain", "trades/0"]);
    assert!(told.status.success(), "{}", stderr(&told));
    assert!(stdout(&told).contains("Its messages are kept on disk."), "{}", stdout(&told));
}

#[test]
fn status_shows_the_phases_that_are_asked_for_and_trouble_first() {
    let api = Api::start(|asked, _| match asked.line.as_str() {
        "GET /livez" => ok(&json!({"status": "alive"})),
        "GET /v1/store" => ok(&crate::store("unused", 0, 0)),
        "GET /v1/endpoints" => ok(&json!({"items": [], "next": null})),
        _ => ok(
            &json!({"items": [crate::link(0, "ready"), crate::link(1, "parked"), crate::link(2, "waiting")], "next": null}),
        ),
    });
    let names = |args: &[&str]| -> Vec<String> {
        let text = stdout(&api.run(args));
        let rows = text.lines().filter_map(|line| line.split_whitespace().next());
        rows.filter(|word| word.starts_with("trades/")).map(str::to_owned).collect()
    };
    assert_eq!(names(&["status"]), ["trades/1", "trades/2", "trades/0"]);
    assert_eq!(names(&["status", "--phase", "parked,ready"]), ["trades/1", "trades/0"]);
    let nobody = api.run(&["status", "--phase", "paused"]);
    assert!(stdout(&nobody).contains("no link is in such a phase") && nobody.status.success());
    let json: Value = serde_json::from_str(&stdout(&api.run(&["status", "--json", "--phase", "waiting"]))).unwrap();
    assert_eq!(json["links"].as_array().unwrap().len(), 1);
    let wrong = api.run(&["status", "--phase", "idle"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("expected one of waiting, connecting"), "{}", stderr(&wrong));
}
