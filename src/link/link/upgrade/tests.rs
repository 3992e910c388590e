//! Answers to the upgrade request, right and wrong in every way: what is agreed, and what is a fault of which class.

use std::time::{Duration, SystemTime};

use proptest::{collection::vec, prelude::*};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::*;
use crate::clock::Calendar;
use wskeeper_core::{close::Cause, event::RetryAfter};

/// `Retry-After` is obeyed up to this.
const LONG: Duration = Duration::from_hours(1);

const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
                    Sec-WebSocket-Accept: {accept}\r\n";

struct Case<'a> {
    url: &'a str,
    headers: Vec<(FieldName, Secret)>,
    protocols: Vec<Secret>,
    optional: bool,
    authorization: Option<&'a str>,
    jar: Option<Jar>,
}

impl Case<'_> {
    fn offering(protocols: &[&str]) -> Self {
        Self {
            url: "ws://feed.example/v2",
            headers: Vec::new(),
            protocols: protocols.iter().map(|text| Secret::new(*text)).collect(),
            optional: false,
            authorization: None,
            jar: None,
        }
    }

    /// The outcome and the request, where the server answers with `answer`, `{accept}` replaced, and hangs up.
    async fn answered(&self, answer: &str) -> (Result<Agreed<DuplexStream>, UpgradeFault>, String) {
        self.answered_with(|accept| answer.replace("{accept}", accept).into_bytes()).await
    }

    /// The same, of what the server answers to the key.
    async fn answered_with(
        &self,
        answer: impl FnOnce(&str) -> Vec<u8>,
    ) -> (Result<Agreed<DuplexStream>, UpgradeFault>, String) {
        let (near, mut far) = tokio::io::duplex(64 << 10);
        let target = Target::parse(self.url).unwrap();
        let wish = Wish {
            target: &target,
            headers: &self.headers,
            open: &(Vec::new(), Vec::new()),
            authorization: self.authorization.map(Secret::new),
            jar: self.jar.as_ref(),
            protocols: &self.protocols,
            protocols_optional: self.optional,
            compression: None,
            retry_after_max: LONG,
            next: MayFollow::default(),
            patience: LONG,
            calendar: Calendar::new(date),
        };
        let server = async move {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(far.read_u8().await.unwrap());
            }
            let request = String::from_utf8(request).unwrap();
            let accept = derive_accept_key(line(&request, "sec-websocket-key").unwrap().as_bytes());
            // A peer that has given up no longer reads.
            let _ = far.write_all(&answer(&accept)).await;
            request
        };
        tokio::join!(upgrade(near, &wish), server)
    }

    async fn fault(&self, answer: &str) -> UpgradeFault {
        self.answered(answer).await.0.unwrap_err()
    }
}

/// What it is when servers answer.
fn date() -> SystemTime {
    httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap()
}

fn line<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn field(name: &str) -> FieldName {
    name.parse().unwrap()
}

fn good(more: &str) -> String {
    format!("{GOOD}{more}\r\n")
}

#[tokio::test]
async fn a_connection_header_may_hold_more_than_upgrade() {
    let (outcome, request) = Case::offering(&[]).answered(&good("")).await;
    assert_eq!(outcome.unwrap().chosen.protocol, None);
    assert!(request.starts_with("GET /v2 HTTP/1.1\r\n"), "{request}");
    assert_eq!(line(&request, "host"), Some("feed.example"));
    assert_eq!(line(&request, "upgrade"), Some("websocket"));
    assert_eq!(line(&request, "connection"), Some("Upgrade"));
    assert_eq!(line(&request, "sec-websocket-version"), Some("13"));
    assert_eq!(line(&request, "sec-websocket-extensions"), None);
}

#[tokio::test]
async fn a_url_without_path_asks_for_the_root() {
    let case = Case { url: "ws://feed.example:8080?x=1", ..Case::offering(&[]) };
    let (_, request) = case.answered(&good("")).await;
    assert!(request.starts_with("GET /?x=1 HTTP/1.1\r\n"), "{request}");
    assert_eq!(line(&request, "host"), Some("feed.example:8080"));
}

#[tokio::test]
async fn credentials_are_sent_and_a_host_of_the_user_stands_in_place_of_the_urls() {
    let mut case = Case { authorization: Some("Bearer t"), ..Case::offering(&[]) };
    case.headers.push((field("HOST"), Secret::new("other.example")));
    let (_, request) = case.answered(&good("")).await;
    assert_eq!(line(&request, "authorization"), Some("Bearer t"));
    assert_eq!(line(&request, "host"), Some("other.example"));
}

