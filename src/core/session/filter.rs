//! Parts of an inbox by what is in their messages: values at places, all of which must be there, compared as matchers compare them.
//!
//! Filters that ask at one place are looked up by the value there: a message costs one look however many they are. What a reader would
//! get wrong: a message is read as JSON by who makes its [`Document`], once for all filters.

use std::collections::BTreeMap;

use super::{
    Pointer,
    index::key,
    json::{self, Value},
};

/// Where a message that is longer is not read as JSON, unless something else is said.
pub const MAX_JSON: usize = 1 << 20;

/// What a message must have: these values at these places.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(Box<[(Pointer, Value)]>);

/// A message as filters see it.
#[derive(Debug)]
pub struct Document(Option<Value>);

impl Document {
    /// What is no JSON, or longer than this, meets no filter.
    pub fn read(bytes: &[u8], max: usize) -> Self {
        Self((bytes.len() <= max).then(|| json::parse(bytes)).flatten())
    }

    /// What is at the first place that a pointer leads to.
    pub(super) fn first(&self, at: &Pointer) -> Option<Value> {
        at.first(self.0.as_ref()?)
    }
}

impl Filter {
    /// All of them must be there.
    pub fn new(wanted: impl IntoIterator<Item = (Pointer, Value)>) -> Self {
        Self(wanted.into_iter().collect())
    }

    /// One as it is written in a query: `/s=BTCUSDT`. What reads as a number, `true`, `false`, `null` or a string in quotes is that,
    /// everything else a text. `None`: it has no place, or none that is one.
    pub fn condition(written: &str) -> Option<(Pointer, Value)> {
        let (at, value) = written.split_once('=')?;
        let read = json::parse(value.as_bytes()).filter(|value| !(value.is_array() || value.is_object()));
        Some((Pointer::parse(at)?, read.unwrap_or_else(|| value.into())))
    }

    /// What it asks for.
    pub fn wanted(&self) -> &[(Pointer, Value)] {
        &self.0
    }

    /// Whether the message has all of it.
    pub fn is_met(&self, document: &Document) -> bool {
        let Document(Some(document)) = document else { return false };
        self.0.iter().all(|(at, wanted)| at.any(document, |value| json::is_same(value, wanted)))
    }
}

/// Filters, and which of them may be met by a message with this value at this place.
#[derive(Debug, Default)]
pub struct Sorter {
    filters: Box<[Filter]>,
    places: Box<[(Pointer, ByValue)]>,
    /// Those that every message must be shown to.
    rest: Box<[usize]>,
}

/// Texts by themselves, for the lookup to make none.
#[derive(Debug, Default)]
struct ByValue {
    texts: BTreeMap<Box<str>, Vec<usize>>,
    others: BTreeMap<Box<str>, Vec<usize>>,
}

impl ByValue {
    fn entry(&mut self, value: &Value) -> Option<&mut Vec<usize>> {
        Some(match value {
            Value::String(text) => self.texts.entry(text.as_str().into()).or_default(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                self.others.entry(key(value)?).or_default()
            }
        })
    }

    fn get(&self, value: &Value) -> &[usize] {
        let found = match value {
            Value::String(text) => self.texts.get(text.as_str()),
            Value::Null | Value::Bool(_) | Value::Number(_) if !self.others.is_empty() => {
                key(value).and_then(|key| self.others.get(&key))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
        };
        found.map_or(&[], |found| found)
    }
}

impl Sorter {
    /// Of these filters, which are called by their places.
    pub fn new(filters: Box<[Filter]>) -> Self {
        let (mut places, mut rest) = (BTreeMap::<Pointer, ByValue>::new(), Vec::new());
        for (number, filter) in filters.iter().enumerate() {
            // A place that may be several says nothing by the first of them.
            let plain = filter.0.iter().find(|(at, value)| at.is_plain() && key(value).is_some());
            match plain.and_then(|(at, value)| places.entry(at.clone()).or_default().entry(value)) {
                Some(numbers) => numbers.push(number),
                None => rest.push(number),
            }
        }
        Self { filters, places: places.into_iter().collect(), rest: rest.into() }
    }

    /// Names each filter that the message meets.
    pub fn sort(&self, document: &Document, mut each: impl FnMut(usize)) {
        let Document(Some(value)) = document else { return };
        let mut look = |numbers: &[usize]| {
            for number in numbers {
                if self.filters.get(*number).is_some_and(|filter| filter.is_met(document)) {
                    each(*number);
                }
            }
        };
        for (at, by_value) in &self.places {
            at.any(value, |value| {
                look(by_value.get(value));
                true
            });
        }
        look(&self.rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(written: &[&str]) -> Filter {
        Filter::new(written.iter().map(|written| Filter::condition(written).unwrap()))
    }

    fn document(text: &str) -> Document {
        Document::read(text.as_bytes(), MAX_JSON)
    }

    #[test]
    fn all_that_is_wanted_must_be_there_and_numbers_are_compared_as_numbers() {
        let met = |written: &[&str], text: &str| filter(written).is_met(&document(text));
        assert!(met(&["/s=BTCUSDT"], r#"{"s":"BTCUSDT"}"#) && !met(&["/s=BTCUSDT"], r#"{"s":"ETHUSDT"}"#));
        assert!(met(&["/a/b=1"], r#"{"a":{"b":1.0}}"#) && !met(&["/a/b=1"], r#"{"a":{"b":"1"}}"#));
        assert!(met(&["/b=\"1\""], r#"{"b":"1"}"#) && met(&["/b=true"], r#"{"b":true}"#));
        assert!(met(&["/x=a=b"], r#"{"x":"a=b"}"#) && met(&["/l/*/id=2"], r#"{"l":[{"id":1},{"id":2}]}"#));
        assert!(met(&["/s=a", "/t=b"], r#"{"s":"a","t":"b"}"#) && !met(&["/s=a", "/t=b"], r#"{"s":"a","t":"c"}"#));
        for (written, text) in [("/s=a", "no JSON"), ("/s=a", r#"{"t":"a"}"#), ("/s=[1]", r#"{"s":[1]}"#)] {
            assert!(!met(&[written], text), "{written} {text}");
        }
        assert!(Filter::condition("s=a").is_none() && Filter::condition("/s").is_none());
        assert!(!filter(&["/s=a"]).is_met(&Document::read(br#"{"s":"a"}"#, 3)), "it is too long");
    }

    #[test]
    fn what_is_looked_up_is_what_would_be_found_one_by_one() {
        let written = [
            &["/s=a"][..],
            &["/s=b"],
            &["/s=a", "/n=1"],
            &["/n=1"],
            &["/n=2", "/s=b"],
            &["/*=a"],
            &["/l/*=3", "/s=a"],
            &["/n=null"],
            &["/n=true"],
            &["/s=1"],
        ];
        let filters: Box<[Filter]> = written.iter().map(|written| filter(written)).collect();
        let sorter = Sorter::new(filters.clone());
        for text in [
            r#"{"s":"a"}"#,
            r#"{"s":"a","n":1.0}"#,
            r#"{"s":"b","n":2}"#,
            r#"{"s":"a","l":[1,3]}"#,
            r#"{"n":null}"#,
            r#"{"n":true,"s":1}"#,
            r#"{"s":["a"]}"#,
            "[]",
            "no JSON",
        ] {
            let document = document(text);
            let mut found = Vec::new();
            sorter.sort(&document, |number| found.push(number));
            found.sort_unstable();
            let met: Vec<_> = (0..filters.len()).filter(|number| filters[*number].is_met(&document)).collect();
            assert_eq!(found, met, "{text}");
        }
    }
}
