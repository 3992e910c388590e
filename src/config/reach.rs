//! What of this machine a dynamic endpoint may name: `api.dynamic_references`.
//!
//! Who may make endpoints says where they lead, so what they refer to can be sent anywhere. What a reader would get wrong: references are looked
//! for in all texts of what was put, whatever key they stand at, so that no key can be forgotten.

use std::{
    collections::BTreeSet,
    path::{Component, Path},
    sync::Arc,
};

use config::{Value, ValueKind};
use wskeeper_link::endpoint::template::{Scanned, scan};

use super::check::section::{Report, join};

/// How the origins of what was put begin. No file's does: its name has an ending.
pub(crate) const BODY: &str = "the body";

/// Kinds of references that lead out of the endpoint.
const KINDS: [&str; 4] = ["credential", "env", "file", "value"];

/// What may be named.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reach {
    patterns: Arc<[Pattern]>,
    /// Names of values of which others of the file are made.
    within: Arc<BTreeSet<String>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Pattern {
    kind: &'static str,
    name: Box<str>,
    /// `*` stands for any rest.
    is_open: bool,
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.strip_prefix("${")?.strip_suffix('}')?.split_once(':')?;
        let kind = KINDS.into_iter().find(|known| *known == kind)?;
        let (name, is_open) = name.strip_suffix('*').map_or((name, false), |rest| (rest, true));
        let is_name = !name.contains(['*', '{', '}', '\0']) && (is_open || !name.is_empty());
        let is_place = kind != "file" || is_plain(name);
        (is_name && is_place).then(|| Self { kind, name: name.into(), is_open })
    }

    fn covers(&self, kind: &str, name: &str) -> bool {
        self.kind == kind && if self.is_open { name.starts_with(&*self.name) } else { *name == *self.name }
    }
}

/// Whether a path says by itself where it leads.
fn is_plain(path: &str) -> bool {
    path.starts_with('/') && !Path::new(path).components().any(|part| matches!(part, Component::ParentDir))
}

/// Whether a text is a reference that may be listed.
pub(super) fn is_pattern(text: &str) -> bool {
    Pattern::parse(text).is_some()
}

impl Reach {
    /// All that `listed` covers. `values` are those of the file.
    pub(super) fn new<'a>(listed: &[String], values: impl Iterator<Item = &'a Value>) -> Self {
        let mut within = BTreeSet::new();
        for value in values {
            each(value, "", &mut |_, _, kind, name| {
                if kind == "value" {
                    within.insert(name.to_owned());
                }
            });
        }
        Self { patterns: listed.iter().filter_map(|text| Pattern::parse(text)).collect(), within: Arc::new(within) }
    }

    fn covers(&self, kind: &str, name: &str) -> bool {
        (kind != "file" || is_plain(name)) && self.patterns.iter().any(|pattern| pattern.covers(kind, name))
    }

    /// Whether a file, or a unix socket, may be named.
    pub(crate) fn covers_file(&self, path: &Path) -> bool {
        path.to_str().is_some_and(|path| self.covers("file", path))
    }

    /// Whether a value of the file is made of one that is called so, and would be made of another's.
    pub(crate) fn is_within(&self, name: &str) -> bool {
        self.within.contains(name)
    }

    /// Complains of each reference in `tree` that leads to a secret and is not listed; of values, where `is_foreign` says that they are the file's.
    pub(crate) fn look(&self, report: &Report, tree: &Value, path: &str, is_foreign: &dyn Fn(&str) -> bool) {
        each(tree, path, &mut |value, path, kind, name| {
            let leads_out = KINDS.contains(&kind) && (kind != "value" || is_foreign(name));
            if leads_out && !self.covers(kind, name) {
                let hint = if kind == "file" && !is_plain(name) {
                    "write an absolute path without `..`, and add it to api.dynamic_references".to_owned()
                } else {
                    "add it to api.dynamic_references if callers of the API may send it to any server".to_owned()
                };
                let problem = format!("`${{{kind}:{name}}}` is not among api.dynamic_references");
                report.fault(value.origin(), path, problem, hint);
            }
        });
    }
}

/// Whether something was put by the API, and does not come of a file.
pub(crate) fn is_of_body(origin: Option<&str>) -> bool {
    origin.is_some_and(|origin| origin.starts_with(BODY))
}

/// Each reference in a tree: what it stands in, where that is, its kind and its name.
fn each(value: &Value, path: &str, see: &mut dyn FnMut(&Value, &str, &str, &str)) {
    match &value.kind {
        ValueKind::Table(table) => table.iter().for_each(|(key, value)| each(value, &join(path, key), see)),
        ValueKind::Array(list) => {
            list.iter().enumerate().for_each(|(at, value)| each(value, &format!("{path}[{at}]"), see));
        }
        ValueKind::String(text) => {
            // One that is not closed is a fault wherever it is read.
            for piece in scan(text).unwrap_or_default() {
                if let Scanned::Reference(written) = piece
                    && let Some((kind, name)) = written[2..written.len() - 1].split_once(':')
                {
                    see(value, path, kind, name);
                }
            }
        }
        ValueKind::Nil
        | ValueKind::Boolean(_)
        | ValueKind::I64(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Float(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(listed: &[&str]) -> Reach {
        Reach::new(&listed.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), std::iter::empty())
    }

    #[test]
    fn a_reference_is_covered_by_what_is_listed_and_by_nothing_near_it() {
        let reach =
            reach(&["${file:/etc/keys/*}", "${file:/etc/one}", "${env:FEED_*}", "${value:app}", "${credential:*}"]);
        for (kind, name, wanted) in [
            ("file", "/etc/keys/a", true),
            ("file", "/etc/keys/deep/b", true),
            ("file", "/etc/keys", false),
            ("file", "/etc/keys/../shadow", false),
            ("file", "etc/keys/a", false),
            ("file", "/etc/one", true),
            ("file", "/etc/one2", false),
            ("env", "FEED_TOKEN", true),
            ("env", "feed_token", false),
            ("env", "PATH", false),
            ("value", "app", true),
            ("value", "apple", false),
            ("credential", "anything", true),
        ] {
            assert_eq!(reach.covers(kind, name), wanted, "{kind}:{name}");
        }
        assert!(!Reach::default().covers("env", "HOME"), "nothing unless it is listed");
    }

    #[test]
    fn what_is_listed_says_what_it_covers() {
        for good in ["${file:/*}", "${file:/a/b}", "${env:*}", "${credential:a}", "${value:a_*}"] {
            assert!(is_pattern(good), "{good}");
        }
        for bad in [
            "/a",
            "${file:a}",
            "${file:/a/../b}",
            "${file:*}",
            "${env:}",
            "${env:A*B}",
            "${var:a}",
            "${seq}",
            "x${env:A}",
            "${env:A}${env:B}",
        ] {
            assert!(!is_pattern(bad), "{bad}");
        }
    }
}
