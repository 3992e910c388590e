//! RFC 7692 §6 and §7.2: messages that are compressed.
//!
//! What a reader would get wrong: most of them are DEFLATE by hand, as blocks that are stored as they are (§7.2.3.3), so that every byte of
//! what is inflated can be chosen.

use crate::{
    framing::MAX,
    row::{Row, close, frame, row},
};

/// "Hello" (§7.2.3.1).
const HELLO: [u8; 7] = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
/// The same with a reference to a message before (§7.2.3.2).
const AGAIN: [u8; 5] = [0xF2, 0x00, 0x11, 0x00, 0x00];

/// These bytes as a block that is stored.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    [&[0][..], &length.to_le_bytes(), &(!length).to_le_bytes(), bytes].concat()
}

/// A message of such a block: what follows it is empty, and left out but for its first byte.
fn message(bytes: &[u8]) -> Vec<u8> {
    [stored(bytes), vec![0]].concat()
}

/// Zeros, four MiB a block of 4 KiB, behind which the next begins on a byte; as zlib makes them.
pub fn bomb(blocks: usize) -> Vec<u8> {
    let head = [0xEC, 0xC1, 0x01, 0x01, 0, 0, 0, 0x82, 0x20, 0xFF, 0xAF, 0x6E, 0x48, 0x40, 0x01];
    let tail = [0x7C, 0x1B, 0, 0, 0, 0xFF, 0xFF];
    let mut bytes = [&head[..], &[0; 4063], &tail].concat().repeat(blocks);
    bytes.truncate(bytes.len() - 4);
    bytes
}

/// The rows, in the order of the RFC.
pub fn rows() -> Vec<Row> {
    [bits(), messages(), broken(), beyond()].concat().into_iter().map(Row::deflate).collect()
}

fn bits() -> Vec<Row> {
    vec![
        row("7692 6/first", "RSV1 on a continuation of what is not compressed", &[&[0x01, 1, b'a', 0xC0, 1, b'b']])
            .fails(1002, "reserved bit"),
        row(
            "7692 6/first",
            "RSV1 on a continuation of what is",
            &[&frame(0x41, &HELLO[..3]), &frame(0xC0, &HELLO[3..])],
        )
        .fails(1002, "reserved bit"),
        row("7692 6/first", "RSV1 and RSV2", &[&frame(0xE1, &HELLO)]).fails(1002, "reserved bit"),
        row("7692 6/control", "a ping with RSV1", &[&[0xC9, 0]]).fails(1002, "reserved bit"),
        row("7692 6/control", "a Close with RSV1", &[&[0xC8, 0]]).fails(1002, "reserved bit"),
        row(
            "7692 6/either",
            "a text that is not compressed and one that is",
            &[&frame(0x81, &HELLO[1..2]), &frame(0xC1, &HELLO)],
        )
        .text("H")
        .text("Hello"),
        row("7692 8/after", "a compressed frame with a mask", &[&[0xC1, 0x81, 1, 2, 3, 4, 0]]).fails(1002, "masked"),
        row("7692 8/after", "RSV1 on opcode 3", &[&[0xC3, 0]]).fails(1002, "reserved bit"),
        row("7692 8/after", "a compressed frame whose length could be shorter", &[&[0xC1, 126, 0, 7], &HELLO])
            .fails(1002, "length"),
        row("7692 8/after", "a compressed frame with a length of 2^63", &[&[0xC1, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]])
            .fails(1002, "highest bit"),
        row(
            "7692 8/after",
            "a text between fragments of a compressed one",
            &[&frame(0x41, &HELLO[..3]), &[0x81, 1, b'a']],
        )
        .fails(1002, "before the end"),
        row("7692 8/after", "the same, compressed", &[&frame(0x41, &HELLO[..3]), &frame(0xC1, &HELLO)])
            .fails(1002, "before the end"),
        row(
            "7692 8/after",
            "a compressed text between fragments of a plain one",
            &[&[0x01, 1, b'a'], &frame(0xC1, &HELLO)],
        )
        .fails(1002, "before the end"),
    ]
}

fn messages() -> Vec<Row> {
    let most = vec![7; 40_000];
    vec![
        row("7692 7.2.2/inflate", "a text", &[&frame(0xC1, &HELLO)]).text("Hello"),
        row("7692 7.2.2/inflate", "a binary message of nothing", &[&frame(0xC2, &[0])]).binary(""),
        row(
            "7692 7.2.2/inflate",
            "texts of no byte, as Erlang's zlib makes empty ones",
            &[&frame(0xC1, b""), &frame(0xC1, b"")],
        )
        .text("")
        .text(""),
        row("7692 6.2/fragments", "a binary message of three without a byte", &[&[0x42, 0], &[0x00, 0], &[0x80, 0]])
            .binary(""),
        row("7692 7.2.2/inflate", "40,000 bytes", &[&frame(0xC2, &message(&most))]).binary(&most),
        row("7692 6.2/fragments", "a text in two", &[&frame(0x41, &HELLO[..3]), &frame(0x80, &HELLO[3..])])
            .text("Hello"),
        row(
            "7692 6.2/fragments",
            "a text with a first and a last of nothing",
            &[&[0x41, 0], &frame(0x00, &HELLO), &[0x80, 0]],
        )
        .text("Hello"),
        row(
            "7692 6.2/fragments",
            "a ping between",
            &[&frame(0x41, &HELLO[..3]), &frame(0x89, b"?"), &frame(0x80, &HELLO[3..])],
        )
        .text("Hello")
        .pong("?"),
        row("7692 6.2/fragments", "a Close between", &[&frame(0x41, &HELLO[..3]), &close(1001, b"")]).closed(
            1001,
            "",
            Some(1001),
        ),
        row("7692 7.2.3/blocks", "a block that is stored", &[&frame(0xC1, &message(b"Hello"))]).text("Hello"),
        row("7692 7.2.3/blocks", "two blocks", &[&frame(0xC1, &[stored(b"Hel"), message(b"lo")].concat())])
            .text("Hello"),
        row("7692 7.2.3/blocks", "a final block", &[&frame(0xC1, &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00])])
            .text("Hello"),
        row(
            "7692 7.2.3/blocks",
            "a flush in the middle",
            &[&frame(0xC1, &[0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00])],
        )
        .text("Hello"),
        row("7692 7.2.3/context", "two that refer to nothing", &[&frame(0xC1, &HELLO), &frame(0xC1, &HELLO)])
            .text("Hello")
            .text("Hello"),
        row("7692 7.2.3/context", "one that refers to the one before", &[&frame(0xC1, &HELLO), &frame(0xC1, &AGAIN)])
            .text("Hello")
            .fails(1007, "corrupt"),
    ]
}

