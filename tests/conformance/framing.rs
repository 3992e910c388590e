//! RFC 6455 §5 and §6: what frames may be, and what becomes of them.

use crate::row::{Row, frame, row};

/// `inbox.max_message` of these tests.
pub const MAX: usize = 64 << 10;

/// The rows, in the order of the RFC.
pub fn rows() -> Vec<Row> {
    [heads(), fragments(), control(), data(), limits()].concat()
}

fn heads() -> Vec<Row> {
    let ok = frame(0x81, b"ok");
    vec![
        row("5.1/masked", "a masked text", &[&[0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2]]).fails(1002, "masked"),
        row("5.1/masked", "a masked text of nothing", &[&[0x81, 0x80, 0, 0, 0, 0]]).fails(1002, "masked"),
        row("5.1/masked", "a masked ping", &[&[0x89, 0x80, 1, 2, 3, 4]]).fails(1002, "masked"),
        row("5.1/masked", "a masked Close", &[&[0x88, 0x82, 0, 0, 0, 0, 3, 0xE8]]).fails(1002, "masked"),
        row("5.1/masked", "the first two bytes of a masked frame", &[&[0x82, 0xFE]]).fails(1002, "masked"),
        row("5.2/rsv", "a text with RSV1", &[&[0xC1, 2, b'h', b'i']]).plain().fails(1002, "reserved bit"),
        row("5.2/rsv", "a text with RSV2", &[&[0xA1, 2, b'h', b'i']]).fails(1002, "reserved bit"),
        row("5.2/rsv", "a binary message with RSV3", &[&[0x92, 1, 0]]).fails(1002, "reserved bit"),
        row("5.2/rsv", "a text with all three", &[&[0xF1, 0]]).fails(1002, "reserved bit"),
        row("5.2/rsv", "a ping with RSV2", &[&[0xA9, 0]]).fails(1002, "reserved bit"),
        row("5.2/rsv", "a Close with RSV3", &[&[0x98, 0]]).fails(1002, "reserved bit"),
        row("5.2/rsv", "a continuation with RSV2", &[&[0x01, 1, b'a', 0xA0, 1, b'b']]).fails(1002, "reserved bit"),
        row("5.2/rsv", "a text, then one with RSV3", &[&ok, &[0x91, 1, b'a']]).text("ok").fails(1002, "reserved bit"),
        row("5.2/opcode", "a frame with opcode 3", &[&[0x83, 0]]).fails(1002, "opcode 3"),
        row("5.2/opcode", "a frame with opcode 7 and a body", &[&[0x87, 1, b'a']]).fails(1002, "opcode 7"),
        row("5.2/opcode", "a control frame with opcode 11", &[&[0x8B, 0]]).fails(1002, "opcode 11"),
        row("5.2/opcode", "a control frame with opcode 15", &[&[0x8F, 1, b'a']]).fails(1002, "opcode 15"),
        row("5.2/opcode", "opcode 3 between fragments", &[&[0x01, 1, b'a', 0x83, 0]]).fails(1002, "opcode 3"),
        row("5.2/minimal", "5 bytes, the length in two", &[&[0x82, 126, 0, 5], b"hello"]).fails(1002, "length"),
        row("5.2/minimal", "125 bytes, the length in two", &[&[0x82, 126, 0, 125]]).fails(1002, "length"),
        row("5.2/minimal", "126 bytes, the length in two", &[&frame(0x82, &[7; 126])]).binary([7; 126]),
        row("5.2/minimal", "65,535 bytes, the length in eight", &[&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]])
            .fails(1002, "length"),
        row("5.2/minimal", "a fragment of 1 byte, the length in eight", &[&[0x01, 127, 0, 0, 0, 0, 0, 0, 0, 1]])
            .fails(1002, "length"),
        row("5.2/first-bit", "a length of 2^63", &[&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]]).fails(1002, "highest bit"),
        row("5.2/first-bit", "a length of 2^64 - 1", &[&[0x81, 127], &[0xFF; 8]]).fails(1002, "highest bit"),
        row("5.8/extensions", "texts of 0, 2 and 125 bytes", &[&frame(0x81, b""), &ok, &frame(0x81, &[b'x'; 125])])
            .text("")
            .text("ok")
            .text([b'x'; 125]),
    ]
}

