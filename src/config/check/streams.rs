//! `streams`: named parts of the inbox.

use std::{collections::BTreeSet, sync::Arc};

use config::ValueKind;

use super::{MAX_SIZE, endpoint::is_name, item::Item, section::Section};
use wskeeper_core::{
    inbox,
    session::{Filter, Pointer, Value},
};
use wskeeper_link::endpoint::Stream;

/// As many as this there may be.
const MOST: usize = 10_000;

/// The list, where it is written; streams with a fault are left out.
pub(in crate::config) fn read(section: &Section<'_>, streams: &mut Vec<Stream>) {
    let Some(list) = section.list("streams") else { return };
    if list.len() > MOST {
        section.fault("streams", format!("are {}, more than {MOST}", list.len()), "leave some to `?match=`");
        return;
    }
    let mut names = BTreeSet::new();
    *streams = list.iter().filter_map(|section| stream(section, &mut names)).collect();
}

fn stream(section: &Section<'_>, names: &mut BTreeSet<String>) -> Option<Stream> {
    let name = section.get("name").and_then(|item| name(&item, names, "stream"));
    if !section.has("name") {
        section.fault("name", "is missing", "say what readers call it, as in ?stream=NAME");
    }
    let wanted = section.section("match").entries().into_iter().map(|(source, item)| wanted(&item, source));
    let wanted: Vec<_> = wanted.collect();
    if wanted.is_empty() {
        section.fault("match", "matches every message", "write what its messages have, as in { \"/s\" = \"BTCUSDT\" }");
    }
    let defaults = inbox::Policy::default();
    let number = |item: Item<'_>| usize::try_from(item.integer(1..=100_000_000)?).ok();
    let max_messages = section.get("max_messages").map_or(Some(defaults.max_messages), number);
    let max_bytes = section.get("max_bytes").map_or(Some(defaults.max_bytes), |item| item.size(1..=MAX_SIZE));
    section.finish();
    let wanted: Option<Vec<_>> = wanted.into_iter().collect();
    let filter = Filter::new(wanted.filter(|wanted| !wanted.is_empty())?);
    Some(Stream { name: name?, filter, max_messages: max_messages?, max_bytes: max_bytes? })
}

/// A name that no other of these has; `what` they are.
pub(super) fn name(item: &Item<'_>, names: &mut BTreeSet<String>, what: &str) -> Option<Arc<str>> {
    let name = item.text()?;
    if !is_name(name) {
        item.fault(
            "is not a name",
            "use letters, digits, `_`, `.` and `-`, beginning with a letter or a digit, at most 64 of them",
        );
        return None;
    }
    if !names.insert(name.to_owned()) {
        item.fault(format!("is another {what}'s name"), "give each a name of its own");
        return None;
    }
    Some(name.into())
}

/// A place, and the value that messages have there.
pub(super) fn wanted(item: &Item<'_>, source: &str) -> Option<(Pointer, Value)> {
    let at = super::session::pointer(item, source);
    let value: Value = match &item.value.kind {
        ValueKind::Boolean(value) => (*value).into(),
        ValueKind::I64(number) => (*number).into(),
        ValueKind::U64(number) => (*number).into(),
        ValueKind::Float(number) if number.is_finite() => (*number).into(),
        ValueKind::String(text) => text.as_str().into(),
        ValueKind::Nil => Value::Null,
        ValueKind::Float(_) | ValueKind::I128(_) | ValueKind::U128(_) | ValueKind::Array(_) | ValueKind::Table(_) => {
            item.fault("is no text, number or boolean", "write the value that messages have there");
            return None;
        }
    };
    Some((at?, value))
}