fn broken() -> Vec<Row> {
    vec![
        row("7692 7.2.2/corrupt", "what is no DEFLATE", &[&frame(0xC1, &[0xFF; 9])]).fails(1007, "corrupt"),
        row("7692 7.2.2/corrupt", "the front of what is none", &[&[0xC1, 125, 0xFF, 0xFF]]).fails(1007, "corrupt"),
        row("7692 7.2.2/corrupt", "a message that stops too soon", &[&frame(0xC1, &HELLO[..3])]).fails(1007, "stops"),
        row("7692 7.2.2/corrupt", "fragments that stop too soon", &[&frame(0x41, &HELLO[..3]), &[0x80, 0]])
            .fails(1007, "stops"),
        row("7692 7.2.2/corrupt", "a block that is stored and stops too soon", &[&frame(0xC1, &stored(b"Hello")[..7])])
            .fails(1007, "stops"),
        row("7692 7.2.2/corrupt", "a block without a byte of what it stores", &[&frame(0xC1, &stored(b"Hello")[..5])])
            .fails(1007, "stops"),
        row(
            "7692 7.2.2/corrupt",
            "the end of a flush twice",
            &[&frame(0xC1, &[&HELLO[..], &[0x00, 0x00, 0xFF, 0xFF, 0x00]].concat())],
        )
        .text("Hello"),
        row(
            "7692 7.2.2/corrupt",
            "a flush that was not left out",
            &[&frame(0xC1, &[&HELLO[..], &[0x00, 0x00, 0xFF, 0xFF]].concat())],
        )
        .fails(1007, "stops"),
        row("7692 7.2.2/corrupt", "a block of the type that is reserved", &[&frame(0xC1, &[0x06, 0x00])])
            .fails(1007, "corrupt"),
        row(
            "7692 7.2.2/corrupt",
            "a length that is not repeated as it must",
            &[&frame(0xC1, &[0x00, 0x05, 0x00, 0xFA, 0xFE, b'H'])],
        )
        .fails(1007, "corrupt"),
        row("7692 7.2.2/corrupt", "a reference to what never was", &[&frame(0xC1, &AGAIN)]).fails(1007, "corrupt"),
        row(
            "7692 7.2.2/corrupt",
            "garbage behind a final block",
            &[&frame(0xC1, &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, b'x', b'y', b'z'])],
        )
        .fails(1007, "corrupt"),
        row(
            "7692 7.2.2/corrupt",
            "a fragment of garbage behind a message",
            &[&frame(0x41, &HELLO), &frame(0x80, b"garbage")],
        )
        .fails(1007, "corrupt"),
        row("7692 7.2.2/corrupt", "garbage behind a message", &[&frame(0xC1, &[&HELLO[..], b"garbage"].concat())])
            .fails(1007, "corrupt"),
        row("7692 7.2.2/corrupt", "half a message, and no more", &[&[0xC1, 7], &HELLO[..3]]).lost(),
    ]
}

fn beyond() -> Vec<Row> {
    vec![
        row("8.1/utf-8", "a compressed text that is no UTF-8", &[&frame(0xC1, &message(&[b'a', 0xC3, 0x28]))])
            .fails(1007, "UTF-8"),
        row("8.1/utf-8", "one that ends in a character", &[&frame(0xC1, &message(&[b'a', 0xE2, 0x82]))])
            .fails(1007, "UTF-8"),
        row(
            "8.1/utf-8",
            "a wrong byte of a compressed text, and no more",
            &[&[0xC1, 125], &stored(&[b'a', 0xFF, b'b'])],
        )
        .fails(1007, "UTF-8"),
        row("8.1/utf-8", "the same in the first fragment", &[&frame(0x41, &stored(&[b'a', 0xED, 0xA0]))])
            .fails(1007, "UTF-8"),
        row(
            "8.1/utf-8",
            "the same behind 16 KiB",
            &[&[0xC1, 127, 0, 0, 0, 0, 0, 9, 0, 0], &stored(&[[b'x'; 20_000].as_slice(), &[0x80]].concat())],
        )
        .fails(1007, "UTF-8"),
        row(
            "10.4/limits",
            "a compressed message of a byte too much",
            &[&frame(0xC2, &[stored(&[0; MAX / 2]), message(&[0; MAX / 2 + 1])].concat())],
        )
        .fails(1009, "65536"),
        row("10.4/limits", "4 MiB in 4 KiB", &[&frame(0xC2, &bomb(1))]).fails(1009, "65536"),
    ]
}
