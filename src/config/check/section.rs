//! A table of the tree, read key by key; what is wrong goes to a [`Report`] and the default is used instead.
//!
//! A key becomes known by a row of the table or by being read, so there is no other list of them, and [`Section::finish`] can
//! tell which of those written are unknown.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use config::{Map, Value, ValueKind};

use super::item::Item;
use crate::config::{
    broker::Broker,
    environment,
    fault::Fault,
    reach::{self, Reach},
};

/// Everything found so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Where relative paths of environment variables start.
    pub(crate) folder: PathBuf,
    pub(crate) faults: RefCell<Vec<Fault>>,
    pub(crate) warnings: RefCell<BTreeSet<String>>,
    /// Every key that was asked for, names replaced by `*`.
    pub(crate) keys: RefCell<BTreeSet<String>>,
    /// Names of endpoints, once they are read.
    pub(crate) endpoints: RefCell<Vec<Arc<str>>>,
    /// Brokers, once they are read.
    pub(crate) brokers: RefCell<BTreeMap<Arc<str>, Arc<Broker>>>,
    /// What a dynamic endpoint may name; `None`: a file may name everything.
    pub(crate) reach: Option<Reach>,
}

impl Report {
    pub(crate) fn fault(&self, origin: Option<&str>, path: &str, problem: impl Into<String>, hint: impl Into<String>) {
        let file = origin.map_or_else(|| self.folder.display().to_string(), str::to_owned);
        self.faults.borrow_mut().push(Fault { file, path: path.into(), problem: problem.into(), hint: hint.into() });
    }

    pub(crate) fn warn(&self, path: &str, problem: &str) {
        self.warnings.borrow_mut().insert(format!("{path}: {problem}"));
    }

    /// Whether what stands at `path` may name this file or unix socket; complains where it may not.
    pub(crate) fn may_name(&self, origin: Option<&str>, path: &str, file: &Path) -> bool {
        let may = self.reach.as_ref().is_none_or(|reach| !reach::is_of_body(origin) || reach.covers_file(file));
        if !may {
            let hint =
                format!("add \"${{file:{}}}\" to api.dynamic_references; only absolute paths count", file.display());
            self.fault(origin, path, "a dynamic endpoint may not use this file", hint);
        }
        may
    }

    /// Whether what stands at `path` may name a program; complains where it may not.
    pub(crate) fn may_run(&self, origin: Option<&str>, path: &str) -> bool {
        let may = self.reach.is_none() || !reach::is_of_body(origin);
        if !may {
            let hint = "write it in [values] of the configuration file, and refer to it by ${value:NAME}";
            self.fault(origin, path, "a dynamic endpoint cannot run a program", hint);
        }
        may
    }

    /// Whether what stands at `path` may name a broker; complains where it may not.
    pub(crate) fn may_bridge(&self, origin: Option<&str>, path: &str) -> bool {
        let may = self.reach.is_none() || !reach::is_of_body(origin);
        if !may {
            let hint = "write bridges in [defaults] or in an endpoint of the configuration file";
            self.fault(origin, path, "a dynamic endpoint cannot have bridges of its own", hint);
        }
        may
    }

    /// The folder that a relative path in a value of this origin starts from.
    pub(crate) fn folder_of(&self, origin: Option<&str>) -> PathBuf {
        match origin {
            Some(file) if !file.starts_with(environment::ORIGIN) => {
                Path::new(file).parent().map_or_else(PathBuf::new, Path::to_path_buf)
            }
            _ => self.folder.clone(),
        }
    }
}

/// A table, or the absence of one.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    pub(crate) report: &'a Report,
    pub(crate) path: String,
    /// The path with names replaced by `*`.
    pattern: String,
    origin: Option<&'a str>,
    table: Option<&'a Map<String, Value>>,
    known: RefCell<Vec<&'static str>>,
    finished: Cell<bool>,
}

impl<'a> Section<'a> {
    /// The whole tree.
    pub(crate) fn root(report: &'a Report, value: &'a Value) -> Self {
        Self::new(report, String::new(), String::new(), Some(value))
    }

    fn new(report: &'a Report, path: String, pattern: String, value: Option<&'a Value>) -> Self {
        let origin = value.and_then(Value::origin);
        let table = match value.map(|value| &value.kind) {
            Some(ValueKind::Table(table)) => Some(table),
            // `log:` with nothing under it, in YAML.
            None | Some(ValueKind::Nil) => None,
            Some(kind) => {
                report.fault(origin, &path, format!("must be a section, not {}", super::item::what(kind)), "");
                None
            }
        };
        Self { report, path, pattern, origin, table, known: RefCell::default(), finished: Cell::new(false) }
    }

