//! Places in a file: on which line each value is written, and whether a JSON text says a thing twice.
//!
//! The `config` crate keeps neither. A place goes into a value's origin as `FILE:LINE`, where every fault takes its file from.
//! What has no place of its own, as what a YAML alias stands for, has that of what it is in.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "kinds and events of foreign crates: those that hold nothing have no places"
)]

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
};

use config::{FileFormat, Map, Value, ValueKind};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use toml::de::{DeTable, DeValue};
use yaml_rust2::{
    Event,
    parser::Parser,
    scanner::{Marker, ScanError},
};

/// A line, and the lines of what is within.
struct Place {
    line: usize,
    within: Within,
}

enum Within {
    Nothing,
    Table(BTreeMap<String, Place>),
    List(Vec<Place>),
}

/// Gives each value of `root`, which was read from `text`, the line that it is written on.
pub(crate) fn set_lines(root: &mut Value, name: &str, text: &str, format: FileFormat) {
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line = |at: usize| ends.partition_point(|end| *end < at) + 1;
    let within = match format {
        FileFormat::Toml => DeTable::parse(text).ok().map(|table| in_toml_table(table.get_ref(), &line)),
        FileFormat::Yaml => in_yaml(text),
        FileFormat::Json => in_json(text, &|part: &str| line(part.as_ptr().addr() - text.as_ptr().addr())),
        _ => None,
    };
    // The whole file has no line.
    if let (ValueKind::Table(values), Some(Within::Table(places))) = (&mut root.kind, within) {
        set_in_table(values, &places, name, None);
    }
}

fn set_in_table(values: &mut Map<String, Value>, places: &BTreeMap<String, Place>, name: &str, under: Option<usize>) {
    for (key, value) in values {
        set(value, places.get(key), name, under);
    }
}

fn set(value: &mut Value, place: Option<&Place>, name: &str, under: Option<usize>) {
    let line = place.map(|place| place.line).or(under);
    if let Some(line) = line {
        *value = Value::new(Some(&format!("{name}:{line}")), std::mem::take(&mut value.kind));
    }
    match (&mut value.kind, place.map(|place| &place.within)) {
        (ValueKind::Table(values), Some(Within::Table(places))) => set_in_table(values, places, name, line),
        (ValueKind::Table(values), _) => set_in_table(values, &BTreeMap::new(), name, line),
        (ValueKind::Array(values), within) => {
            let places = if let Some(Within::List(places)) = within { &places[..] } else { &[] };
            for (index, value) in values.iter_mut().enumerate() {
                set(value, places.get(index), name, line);
            }
        }
        _ => {}
    }
}

fn in_toml_table(table: &DeTable<'_>, line: &impl Fn(usize) -> usize) -> Within {
    let place = |at: usize, value: &DeValue<'_>| Place { line: line(at), within: in_toml(value, line) };
    Within::Table(
        table
            .iter()
            .map(|(key, value)| (key.get_ref().to_string(), place(key.span().start, value.get_ref())))
            .collect(),
    )
}

fn in_toml(value: &DeValue<'_>, line: &impl Fn(usize) -> usize) -> Within {
    if let Some(table) = value.as_table() {
        return in_toml_table(table, line);
    }
    let Some(list) = value.as_array() else { return Within::Nothing };
    Within::List(
        list.iter()
            .map(|item| Place { line: line(item.span().start), within: in_toml(item.get_ref(), line) })
            .collect(),
    )
}

/// The text with each whole number that is too large for the parser written as one with an exponent, which takes no more room. So it is
/// told of with its place and the range of its key, and not as a fault of the whole file.
pub(crate) fn with_large_numbers(text: &str) -> Cow<'_, str> {
    let mut large = Vec::new();
    if let Ok(table) = DeTable::parse(text) {
        find_large(&DeValue::Table(table.into_inner()), 0..0, &mut large);
    }
    let mut mended = Cow::Borrowed(text);
    large.sort_unstable_by_key(|(at, _): &(Range<usize>, f64)| at.start);
    for (at, number) in large.into_iter().rev() {
        mended.to_mut().replace_range(at, &format!("{number:e}"));
    }
    mended
}

fn find_large(value: &DeValue<'_>, at: Range<usize>, found: &mut Vec<(Range<usize>, f64)>) {
    match value {
        DeValue::Integer(number) if i64::from_str_radix(number.as_str(), number.radix()).is_err() => {
            let decimal = if number.radix() == 10 { number.as_str().parse().ok() } else { None };
            found.push((at, decimal.unwrap_or(f64::INFINITY)));
        }
        DeValue::Table(table) => {
            table.values().for_each(|value| find_large(value.get_ref(), value.span(), found));
        }
        DeValue::Array(list) => list.iter().for_each(|value| find_large(value.get_ref(), value.span(), found)),
        _ => {}
    }
}

/// A value's line is that of its start, and a key stands before it on the same one as a rule.
fn in_json(text: &str, line: &impl Fn(&str) -> usize) -> Option<Within> {
    let place = |raw: &RawValue| {
        let raw = raw.get();
        Place { line: line(raw), within: in_json(raw, line).unwrap_or(Within::Nothing) }
    };
    match text.trim_start().as_bytes().first()? {
        b'{' => {
            let table: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            Some(Within::Table(table.into_iter().map(|(key, raw)| (key, place(raw))).collect()))
        }
        b'[' => {
            let list: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            Some(Within::List(list.into_iter().map(place).collect()))
        }
        _ => None,
    }
}

fn in_yaml(text: &str) -> Option<Within> {
    let mut events = Parser::new_from_str(text);
    loop {
        match events.next_token().ok()? {
            (Event::StreamStart | Event::DocumentStart, _) => {}
            first => return in_yaml_node(first, &mut events).ok().map(|place| place.within),
        }
    }
}