#[tokio::test]
async fn cookies_of_any_answer_go_back_in_one_line_behind_those_of_the_user() {
    let mut case = Case { jar: Some(Jar::default()), ..Case::offering(&[]) };
    let refusal = "HTTP/1.1 503 No\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2; Path=/\r\n\r\n";
    let (refused, request) = case.answered(refusal).await;
    assert!(refused.is_err() && line(&request, "cookie").is_none(), "{request}");
    let interim = "HTTP/1.1 103 Early Hints\r\nSet-Cookie: d=4; Path=/\r\n\r\n";
    let (agreed, request) = case.answered(&format!("{interim}{}", good("Set-Cookie: b=3; Path=/\r\n"))).await;
    assert!(agreed.is_ok() && request.contains("Cookie: a=1; b=2\r\n"), "{request}");
    for (own, together) in [("b=mine;", "b=mine; a=1"), ("c=4; d=5", "c=4; d=5; a=1; b=3"), ("", "a=1; b=3")] {
        case.headers = vec![(field("COOKIE"), Secret::new(own))];
        let (_, request) = case.answered(&good("")).await;
        assert!(request.contains(&format!("COOKIE: {together}\r\n")), "{request}");
        assert_eq!(request.to_lowercase().matches("cookie").count(), 1, "{request}");
    }
    let carried = head::carried(&Wish {
        target: &Target::parse(case.url).unwrap(),
        headers: &case.headers,
        authorization: None,
        jar: case.jar.as_ref(),
        compression: None,
        open: &(Vec::new(), Vec::new()),
        next: MayFollow::default(),
        patience: LONG,
        protocols: &[],
        protocols_optional: false,
        retry_after_max: LONG,
        calendar: Calendar::default(),
    })
    .unwrap();
    let cookies: Vec<_> = carried.headers().get_all(http::header::COOKIE).iter().collect();
    assert!(cookies == ["a=1; b=3"] && cookies[0].is_sensitive(), "{cookies:?}");
}

#[tokio::test]
async fn frames_that_come_with_the_101_are_kept() {
    let (outcome, _) = Case::offering(&[]).answered(&format!("{}\u{1}\u{2}early", good(""))).await;
    let mut agreed = outcome.unwrap();
    let mut rest = Vec::new();
    agreed.stream.read_to_end(&mut rest).await.unwrap();
    agreed.early.extend(rest);
    assert_eq!(agreed.early, b"\x01\x02early");
}

#[tokio::test]
async fn a_101_that_breaks_a_demand_is_refused() {
    let case = Case::offering(&[]);
    for (answer, word) in [
        (good("").replace("{accept}", "AAAA"), "Accept"),
        (good("").replace("Sec-WebSocket-Accept: {accept}\r\n", ""), "Accept"),
        (good("Sec-WebSocket-Accept: {accept}\r\n"), "Accept"),
        (good("").replace("WebSocket\r\nConnection", "h2c\r\nConnection"), "Upgrade header"),
        (good("").replace("keep-alive, Upgrade", "keep-alive"), "Connection header"),
        (good("Sec-WebSocket-Extensions: permessage-deflate\r\n"), "extension"),
    ] {
        let fault = case.fault(&answer).await;
        assert_eq!(fault.cause(), Cause::Upgrade);
        assert!(matches!(fault, UpgradeFault::Invalid(text) if text.contains(word)), "{answer}: {fault}");
    }
}

#[tokio::test]
async fn only_an_offered_subprotocol_may_be_chosen() {
    let chosen = |name: &str| good(&format!("Sec-WebSocket-Protocol: {name}\r\n"));
    let case = Case::offering(&["a", "b"]);
    let (outcome, request) = case.answered(&chosen("b")).await;
    assert_eq!(outcome.unwrap().chosen.protocol, Some(1));
    assert_eq!(line(&request, "sec-websocket-protocol"), Some("a, b"));
    for bad in ["c", "B", "a, b", ""] {
        assert_eq!(case.fault(&chosen(bad)).await.cause(), Cause::Subprotocol, "{bad:?}");
    }
    assert_eq!(Case::offering(&[]).fault(&chosen("a")).await.cause(), Cause::Subprotocol);
}

#[tokio::test]
async fn a_server_must_choose_a_subprotocol_unless_that_is_optional() {
    let mut case = Case::offering(&["a"]);
    assert_eq!(case.fault(&good("")).await.cause(), Cause::Subprotocol);
    case.optional = true;
    assert_eq!(case.answered(&good("")).await.0.unwrap().chosen.protocol, None);
}

