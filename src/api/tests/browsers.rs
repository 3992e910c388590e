//! Pages in browsers: what a declared origin is answered, and that no other is; what a request must say of itself.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::bench::{Bench, PATIENCE};

const DESK: &str = "https://desk.example";
const FEED: &str = "allowed_origins = [\"https://desk.example\"]\n[[api.tokens]]\nname = \"t\"\ntoken = \"${env:PATH}\"\n\
    scopes = [\"read\", \"send\"]\n[endpoints.feed]\nurl = \"ws://127.0.0.1:1/\"\n";

/// The head of an answer, in lower case.
async fn head(bench: &Bench, request: &str) -> String {
    let mut stream = bench.dial().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = String::new();
    let reading = async {
        while !head.ends_with("\r\n\r\n") {
            head.push(char::from(stream.read_u8().await.unwrap()));
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("a head in time");
    head.to_lowercase()
}

fn request(method: &str, path: &str, lines: &[&str]) -> String {
    let lines: String = lines.iter().flat_map(|line| [line, "\r\n"]).collect();
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{lines}Content-Length: 0\r\n\r\n")
}

/// A line of a head.
fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test]
async fn a_declared_origin_may_ask_whether_it_may_ask_and_needs_no_token_for_that() {
    let bench = Bench::new(FEED).await;
    let asks = |origin: &str| {
        let origin = format!("Origin: {origin}");
        let method = "Access-Control-Request-Method: POST";
        let headers =
            "Access-Control-Request-Headers: authorization,content-type,idempotency-key,last-event-id,if-match";
        request("OPTIONS", "/v1/endpoints/feed/messages", &[&origin, method, headers])
    };
    let answer = head(&bench, &asks(DESK)).await;
    assert!(answer.starts_with("http/1.1 204 "), "{answer}");
    assert_eq!(value(&answer, "access-control-allow-origin"), Some(DESK));
    assert_eq!(value(&answer, "vary"), Some("origin"));
    assert!(value(&answer, "access-control-max-age").is_some());
    for method in ["get", "post", "put", "delete"] {
        assert!(
            value(&answer, "access-control-allow-methods").unwrap().split(", ").any(|word| word == method),
            "{method}"
        );
    }
    for name in ["authorization", "content-type", "idempotency-key", "last-event-id", "if-match"] {
        assert!(value(&answer, "access-control-allow-headers").unwrap().split(", ").any(|word| word == name), "{name}");
    }
    assert!(!answer.contains("allow-credentials") && !answer.contains('*'), "{answer}");
    for origin in ["https://evil.example", "http://desk.example", "null"] {
        let answer = head(&bench, &asks(origin)).await;
        assert!(answer.starts_with("http/1.1 403 ") && !answer.contains("access-control-"), "{answer}");
    }
}

#[tokio::test]
async fn every_answer_to_a_declared_origin_may_be_read_by_its_page_and_none_by_others() {
    let bench = Bench::new(FEED).await;
    let token = format!("Authorization: Bearer {}", std::env::var("PATH").unwrap());
    let desk = format!("Origin: {DESK}");
    for (method, path, token, wanted) in [
        ("GET", "/v1/links", token.as_str(), 200),
        ("GET", "/v1/endpoints/feed/events", &token, 200),
        ("GET", "/v1/endpoints/feed/frames", &token, 200),
        ("POST", "/v1/endpoints/feed/messages", &token, 202),
        ("POST", "/v1/endpoints/none/messages", &token, 404),
        ("POST", "/v1/reload", &token, 403),
        ("GET", "/v1/nothing", &token, 404),
        ("DELETE", "/v1/links", &token, 405),
        ("GET", "/v1/links", "X-Token: none", 401),
        ("POST", "/v1/endpoints/feed/messages", "X-Token: none", 401),
        ("GET", "/livez", "X-Token: none", 200),
    ] {
        let answer = head(&bench, &request(method, path, &[token, &desk])).await;
        assert!(answer.starts_with(&format!("http/1.1 {wanted} ")), "{method} {path}: {answer}");
        assert_eq!(value(&answer, "access-control-allow-origin"), Some(DESK), "{method} {path}");
        assert!(value(&answer, "access-control-expose-headers").unwrap().contains("location"), "{method} {path}");
        assert!(answer.contains("\r\nvary: origin\r\n"), "{method} {path}: {answer}");
        for origin in ["Origin: https://evil.example", "Origin: https://localhost", "Origin: null"] {
            let answer = head(&bench, &request(method, path, &[token, origin])).await;
            assert!(answer.starts_with("http/1.1 403 ") && !answer.contains("access-control-"), "{origin}: {answer}");
        }
        let answer = head(&bench, &request(method, path, &[token, "Origin: http://localhost"])).await;
        assert!(answer.starts_with(&format!("http/1.1 {wanted} ")) && !answer.contains("access-control-"), "{answer}");
    }
}

#[tokio::test]
async fn what_comes_bit_by_bit_tells_proxies_not_to_hold_it() {
    let bench = Bench::new("[endpoints.feed]\nurl = \"ws://127.0.0.1:1/\"").await;
    for (method, path) in [
        ("GET", "/v1/events"),
        ("GET", "/v1/endpoints/feed/events"),
        ("GET", "/v1/endpoints/feed/frames"),
        ("POST", "/v1/endpoints/feed/messages:batch"),
    ] {
        let answer = head(&bench, &request(method, path, &[])).await;
        assert_eq!(value(&answer, "x-accel-buffering"), Some("no"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_compressed_body_is_415_wherever_it_comes() {
    let bench = Bench::new("[endpoints.feed]\nurl = \"ws://127.0.0.1:1/\"").await;
    for path in ["/v1/endpoints/feed/messages", "/v1/endpoints/feed/messages:batch", "/v1/links/feed/0/close"] {
        for coding in ["gzip", "br", "identity, zstd", "x"] {
            let answer = head(&bench, &request("POST", path, &[&format!("Content-Encoding: {coding}")])).await;
            assert!(answer.starts_with("http/1.1 415 "), "{path} {coding}: {answer}");
            assert_eq!(value(&answer, "accept-encoding"), Some("identity"));
        }
        let answer = head(&bench, &request("POST", path, &["Content-Encoding: identity"])).await;
        assert!(answer.starts_with("http/1.1 20"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_body_in_another_transfer_coding_is_501_wherever_it_comes() {
    let bench = Bench::new("[endpoints.feed]\nurl = \"ws://127.0.0.1:1/\"").await;
    for path in [
        "/v1/endpoints/feed/messages",
        "/v1/endpoints/%66eed/messages",
        "/v1/endpoints/feed/messages:batch",
        "/v1/links/feed/0/close",
        "/v1/orphans/feed/0/move",
        "/v1/reload",
    ] {
        for coding in ["gzip, chunked", "x, chunked", "chunked, chunked"] {
            let head_of = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {coding}\r\n");
            let answer = head(&bench, &format!("{head_of}\r\n1\r\nx\r\n0\r\n\r\n")).await;
            assert!(answer.starts_with("http/1.1 501 "), "{path} {coding}: {answer}");
        }
    }
    assert_eq!(bench.json("/v1/links/feed/0").await["queuedMessages"], 0);
}

#[tokio::test]
async fn a_request_of_two_origins_is_marked_for_none() {
    let bench = Bench::new(FEED).await;
    let (one, two) = (format!("Origin: {DESK}"), "Origin: https://evil.example");
    for pair in [[one.as_str(), two], [two, one.as_str()], [one.as_str(), one.as_str()]] {
        let answer = head(&bench, &request("GET", "/v1/links", &pair)).await;
        assert!(answer.starts_with("http/1.1 403 ") && !answer.contains("access-control-"), "{pair:?}: {answer}");
        assert!(answer.contains("\r\nvary: origin\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn probes_are_answered_by_whatever_name_and_a_request_with_two_names_is_not() {
    let bench = Bench::new("").await;
    for path in ["/livez", "/readyz"] {
        for host in ["", "Host: 10.1.2.3\r\n", "Host: wskeeper.svc:7700\r\n", "Host:\r\n"] {
            let answer = head(&bench, &format!("GET {path} HTTP/1.1\r\n{host}\r\n")).await;
            assert!(answer.starts_with("http/1.1 200 "), "{path} {host:?}: {answer}");
        }
    }
    for (host, wanted) in [
        ("Host: localhost\r\nHost: localhost\r\n", 400),
        ("Host: localhost\r\nHost: evil\r\n", 400),
        ("Host: [::1].evil\r\n", 400),
        ("", 400),
        ("Host: evil\r\n", 421),
    ] {
        let answer = head(&bench, &format!("GET /v1/links HTTP/1.1\r\n{host}\r\n")).await;
        assert!(answer.starts_with(&format!("http/1.1 {wanted} ")), "{host:?}: {answer}");
    }
}
