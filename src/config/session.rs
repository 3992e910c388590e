//! A session: its keys as they are written, and the plan that is made of them.
//!
//! What a reader would get wrong: the keys of an endpoint lie over those of its preset and of `[defaults]` one by one, so a key keeps the
//! place where it was written, and the plan is made once all of them are known.

#![allow(clippy::wildcard_enum_match_arm, reason = "kinds of a foreign crate: of most only one matters")]

use std::{collections::BTreeMap, fmt, path::Path, time::Duration};

use config::{Value, ValueKind};
use wskeeper_link::endpoint::template::{Scanned, scan};

use super::{check::session::is_secret, preset::Preset, table::Shown};

/// What stands for text that is not shown.
const HIDDEN: &str = "***";

/// Keys whose texts may be secret, or hold what is.
const SECRET: [&str; 5] = ["send", "probe", "set", "values", "http"];

/// Words within them that say how, and not what.
const OPEN: [&str; 6] = ["opcode", "method", "timeout", "max_bytes", "status", "tls"];

/// A value and its place.
#[derive(Clone)]
pub struct Written {
    pub(crate) path: String,
    pub(crate) value: Value,
}

/// Two are the same where the same is written, wherever that is; but a relative path starts from its file's folder.
impl PartialEq for Written {
    fn eq(&self, other: &Self) -> bool {
        let folder = |value: &Value| value.origin().and_then(|file| Path::new(file).parent()).map(Path::to_owned);
        is_same(&self.value, &other.value) && folder(&self.value) == folder(&other.value)
    }
}

fn is_same(one: &Value, other: &Value) -> bool {
    match (&one.kind, &other.kind) {
        (ValueKind::Table(one), ValueKind::Table(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| is_same(value, other)))
        }
        (ValueKind::Array(one), ValueKind::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (one, other) => one == other,
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.shown())
    }
}

impl Written {
    /// As people may see it: structure, numbers and references, and texts where none is a secret.
    pub(crate) fn shown(&self) -> Shown {
        shown(&self.value, false)
    }

    /// As people may see it where its texts may be secret.
    pub(crate) fn shown_as_sent(&self) -> Shown {
        shown(&self.value, true)
    }

    /// As people may see it where all of it may be secret: references, and `***` for all else.
    pub(crate) fn references(&self) -> String {
        let value = match &self.value.kind {
            ValueKind::Table(table) => table.get("template").unwrap_or(&self.value),
            _ => &self.value,
        };
        match &value.kind {
            ValueKind::String(text) => references(text),
            _ => HIDDEN.to_owned(),
        }
    }
}

fn shown(value: &Value, hides: bool) -> Shown {
    match &value.kind {
        ValueKind::Nil => Shown::Null,
        ValueKind::Boolean(value) => Shown::Bool(*value),
        ValueKind::I64(number) => u64::try_from(*number).map_or_else(|_| Shown::Text(number.to_string()), Shown::Whole),
        ValueKind::U64(number) => Shown::Whole(*number),
        ValueKind::I128(number) => Shown::Text(number.to_string()),
        ValueKind::U128(number) => Shown::Text(number.to_string()),
        ValueKind::Float(number) => Shown::Number(*number),
        ValueKind::String(text) if hides => Shown::Text(references(text)),
        ValueKind::String(text) => Shown::Text(text.clone()),
        ValueKind::Array(list) => Shown::List(list.iter().map(|value| shown(value, hides)).collect()),
        ValueKind::Table(table) => {
            let mut members: Vec<_> = table.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            let member = |(name, value): (&String, &Value)| {
                let is_open = hides && OPEN.contains(&name.as_str());
                (name.clone(), shown(value, (hides && !is_open) || SECRET.contains(&name.as_str())))
            };
            Shown::Members(members.into_iter().map(member).collect())
        }
    }
}

