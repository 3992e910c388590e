//! The keys of a session as the table of keys reads them: what is written, and where.

#![allow(clippy::unnecessary_wraps, reason = "the table of keys calls them so")]

use std::collections::BTreeMap;

use crate::config::{
    Config,
    check::{item::Item, section::Section},
    session::{Names, Part, Said, Steps, Word, Written},
    table::{kinds, value},
};

fn written(item: &Item<'_>) -> Written {
    Written { path: item.path.clone(), value: item.value.clone() }
}

/// `open`, `on`, `every`
pub(in crate::config) fn list(item: &Item<'_>) -> Option<Steps> {
    Some(Steps(written(item)))
}

/// `mute`
pub(in crate::config) fn part(item: &Item<'_>) -> Option<Part> {
    Some(Part(written(item)))
}

/// `keep`
pub(in crate::config) fn names(item: &Item<'_>) -> Option<Names> {
    Some(Names(written(item)))
}

/// `add`, `remove`
pub(in crate::config) fn said(item: &Item<'_>) -> Option<Said> {
    Some(Said(written(item)))
}

/// `skip_when`
pub(in crate::config) fn word(item: &Item<'_>) -> Option<Word> {
    item.text().map(|_| Word(written(item)))
}

/// `confirm`, `refuse`: one is a list of one.
pub(in crate::config) fn answers(item: &Item<'_>) -> Option<Steps> {
    let Written { path, value } = written(item);
    let is_list = matches!(value.kind, config::ValueKind::Array(_));
    let origin = value.origin().map(str::to_owned);
    let list = |value| config::Value::new(origin.as_ref(), config::ValueKind::Array(vec![value]));
    Some(Steps(Written { path, value: if is_list { value } else { list(value) } }))
}

/// `[values]`, whose values become those of the endpoints that use them.
pub(in crate::config) static SHARED: value::Part<Config, kinds::Written> =
    value::Part { read: |_, _| {}, is_same: |_, _| true, of: |_| (), kind: kinds::Written("") };

/// `values`, added up by name with those that are there.
pub(in crate::config) fn values(section: &Section<'_>, values: &mut BTreeMap<String, Written>) {
    for (name, item) in section.section("values").entries() {
        if super::is_name(name) {
            values.insert(name.to_owned(), written(&item));
        } else {
            item.fault("is not a value's name", "use letters, digits and `_`, and begin with none of the digits");
        }
    }
}
