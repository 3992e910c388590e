//! The client verbs of the real binary against an API that answers by script: what is asked, what is shown, what is said
//! when things go wrong.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::SocketAddr,
    process::{Command, Output, Stdio},
    sync::Arc,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use serde_json::{Value, json};

mod completions;
mod failures;
mod kept;
mod sending;
mod terminal;

/// One request as the script sees it.
#[derive(Debug, Clone)]
struct Asked {
    line: String,
    headers: HeaderMap,
    body: Bytes,
}

type Script = Arc<dyn Fn(&Asked, usize) -> Response + Send + Sync>;

/// An API that answers by `script`, which also gets how many requests came before.
struct Api {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Api {
    fn start(script: impl Fn(&Asked, usize) -> Response + Send + Sync + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let state: (Script, _) = (Arc::new(script), asked.clone());
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(state);
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = hyper_util::service::TowerToHyperService::new(router.clone());
                let io = hyper_util::rt::TokioIo::new(stream);
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
            }
        });
        Self { address, asked, _runtime: runtime }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wskeeper"));
        command.args(args).args(["--api", &format!("http://{}", self.address)]);
        for name in ["WSKEEPER_API", "WSKEEPER_TOKEN", "WSKEEPER_TOKEN_FILE"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn lines(&self) -> Vec<String> {
        self.asked.lock().iter().map(|asked| asked.line.clone()).collect()
    }
}

async fn answer(State((script, log)): State<(Script, Arc<Mutex<Vec<Asked>>>)>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let asked = Asked { line: format!("{} {}", parts.method, parts.uri), headers: parts.headers, body };
    let before = {
        let mut log = log.lock();
        log.push(asked.clone());
        log.len() - 1
    };
    script(&asked, before)
}

fn ok(value: &Value) -> Response {
    value.to_string().into_response()
}

fn problem(status: u16, title: &str, detail: &str) -> Response {
    let body = json!({"type": "urn:x", "title": title, "status": status, "detail": detail}).to_string();
    (StatusCode::from_u16(status).unwrap(), [("content-type", "application/problem+json")], body).into_response()
}

fn events(text: &str) -> Response {
    ([("content-type", "text/event-stream")], text.to_owned()).into_response()
}

fn link(index: u32, phase: &str) -> Value {
    json!({"endpoint": "trades", "index": index, "phase": phase, "phaseReason": "backoff", "generation": 2, "readyState": 3,
        "url": "wss://feed.example/", "protocol": "", "extensions": "", "lastInboundAt": null, "bufferedAmount": 10, "queuedMessages": 2, "attempt": 3,
        "since": "2020-01-01T00:00:00.000Z", "nextAttemptAt": null, "rttMs": 1.5, "lastClose": {"code": 1006,
        "reason": "", "wasClean": false, "cause": "reset", "sentCode": null, "detail": "", "at": "2020-01-01T00:00:00.000Z"}})
}

