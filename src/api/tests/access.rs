//! Every call × every kind of token × endpoints with names that could be taken for something else.
//!
//! The calls come from the OpenAPI document, so that a new one is asked for too; what it must need is written here a second time,
//! and one that this file has never heard of must need `read`, or `admin` where it is no `GET`.

use std::sync::{Arc, atomic::AtomicBool};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::bench::{Bench, PATIENCE, picky, until};

/// Names that are words of paths, that have dots, and of which one begins another.
const NAMES: [&str; 7] = ["ws", "messages", "events", "v1", "a", "a.b", "ab"];
/// Whose name no token for other endpoints may learn.
const HIDDEN: &str = "zzhidden";

/// A token: its scopes, and whether it is for one endpoint only.
#[derive(Debug, Clone, Copy)]
struct Token {
    scopes: &'static [&'static str],
    kept: bool,
}

const SCOPES: [&[&str]; 4] = [&["read"], &["send"], &["admin"], &["read", "send", "admin"]];

impl Token {
    fn all() -> impl Iterator<Item = Self> {
        SCOPES.into_iter().flat_map(|scopes| [false, true].map(|kept| Self { scopes, kept }))
    }

    fn secret(self, endpoint: &str) -> String {
        format!("{}-{}", self.scopes.join("+"), if self.kept { endpoint } else { "*" })
    }

    fn has(self, scope: &str) -> bool {
        self.scopes.contains(&scope)
    }
}

/// Whether a token of these scopes may do this, and whether it is of all endpoints at once; `None`: no token is needed.
fn wanted(method: &str, path: &str, token: Token) -> Option<(bool, bool)> {
    let may = match (method, path) {
        ("get", "/" | "/livez" | "/readyz") => return None,
        ("get", "/v1/daemon" | "/v1/openapi.json") => true,
        ("get", "/v1/messages/{id}") => token.has("read") || token.has("send"),
        ("get", "/v1/endpoints/{name}/ws") | ("post", "/v1/endpoints/{name}/requests") => {
            token.has("read") && token.has("send")
        }
        ("get", _) => token.has("read"),
        ("post", "/v1/endpoints/{name}/messages" | "/v1/endpoints/{name}/messages:batch")
        | ("put" | "delete", "/v1/endpoints/{name}/subscriptions/{key}") => token.has("send"),
        _ => token.has("admin"),
    };
    Some((may, matches!(path, "/metrics" | "/v1/events" | "/v1/plan" | "/v1/reload" | "/v1/store")))
}

async fn bench() -> (Bench, TempDir) {
    let folder = TempDir::new().unwrap();
    let mut text = String::new();
    for (number, (token, name)) in Token::all().flat_map(|token| NAMES.map(|name| (token, name))).enumerate() {
        if !token.kept && name != NAMES[0] {
            continue;
        }
        let file = folder.path().join(number.to_string());
        std::fs::write(&file, token.secret(name)).unwrap();
        let only = if token.kept { format!("endpoints = [\"{name}\"]\n") } else { String::new() };
        let scopes = json!(token.scopes);
        let file = file.display();
        let token = format!("name = \"t{number}\"\ntoken = \"${{file:{file}}}\"\nscopes = {scopes}\n{only}");
        text.extend(["[[api.tokens]]\n", &token]);
    }
    for name in NAMES.iter().chain([&HIDDEN]) {
        text.extend(["[endpoints.\"", name, "\"]\nurl = \"ws://127.0.0.1:1/\"\n"]);
    }
    (Bench::new(&text).await, folder)
}