/// References as they are written, all other text hidden.
fn references(text: &str) -> String {
    let piece = |piece: Scanned<'_>| match piece {
        Scanned::Text(text) if text.is_empty() => String::new(),
        Scanned::Text(_) => HIDDEN.to_owned(),
        // What stands in for a variable that is not set is text too.
        Scanned::Reference(written) => match written.split_once('|') {
            Some((name, _)) => format!("{name}|{HIDDEN}}}"),
            None => written.to_owned(),
        },
    };
    scan(text).map_or_else(|_| HIDDEN.to_owned(), |pieces| pieces.into_iter().map(piece).collect())
}

/// `[endpoints.NAME.session]`, and `preset`
#[derive(Debug, Clone, PartialEq)]
pub struct Keys {
    /// `preset`
    pub preset: Option<&'static Preset>,
    /// `dial`
    pub dial: Option<Steps>,
    /// `open`
    pub open: Option<Steps>,
    /// `on`
    pub on: Option<Steps>,
    /// `every`
    pub every: Option<Steps>,
    /// `mute`
    pub mute: Option<Part>,
    /// `leave`
    pub leave: Option<Steps>,
    /// `keep`
    pub keep: Option<Names>,
    /// `durable`
    pub durable: Option<Names>,
    /// `values`
    pub values: BTreeMap<String, Written>,
    /// `subscriptions`
    pub subscriptions: Subscriptions,
    /// `timeout`
    pub timeout: Duration,
    /// `max_json`
    pub max_json: usize,
    /// `requests.error`
    pub request_error: Option<Part>,
}

/// `[endpoints.NAME.subscriptions]`
#[derive(Debug, Clone, PartialEq)]
pub struct Subscriptions {
    /// It is there.
    pub is_there: bool,
    /// `keys`
    pub keys: Option<Names>,
    /// `add`
    pub add: Option<Said>,
    /// `remove`
    pub remove: Option<Said>,
    /// `batch`
    pub batch: usize,
    /// `rate`
    pub rate: Option<f64>,
    /// `confirm`
    pub confirm: Option<Steps>,
    /// `refuse`
    pub refuse: Option<Steps>,
    /// `timeout`
    pub timeout: Duration,
    /// `skip_when`
    pub skip_when: Option<Word>,
    /// `ready_when`
    pub until_confirmed: bool,
    /// `max_keys`
    pub max_keys: usize,
    /// `per_link`
    pub per_link: Option<u32>,
    /// `spread_after`
    pub spread_after: Duration,
    /// `links.min`
    pub min_links: Option<u32>,
    /// `links.max`
    pub max_links: Option<u32>,
    /// `links.close_after`
    pub close_after: Duration,
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self {
            is_there: false,
            keys: None,
            add: None,
            remove: None,
            batch: 1,
            rate: None,
            confirm: None,
            refuse: None,
            timeout: Duration::from_secs(10),
            skip_when: None,
            until_confirmed: false,
            max_keys: 10_000,
            per_link: None,
            spread_after: Duration::from_mins(1),
            min_links: None,
            max_links: None,
            close_after: Duration::from_secs(10),
        }
    }
}

/// A message that is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Said(pub Written);

/// The name of a variable, or `!` and a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Word(pub Written);

/// A list of steps, rules or timers.
#[derive(Debug, Clone, PartialEq)]
pub struct Steps(pub Written);

/// A section of a session.
#[derive(Debug, Clone, PartialEq)]
pub struct Part(pub Written);

/// A list of names.
#[derive(Debug, Clone, PartialEq)]
pub struct Names(pub Written);

impl Default for Keys {
    fn default() -> Self {
        Self {
            preset: None,
            dial: None,
            open: None,
            on: None,
            every: None,
            mute: None,
            request_error: None,
            leave: None,
            keep: None,
            durable: None,
            values: BTreeMap::new(),
            subscriptions: Subscriptions::default(),
            timeout: Duration::from_secs(30),
            max_json: 1 << 20,
        }
    }
}

