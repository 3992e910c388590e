//! The tables of `status`, at widths that people have.

use super::*;

fn plain() -> Output {
    // Under a test runner stdout may be a terminal; tables are compared without colours.
    Output::plain()
}

fn link(endpoint: &str, index: u32, phase: &str) -> Link {
    Link {
        endpoint: endpoint.into(),
        index,
        phase: phase.into(),
        since: "2026-01-01T00:00:00.000Z".into(),
        ..Link::default()
    }
}

fn now() -> SystemTime {
    moment("2026-01-01T00:02:10.000Z").unwrap()
}

#[test]
fn what_came_by_the_api_is_marked() {
    let of_api = Link { source: "memory".into(), ..link("user-1", 0, "ready") };
    let all = [Link { source: "file".into(), ..link("trades", 0, "ready") }, of_api];
    for lines in
        [links(&all, now(), usize::MAX, &Output::plain()), endpoints(&all, usize::MAX, usize::MAX, &Output::plain())]
    {
        let marked: Vec<bool> = lines.iter().map(|line| line.contains(" (api)")).collect();
        assert!(marked.iter().filter(|is| **is).count() == 1, "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("user-1") && line.contains(" (api)")), "{lines:?}");
    }
}

#[test]
fn a_lazy_link_that_sleeps_is_told_from_one_that_an_operator_paused() {
    let asleep = Link { phase_reason: "asleep".into(), ..link("reports", 0, "paused") };
    let all = [asleep, Link { phase_reason: "operator".into(), ..link("trades", 0, "paused") }];
    let lines = links(&all, now(), usize::MAX, &plain());
    let told: Vec<bool> = lines.iter().map(|line| line.contains("when used")).collect();
    assert_eq!(told, [false, true, false], "{lines:?}");
}

#[test]
fn a_link_row_says_what_a_person_asks_first() {
    let mut waiting = link("trades", 1, "waiting");
    waiting.queued_messages = 12;
    waiting.buffered_amount = 1536;
    waiting.next_attempt_at = Some("2026-01-01T00:02:14.000Z".into());
    waiting.attempt = 3;
    waiting.last_close = Some(LastClose {
        code: 1000,
        cause: "session".into(),
        label: Some("unauthorized".into()),
        at: "2026-01-01T00:02:00.000Z".into(),
        ..LastClose::default()
    });
    let mut ready = link("trades", 0, "ready");
    ready.generation = 2;
    ready.rtt_ms = Some(0.42);
    let text = links(&[ready, waiting], now(), usize::MAX, &plain());
    let lines: Vec<Vec<&str>> = text.iter().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0].join(" "), "LINK STATE FOR GEN RTT QUEUED LAST CLOSE NEXT TRY");
    assert_eq!(lines[1].join(" "), "trades/0 ● ready 2m 10s 2 0.42 ms");
    assert_eq!(
        lines[2].join(" "),
        "trades/1 ○ waiting 2m 10s 0 12 / 1.5 KiB 1000 session unauthorized 10s ago in 4s (attempt 4)"
    );
}

#[test]
fn the_summary_counts_only_phases_that_occur() {
    let links = [link("a", 0, "ready"), link("a", 1, "ready"), link("b", 0, "parked")];
    let daemon = Status { version: Some("1.2.3".into()), uptime_seconds: Some(3900), ..Status::default() };
    assert_eq!(
        summary(&daemon, &links, "unix:/run/api.sock", usize::MAX),
        [
            "wskeeper 1.2.3 at unix:/run/api.sock, up 1h 5m",
            "3 links  ● 2 ready  ✕ 1 parked; 0 messages queued, 0 B buffered"
        ]
    );
}

#[test]
fn a_daemon_that_stops_or_whose_reload_was_refused_says_so() {
    let told = |state: &str, ok: bool| {
        let daemon = serde_json::json!({"state": state, "lastReload": {"ok": ok, "appliedAt": "2020-01-01T00:00:00Z"}});
        state_lines(&daemon).join("\n")
    };
    assert_eq!(told("running", true), "");
    assert!(told("draining", true).starts_with("the daemon is draining: "));
    assert!(told("running", false).starts_with("the last reload was refused: the configuration before it, applied "));
    assert!(state_lines(&Value::Null).is_empty());
}

fn state_lines(daemon: &Value) -> Vec<String> {
    state(daemon, now(), usize::MAX, &plain())
}

