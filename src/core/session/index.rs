//! The `on` rules, and the way past those that cannot match: where many ask for a constant at one place, the value found there says
//! which of them are asked.
//!
//! What a reader would get wrong: the order of the rules stays. The first that matches acts, also where it is none of those looked up.

use std::collections::BTreeMap;

use super::{
    Pointer, Rule,
    json::{self, Value},
    matcher::Message,
};

/// From so many rules that ask at one place on, they are looked up.
const MANY: usize = 8;

/// Rules in order.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    list: Box<[Rule]>,
    index: Option<Box<Index>>,
}

#[derive(Debug, Clone)]
struct Index {
    at: Pointer,
    by_value: BTreeMap<Box<str>, Box<[usize]>>,
    /// The others, which every message must be shown to.
    rest: Box<[usize]>,
}

impl Rules {
    /// Makes what is needed to find them.
    pub fn new(list: Box<[Rule]>) -> Self {
        let index = Index::new(&list).map(Box::new);
        Self { list, index }
    }

    /// All of them, in order.
    pub fn list(&self) -> &[Rule] {
        &self.list
    }

    /// Those that a message may match, in order.
    pub(super) fn candidates<'a>(&'a self, message: &Message<'_>) -> Candidates<'a> {
        match &self.index {
            None => Candidates { list: &self.list, all: 0..self.list.len(), found: &[], rest: &[] },
            Some(index) => {
                let document = message.json();
                let key = document.and_then(|document| index.at.first(document)).and_then(|value| key(&value));
                let found = key.and_then(|key| index.by_value.get(&key)).map_or(&[][..], |found| found);
                Candidates { list: &self.list, all: 0..0, found, rest: &index.rest }
            }
        }
    }
}

impl PartialEq for Rules {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl Index {
    fn new(list: &[Rule]) -> Option<Self> {
        let mut askers: BTreeMap<&Pointer, usize> = BTreeMap::new();
        for (pointer, _) in
            list.iter().flat_map(|rule| rule.matcher.constants()).filter(|(_, value)| key(value).is_some())
        {
            let count = askers.entry(pointer).or_default();
            *count = count.saturating_add(1);
        }
        let (at, count) = askers.into_iter().max_by_key(|(_, count)| *count)?;
        if count < MANY {
            return None;
        }
        let (mut by_value, mut rest) = (BTreeMap::<Box<str>, Vec<usize>>::new(), Vec::new());
        for (place, rule) in list.iter().enumerate() {
            let mut constants = rule.matcher.constants().filter(|(pointer, _)| *pointer == at);
            match constants.next().and_then(|(_, value)| key(value)) {
                Some(key) => by_value.entry(key).or_default().push(place),
                None => rest.push(place),
            }
        }
        let by_value = by_value.into_iter().map(|(key, places)| (key, places.into())).collect();
        Some(Self { at: at.clone(), by_value, rest: rest.into() })
    }
}

/// A value as what it is looked up by: one for all numbers that count the same, and for some more. Lists and objects have none.
pub(super) fn key(value: &Value) -> Option<Box<str>> {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => Some(value.to_string().into()),
        Value::Number(number) => json::digits(number),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// Rules that a message may match, in order.
pub(super) struct Candidates<'a> {
    list: &'a [Rule],
    all: std::ops::Range<usize>,
    found: &'a [usize],
    rest: &'a [usize],
}

impl<'a> Iterator for Candidates<'a> {
    type Item = (usize, &'a Rule);

    fn next(&mut self) -> Option<(usize, &'a Rule)> {
        if let Some(place) = self.all.next() {
            return Some((place, self.list.get(place)?));
        }
        let from = match (self.found, self.rest) {
            ([], []) => return None,
            ([one, ..], [other, ..]) if one < other => &mut self.found,
            ([_, ..], []) => &mut self.found,
            (_, [_, ..]) => &mut self.rest,
        };
        let (first, rest) = from.split_first()?;
        *from = rest;
        Some((*first, self.list.get(*first)?))
    }
}