    /// A section within this one.
    pub(crate) fn section(&self, key: &'static str) -> Section<'a> {
        let value = self.look(key);
        Section::new(self.report, join(&self.path, key), join(&self.pattern, key), value)
    }

    /// A value as a section. What is in it is free of form, so its keys are none of those that `keys` lists.
    pub(crate) fn of(item: &Item<'a>) -> Self {
        Self::new(item.report, item.path.clone(), "…".into(), Some(item.value))
    }

    /// The sections within this one whose names are the operator's, in order of name.
    pub(crate) fn named(&self) -> Vec<(&'a str, Section<'a>)> {
        self.pairs()
            .into_iter()
            .map(|(name, value)| {
                let path = join(&self.path, name);
                (name, Section::new(self.report, path, join(&self.pattern, "*"), Some(value)))
            })
            .collect()
    }

    /// The values within this section whose names are the operator's, in order of name.
    pub(crate) fn entries(&self) -> Vec<(&'a str, Item<'a>)> {
        self.report.keys.borrow_mut().insert(join(&self.pattern, "*"));
        self.pairs()
            .into_iter()
            .map(|(name, value)| (name, Item { report: self.report, path: join(&self.path, name), value }))
            .collect()
    }

    /// The sections of a list.
    pub(crate) fn list(&self, key: &'static str) -> Option<Vec<Section<'a>>> {
        let list = self.get(key)?.list()?;
        let pattern = format!("{}[]", join(&self.pattern, key));
        Some(
            list.into_iter()
                .map(|item| Section::new(self.report, item.path, pattern.clone(), Some(item.value)))
                .collect(),
        )
    }

    /// The value of a key, if it is there.
    pub(crate) fn get(&self, key: &'static str) -> Option<Item<'a>> {
        let value = self.look(key)?;
        let item = Item { report: self.report, path: join(&self.path, key), value };
        if matches!(value.kind, ValueKind::Nil) {
            item.fault("has no value", "give it one, or leave the key out");
            return None;
        }
        Some(item)
    }

    /// The names of the keys that are there.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.pairs().into_iter().map(|(name, _)| name)
    }

    /// Whether it is there, be it empty.
    pub(crate) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// Whether a key is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Something is wrong with a key of this section, or with its absence.
    pub(crate) fn fault(&self, key: &str, problem: impl Into<String>, hint: impl Into<String>) {
        let origin = self.table.and_then(|table| table.get(key)).and_then(Value::origin).or(self.origin);
        self.report.fault(origin, &join(&self.path, key), problem, hint);
    }

    /// Something about a key of this section may not be meant.
    pub(crate) fn warn(&self, key: &str, problem: &str) {
        self.report.warn(&join(&self.path, key), problem);
    }

    /// What is written in it.
    pub(crate) fn table(&self) -> Option<&'a Map<String, Value>> {
        self.table
    }

    /// A key that may be here, whoever reads it.
    pub(crate) fn expect(&self, key: &'static str) {
        let mut known = self.known.borrow_mut();
        if !known.contains(&key) {
            known.push(key);
            self.report.keys.borrow_mut().insert(join(&self.pattern, key));
        }
    }

    /// Where the section is written.
    pub(crate) fn origin(&self) -> Option<&'a str> {
        self.origin
    }

    /// Complains of every key that nothing has asked for.
    pub(crate) fn finish(&self) {
        if self.finished.replace(true) {
            return;
        }
        let known = self.known.borrow();
        for (key, value) in self.pairs() {
            if !known.contains(&key) {
                let hint = suggestion(key, &known);
                self.report.fault(value.origin(), &join(&self.path, key), "unknown key", hint);
            }
        }
    }

    fn look(&self, key: &'static str) -> Option<&'a Value> {
        self.expect(key);
        self.table?.get(key)
    }

    fn pairs(&self) -> Vec<(&'a str, &'a Value)> {
        let mut pairs: Vec<_> = self.table.into_iter().flatten().map(|(key, value)| (key.as_str(), value)).collect();
        pairs.sort_by_key(|(key, _)| *key);
        pairs
    }
}

/// What was probably meant, else everything that could have been.
pub(crate) fn suggestion(word: &str, known: &[&str]) -> String {
    let lower = word.to_lowercase().replace('-', "_");
    let near = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&lower, known), *known))
        .filter(|(distance, known)| *distance <= (known.len() / 3).clamp(1, 3))
        .min();
    match near {
        Some((_, known)) => format!("did you mean `{known}`?"),
        None if known.is_empty() => String::new(),
        None => format!("known here: {}", known.join(", ")),
    }
}

/// A key's path; names that have a dot are quoted, as in TOML.
pub(crate) fn join(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|char| char.is_alphanumeric() || matches!(char, '_' | '-' | '*'));
    let key = if plain { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}
