//! `values`: what `${value:NAME}` stands for, wherever it stands.
//!
//! What a reader would get wrong: a value is put in where it is used, before anything runs, so all that it may be made of is there then:
//! references, variables and other values.

#![allow(clippy::wildcard_enum_match_arm, reason = "kinds of a foreign crate: those that are not sections are JSON")]

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use wskeeper_core::session::{Json, TextPart};

use super::Reader;
use crate::config::{
    check::{
        item::Item,
        section::{Section, join, suggestion},
    },
    session::Written,
};

/// How deep values may stand within each other.
const DEPTH_MAX: usize = 16;

/// What all of them together may be put in for, in bytes.
const SIZE_MAX: usize = 1 << 20;

/// Those that an endpoint has.
pub(super) struct Values<'a> {
    written: &'a BTreeMap<String, Written>,
    /// Where they are written, or would be.
    path: String,
    origin: Option<&'a str>,
    /// Those that are being read: one that comes to itself has no end.
    within: RefCell<Vec<String>>,
    /// What may still be put in: values of values of values grow without measure.
    left: Cell<usize>,
}

impl<'a> Values<'a> {
    pub(super) fn of(section: &Section<'a>, written: &'a BTreeMap<String, Written>) -> Self {
        let path = join(&join(&section.path, "session"), "values");
        Self { written, path, origin: section.origin(), within: RefCell::default(), left: Cell::new(SIZE_MAX) }
    }

    /// Reads those that nothing uses too, for their faults.
    pub(super) fn read_all(&self, reader: &Reader<'_>) {
        for name in self.written.keys() {
            let _ = self.read(reader, name);
        }
    }

    /// What the value of this name is made of. `used` is where it is asked for.
    pub(super) fn get(&self, reader: &Reader<'_>, used: &Item<'_>, name: &str) -> Option<Json> {
        if self.within.borrow().iter().any(|outer| outer == name) {
            used.fault(format!("the value `{name}` is made of itself"), "take it out of the loop");
            return None;
        }
        if self.written.contains_key(name) {
            let is_too_much = self.left.get() == 0 || self.within.borrow().len() >= DEPTH_MAX;
            let read = if is_too_much { None } else { self.read(reader, name) };
            self.left.set(self.left.get().saturating_sub(read.as_ref().map_or(1, size).max(1)));
            if is_too_much || self.left.get() == 0 {
                used.fault("is made of too many values", "use fewer of them, or fewer within each other");
                return None;
            }
            return read;
        }
        if !reader.whole {
            return None;
        }
        let known: Vec<&str> = self.written.keys().map(String::as_str).collect();
        if let Some(preset) = used.value.origin().and_then(crate::config::preset::of_origin) {
            self.report_missing(reader, name, preset);
        } else {
            let hint = format!("write it in {}: {name} = \"${{file:…}}\"; {}", self.path, suggestion(name, &known));
            used.fault(format!("there is no value `{name}`"), hint.trim_end_matches("; ").to_owned());
        }
        None
    }

    fn report_missing(&self, reader: &Reader<'_>, name: &str, preset: &str) {
        let hint =
            format!("write {name} = \"${{file:PATH}}\", or another reference; `wskeeper presets {preset}` says more");
        let problem = format!("is missing, and the preset {preset} needs it");
        reader.report.fault(self.origin, &join(&self.path, name), problem, hint);
    }

    fn read(&self, reader: &Reader<'_>, name: &str) -> Option<Json> {
        let written = self.written.get(name)?;
        let item = Item { report: reader.report, path: written.path.clone(), value: &written.value };
        self.within.borrow_mut().push(name.to_owned());
        let read = reader.template(&item);
        self.within.borrow_mut().pop();
        read
    }
}

/// About how much it is, in bytes.
fn size(json: &Json) -> usize {
    const EACH: usize = 32;
    match json {
        Json::Text(text) => {
            let part = |part: &TextPart| match part {
                TextPart::Literal(text) => text.len(),
                TextPart::Value(_) => EACH,
            };
            text.0.iter().map(part).sum()
        }
        Json::Literal(value) => value.as_str().map_or(EACH, str::len),
        Json::Value(_) | Json::List(_) | Json::Object(_) => EACH,
    }
}

impl Reader<'_> {
    /// A text, a number, a boolean, or a section that says of which kind it is.
    fn template(&self, item: &Item<'_>) -> Option<Json> {
        match &item.value.kind {
            config::ValueKind::Table(_) => {
                let section = Section::of(item);
                let template = section.get("template");
                section.finish();
                if !section.has("template") {
                    item.fault("says nothing of where the value is from", "write `template`, or the text in its place");
                }
                self.template(&template?)
            }
            config::ValueKind::Array(_) => {
                item.fault("must be a text, not a list", "write it in quotes");
                None
            }
            _ => {
                super::clear::look_at_value(item);
                self.json(item)
            }
        }
    }
}
