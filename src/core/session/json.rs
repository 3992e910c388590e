//! JSON as sessions see it: what is looked for in a message, and what is made of values. The one file that names `serde_json`.
//!
//! Numbers are compared as numbers: `1` is `1.0`, and 2⁵³ + 1 is not 2⁵³. What a reader would get wrong: a pointer may lead to many places (`*`), and into a
//! string that is JSON itself (`!`).

use std::borrow::Cow;

pub(super) use serde_json::Map;
use serde_json::Number;
pub use serde_json::Value;

/// A path into a document (RFC 6901), with two segments more: `*` is any element or member, and `!` behind a name parses the string there
/// and goes on inside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pointer {
    source: Box<str>,
    segments: Box<[Segment]>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Name(Box<str>),
    Any,
    Parse,
}

impl Pointer {
    /// Reads one; `None` where it is none: neither empty nor begun with `/`, or with a `~` that stands for nothing.
    pub fn parse(source: &str) -> Option<Self> {
        let mut segments = Vec::new();
        if !source.is_empty() {
            for part in source.strip_prefix('/')?.split('/') {
                let (name, parses) = part.strip_suffix('!').map_or((part, false), |name| (name, true));
                if name.replace("~0", "").replace("~1", "").contains('~') {
                    return None;
                }
                segments.push(match name {
                    "*" => Segment::Any,
                    name => Segment::Name(name.replace("~1", "/").replace("~0", "~").into()),
                });
                segments.extend(parses.then_some(Segment::Parse));
            }
        }
        Some(Self { source: source.into(), segments: segments.into() })
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it leads to one place at most.
    pub fn is_plain(&self) -> bool {
        self.segments.iter().all(|segment| matches!(segment, Segment::Name(_)))
    }

    /// Whether any of the places that it leads to is as it should be. What is looked for may be taken on the way.
    pub(super) fn any(&self, document: &Value, mut is_wanted: impl FnMut(&Value) -> bool) -> bool {
        walk(&self.segments, document, &mut is_wanted)
    }

    /// What is at the first place that it leads to in a document that is still to be read.
    pub fn find(&self, document: &[u8]) -> Option<Value> {
        self.first(&parse(document)?)
    }

    /// What is at the first place that it leads to.
    pub(super) fn first(&self, document: &Value) -> Option<Value> {
        let mut found = None;
        self.any(document, |value| {
            found = Some(value.clone());
            true
        });
        found
    }
}

fn walk(segments: &[Segment], value: &Value, is_wanted: &mut dyn FnMut(&Value) -> bool) -> bool {
    let Some((segment, rest)) = segments.split_first() else { return is_wanted(value) };
    match (segment, value) {
        (Segment::Name(name), Value::Object(members)) => {
            members.get(&**name).is_some_and(|value| walk(rest, value, is_wanted))
        }
        (Segment::Name(name), Value::Array(elements)) => {
            let index = name.parse::<usize>().ok().filter(|_| &**name == "0" || !name.starts_with(['0', '+']));
            index.and_then(|index| elements.get(index)).is_some_and(|value| walk(rest, value, is_wanted))
        }
        (Segment::Any, Value::Object(members)) => members.values().any(|value| walk(rest, value, is_wanted)),
        (Segment::Any, Value::Array(elements)) => elements.iter().any(|value| walk(rest, value, is_wanted)),
        (Segment::Parse, Value::String(text)) => {
            parse(text.as_bytes()).is_some_and(|inner| walk(rest, &inner, is_wanted))
        }
        (
            Segment::Name(_) | Segment::Any | Segment::Parse,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_),
        )
        | (Segment::Parse, Value::Array(_) | Value::Object(_)) => false,
    }
}

/// Reads a document; `None` where it is none. How deep it may be is bounded by the parser.
pub(super) fn parse(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes).ok()
}

/// Whether two values are the same: numbers by what they count.
pub(super) fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => counts_same(one, other),
        (one, other) => one == other,
    }
}

/// Whether two numbers count the same, of whichever kind they are. Ids of 64 bits that a floating number cannot tell apart are two.
fn counts_same(one: &Number, other: &Number) -> bool {
    let (whole, floating) = match (one.is_f64(), other.is_f64()) {
        (true, false) => (other, one),
        (false, true) => (one, other),
        (true, true) | (false, false) => return one == other,
    };
    whole.as_f64() == floating.as_f64() && Some(whole.to_string().into()) == digits(floating)
}

/// A number in digits, one way for all that count the same where a floating number can tell them apart.
pub(super) fn digits(number: &Number) -> Option<Box<str>> {
    // There is one nought.
    number.as_f64().map(|number| (number + 0.0).to_string().into())
}

/// A value in a text: a string as it is, nothing for `null`, and JSON for all else.
pub(super) fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        Value::Null => Cow::Borrowed(""),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Cow::Owned(value.to_string()),
    }
}

/// About how many bytes a value holds.
pub(super) fn weight(value: &Value) -> usize {
    const EACH: usize = 32;
    let within = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(elements) => elements.iter().map(weight).fold(0, usize::saturating_add),
        Value::Object(members) => {
            members.iter().map(|(name, value)| name.len().saturating_add(weight(value))).fold(0, usize::saturating_add)
        }
    };
    within.saturating_add(EACH)
}
