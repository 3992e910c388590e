//! Places in a file: on which line of a TOML text each value begins, and whether a JSON text says a thing twice.
//!
//! The `config` crate keeps neither. A place goes into a value's origin as `FILE:LINE`, where every fault takes its file from.

use std::{collections::BTreeSet, fmt};

use config::{Map, Value, ValueKind};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use toml::de::{DeTable, DeValue};

/// Gives each value of `root`, which was read from the TOML `text`, the line that it is written on.
pub(crate) fn set_lines(root: &mut Value, name: &str, text: &str) {
    let Ok(written) = DeTable::parse(text) else { return };
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let origin = |at: usize| format!("{name}:{}", ends.partition_point(|end| *end < at) + 1);
    if let ValueKind::Table(values) = &mut root.kind {
        set_in_table(values, written.get_ref(), &origin);
    }
}

fn set_in_table(values: &mut Map<String, Value>, written: &DeTable<'_>, origin: &impl Fn(usize) -> String) {
    for (key, value) in written {
        if let Some(there) = values.get_mut(key.get_ref().as_ref()) {
            set(there, key.span().start, value.get_ref(), origin);
        }
    }
}

fn set(value: &mut Value, at: usize, written: &DeValue<'_>, origin: &impl Fn(usize) -> String) {
    *value = Value::new(Some(&origin(at)), std::mem::take(&mut value.kind));
    if let (ValueKind::Table(values), Some(table)) = (&mut value.kind, written.as_table()) {
        set_in_table(values, table, origin);
    } else if let (ValueKind::Array(values), Some(list)) = (&mut value.kind, written.as_array()) {
        for (value, written) in values.iter_mut().zip(list) {
            set(value, written.span().start, written.get_ref(), origin);
        }
    }
}

/// The complaint of a JSON text that has a key twice in one object, with its line; of two the parser would take the last.
pub(crate) fn repeated_key(text: &str) -> Option<String> {
    serde_json::from_str::<Once>(text).err().map(|error| error.to_string())
}

/// Any JSON without a key that is repeated.
struct Once;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Once {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !seen.insert(key) {
                return Err(Error::custom("duplicate key"));
            }
            map.next_value::<Self>()?;
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source;

    #[test]
    fn each_value_knows_the_line_of_its_key_and_each_item_its_own() {
        let text =
            "a = 1\r\n\n[b.c]\nd = [\n  \"x\",\n  { e = 1,\n f = \"\"\"\n\n\"\"\" },\n]\n[[b.g]]\nh = 1\n[\"i.j\"]";
        let mut faults = Vec::new();
        let root = source::parse(text, "x.toml", config::FileFormat::Toml, &mut faults);
        let line = |path: &[&str]| {
            let value = path.iter().fold(&root, |value, step| match &value.kind {
                ValueKind::Table(table) => &table[*step],
                ValueKind::Array(list) => &list[step.parse::<usize>().unwrap()],
                other => panic!("{step} in {other:?}"),
            });
            value.origin().unwrap().strip_prefix("x.toml:").unwrap().parse::<usize>().unwrap()
        };
        assert_eq!([line(&["a"]), line(&["b"]), line(&["b", "c"]), line(&["b", "c", "d"])], [1, 3, 3, 4]);
        let list = ["b", "c", "d"];
        assert_eq!(line(&[&list[..], &["0"]].concat()), 5);
        assert_eq!(line(&[&list[..], &["1"]].concat()), 6);
        assert_eq!(line(&[&list[..], &["1", "f"]].concat()), 7);
        assert_eq!([line(&["b", "g", "0", "h"]), line(&["i.j"])], [12, 13]);
    }

    #[test]
    fn a_key_twice_in_one_object_is_told_and_the_same_key_in_two_is_not() {
        let told = repeated_key("{\"a\": {\"b\": [1, 1.5, null, true, -1, \"x\"]},\n \"c\": {\"b\": 1,\n \"b\": 2}}");
        assert!(told.as_ref().is_some_and(|told| told.starts_with("duplicate key at line 3 ")), "{told:?}");
        assert_eq!(repeated_key("{\"a\": {\"b\": 1}, \"c\": {\"b\": [{\"b\": 1}, {\"b\": 2}]}}"), None);
    }
}