/// Texts of an endpoint's session that seem to be secrets, by the names that they have, and are written in clear.
pub fn in_clear(keys: &Keys) -> Vec<String> {
    let steps = [&keys.dial, &keys.open, &keys.on, &keys.every, &keys.leave];
    let written = steps.into_iter().flatten().map(|Steps(written)| written);
    let mut found = Vec::new();
    let subscriptions = &keys.subscriptions;
    let said = [&subscriptions.add, &subscriptions.remove].into_iter().flatten().map(|Said(written)| written);
    for written in written.chain(keys.mute.iter().map(|Part(written)| written)).chain(said) {
        look_for_clear(&written.value, "", &mut found);
    }
    keys.values.iter().for_each(|(name, written)| look_for_clear(&written.value, name, &mut found));
    found
}

fn look_for_clear(value: &Value, name: &str, found: &mut Vec<String>) {
    match &value.kind {
        ValueKind::Table(table) => table.iter().for_each(|(member, value)| {
            // What a value is made of is called as the value is.
            look_for_clear(value, if member == "template" { name } else { member }, found);
        }),
        ValueKind::Array(list) => list.iter().for_each(|value| look_for_clear(value, name, found)),
        ValueKind::String(text) if is_secret(name) && !text.trim().is_empty() && !text.contains("${") => {
            found.push(text.clone());
        }
        ValueKind::String(text) => found.extend(behind_names(text)),
        _ => {}
    }
}

/// What is written in clear behind the name of a secret: `PASS abc`, `passcode:abc`, `"token": "abc"`.
pub(super) fn behind_names(text: &str) -> Vec<String> {
    const QUOTES: [char; 2] = ['"', '\''];
    let separates = |char: char| char.is_whitespace() || "\"',:=&{}".contains(char);
    // A reference says what is there, and is none of it.
    let plain = |piece| match piece {
        Scanned::Text(text) => text,
        Scanned::Reference(_) => "$".into(),
    };
    let text: String = scan(text).map_or_else(|_| text.to_owned(), |pieces| pieces.into_iter().map(plain).collect());
    let mut found = Vec::new();
    for (at, _) in text.match_indices(separates) {
        let (before, behind) = text.split_at(at);
        if !before.rsplit(separates).next().is_some_and(is_secret) {
            continue;
        }
        let behind = behind.strip_prefix(QUOTES).unwrap_or(behind).trim_start();
        let behind = behind.strip_prefix([':', '=']).unwrap_or(behind).trim_start();
        let value = match behind.chars().next().filter(|first| QUOTES.contains(first)) {
            Some(quote) => behind[1..].split(quote).next(),
            None => behind.split(separates).next(),
        };
        found.extend(value.filter(|value| !value.is_empty() && !value.contains('$')).map(str::to_owned));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_clear_behind_the_name_of_a_secret_is_found_and_nothing_else_is() {
        let found = |text: &str| behind_names(text).join("|");
        assert_eq!(found("PASS abc\r\nUSER me"), "abc");
        assert_eq!(found("login:me\npasscode:a-b\n\nbody"), "a-b");
        assert_eq!(found(r#"{"user":"me","token": "a b","pass":'c'}"#), "a b|c");
        assert_eq!(found("?user=me&access_token=abc&x=1"), "abc");
        let references = r#"CONNECT {"pass":"${value:pass}","auth_token":"${value:token}"} PING"#;
        for text in
            [references, r#"{"pass":"","auth_token":"","x":1}"#, "from north to south", "password: ${file:p}", "token"]
        {
            assert_eq!(found(text), "", "{text}");
        }
    }

    #[test]
    fn what_may_be_secret_is_not_shown() {
        let text = "a = { match = { text = \"hi\" }, send = { json = { op = 2, token = \"s3cret${file:t}\" }, opcode = \"text\" } }";
        let mut faults = Vec::new();
        let root = super::super::source::parse(text, "f", config::FileFormat::Toml, &mut faults);
        let written = Written { path: "a".into(), value: root };
        let shown = format!("{written:?}");
        assert!(!shown.contains("s3cret") && shown.contains("***${file:t}"), "{shown}");
        for open in ["hi", "opcode", "\"text\"", "2"] {
            assert!(shown.contains(open), "{open}: {shown}");
        }
        assert_eq!(references("${var:a|s3cret} x ${seq}"), "${var:a|***}***${seq}");
    }
}