#[tokio::test]
async fn a_refusal_keeps_its_status_in_http_1_0_too() {
    for (answer, code) in [
        ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", 401),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found", 404),
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n", 503),
        ("HTTP/1.0 403 Forbidden\r\nConnection: close\r\n\r\nno", 403),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200),
    ] {
        match Case::offering(&[]).fault(answer).await {
            UpgradeFault::Status { status, retry_after: None, .. } => assert_eq!(status.as_u16(), code),
            other => panic!("{answer}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn retry_after_is_read_in_both_forms() {
    let at =
        |value: &str| format!("HTTP/1.1 429 Too Many Requests\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n");
    let case = Case::offering(&[]);
    let UpgradeFault::Status { retry_after, .. } = case.fault(&at("17")).await else { panic!("another fault") };
    assert_eq!(retry_after.map(RetryAfter::span), Some(Duration::from_secs(17)));
    let UpgradeFault::Status { retry_after, .. } = case.fault(&at("Sun, 06 Nov 1994 08:59:37 GMT")).await else {
        panic!("another fault")
    };
    assert_eq!(retry_after.map(RetryAfter::span), Some(Duration::from_mins(10)));
}

#[tokio::test]
async fn no_retry_after_is_obeyed_for_longer_than_allowed() {
    let at = |value: &str| format!("HTTP/1.1 503 Service Unavailable\r\nRetry-After: {value}\r\n\r\n");
    let far = "Fri, 31 Dec 9999 23:59:59 GMT";
    for value in
        ["3601", "18446744073709551615", "18446744073709551616", "340282366920938463463374607431768211456", far]
    {
        let UpgradeFault::Status { retry_after, .. } = Case::offering(&[]).fault(&at(value)).await else {
            panic!("{value}")
        };
        assert_eq!(retry_after.map(RetryAfter::span), Some(LONG), "{value}");
    }
}

/// The head of an answer, or something like it.
fn head() -> impl Strategy<Value = Vec<u8>> {
    let names =
        ["Retry-After", "Location", "Upgrade", "Connection", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "X"];
    let number = (any::<u64>(), "[0-9]{0,30}").prop_map(|(number, more)| format!("{number}{more}").into_bytes());
    let date = (any::<u16>(), any::<u8>())
        .prop_map(|(year, day)| format!("Sun, {day:02} Nov {year:04} 08:49:37 GMT").into_bytes());
    let value = prop_oneof![number, date, vec(any::<u8>(), 0..40), "[ -~]{0,40}".prop_map(String::into_bytes)];
    let line = (prop::sample::select(names.to_vec()), value)
        .prop_map(|(name, value)| [name.as_bytes(), b": ", &value, b"\r\n"].concat());
    let status = prop_oneof![any::<u16>(), prop::sample::select(vec![101_u16, 301, 429, 503])];
    let head = (status, vec(line, 0..8)).prop_map(|(status, lines)| {
        [format!("HTTP/1.1 {status} So\r\n").as_bytes(), &lines.concat(), b"\r\n"].concat()
    });
    prop_oneof![4 => head, 1 => vec(any::<u8>(), 0..600)]
}

proptest! {
    #[test]
    fn no_head_makes_a_fault_of_ours_or_a_wait_without_an_end(head in head()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(Case::offering(&["v1"]).answered_with(move |_| head));
        if let Err(UpgradeFault::Status { retry_after: Some(asked), .. }) = outcome.0 {
            prop_assert!(asked.span() <= LONG);
            prop_assert!(tokio::time::Instant::now().into_std().checked_add(asked.span()).is_some());
        }
    }
}

#[tokio::test]
async fn garbage_is_told_as_such() {
    for answer in ["SSH-2.0-OpenSSH_9.9\r\n", "\u{15}\u{3}\u{1}\0\u{2}\u{2}F rest of an alert\r\n\r\n"] {
        let fault = Case::offering(&[]).fault(answer).await;
        assert!(matches!(fault, UpgradeFault::NotHttp(_)), "{fault:?}");
    }
}

#[tokio::test]
async fn a_head_without_end_is_given_up() {
    let endless = format!("HTTP/1.1 101 Switching Protocols\r\nX: {}", "x".repeat(40 << 10));
    assert_eq!(Case::offering(&[]).fault(&endless).await, UpgradeFault::TooLarge);
}

#[tokio::test]
async fn a_server_that_hangs_up_is_told_as_such() {
    for answer in ["", "HTTP/1.1 101 Swi"] {
        assert_eq!(Case::offering(&[]).fault(answer).await, UpgradeFault::Ended);
    }
}

#[tokio::test]
async fn a_header_that_cannot_be_sent_is_named_and_not_shown() {
    let mut case = Case::offering(&[]);
    case.headers.push((field("authorization"), Secret::new("Bearer hunter2\n")));
    let target = Target::parse(case.url).unwrap();
    let wish = Wish {
        target: &target,
        headers: &case.headers,
        open: &(Vec::new(), Vec::new()),
        authorization: None,
        jar: None,
        protocols: &[],
        protocols_optional: false,
        compression: None,
        retry_after_max: Duration::ZERO,
        next: MayFollow::default(),
        patience: LONG,
        calendar: Calendar::default(),
    };
    let fault = upgrade(tokio::io::duplex(64).0, &wish).await.unwrap_err();
    assert_eq!(fault.cause(), Cause::Secret);
    assert!(fault.to_string().contains("authorization") && !fault.to_string().contains("hunter2"));
}

#[tokio::test]
async fn names_are_sent_as_the_rfc_and_the_user_spell_them() {
    let mut case = Case::offering(&["a"]);
    for (name, value) in [("X-API-key", "k"), ("x-lower", "l"), ("ORIGIN", "https://o.example")] {
        case.headers.push((field(name), Secret::new(value)));
    }
    let (outcome, request) = case.answered(&good("Sec-WebSocket-Protocol: a\r\n")).await;
    assert!(outcome.is_ok());
    let mut lines: Vec<_> = request.trim_end().lines().skip(1).map(|line| line.split_once(": ").unwrap().0).collect();
    assert_eq!(lines.remove(0), "Host");
    lines.sort_unstable();
    let mut wanted = [
        "Connection",
        "ORIGIN",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Version",
        "Upgrade",
        "User-Agent",
        "X-API-key",
        "x-lower",
    ];
    wanted.sort_unstable();
    assert_eq!(lines, wanted, "{request}");
}

#[tokio::test]
async fn we_say_who_we_are_unless_the_user_says_it() {
    let mut case = Case::offering(&[]);
    let ourselves = concat!("wskeeper/", env!("CARGO_PKG_VERSION"));
    assert_eq!(line(&case.answered(&good("")).await.1, "user-agent"), Some(ourselves));
    case.headers.push((field("user-agent"), Secret::new("feeder/2")));
    let (_, request) = case.answered(&good("")).await;
    assert!(request.contains("\r\nuser-agent: feeder/2\r\n") && !request.contains("wskeeper"), "{request}");
}

#[tokio::test]
async fn a_value_that_is_folded_over_lines_is_one_value() {
    let folded = good("Sec-WebSocket-Protocol:\r\n\tb\r\nX-Folded: one\r\n two\r\n\t three\r\n")
        .replace("keep-alive, Upgrade", "keep-alive,\r\n  Upgrade")
        .replace("Accept: {accept}", "Accept: \r\n {accept}");
    let (outcome, _) = Case::offering(&["a", "b"]).answered(&folded).await;
    assert_eq!(outcome.unwrap().chosen.protocol, Some(1));
    // Two words in two lines are no token.
    let fault = Case::offering(&[]).fault(&good("").replace("Upgrade: WebSocket", "Upgrade: web\r\n socket")).await;
    assert!(matches!(fault, UpgradeFault::Invalid(_)), "{fault}");
}

#[tokio::test]
async fn too_many_header_lines_are_told_as_such_and_as_many_as_may_be_are_read() {
    let lines = |count: usize| "X-Filler: y\r\n".repeat(count);
    assert!(Case::offering(&[]).answered(&good(&lines(97))).await.0.is_ok());
    let fault = Case::offering(&[]).fault(&good(&lines(98))).await;
    assert_eq!(fault, UpgradeFault::TooManyLines);
    assert!(fault.to_string().contains("more than 100 header lines"), "{fault}");
}

#[tokio::test]
async fn interim_answers_are_passed_over_but_not_for_ever() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    let (outcome, _) = Case::offering(&[]).answered(&format!("{interim}{interim}{}", good(""))).await;
    assert!(outcome.is_ok());
    assert_eq!(Case::offering(&[]).fault(&interim.repeat(1000)).await, UpgradeFault::TooLarge);
}

#[tokio::test]
async fn an_answer_that_comes_byte_by_byte_is_the_same_answer() {
    let (near, far) = tokio::io::duplex(1);
    let (target, case) = (Target::parse("ws://feed.example/v2").unwrap(), Case::offering(&[]));
    let wish = Wish {
        target: &target,
        headers: &[],
        open: &(Vec::new(), Vec::new()),
        authorization: None,
        jar: None,
        protocols: &case.protocols,
        protocols_optional: false,
        compression: None,
        retry_after_max: LONG,
        next: MayFollow::default(),
        patience: LONG,
        calendar: Calendar::default(),
    };
    let server = async move {
        let (mut read, mut write) = tokio::io::split(far);
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            request.push(char::from(read.read_u8().await.unwrap()));
        }
        let accept = derive_accept_key(line(&request, "sec-websocket-key").unwrap().as_bytes());
        write.write_all(good("").replace("{accept}", &accept).as_bytes()).await.unwrap();
    };
    let (agreed, ()) = tokio::join!(upgrade(near, &wish), server);
    assert!(agreed.is_ok_and(|agreed| agreed.early.is_empty()));
}