fn fragments() -> Vec<Row> {
    vec![
        row("5.4/fragments", "a text in two", &[&frame(0x01, b"Hel"), &frame(0x80, b"lo")]).text("Hello"),
        row("5.4/fragments", "a text in three of one byte", &[&[0x01, 1, b'a', 0x00, 1, b'b', 0x80, 1, b'c']])
            .text("abc"),
        row("5.4/fragments", "a text in three of nothing", &[&[0x01, 0, 0x00, 0, 0x80, 0]]).text(""),
        row("5.4/fragments", "a binary message with an empty first and last", &[&[0x02, 0, 0x00, 1, 0xFF, 0x80, 0]])
            .binary([0xFF]),
        row("5.4/fragments", "a long one in two", &[&frame(0x02, &[1; 30_000]), &frame(0x80, &[2; 30_000])])
            .binary([[1; 30_000], [2; 30_000]].concat()),
        row(
            "5.4/fragments",
            "one in fragments, then one in one frame",
            &[&[0x01, 1, b'a', 0x80, 1, b'b', 0x81, 1, b'c']],
        )
        .text("ab")
        .text("c"),
        row("5.4/control", "a ping between two", &[&[0x01, 1, b'a'], &frame(0x89, b"?"), &[0x80, 1, b'b']])
            .text("ab")
            .pong("?"),
        row("5.4/control", "a pong between two", &[&[0x02, 1, 1], &frame(0x8A, b"?"), &[0x80, 1, 2]]).binary([1, 2]),
        row("5.4/control", "a Close between two", &[&[0x01, 1, b'a', 0x88, 0, 0x80, 1, b'b']]).closed(1005, "", None),
        row("5.4/begun", "a last continuation of nothing", &[&[0x80, 1, b'a']]).fails(1002, "continuation"),
        row("5.4/begun", "a continuation of nothing", &[&[0x00, 0]]).fails(1002, "continuation"),
        row("5.4/begun", "one behind the end of a message", &[&[0x01, 0, 0x80, 0, 0x80, 0]])
            .text("")
            .fails(1002, "continuation"),
        row("5.4/interleaved", "a text between fragments of a text", &[&[0x01, 1, b'a', 0x81, 1, b'b', 0x80, 1, b'c']])
            .fails(1002, "before the end"),
        row("5.4/interleaved", "a binary message begins between them", &[&[0x01, 1, b'a', 0x02, 1, 0]])
            .fails(1002, "before the end"),
    ]
}

fn control() -> Vec<Row> {
    let two = [frame(0x89, b"first"), frame(0x89, b"second")].concat();
    vec![
        row("5.5/length", "a ping of 126 bytes", &[&frame(0x89, &[0; 126])]).fails(1002, "125"),
        row("5.5/length", "a pong of 126 bytes", &[&frame(0x8A, &[0; 126])]).fails(1002, "125"),
        row("5.5/length", "a Close of 126 bytes", &[&frame(0x88, &[3; 126])]).fails(1002, "125"),
        row("5.5/length", "the head of a ping with its length in eight bytes", &[&[0x89, 127]]).fails(1002, "125"),
        row("5.5/whole", "a ping that is not final", &[&[0x09, 0, 0x80, 0]]).fails(1002, "not final"),
        row("5.5/whole", "a pong that is not final", &[&[0x0A, 1, b'a']]).fails(1002, "not final"),
        row("5.5/whole", "a Close that is not final", &[&[0x08, 2, 3, 0xE8]]).fails(1002, "not final"),
        row("5.5.2/ping", "a ping of nothing", &[&[0x89, 0]]).pong(""),
        row("5.5.2/ping", "a text, a ping, a text", &[&frame(0x81, b"a"), &frame(0x89, b"?"), &frame(0x81, b"b")])
            .text("a")
            .text("b")
            .pong("?"),
        row("5.5.3/payload", "a ping of 125 bytes of all kinds", &[&frame(0x89, &[0xFE; 125])]).pong([0xFE; 125]),
        row("5.5.3/latest", "two pings", &[&two]).pong("first").pong("second").at_least_the_last(),
        row("5.5.3/latest", "two pings between fragments", &[&[0x01, 1, b'a'], &two, &[0x80, 0]])
            .text("a")
            .pong("first")
            .pong("second")
            .at_least_the_last(),
        row("5.5.3/unasked", "a pong", &[&frame(0x8A, b"who asked?")]),
        row("5.5.3/unasked", "a pong of nothing and one of 125 bytes", &[&[0x8A, 0], &frame(0x8A, &[9; 125])]),
    ]
}