#[test]
fn the_store_is_told_of_where_there_is_one_and_what_waits_where_there_is_any() {
    let unused = Store { state: "unused".into(), ..Store::default() };
    assert_eq!(store(&unused, usize::MAX, &plain()), [""; 0]);
    let ok = Store {
        state: "ok".into(),
        messages: 1,
        bytes: 1536,
        limit_bytes: 1 << 30,
        orphans: 2,
        dead_letters: 1,
        ..Store::default()
    };
    assert_eq!(
        store(&ok, usize::MAX, &plain()),
        [
            "store: 1 message, 1.5 KiB of 1.0 GiB",
            "1 dead letter: `wskeeper dead list`",
            "2 orphans: `wskeeper orphans list`"
        ]
    );
    let failed = Store { state: "failed".into(), failure: Some("no space".into()), ..Store::default() };
    assert_eq!(
        store(&failed, usize::MAX, &plain()),
        ["store: takes no messages, durable endpoints refuse them: no space"]
    );
}

#[test]
fn inboxes_that_the_store_refuses_are_told_of_unless_it_refuses_everything() {
    let why = Some("no space".to_owned());
    let behind = Store { state: "ok".into(), inbox_failure: why.clone(), ..Store::default() };
    let line = "store: takes no inbox entries, consumers cannot resume them after a restart: no space";
    assert_eq!(store(&behind, usize::MAX, &plain())[1..], [line]);
    let failed = Store { failure: why, ..behind };
    assert_eq!(store(&failed, usize::MAX, &plain()).len(), 1);
}

#[test]
fn many_links_become_a_row_per_endpoint() {
    let links: Vec<Link> = (0..1500).map(|index| link("fleet", index, "ready")).collect();
    let text = endpoints(&links, usize::MAX, usize::MAX, &plain());
    let row: Vec<&str> = text[1].split_whitespace().collect();
    assert_eq!(row, ["fleet", "1,500", "1,500"]);
}

#[test]
fn a_phase_of_a_newer_daemon_is_shown_by_its_word() {
    assert!(links(&[link("a", 0, "rotating")], now(), usize::MAX, &plain())[1].contains("? rotating"));
}

fn failing(endpoint: &str, index: u32) -> Link {
    let close = LastClose {
        code: 1006,
        cause: "pong_timeout".into(),
        at: "2026-01-01T00:02:00.000Z".into(),
        ..LastClose::default()
    };
    Link {
        generation: 12345,
        queued_messages: 1000,
        buffered_amount: 8 << 20,
        rtt_ms: Some(123.4),
        attempt: 17,
        next_attempt_at: Some("2026-01-01T00:02:59.000Z".into()),
        last_close: Some(close),
        ..link(endpoint, index, "connecting")
    }
}

#[test]
fn a_row_fits_any_width_and_keeps_what_matters_longest() {
    let all = [failing("trades", 0), failing("an-endpoint-with-quite-a-long-name", 117), link("b", 0, "ready")];
    for width in 24..=220 {
        let rows = links(&all, now(), width, &plain());
        assert_eq!(rows.len(), all.len() + 1, "{rows:?}");
        for row in &rows {
            assert!(row.chars().count() <= width, "{width}: {row:?}");
        }
        assert!(rows[0].contains("LINK") && rows[0].contains("STATE"), "{rows:?}");
        let many: Vec<Link> = (0..50).map(|index| failing(&format!("endpoint-{index}-of-the-many"), index)).collect();
        let rows = endpoints(&many, 10, width.max(70), &plain());
        assert!(rows.len() <= 11 && rows.iter().all(|row| row.chars().count() <= width.max(70)), "{width}: {rows:?}");
    }
    let at_80 = links(&[failing("trades", 0)], now(), 80, &plain()).join("\n");
    for part in ["trades/0", "connecting", "2m 10s", "1,000 / 8.0 MiB", "1006 pong_timeout", "in 49s"] {
        assert!(at_80.contains(part), "{part}: {at_80}");
    }
    let at_40 = links(&[failing("trades", 0)], now(), 40, &plain()).join("\n");
    assert!(at_40.contains("trades/0") && at_40.contains("connecting") && at_40.contains("in 49s"), "{at_40}");
}

#[test]
fn trouble_comes_before_what_is_well_and_what_was_asked_for() {
    let mut phases = Phase::ALL.map(|phase| link("a", 0, phase.as_str()));
    phases.sort_by_key(urgency);
    let order = phases.map(|link| link.phase);
    assert_eq!(order, ["parked", "waiting", "connecting", "closing", "opening", "paused", "ready"]);
    assert_eq!(more(&[link("a", 0, "ready"), link("a", 1, "waiting")], 80), "… and 2 more  ○ 1 waiting  ● 1 ready");
}
