//! What is printed of links in trouble and of those that are well.

use super::*;
use crate::api::wire::{LastClose, RequestCounts, Ruling};

fn now() -> SystemTime {
    moment("2026-01-01T00:01:00Z").unwrap()
}

fn waiting() -> Explanation {
    let lost = LastClose { code: 1006, cause: "reset".into(), ..LastClose::default() };
    Explanation {
        link: Link {
            endpoint: "trades".into(),
            phase: "waiting".into(),
            url: "wss://feed.example/v2".into(),
            since: "2026-01-01T00:00:50Z".into(),
            next_attempt_at: Some("2026-01-01T00:01:04Z".into()),
            queued_messages: 1,
            buffered_amount: 10,
            last_close: Some(LastClose { at: "2026-01-01T00:00:50Z".into(), ..LastClose::default() }),
            ..Link::default()
        },
        why: "It waits.".into(),
        ended: Some("It ended.".into()),
        outage: Some(Outage { since: "2026-01-01T00:00:00Z".into(), lost: Some(lost) }),
        rule: Some(Ruling { sentence: "a rule.".into(), ..Ruling::default() }),
        next: Some("It dials again; `wskeeper reconnect trades/0` dials now.".into()),
        ..Explanation::default()
    }
}

#[test]
fn what_has_left_and_is_not_proved_is_told_where_nothing_is_queued() {
    let mut facts = waiting();
    facts.link.queued_messages = 0;
    let last = |facts: &Explanation| sentences(facts, now()).pop().unwrap_or_default();
    assert_eq!(last(&facts), "Nothing is queued.");
    facts.unconfirmed_messages = 3;
    let told =
        "Nothing is queued; 3 messages that left and that the peer has not proved to have read count in the outbox.";
    assert_eq!(last(&facts), told);
}

#[test]
fn a_push_says_where_it_is_and_what_is_wrong() {
    let push = Push { name: "hook".into(), to: "https://h/x".into(), delivered: 1200, ..Push::default() };
    assert_eq!(pushed(&push, now()), "Push hook to https://h/x: 1,200 taken.");
    let failing = Push {
        behind: 1,
        failing_since: Some("2026-01-01T00:00:30Z".into()),
        next_attempt_at: Some("2026-01-01T00:01:03Z".into()),
        last_error: Some("it answered with status 503".into()),
        ..push
    };
    let told = "Push hook to https://h/x: 1,200 taken, 1 entry behind; its receiver has taken nothing for 30s: \
                it answered with status 503; it tries again in 3s.";
    assert_eq!(pushed(&failing, now()), told);
}

#[test]
fn a_bridge_says_whether_it_is_connected_and_where_it_is() {
    let subject = "md.${json:/s}".to_owned();
    let bridge = Bridge { name: "md".into(), broker: "main".into(), subject, delivered: 7, ..Bridge::default() };
    let since = Some("2026-01-01T00:00:00Z".into());
    let connected = Bridge { connected_since: since.clone(), skipped: 2, ..bridge.clone() };
    let told = "Bridge md to md.${json:/s} of broker main, connected for 1m: 7 taken, 2 skipped.";
    assert_eq!(bridged(&connected, now()), told);
    let away = Bridge { failing_since: since, last_error: Some("refused".into()), ..bridge };
    let told = "Bridge md to md.${json:/s} of broker main, not connected: 7 taken; its broker has taken nothing for 1m: refused.";
    assert_eq!(bridged(&away, now()), told);
}

#[test]
fn requests_and_streams_are_told_of_where_there_are_any() {
    let mut facts = waiting();
    assert!(asked(&facts).is_empty() && streams(&facts).is_empty());
    facts.requests = Some(RequestCounts { waiting: 2, asked: 1, in_flight: Some(1) });
    facts.requests_why = Some("2 requests wait.".into());
    assert_eq!(asked(&facts), ["2 requests wait.", "1 request has left and no reply yet."]);
    let stream = |name: &str, readers, behind, lost| StreamCounts {
        name: name.into(),
        cursor: 9,
        bytes: 2048,
        readers,
        behind,
        lost,
    };
    facts.streams = vec![stream("a", 1, 0, 0), stream("b", 0, 0, 0), stream("c", 2, 1200, 1)];
    let told = [
        "Stream c: 2 readers, 1,200 behind, 1 entry missed; it holds 2.0 KiB.",
        "Stream a: 1 reader; it holds 2.0 KiB.",
    ];
    assert_eq!(streams(&facts), told);
}

