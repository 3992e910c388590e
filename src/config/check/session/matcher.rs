//! What a message must be like.

use wskeeper_core::{
    message::Kind,
    session::{Expression, Matcher, Pointer, Wanted},
};

use super::Reader;
use crate::config::check::{item::Item, section::Section};

/// Of a message.
pub(super) const OPCODES: [(&str, Kind); 2] = [("text", Kind::Text), ("binary", Kind::Binary)];

/// Its keys.
pub(super) const KEYS: [&str; 6] = ["json", "has", "text", "regex", "opcode", "var"];

impl Reader<'_> {
    /// The keys of a matcher in a section that may have others too.
    pub(super) fn matcher(&self, section: &Section<'_>) -> Matcher {
        let wanted = section.section("json").entries().into_iter().filter_map(|(source, item)| {
            let (at, value) = (pointer(&item, source), self.json(&item));
            Some(Wanted { at: at?, value: value? })
        });
        let json: Box<[Wanted]> = wanted.collect();
        let has = section.get("has").and_then(|item| item.list()).unwrap_or_default();
        let has = has.iter().filter_map(|item| pointer(item, item.text()?)).collect();
        let text = section.get("text").and_then(|item| substring(&item));
        let regex = section.get("regex").and_then(|item| {
            let expression = expression(&item)?;
            let groups: Option<Box<[_]>> = expression.names().map(|name| self.setting(&item, name)).collect();
            Some((expression, groups?))
        });
        let opcode = section.get("opcode").and_then(|item| item.word(&OPCODES));
        let variables = section.section("var").entries().into_iter().filter_map(|(name, item)| {
            let (var, value) = (self.variable(&item, name), self.json(&item));
            Some((var?, value?))
        });
        let variables = variables.collect();
        Matcher { json, has, text, regex, opcode, variables }
    }
}

/// Whether every message matches.
pub(super) fn matches_all(matcher: &Matcher) -> bool {
    *matcher == Matcher::default()
}

/// Whether a match sets variables by itself.
pub(super) fn sets(matcher: &Matcher) -> bool {
    matcher.regex.as_ref().is_some_and(|(expression, _)| expression.names().next().is_some())
}

/// A pointer, which is written at `item`.
pub(in crate::config::check) fn pointer(item: &Item<'_>, source: &str) -> Option<Pointer> {
    let pointer = Pointer::parse(source);
    if pointer.is_none() {
        item.fault(
            "is not a JSON pointer",
            "begin with \"/\", as in \"/data/id\"; write ~0 for the character ~ and ~1 for /",
        );
    }
    pointer
}

fn substring(item: &Item<'_>) -> Option<Expression> {
    let text = item.text()?;
    if text.is_empty() {
        item.fault("is found in every message", "write what is looked for, or leave it out");
        return None;
    }
    if text.contains("${") {
        item.fault("a reference is not evaluated here", "compare a value with it by `json`");
        return None;
    }
    Expression::literal(text).map_err(|problem| item.fault(problem, "write a shorter one")).ok()
}

fn expression(item: &Item<'_>) -> Option<Expression> {
    let told = |problem| {
        item.fault(
            format!("is not a regular expression: {problem}"),
            "write one that Rust's `regex` crate reads; in TOML, 'single quotes' leave each \\ as it is",
        );
    };
    Expression::parse(item.text()?).map_err(told).ok()
}
