//! RFC 6455 §5.5.1 and §7: what a Close may be, and what it means.

use crate::row::{Row, close, frame, row};

/// The rows, in the order of the RFC.
pub fn rows() -> Vec<Row> {
    [bodies(), ends(), codes()].concat()
}

fn bodies() -> Vec<Row> {
    vec![
        row("5.5.1/body", "a Close of nothing", &[&[0x88, 0]]).closed(1005, "", None),
        row("5.5.1/body", "a Close of one byte", &[&[0x88, 1, 3]]).fails(1002, "one byte"),
        row("5.5.1/body", "a Close with a reason", &[&close(1000, "bye €".as_bytes())]).closed(
            1000,
            "bye €",
            Some(1000),
        ),
        row("5.5.1/body", "a Close with a reason that is no UTF-8", &[&close(1000, &[b'a', 0xC3, 0x28])])
            .fails(1007, "reason"),
        row("5.5.1/body", "a Close with a reason that ends in a character", &[&close(1001, &[0xE2, 0x82])])
            .fails(1007, "reason"),
        row("5.5.1/body", "a Close of 125 bytes", &[&close(4000, &[b'r'; 123])]).closed(4000, LONGEST, Some(4000)),
        row("5.5.1/answer", "a Close behind a text", &[&frame(0x81, b"last"), &close(1001, b"")]).text("last").closed(
            1001,
            "",
            Some(1001),
        ),
        row("5.5.1/answer", "a ping and a Close", &[&frame(0x89, b"?"), &close(1000, b"")]).pong("?").closed(
            1000,
            "",
            Some(1000),
        ),
        row(
            "5.5.1/last",
            "a Close, a text and a ping",
            &[&close(1000, b""), &frame(0x81, b"late"), &frame(0x89, b"?")],
        )
        .closed(1000, "", Some(1000)),
        row("5.5.1/last", "a Close, then what breaks the protocol", &[&close(1000, b""), &[0xF3, 0xFF, 0xFF]]).closed(
            1000,
            "",
            Some(1000),
        ),
    ]
}

fn ends() -> Vec<Row> {
    vec![
        row("7.1.4/clean", "a text, and all is well", &[&frame(0x81, b"ok")]).text("ok"),
        row("7.1.5/code", "two Closes", &[&close(4001, b"first"), &close(4002, b"second")]).closed(
            4001,
            "first",
            Some(4001),
        ),
        row("7.1.5/code", "a Close of nothing, then one with a code", &[&[0x88, 0], &close(4002, b"")])
            .closed(1005, "", None),
        row("7.1.6/reason", "a Close without a reason", &[&close(3000, b"")]).closed(3000, "", Some(3000)),
        row("7.2.1/lost", "a text and no Close", &[&frame(0x81, b"ok")]).text("ok").lost(),
        row("7.2.1/lost", "nothing at all", &[]).lost(),
    ]
}

/// 123 bytes.
const LONGEST: &str = "rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr";

fn codes() -> Vec<Row> {
    let registered = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
    let in_kind = registered.map(|code| {
        row("7.4.2/ranges", "a Close with a code that may be", &[&close(code, b"")]).closed(code, "", Some(code))
    });
    let never = [(1005, "code 1005"), (1006, "code 1006"), (1015, "code 1015")].map(|(code, words)| {
        row("7.4.1/never", "a Close with a code that is on no wire", &[&close(code, b"why")]).fails(1002, words)
    });
    let unknown = [
        (0, "code 0,"),
        (999, "code 999,"),
        (1004, "code 1004,"),
        (1016, "code 1016,"),
        (1100, "code 1100,"),
        (2000, "code 2000,"),
        (2999, "code 2999,"),
        (5000, "code 5000,"),
        (65_535, "code 65535,"),
    ]
    .map(|(code, words)| {
        row("7.4.2/ranges", "a Close with a code that may not be", &[&close(code, b"")]).fails(1002, words)
    });
    in_kind.into_iter().chain(never).chain(unknown).collect()
}
