//! A batch as it is handed over: a body, and what stands beside it.
//!
//! What a reader would get wrong: what a batch is called depends on the cursors in it and on nothing else, so that an attempt after a lost
//! answer, or after a restart with the same batch, is known as the same.

use std::sync::Arc;

use bytes::Bytes;
use serde::de::IgnoredAny;
use wskeeper_core::{
    message::Kind,
    push::{Batch, Gap, Part},
};
use wskeeper_link::{
    hub::{Entry, Item},
    pool::local::Lag,
};

use super::{Whose, Writing};
use crate::config::push::PushBody;

/// What is handed over.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    /// The same for each attempt of it.
    pub(super) id: String,
    pub(super) body: Bytes,
    /// Where each part of it ends in the body.
    pub(super) ends: Vec<usize>,
    pub(super) content_type: &'static str,
    /// Names and values of headers.
    pub(super) facts: Vec<(&'static str, String)>,
    pub(super) tries: u32,
}

/// Whose push it is, and how what it hands over is written.
#[derive(Debug, Clone)]
pub(super) struct ParcelTerms {
    pub(super) body: PushBody,
    pub(super) whose: Whose,
    pub(super) writing: Writing,
}

impl Parcel {
    pub(super) fn of(batch: &Batch<'_, Arc<Entry>>, ParcelTerms { body, whose, writing }: &ParcelTerms) -> Self {
        let (first, last) = batch.items().unwrap_or_else(|| batch.span());
        let span = if first == last { first.to_string() } else { format!("{first}-{last}") };
        // The signature has a full stop between its parts.
        let id = format!("{}_{}_{span}", whose.0, whose.1).replace('.', "~");
        let facts = vec![("wskeeper-endpoint", whose.0.to_string()), ("wskeeper-push", whose.1.to_string())];
        let empty = Self {
            id,
            body: Bytes::new(),
            ends: Vec::new(),
            content_type: "application/x-ndjson",
            facts,
            tries: batch.tries,
        };
        match body {
            PushBody::Events => empty.with_events(batch.parts, &whose.0, *writing),
            PushBody::Message => empty.with_message(batch.parts),
        }
    }

    fn with_events(mut self, parts: &[Part<Arc<Entry>>], endpoint: &str, writing: Writing) -> Self {
        let mut body = Vec::new();
        for part in parts {
            match part {
                Part::Item { item, .. } => body.extend_from_slice(&(writing.entry)(item)),
                Part::Gap(gap) => body.extend_from_slice(&gap_event(gap, endpoint, writing)),
            }
            body.push(b'\n');
            self.ends.push(body.len());
        }
        Self { body: body.into(), ..self }
    }

    fn with_message(mut self, parts: &[Part<Arc<Entry>>]) -> Self {
        let mut gaps: Vec<String> = Vec::new();
        for part in parts {
            match part {
                Part::Gap(gap) => gaps.push(shown(gap)),
                Part::Item { item, cursor, .. } => {
                    self.facts.extend([
                        ("wskeeper-cursor", cursor.to_string()),
                        ("wskeeper-link", item.link.index.to_string()),
                        ("wskeeper-time", humantime::format_rfc3339_millis(item.at).to_string()),
                    ]);
                    if let Item::Message(payload) = &item.item {
                        self.body = payload.bytes().clone();
                        self.content_type = content_type(payload.kind(), payload.bytes());
                    }
                }
            }
            self.ends.push(self.body.len());
        }
        if !gaps.is_empty() {
            self.facts.push(("wskeeper-gap", gaps.join(", ")));
        }
        self
    }
}

/// A gap as an event.
pub(super) fn gap_event(gap: &Gap, endpoint: &str, writing: Writing) -> Vec<u8> {
    let &Gap { kind, missed, from, to } = gap;
    (writing.gap)(endpoint, Lag { missed, from, to }, kind.as_str())
}

/// As in the header: `lag; missed=12; from=100; to=111`.
fn shown(gap: &Gap) -> String {
    let Gap { kind, missed, from, to } = gap;
    let missed = missed.map(|missed| format!("missed={missed}; ")).unwrap_or_default();
    format!("{}; {missed}from={from}; to={to}", kind.as_str())
}

fn content_type(kind: Kind, bytes: &[u8]) -> &'static str {
    match kind {
        Kind::Binary => "application/octet-stream",
        Kind::Text if serde_json::from_slice::<IgnoredAny>(bytes).is_ok() => "application/json",
        Kind::Text => "text/plain; charset=utf-8",
    }
}
