//! What is sent, and what binary messages are made of.

#![allow(clippy::wildcard_enum_match_arm, reason = "kinds of a foreign crate: every one that is not read is refused")]

use base64::Engine as _;
use config::ValueKind;
use wskeeper_core::{
    message::Kind,
    session::{Body, BytesPart, Send, Text, TextPart},
};

use super::{Reader, matcher::OPCODES};
use crate::config::check::{
    item::{Item, what},
    section::Section,
};

/// The forms of a message, of which one is given.
const FORMS: [&str; 5] = ["json", "text", "base64", "hex", "bytes"];

impl Reader<'_> {
    /// A text, or a section that says of what kind it is.
    pub(super) fn send(&self, item: &Item<'_>) -> Option<Send> {
        match &item.value.kind {
            ValueKind::String(_) => Some(Send { body: Body::Text(self.text(item)?), kind: Kind::Text }),
            ValueKind::Table(_) => self.message(&Section::of(item)),
            kind => {
                let problem = format!("must be a text or a section, not {}", what(kind));
                item.fault(
                    problem,
                    "write \"TEXT\", or { json = … }, { text = … }, { base64 = … }, { hex = … } or { bytes = … }",
                );
                None
            }
        }
    }

    fn message(&self, section: &Section<'_>) -> Option<Send> {
        let json = section.get("json").map(|item| self.json(&item).map(Body::Json));
        let text = section.get("text").map(|item| self.text(&item).map(Body::Text));
        let base64 = section.get("base64").map(|item| base64(&item).map(|bytes| Body::Fixed(bytes.into())));
        let hex = section.get("hex").map(|item| hex(&item, item.text()?).map(|bytes| Body::Fixed(bytes.into())));
        let bytes = section.get("bytes").map(|item| self.parts(&item).map(|parts| Body::Bytes(parts.into())));
        let opcode = section.get("opcode").and_then(|item| item.word(&OPCODES));
        section.finish();
        let given: Vec<&str> = FORMS.into_iter().filter(|form| section.has(form)).collect();
        match given.as_slice() {
            [] => {
                let hint = "write one of `json`, `text`, `base64`, `hex` and `bytes`";
                section.report.fault(section.origin(), &section.path, "says nothing of what is sent", hint);
                return None;
            }
            [_] => {}
            [one, other, ..] => {
                let problem = format!("stands beside `{one}`, and a message is made of one of them");
                section.fault(other, problem, "keep one of them");
                return None;
            }
        }
        let body = [json, text, base64, hex, bytes].into_iter().flatten().next().flatten()?;
        let kind = opcode.unwrap_or(match body {
            Body::Text(_) | Body::Json(_) => Kind::Text,
            Body::Fixed(_) | Body::Bytes(_) => Kind::Binary,
        });
        let is_text = match &body {
            Body::Text(_) | Body::Json(_) => true,
            Body::Fixed(bytes) => std::str::from_utf8(bytes).is_ok(),
            Body::Bytes(_) => false,
        };
        if kind == Kind::Text && !is_text {
            section.fault(
                "opcode",
                "a text message is UTF-8, and what is sent is not or need not be",
                "write \"binary\", or make the message by `text` or `json`",
            );
            return None;
        }
        Some(Send { body, kind })
    }

    fn parts(&self, item: &Item<'_>) -> Option<Vec<BytesPart>> {
        let parts: Vec<_> = item.list()?.iter().map(|item| self.part(item)).collect();
        parts.into_iter().collect()
    }

    /// `"hex:…"`, `"utf8:…"`, `"u16:…"`, or `["varlen", …]`.
    fn part(&self, item: &Item<'_>) -> Option<BytesPart> {
        const FORM: &str = "write \"hex:10\", \"utf8:TEXT\", \"u16:TEXT\" (behind its length in two bytes) or \
                            [\"varlen\", …] (parts behind their length as MQTT writes it)";
        if let ValueKind::Array(list) = &item.value.kind {
            let items = item.list()?;
            let is_varlen =
                matches!(list.first().map(|value| &value.kind), Some(ValueKind::String(word)) if word == "varlen");
            if !is_varlen {
                item.fault("a list of parts does not say what it is", FORM);
                return None;
            }
            let parts: Vec<_> = items.iter().skip(1).map(|item| self.part(item)).collect();
            return Some(BytesPart::VarLen(parts.into_iter().collect::<Option<_>>()?));
        }
        let text = item.text()?;
        super::clear::look_at_text(item);
        match text.split_once(':') {
            Some(("hex", digits)) => hex(item, digits).map(|bytes| BytesPart::Fixed(bytes.into())),
            Some(("utf8", text)) => self.text_of(item, text).map(BytesPart::Text),
            Some(("u16", text)) => {
                let text = self.text_of(item, text)?;
                if is_too_long(&text) {
                    item.fault("is longer than its length in two bytes can say", "write at most 65535 bytes");
                    return None;
                }
                Some(BytesPart::Prefixed(text))
            }
            Some(_) | None => {
                item.fault("is not a part of a binary message", FORM);
                None
            }
        }
    }
}

fn is_too_long(text: &Text) -> bool {
    let length = |part: &TextPart| match part {
        TextPart::Literal(text) => text.len(),
        TextPart::Value(_) => 0,
    };
    text.0.iter().map(length).sum::<usize>() > usize::from(u16::MAX)
}

fn base64(item: &Item<'_>) -> Option<Vec<u8>> {
    let decoded = base64::engine::general_purpose::STANDARD.decode(item.text()?.trim());
    decoded.map_err(|_| item.fault("is not base64", "write it with the alphabet of RFC 4648 §4 and its padding")).ok()
}

/// Bytes by their digits; spaces may stand between them.
fn hex(item: &Item<'_>, digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<char> = digits.chars().filter(|char| !char.is_whitespace()).collect();
    let byte = |pair: &[char]| match pair {
        [high, low] => {
            let (high, low) = (high.to_digit(16)?, low.to_digit(16)?);
            u8::try_from(high << 4 | low).ok()
        }
        _ => None,
    };
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    if bytes.is_none() {
        item.fault("is not hexadecimal", "write two digits for each byte, as in \"10 ff\"");
    }
    bytes
}