fn data() -> Vec<Row> {
    let euro = "€ 𝄞".as_bytes();
    let long = "é".repeat(8_000);
    vec![
        row("5.6/types", "a text and a binary message of the same bytes", &[&frame(0x81, euro), &frame(0x82, euro)])
            .text(euro)
            .binary(euro),
        row("5.6/types", "binary bytes that are no UTF-8", &[&frame(0x82, &[0xFF, 0, 0xC3])]).binary([0xFF, 0, 0xC3]),
        row(
            "6.2/receive",
            "a message of which the last frame does not come",
            &[&frame(0x01, b"never"), &[0x80, 9, b'e']],
        )
        .lost(),
        row("6.2/receive", "half a frame", &[&[0x82, 9, 1, 2, 3]]).lost(),
        row("6.2/receive", "half the head of a frame", &[&[0x82, 127, 0, 0]]).lost(),
        row("6.2/first", "binary bytes that go on as UTF-8", &[&[0x02, 1, 0xFF], &frame(0x80, euro)])
            .binary([&[0xFF], euro].concat()),
        row("8.1/utf-8", "a character cut by a fragment", &[&frame(0x01, &euro[..2]), &frame(0x80, &euro[2..])])
            .text(euro),
        row("8.1/utf-8", "two-byte characters over 16 KiB", &[&frame(0x81, long.as_bytes())]).text(&long),
        row("8.1/utf-8", "a text with an overlong character", &[&[0x81, 3, b'a', 0xC0, 0xAF]]).fails(1007, "UTF-8"),
        row("8.1/utf-8", "a text with a surrogate", &[&[0x81, 3, 0xED, 0xA0, 0x80]]).fails(1007, "UTF-8"),
        row("8.1/utf-8", "a text with what is beyond Unicode", &[&[0x81, 4, 0xF4, 0x90, 0x80, 0x80]])
            .fails(1007, "UTF-8"),
        row("8.1/utf-8", "a text that ends in a character", &[&[0x81, 3, b'a', 0xE2, 0x82]]).fails(1007, "UTF-8"),
        row("8.1/utf-8", "fragments that end in a character", &[&[0x01, 1, 0xE2, 0x80, 1, 0x82]]).fails(1007, "UTF-8"),
        row("8.1/utf-8", "a character that the next fragment does not go on with", &[&[0x01, 1, 0xE2, 0x00, 1, b'a']])
            .fails(1007, "UTF-8"),
        row("8.1/utf-8", "a wrong byte in the first fragment, and no other", &[&[0x01, 2, b'a', 0xFF]])
            .fails(1007, "UTF-8"),
        row("8.1/utf-8", "a wrong byte at the front of a frame that does not come whole", &[&[0x81, 125, b'a', 0xFF]])
            .fails(1007, "UTF-8"),
        row("8.1/utf-8", "the same in a long fragment", &[&[0x01, 126, 0xF0, 0, 0xCE, 0xBA, 0xED, 0xA0]])
            .fails(1007, "UTF-8"),
        row("8.1/utf-8", "the same far into a long frame", &[&[0x81, 126, 0xF0, 0], &[b'x'; 40_000], &[0x80]])
            .fails(1007, "UTF-8"),
        row("7.1.7/fail", "a breach, then a text and a Close", &[&[0x83, 0], &frame(0x81, b"late"), &[0x88, 0]])
            .fails(1002, "opcode 3"),
        row(
            "7.1.7/fail",
            "a text, and one that is none",
            &[&frame(0x81, b"good"), &[0x81, 1, 0xFF], &frame(0x81, b"late")],
        )
        .text("good")
        .fails(1007, "UTF-8"),
    ]
}

fn limits() -> Vec<Row> {
    let most = vec![1; MAX];
    let half = vec![1; MAX / 2];
    vec![
        row("10.4/limits", "the largest message", &[&frame(0x82, &most)]).binary(&most),
        row("10.4/limits", "the head of one that is a byte longer", &[&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 1]])
            .fails(1009, "65536"),
        row("10.4/limits", "the largest that a length can say", &[&[0x81, 127, 0x7F], &[0xFF; 7]]).fails(1009, "65536"),
        row("10.4/limits", "the largest in two fragments", &[&frame(0x02, &half), &frame(0x80, &half)]).binary(&most),
        row("10.4/limits", "the head of a fragment that is too much", &[&frame(0x02, &half), &[0x00, 126, 0x80, 1]])
            .fails(1009, "65536"),
    ]
}