/// The node that begins with an event, up to its last.
fn in_yaml_node(
    (event, mark): (Event, Marker),
    events: &mut Parser<impl Iterator<Item = char>>,
) -> Result<Place, ScanError> {
    let within = match event {
        Event::MappingStart(..) => {
            let mut table = BTreeMap::new();
            loop {
                let (key, at) = events.next_token()?;
                let name = match &key {
                    Event::MappingEnd => break,
                    Event::Scalar(name, ..) => Some(name.clone()),
                    _ => None,
                };
                in_yaml_node((key, at), events)?;
                let value = events.next_token()?;
                let within = in_yaml_node(value, events)?.within;
                table.extend(name.map(|name| (name, Place { line: at.line(), within })));
            }
            Within::Table(table)
        }
        Event::SequenceStart(..) => {
            let mut list = Vec::new();
            loop {
                match events.next_token()? {
                    (Event::SequenceEnd, _) => break,
                    item => list.push(in_yaml_node(item, events)?),
                }
            }
            Within::List(list)
        }
        _ => Within::Nothing,
    };
    Ok(Place { line: mark.line(), within })
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

    fn lines(text: &str, format: FileFormat, paths: &[&[&str]]) -> Vec<usize> {
        let mut faults = Vec::new();
        let root = source::parse(text, "x", format, &mut faults);
        assert!(faults.is_empty(), "{faults:?}");
        let line = |path: &&[&str]| {
            let value = path.iter().fold(&root, |value, step| match &value.kind {
                ValueKind::Table(table) => &table[*step],
                ValueKind::Array(list) => &list[step.parse::<usize>().unwrap()],
                other => panic!("{step} in {other:?}"),
            });
            value.origin().unwrap().strip_prefix("x:").unwrap().parse().unwrap()
        };
        paths.iter().map(line).collect()
    }

    #[test]
    fn yaml_has_lines_in_block_and_flow_style_and_an_alias_that_of_its_use() {
        let text = "# one\na: 1\n\nb:\n  c: &it\n    d:\n      - x\n      - {e: 1,\n         f: |\n\n          y\n        }\n\
            g: *it\n\"i.j\": 'z'\n";
        let text = text.replace("f: |\n\n          y\n        }", "f: 2}");
        let paths: [&[&str]; 9] = [
            &["a"],
            &["b"],
            &["b", "c"],
            &["b", "c", "d"],
            &["b", "c", "d", "0"],
            &["b", "c", "d", "1", "e"],
            &["b", "c", "d", "1", "f"],
            &["g", "d", "0"],
            &["i.j"],
        ];
        assert_eq!(lines(&text, FileFormat::Yaml, &paths), [2, 4, 5, 6, 7, 8, 9, 10, 11]);
    }

    #[test]
    fn json_has_lines_also_with_tabs_and_escapes_that_yaml_does_not_know() {
        let text = "{\n\t\"a\": \"\\ud83d\\ude00\\/\",\r\n\t\"b\": {\"c\": [1,\n2, {\n\"d\\u0065\": null}]}}";
        let paths: [&[&str]; 5] = [&["a"], &["b", "c"], &["b", "c", "0"], &["b", "c", "1"], &["b", "c", "2", "de"]];
        assert_eq!(lines(text, FileFormat::Json, &paths), [2, 3, 3, 4, 5]);
    }

    #[test]
    fn each_value_knows_the_line_of_its_key_and_each_item_its_own() {
        let text =
            "a = 1\r\n\n[b.c]\nd = [\n  \"x\",\n  { e = 1,\n f = \"\"\"\n\n\"\"\" },\n]\n[[b.g]]\nh = 1\n[\"i.j\"]";
        let list = ["b", "c", "d"];
        let [one, two, f] = [vec!["0"], vec!["1"], vec!["1", "f"]].map(|rest| [&list[..], &rest].concat());
        let paths: [&[&str]; 9] = [&["a"], &["b"], &["b", "c"], &list, &one, &two, &f, &["b", "g", "0", "h"], &["i.j"]];
        assert_eq!(lines(text, FileFormat::Toml, &paths), [1, 3, 3, 4, 5, 6, 7, 12, 13]);
    }

    #[test]
    fn a_number_that_is_too_large_is_written_otherwise_and_nothing_else_is() {
        let text = "a = 18446744073709551615 # 18446744073709551615\n[b]\nc = [1, 0xffffffffffffffffff,\n \"99999999999999999999\"]\n\
            d = { e = -9_999_999_999_999_999_999 }\nf = 9223372036854775807\n";
        let wanted = "a = 1.8446744073709552e19 # 18446744073709551615\n[b]\nc = [1, inf,\n \"99999999999999999999\"]\n\
            d = { e = -1e19 }\nf = 9223372036854775807\n";
        assert_eq!(with_large_numbers(text), wanted);
        assert!(matches!(with_large_numbers("a = 1"), Cow::Borrowed(_)));
        assert_eq!(with_large_numbers("a = "), "a = ");
        assert_eq!(lines(text, FileFormat::Toml, &[&["a"], &["b", "d", "e"], &["b", "f"]]), [1, 5, 6]);
    }

    #[test]
    fn a_key_twice_in_one_object_is_told_and_the_same_key_in_two_is_not() {
        let told = repeated_key("{\"a\": {\"b\": [1, 1.5, null, true, -1, \"x\"]},\n \"c\": {\"b\": 1,\n \"b\": 2}}");
        assert!(told.as_ref().is_some_and(|told| told.starts_with("duplicate key at line 3 ")), "{told:?}");
        assert_eq!(repeated_key("{\"a\": {\"b\": 1}, \"c\": {\"b\": [{\"b\": 1}, {\"b\": 2}]}}"), None);
    }
}