#[test]
fn a_waiting_link_says_why_since_when_and_what_comes_next() {
    assert_eq!(headline(&waiting().link, now()), "○ trades/0 is waiting for 10s");
    assert_eq!(
        sentences(&waiting(), now()),
        [
            "It waits.",
            "It dials wss://feed.example/v2.",
            "It has had no connection for 1m, since 2026-01-01T00:00:00Z; that one ended with 1006 (reset).",
            "The last connection or attempt, 10s ago: It ended.",
            "The rule that decided is a rule.",
            "It dials again in 4s; `wskeeper reconnect trades/0` dials now.",
            "1 message (10 B) is queued and will be sent in order once it is ready.",
        ]
    );
}

#[test]
fn a_link_that_shares_a_connection_says_which_and_with_how_many() {
    let mut facts = waiting();
    (facts.link.phase, facts.link.http2) = ("ready".into(), Some(Http2Connection { connection: 3, links: 17 }));
    let said = sentences(&facts, now()).join("\n");
    assert!(said.contains(" to wss://feed.example/v2, over HTTP/2 connection 3 with 17 links."), "{said}");
}

#[test]
fn a_link_behind_a_proxy_says_through_which() {
    let facts = Explanation { proxy: Some("http://p.example:3128".into()), ..waiting() };
    let said = sentences(&facts, now()).join("\n");
    assert!(said.contains("It dials wss://feed.example/v2 through the proxy http://p.example:3128."), "{said}");
}

#[test]
fn a_link_that_keeps_cookies_says_how_many() {
    let said = |cookies| sentences(&Explanation { cookies, ..waiting() }, now()).join("\n");
    assert!(said(Some(0)).contains("no server has set one") && said(Some(1)).contains("It keeps 1 cookie, which"));
    assert!(!said(None).contains("cookie"));
}

#[test]
fn a_ready_link_says_what_was_before_it_and_that_it_sends() {
    let link = Link { phase: "ready".into(), next_attempt_at: None, ..waiting().link };
    let said = sentences(&Explanation { link, next: None, ..waiting() }, now()).join("\n");
    assert!(said.contains("The connection or attempt before this one, 10s ago: It ended."), "{said}");
    assert!(said.contains("1 message (10 B) is being sent in order."), "{said}");
}

#[test]
fn a_link_that_is_paced_says_when_the_next_message_leaves() {
    let paced_until = Some("2026-01-01T00:01:00.400Z".into());
    let link = Link { phase: "ready".into(), next_attempt_at: None, paced_until, ..waiting().link };
    let said = sentences(&Explanation { link, next: None, ..waiting() }, now()).join("\n");
    assert!(
        said.contains("1 message (10 B) waits for a turn, by the rates of outbox; the next is in 400 ms."),
        "{said}"
    );
}

#[test]
fn a_store_that_takes_nothing_says_why() {
    let ok = Store { state: "ok".into(), messages: 2, bytes: 1536, limit_bytes: 1 << 30, ..Store::default() };
    assert_eq!(stored(&ok), "Its messages are kept on disk; the store holds 2 messages, 1.5 KiB of 1.0 GiB.");
    let failed = Store { failure: Some("no space".into()), ..ok };
    assert_eq!(stored(&failed), "The store takes no messages, so sends to it are refused: no space.");
}

#[test]
fn an_attempt_shows_how_far_it_came_and_its_timings() {
    let timings = Timings { tcp_ms: Some(0.5), total_ms: 12.0, ..Timings::default() };
    let attempt = Attempt {
        at: "2026-01-01T00:00:50Z".into(),
        attempt: 3,
        url: "wss://h/".into(),
        result: "failed".into(),
        cause: Some("upgrade".into()),
        status: Some(401),
        detail: Some("refused".into()),
        timings: Some(timings),
        then_waits_ms: Some(400.0),
        ..Attempt::default()
    };
    assert_eq!(
        tried(&attempt, now()),
        "     10s ago  attempt 3 wss://h/  upgrade 401: refused  [TCP 0.50 ms, total 12 ms]  then 400 ms"
    );
}