/// An answer's status and body; of a stream only the beginning.
async fn ask(bench: &Bench, method: &str, path: &str, token: Option<&str>) -> (u16, String) {
    let mut stream = bench.dial().await;
    let token = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let head = format!("{} {path} HTTP/1.1\r\nHost: localhost\r\n", method.to_uppercase());
    stream.write_all(format!("{head}{token}Connection: close\r\nContent-Length: 0\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let reading = async {
        loop {
            let text = String::from_utf8_lossy(&answer);
            if text.split_once("\r\n\r\n").is_some_and(|(head, _)| head.contains("text/event-stream")) {
                return;
            }
            if stream.read_buf(&mut answer).await.unwrap() == 0 {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("no answer to {method} {path}"));
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (answer[9..12].parse().unwrap(), answer)
}

#[tokio::test]
async fn a_token_opens_what_its_scopes_and_endpoints_say_and_shows_no_other_endpoint() {
    let (bench, _folder) = bench().await;
    let all = Token { scopes: SCOPES[3], kept: false }.secret("");
    let (_, document) = ask(&bench, "get", "/v1/openapi.json", Some(&all)).await;
    let document: Value = serde_json::from_str(document.split_once("\r\n\r\n").unwrap().1).unwrap();
    for (route, methods) in document["paths"].as_object().unwrap() {
        let names = if route.contains("{name}") { &NAMES[..] } else { &NAMES[..1] };
        let methods = methods.as_object().unwrap().keys();
        for (method, (place, name)) in methods.flat_map(|method| names.iter().enumerate().map(move |it| (method, it))) {
            let path = route.replace("{name}", name).replace("{index}", "0").replace("{id}", "1");
            for token in Token::all() {
                let (status, answer) = ask(&bench, method, &path, Some(&token.secret(name))).await;
                let what = format!("{method} {path} with {token:?}: {answer}");
                let is_forbidden = answer.contains("urn:wskeeper:problem:forbidden");
                let may = wanted(method, route, token).is_none_or(|(may, of_all)| may && !(of_all && token.kept));
                assert!(status != 401 && is_forbidden != may && (status == 403 || may), "{what}");
                assert!(!(token.kept && answer.contains(HIDDEN)), "{what}");
                if token.kept && route.contains("{name}") {
                    for other in [1, 2].map(|step| NAMES[(place + step) % NAMES.len()]) {
                        let (status, answer) = ask(&bench, method, &path, Some(&token.secret(other))).await;
                        assert_eq!(status, 403, "{method} {path} with {token:?} for {other}: {answer}");
                    }
                }
            }
            let needs_token = wanted(method, route, Token { scopes: &[], kept: false }).is_some();
            for token in [None, Some("wrong"), Some("")] {
                let (status, answer) = ask(&bench, method, &path, token).await;
                assert_eq!(status == 401, needs_token, "{method} {path} with {token:?}: {answer}");
            }
        }
    }
}

/// What a token is answered to every call that only looks and has an end, without what the clock alone changes.
async fn told(bench: &Bench, document: &Value, token: &str) -> Vec<(String, u16, Value)> {
    let mut told = Vec::new();
    for (route, methods) in document["paths"].as_object().unwrap() {
        let is_stream = ["/events", "/frames", "/ws"].iter().any(|end| route.ends_with(end));
        if methods.get("get").is_none() || is_stream || route == "/v1/openapi.json" || route == "/" {
            continue;
        }
        let path = route.replace("{name}", "mine").replace("{index}", "0").replace("{id}", "1");
        let (status, answer) = ask(bench, "get", &path, Some(token)).await;
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let mut body = serde_json::from_str(body).unwrap_or_else(|_| Value::from(body));
        if let Some(members) = body.as_object_mut() {
            members.retain(|key, _| key != "at" && key != "uptimeSeconds");
        }
        told.push((path, status, body));
    }
    told
}

#[tokio::test]
async fn nothing_that_a_kept_token_is_told_changes_by_what_happens_at_other_endpoints() {
    let (folder, store) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let port = picky(Arc::new(AtomicBool::new(true))).await;
    let mut text = String::new();
    for (name, only) in [("all", ""), ("kept", "endpoints = [\"mine\"]\n")] {
        let file = folder.path().join(name);
        std::fs::write(&file, format!("token-{name}")).unwrap();
        let token = format!("name = \"{name}\"\ntoken = \"${{file:{}}}\"\n", file.display());
        text.extend(["[[api.tokens]]\n", &token, "scopes = [\"read\", \"send\", \"admin\"]\n", only]);
    }
    let store = store.path().display();
    text.extend([format!("[storage]\ndir = \"{store}\"\n[endpoints.mine]\nurl = \"ws://127.0.0.1:1/\"\n")]);
    for (name, port) in [("down", 1), ("picky", port)] {
        let again = "outbox = { delivery = \"at_least_once\", durability = \"disk\" }\nreconnect = { first = \"1ms\", max = \"1ms\", initial = \"1ms\" }";
        text.extend([format!("[endpoints.{name}]\nurl = \"ws://127.0.0.1:{port}/\"\n{again}\n")]);
    }
    let bench = Bench::new(&text).await;
    let (all, kept) = ("token-all", "token-kept");
    ask(&bench, "post", "/v1/links/mine/0/pause", Some(all)).await;
    until("a paused link", async || {
        ask(&bench, "get", "/v1/links/mine/0", Some(all)).await.1.contains("\"paused\"").then_some(())
    })
    .await;
    let (_, document) = ask(&bench, "get", "/v1/openapi.json", Some(all)).await;
    let document: Value = serde_json::from_str(document.split_once("\r\n\r\n").unwrap().1).unwrap();
    let (before, of_all) = (told(&bench, &document, kept).await, told(&bench, &document, all).await);
    for path in ["/v1/endpoints/down/messages", "/v1/endpoints/picky/messages"] {
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {all}\r\nConnection: close\r\n");
        assert_eq!(bench.ask(&format!("{request}Content-Length: 3\r\n\r\nbad")).await.0, 202, "{path}");
    }
    until("a dead letter", async || {
        ask(&bench, "get", "/v1/dead-letters", Some(all)).await.1.contains("picky").then_some(())
    })
    .await;
    assert_ne!(told(&bench, &document, all).await, of_all, "who may see it all sees it");
    for (before, after) in before.iter().zip(&told(&bench, &document, kept).await) {
        assert_eq!(before, after);
    }
}

#[tokio::test]
async fn who_may_send_may_look_up_what_became_of_it_and_of_nothing_else() {
    let (bench, _folder) = bench().await;
    let sender = Token { scopes: &["send"], kept: true }.secret("a.b");
    let all = Token { scopes: SCOPES[3], kept: false }.secret("");
    for (endpoint, wanted) in [("a.b", 200), ("a", 404), (HIDDEN, 404)] {
        let (status, sent) = ask(&bench, "post", &format!("/v1/endpoints/{endpoint}/messages"), Some(&all)).await;
        assert_eq!(status, 202, "{sent}");
        let place = sent.lines().find_map(|line| line.strip_prefix("location: ")).unwrap().to_owned();
        let (status, answer) = ask(&bench, "get", &place, Some(&sender)).await;
        assert_eq!(status, wanted, "{answer}");
    }
}

#[tokio::test]
async fn what_is_not_there_needs_a_token_too() {
    let (bench, _folder) = bench().await;
    let sender = Token { scopes: &["send"], kept: true }.secret("a");
    for (method, path, wanted) in [
        ("get", "/v1/nothing", 404),
        ("put", "/v1/endpoints/messages", 405),
        ("delete", "/v1/endpoints/x/messages", 405),
    ] {
        assert_eq!(ask(&bench, method, path, None).await.0, 401, "{path}");
        let status = ask(&bench, method, path, Some(&sender)).await.0;
        assert!(status == wanted || status == 403, "{method} {path}: {status}");
    }
}

/// As Prometheus has one.
#[tokio::test]
async fn a_token_for_no_endpoint_reads_metrics_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("metrics");
    std::fs::write(&file, "of-prometheus").unwrap();
    let file = file.display();
    let token = format!("token = \"${{file:{file}}}\"\nscopes = [\"read\"]\nendpoints = []\n");
    let endpoint = "[endpoints.a]\nurl = \"ws://127.0.0.1:1/\"\n";
    let bench = Bench::new(&format!("[[api.tokens]]\nname = \"metrics\"\n{token}{endpoint}")).await;
    for (path, wanted) in
        [("/metrics", 200), ("/v1/links/a/0", 403), ("/v1/endpoints/a/events", 403), ("/v1/plan", 403)]
    {
        assert_eq!(ask(&bench, "get", path, Some("of-prometheus")).await.0, wanted, "{path}");
    }
    assert!(!ask(&bench, "get", "/v1/links", Some("of-prometheus")).await.1.contains("\"a\""));
}
