//! An HTTP call: `{ method, url, headers, body | json, timeout, max_bytes, tls, extract, expect }`.
//!
//! What a reader would get wrong: its `expect` looks at an answer that is there, so it has no `timeout` of its own.

use std::ops::RangeInclusive;

use config::ValueKind;
use http::HeaderName;
use wskeeper_core::session::{Body, Call, CallTls, Expected, Pointer, Rule, Text, TextPart, Then, Var};
use wskeeper_link::endpoint::url::Target;

use super::{
    Reader,
    act::Whose,
    matcher,
    steps::{EXPECT_WAIT, LEAST},
};
use crate::config::check::{MAX_DURATION, item::Item, outcomes, section::Section};

/// How much of an answer is read.
const MAX_BYTES: u64 = 64 << 10;
/// And at most.
const MOST_BYTES: u64 = 1 << 20;
/// What is expected where nothing is said of it.
const SUCCESS: RangeInclusive<u16> = 200..=299;

impl Reader<'_> {
    /// `http`
    pub(super) fn call(&self, item: &Item<'_>, whose: Whose) -> Option<Call> {
        let section = Section::of(item);
        let call = self.request(&section);
        let extract = self.extract(&section);
        let expect = section.get("expect").map(|item| self.expected(&item, whose)).unwrap_or_default();
        section.finish();
        Some(Call { extract, expect: expect.into(), ..call? })
    }

    /// The keys of a request in a section that may have others too.
    pub(super) fn request(&self, section: &Section<'_>) -> Option<Call> {
        let method = section.get("method").map_or(Some("GET"), |item| method(&item));
        let url = section.get("url").and_then(|item| self.http_url(&item));
        let headers = section.section("headers").entries().into_iter().filter_map(|(name, item)| {
            if HeaderName::from_bytes(name.as_bytes()).is_err() {
                item.fault("is not a header's name", "use letters, digits and dashes");
            }
            super::clear::look_at_member(&item, name);
            Some((name.into(), self.text(&item)?))
        });
        let headers = headers.collect();
        let body = section.get("body").map(|item| self.text(&item).map(Body::Text));
        let json = section.get("json").map(|item| self.json(&item).map(Body::Json));
        if body.is_some() && json.is_some() {
            section.fault("json", "stands beside `body`, and a request has one of them", "keep one of them");
        }
        let timeout = section.get("timeout").and_then(|item| item.duration(LEAST..=MAX_DURATION));
        let max_bytes = section.get("max_bytes").and_then(|item| item.size(1..=MOST_BYTES)).unwrap_or(MAX_BYTES);
        if !section.has("url") {
            section.fault("url", "is missing", "say where to: url = \"https://api.example/token\"");
        }
        Some(Call {
            method: method?.into(),
            url: url?,
            headers,
            body: body.or(json).map_or(Some(None), |body| body.map(Some))?,
            timeout: timeout.unwrap_or(EXPECT_WAIT),
            max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX),
            tls: call_tls(section)?,
            extract: [].into(),
            expect: [].into(),
        })
    }

    /// A URL of an HTTP server, with references.
    pub(super) fn http_url(&self, item: &Item<'_>) -> Option<Text> {
        let text = self.text(item)?;
        let literal = |part: &TextPart| match part {
            TextPart::Literal(text) => Some(text.to_string()),
            TextPart::Value(_) => None,
        };
        let whole: Option<String> = text.0.iter().map(literal).collect();
        let whole = whole.unwrap_or_else(|| "http://references".into());
        match Target::http(&whole) {
            Ok(_) => Some(text),
            Err(fault) => {
                item.fault(fault.to_string(), "write it like \"https://api.example/token\"");
                None
            }
        }
    }

    /// `extract`
    pub(super) fn extract(&self, section: &Section<'_>) -> Box<[(Var, Pointer)]> {
        let extract = section.section("extract").entries().into_iter().filter_map(|(name, item)| {
            let (var, at) = (self.setting(&item, name), item.text().and_then(|text| matcher::pointer(&item, text)));
            Some((var?, at?))
        });
        extract.collect()
    }

    fn expected(&self, item: &Item<'_>, whose: Whose) -> Vec<Expected> {
        let is_list = matches!(item.value.kind, ValueKind::Array(_));
        let items = if is_list { item.list().unwrap_or_default() } else { vec![item.clone()] };
        if items.is_empty() {
            item.fault("there is no alternative in it", "say which answer: { status = 200 }");
        }
        let mut expected: Vec<Expected> = Vec::new();
        for item in items {
            let section = Section::of(&item);
            let status =
                section.get("status").map_or(Some(SUCCESS), |item| outcomes::range(&item, 100..=599, "200-299"));
            let rule = Rule { matcher: self.matcher(&section), act: self.act(&section, whose) };
            for (key, is_there) in [("hide", rule.act.hide), ("opcode", rule.matcher.opcode.is_some())] {
                if is_there {
                    section.fault(
                        key,
                        "means nothing for an answer by HTTP, which consumers never see",
                        "leave it out",
                    );
                }
            }
            section.finish();
            let Some(status) = status else { continue };
            let is_covered = |other: &Expected| {
                matcher::matches_all(&other.rule.matcher)
                    && other.status.contains(status.start())
                    && other.status.contains(status.end())
            };
            if expected.iter().any(is_covered) {
                item.fault("is never looked at: one before it takes every such answer", "put that one behind it");
            }
            expected.push(Expected { status, rule });
        }
        if expected.iter().all(|expected| matches!(expected.rule.act.then, Then::Fail(_))) && !expected.is_empty() {
            item.fault("every answer fails", "add the answer that is wanted: { status = \"200-299\" }");
        }
        expected
    }
}

/// `tls`
pub(super) fn call_tls(section: &Section<'_>) -> Option<CallTls> {
    let words = [("endpoint", CallTls::Endpoint), ("system", CallTls::System)];
    section.get("tls").map_or(Some(CallTls::Endpoint), |item| item.word(&words))
}

fn method(item: &Item<'_>) -> Option<&'static str> {
    let words = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"].map(|word| (word, word));
    item.word(&words)
}