fn store(state: &str, orphans: u64, dead_letters: u64) -> Value {
    json!({"state": state, "failure": null, "bytes": 1536, "inboxBytes": 0, "limitBytes": 1u64 << 30, "messages": 7, "orphans": orphans,
        "deadLetters": dead_letters})
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn status_reads_every_page_and_shows_every_link() {
    let api = Api::start(|asked, _| {
        if asked.line.contains("/livez") {
            return ok(&json!({"status": "alive", "endpoints": 1, "version": "1.2.3", "uptimeSeconds": 130}));
        }
        if asked.line.contains("/store") {
            return ok(&store("unused", 0, 0));
        }
        if asked.line.contains("after=") {
            return ok(&json!({"items": [link(1, "waiting")], "next": null}));
        }
        ok(&json!({"items": [link(0, "ready")], "next": "trades/0"}))
    });
    let output = api.run(&["status"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(text.starts_with(&format!("wskeeper 1.2.3 at http://{}, up 2m 10s\n", api.address)), "{text}");
    assert!(text.contains("\n2 links  ○ 1 waiting  ● 1 ready; 4 messages queued, 20 B buffered"), "{text}");
    assert!(text.contains("trades/0") && text.contains("● ready") && text.contains("1006 reset"), "{text}");
    assert_eq!(
        api.lines(),
        [
            "GET /livez",
            "GET /v1/links?limit=1000",
            "GET /v1/links?limit=1000&after=trades%2F0",
            "GET /v1/store",
            "GET /v1/daemon"
        ]
    );
}

#[test]
fn status_as_json_has_the_api_s_own_objects() {
    let api = Api::start(|asked, _| {
        if asked.line.contains("/livez") {
            return ok(&json!({"status": "alive"}));
        }
        if asked.line.contains("/store") {
            return ok(&store("unused", 0, 0));
        }
        let item = if asked.line.contains("/links") { link(0, "ready") } else { json!({"name": "trades"}) };
        ok(&json!({"items": [item], "next": null}))
    });
    let value: Value = serde_json::from_str(&stdout(&api.run(&["status", "--json"]))).unwrap();
    assert_eq!(
        value,
        json!({"daemon": {"status": "alive"}, "store": store("unused", 0, 0), "endpoints": [{"name": "trades"}], "links": [link(0, "ready")]})
    );
}

#[test]
fn explain_tells_the_story_of_a_link() {
    let api = Api::start(|asked, _| {
        let timings = json!({"dnsMs": null, "admissionMs": null, "tcpMs": 0.5, "tlsMs": null, "upgradeMs": null, "totalMs": 12.0});
        if asked.line.ends_with("/history") {
            return ok(
                &json!({"items": [{"at": "2020-01-01T00:00:00.000Z", "event": "dial_failed", "phase": "waiting",
                "phaseReason": "backoff", "attempt": 1, "generation": 2, "detail": "HTTP 503", "timings": timings}]}),
            );
        }
        if asked.line.ends_with("/explain") {
            return ok(&json!({
                "link": link(0, "waiting"), "why": "It waits, said the daemon.", "ended": "It ended badly.",
                "outage": {"since": "2020-01-01T00:00:00.000Z", "lost": null}, "rule": null,
                "admission": {"ahead": 1, "holders": ["trades/7"], "connecting": 1, "heldByRate": false},
                "next": "It dials again.", "advice": ["Ask the peer."],
                "attempts": [{"at": "2020-01-01T00:00:00.000Z", "attempt": 1, "url": "wss://h/", "result": "failed",
                    "address": null, "cause": "upgrade", "status": 503, "detail": "busy", "timings": timings, "thenWaitsMs": null}],
            }));
        }
        if asked.line.contains("/dead-letters") {
            return ok(&json!({"items": [kept::letter("1"), kept::letter("2")], "next": null}));
        }
        if asked.line.contains("/orphans") {
            return ok(&json!({"items": [{"endpoint": "trades", "link": 3, "messages": 5, "bytes": 9}], "next": null}));
        }
        match asked.line.as_str() {
            "GET /v1/store" => ok(&store("ok", 5, 2)),
            "GET /v1/endpoints/trades" => ok(&json!({"config": {"outbox": {"durability": "disk"}}})),
            _ => ok(&link(0, "waiting")),
        }
    });
    let text = stdout(&api.run(&["explain", "trades/0"]));
    for part in [
        "Its messages are kept on disk; the store holds 7 messages, 1.5 KiB of 1.0 GiB.",
        "The peer refused 2 messages for good; `wskeeper dead list --endpoint trades` shows what.",
        "5 stored messages of this endpoint wait for a link that is gone; `wskeeper orphans list` shows more.",
        "trades/0 is waiting",
        "It waits, said the daemon.",
        "It has had no connection yet",
        "It ended badly.",
        "The address is being dialled by trades/7.",
        "→ Ask the peer.",
        "upgrade 503: busy  [TCP 0.50 ms, total 12 ms]",
        "2 messages (10 B) are queued",
        "HTTP 503  [TCP 0.50 ms, total 12 ms]",
    ] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
}

#[test]
fn tail_prints_messages_as_lines_and_the_rest_on_stderr() {
    let api = Api::start(|_, _| {
        events(
            "event: open\nid: 1\ndata: {\"endpoint\":\"t\",\"link\":0,\"generation\":3}\n\n: quiet\n\n\
             event: message\nid: 2\ndata: {\"data\":\"hello\"}\n\nevent: message\nid: 3\ndata: {\"data\":\"AAE=\",\"binary\":true}\n\n",
        )
    });
    let output = api.run(&["tail", "t", "--from", "oldest", "--count", "2"]);
    assert_eq!(stdout(&output), "hello\nbinary 2 B base64 AAE=\n");
    assert_eq!(stderr(&output), "-- t/0 connection 3 is open\n");
    assert_eq!(api.lines(), ["GET /v1/endpoints/t/events?from=oldest"]);
}

#[test]
fn tail_goes_on_after_the_last_event_it_saw_when_the_daemon_went_away() {
    let api = Api::start(|_, before| match before {
        0 => events("event: message\nid: 7\ndata: {\"data\":\"a\"}\n\nevent: message\nid: 8\ndata: {\"half"),
        1 => problem(503, "Draining", "the daemon is stopping"),
        _ => events("event: message\nid: 8\ndata: {\"data\":\"b\"}\n\n"),
    });
    let output = api.run(&["tail", "t", "--count", "2", "--types", "message,gap"]);
    assert_eq!(stdout(&output), "a\nb\n");
    let text = stderr(&output);
    assert!(text.contains("Trying again each second.") && text.contains("-- the daemon is back"), "{text}");
    assert_eq!(text.matches("Trying again").count(), 1, "{text}");
    let asked = api.asked.lock();
    assert!(asked[0].headers.get("last-event-id").is_none());
    assert_eq!(asked[2].headers["last-event-id"], "7");
    assert!(asked[0].line.ends_with("?from=latest&types=message%2Cgap"), "{}", asked[0].line);
}

#[test]
fn tail_of_an_endpoint_that_does_not_exist_fails_at_once() {
    let api = Api::start(|_, _| problem(404, "No such endpoint", "no endpoint is named \"t\""));
    let output = api.run(&["tail", "t"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "wskeeper tail: No such endpoint: no endpoint is named \"t\" (HTTP 404)\n");
}

#[test]
fn operators_verbs_say_what_became_of_the_link() {
    let api = Api::start(|_, _| ok(&link(0, "closing")));
    let output = api.run(&["close", "trades/0", "--code", "4000", "--reason", "bye"]);
    assert_eq!(stdout(&output), "trades/0: close accepted, now closing\n");
    for verb in ["reconnect", "rotate", "pause", "resume"] {
        assert_eq!(api.run(&[verb, "trades"]).status.code(), Some(0));
    }
    let asked = api.asked.lock();
    assert_eq!(serde_json::from_slice::<Value>(&asked[0].body).unwrap(), json!({"code": 4000, "reason": "bye"}));
    let lines: Vec<&str> = asked.iter().map(|asked| asked.line.rsplit('/').next().unwrap()).collect();
    assert_eq!(lines, ["close", "reconnect", "rotate", "pause", "resume"]);
}

#[test]
fn reload_lists_what_changed_or_every_fault() {
    let api = Api::start(|_, before| {
        if before == 0 {
            return ok(&json!({"changes": [{"link": "a/0", "action": "unchanged", "why": []},
                {"link": "b/0", "action": "reconnect", "why": ["url", "headers"]}]}));
        }
        let body =
            json!({"title": "Configuration refused", "detail": "2 faults", "faults": ["x.toml: a", "x.toml: b"]});
        (StatusCode::UNPROCESSABLE_ENTITY, body.to_string()).into_response()
    });
    let expected = " LINK  WHAT       WHY\n b/0   reconnect  url, headers\nreloaded: 1 reconnect, 1 unchanged\n";
    assert_eq!(stdout(&api.run(&["reload"])), expected);
    let output = api.run(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).ends_with("  x.toml: a\n  x.toml: b\n"), "{}", stderr(&output));
}

#[test]
fn a_token_is_sent_from_its_file_or_the_environment_and_never_shown() {
    let api = Api::start(|_, _| problem(403, "Forbidden", "the token lacks the scope admin"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hidden-1\n").unwrap();
    let first = api.run(&["reload", "--token-file", file.path().to_str().unwrap()]);
    let second = api.command(&["reload"]).env("WSKEEPER_TOKEN", "hidden-2").output().unwrap();
    let asked = api.asked.lock();
    assert_eq!(asked[0].headers["authorization"], "Bearer hidden-1");
    assert_eq!(asked[1].headers["authorization"], "Bearer hidden-2");
    for output in [first, second] {
        assert!(!stderr(&output).contains("hidden"));
    }
    drop(asked);
    assert_eq!(api.run(&["reload", "--token-file", "/nowhere"]).status.code(), Some(1));
}
