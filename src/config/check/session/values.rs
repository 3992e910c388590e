//! `values`: what `${value:NAME}` stands for, wherever it stands.
//!
//! What a reader would get wrong: a text with references is put in where it is used, before anything runs; what is made by a signature, a
//! call or a command is made before the attempt, or before the step that uses it, and what is put in is where it will be then.

#![allow(clippy::wildcard_enum_match_arm, reason = "kinds of a foreign crate: those that are not sections are JSON")]

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    path::Path,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use config::ValueKind;
use wskeeper_core::session::{Json, Made, Make, Source, Text, TextPart, Value as Document};
use wskeeper_link::endpoint::{
    Template,
    value::{Span, Value},
};

use super::{
    Reader,
    made::{KINDS, Per},
    steps::EXPECT_WAIT,
};
use crate::config::{
    check::{
        item::Item,
        section::{Report, Section, join, suggestion},
    },
    session::Written,
};

/// How deep values may stand within each other.
const DEPTH_MAX: usize = 16;

/// What all of them together may be put in for, in bytes.
const SIZE_MAX: usize = 1 << 20;

/// Those that an endpoint has.
pub(super) struct Values<'a> {
    report: &'a Report,
    whole: bool,
    /// The endpoint's own, those of its preset and of `[defaults]`.
    own: &'a BTreeMap<String, Written>,
    /// `[values]`, for all endpoints.
    shared: &'a BTreeMap<String, Written>,
    endpoint: Arc<str>,
    /// Where they are written, or would be.
    path: String,
    origin: Option<&'a str>,
    /// Those that are being read: one that comes to itself has no end.
    within: RefCell<Vec<String>>,
    /// What may still be put in: values of values of values grow without measure.
    left: Cell<usize>,
    /// Those that are made before an attempt, in the order in which they need each other.
    made: RefCell<Vec<Arc<Value>>>,
    /// Names of those that are shared and used.
    used: RefCell<BTreeSet<String>>,
}

impl<'a> Values<'a> {
    pub(super) fn of(
        section: &Section<'a>,
        own: &'a BTreeMap<String, Written>,
        shared: &'a BTreeMap<String, Written>,
        (endpoint, whole): (&Arc<str>, bool),
    ) -> Rc<Self> {
        Rc::new(Self {
            report: section.report,
            whole,
            own,
            shared,
            endpoint: Arc::clone(endpoint),
            path: join(&join(&section.path, "session"), "values"),
            origin: section.origin(),
            within: RefCell::default(),
            left: Cell::new(SIZE_MAX),
            made: RefCell::default(),
            used: RefCell::default(),
        })
    }

    /// Reads those that nothing uses too, for their faults.
    pub(super) fn read_all(&self, reader: &Reader<'a>) {
        for (name, written) in self.own {
            if is_made(written) {
                let aside = reader.aside(false);
                let _ = self.made_of(&aside, name, written);
            } else {
                let _ = self.read(reader, name, written);
            }
        }
    }

    /// Those that are made before an attempt, and the shared ones among all that are used.
    pub(super) fn taken(&self) -> (Box<[Arc<Value>]>, BTreeMap<String, Written>) {
        let used = self.used.borrow();
        let shared = self.shared.iter().filter(|(name, _)| used.contains(*name));
        (self.made.borrow().clone().into(), shared.map(|(name, written)| (name.clone(), written.clone())).collect())
    }

    /// What the value of this name is made of. `used` is where it is asked for.
    pub(super) fn get(&self, reader: &Reader<'a>, used: &Item<'_>, name: &str) -> Option<Json> {
        if self.within.borrow().iter().any(|outer| outer == name) {
            used.fault(format!("the value `{name}` is made of itself"), "take it out of the loop");
            return None;
        }
        if let Some(written) = self.find(name) {
            let is_too_much = self.left.get() == 0 || self.within.borrow().len() >= DEPTH_MAX;
            let read = if is_too_much { None } else { self.read_or_make(reader, name, written) };
            self.left.set(self.left.get().saturating_sub(read.as_ref().map_or(1, size).max(1)));
            if is_too_much || self.left.get() == 0 {
                used.fault("is made of too many values", "use fewer of them, or fewer within each other");
                return None;
            }
            return read;
        }
        if !self.whole {
            return None;
        }
        let known: Vec<&str> = self.own.keys().chain(self.shared.keys()).map(String::as_str).collect();
        if let Some(preset) = used.value.origin().and_then(crate::config::preset::of_origin) {
            self.report_missing(name, preset);
        } else {
            let hint = format!("write it in {}: {name} = \"${{file:…}}\"; {}", self.path, suggestion(name, &known));
            used.fault(format!("there is no value `{name}`"), hint.trim_end_matches("; ").to_owned());
        }
        None
    }

    /// The same for a URL, header or subprotocol, which is filled in before there is a session: a text is made then, too.
    pub(super) fn get_before(&self, reader: &Reader<'a>, used: &Item<'_>, name: &str) -> Option<Json> {
        let read = self.get(reader, used, name)?;
        let Some(written) = self.find(name).filter(|written| !is_made(written)) else { return Some(read) };
        if self.made.borrow().iter().any(|made| *made.name == *name) {
            return Some(reader.given(name));
        }
        let aside = reader.aside(true);
        let make = Make::Text(as_text(self.read(&aside, name, written)?)?);
        Some(self.before(reader, &aside, (name, written), (make, Span::Attempt)))
    }

    fn find(&self, name: &str) -> Option<&'a Written> {
        self.own.get(name).or_else(|| {
            let shared = self.shared.get(name)?;
            self.used.borrow_mut().insert(name.to_owned());
            Some(shared)
        })
    }

    fn report_missing(&self, name: &str, preset: &str) {
        let hint =
            format!("write {name} = \"${{file:PATH}}\", or another reference; `wskeeper presets {preset}` says more");
        let problem = format!("is missing, and the preset {preset} needs it");
        self.report.fault(self.origin, &join(&self.path, name), problem, hint);
    }

    fn read_or_make(&self, reader: &Reader<'a>, name: &str, written: &'a Written) -> Option<Json> {
        if !is_made(written) {
            return self.read(reader, name, written);
        }
        if self.made.borrow().iter().any(|made| *made.name == *name) {
            return Some(reader.given(name));
        }
        let is_known = reader.making.borrow().iter().any(|made| *made.name == *name);
        let aside = reader.aside(true);
        let (make, per) = self.made_of(&aside, name, written)?;
        match per {
            Per::Use if reader.is_step => {
                // Read once more, with the variables and references of the session.
                let (make, _) = self.made_of(reader, name, written)?;
                let timeout = patience(&make);
                let into = reader.names.borrow_mut().intern(&format!("value:{name}"))?;
                reader.set.borrow_mut().insert(into);
                if !is_known {
                    reader.making.borrow_mut().push(Made { name: name.into(), make, into, timeout });
                }
                Some(Json::Value(Source::Var(into, None)))
            }
            Per::Use => Some(self.before(reader, &aside, (name, written), (make, Span::Attempt))),
            Per::Before(span) => Some(self.before(reader, &aside, (name, written), (make, span))),
        }
    }

    /// It is made before an attempt.
    fn before(
        &self,
        reader: &Reader<'a>,
        aside: &Reader<'a>,
        (name, written): (&str, &Written),
        (make, span): (Make, Span),
    ) -> Json {
        aside.look_at_nothing_set(&written.path, written.value.origin());
        let owner = self.own.contains_key(name).then(|| Arc::clone(&self.endpoint));
        let secrets = aside.secrets.borrow().clone().into();
        self.made.borrow_mut().push(Arc::new(Value { name: name.into(), owner, make, secrets, span }));
        reader.given(name)
    }

    fn made_of(&self, reader: &Reader<'a>, name: &str, written: &Written) -> Option<(Make, Per)> {
        let item = Item { report: self.report, path: written.path.clone(), value: &written.value };
        self.within.borrow_mut().push(name.to_owned());
        let made = reader.made(&item);
        self.within.borrow_mut().pop();
        made
    }

    fn read(&self, reader: &Reader<'a>, name: &str, written: &'a Written) -> Option<Json> {
        let item = Item { report: self.report, path: written.path.clone(), value: &written.value };
        self.within.borrow_mut().push(name.to_owned());
        let read = reader.template(&item);
        self.within.borrow_mut().pop();
        read
    }
}

/// Whether it is more than a text with references.
fn is_made(written: &Written) -> bool {
    let ValueKind::Table(table) = &written.value.kind else { return false };
    table.len() != 1 || !table.contains_key(KINDS[0])
}

/// What it says as a text; `None` for a section.
fn as_text(json: Json) -> Option<Text> {
    let part = match json {
        Json::Text(text) => return Some(text),
        Json::Value(source) => TextPart::Value(source),
        Json::Literal(Document::String(text)) => TextPart::Literal(text.into()),
        Json::Literal(value @ (Document::Number(_) | Document::Bool(_))) => TextPart::Literal(value.to_string().into()),
        Json::Literal(Document::Null | Document::Array(_) | Document::Object(_)) | Json::List(_) | Json::Object(_) => {
            return None;
        }
    };
    Some(Text([part].into()))
}

/// What a step waits for it.
fn patience(make: &Make) -> Duration {
    match make {
        Make::Command { timeout, .. } | Make::OAuth2 { timeout, .. } => *timeout,
        Make::Http { call, .. } => call.timeout,
        Make::Text(_) | Make::Hmac { .. } | Make::Jwt { .. } | Make::Base64(_) | Make::Json(_) => EXPECT_WAIT,
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
    /// One that reads what is made before an attempt, or is read for its faults: with references and variables of its own.
    pub(super) fn aside(&self, is_attempt: bool) -> Self {
        Self {
            report: self.report,
            values: Rc::clone(&self.values),
            is_step: !is_attempt,
            is_before: Cell::default(),
            names: RefCell::default(),
            secrets: RefCell::default(),
            set: RefCell::default(),
            used: RefCell::default(),
            making: RefCell::default(),
            keys: RefCell::default(),
        }
    }

    /// Where a value stands that is made before the attempt.
    fn given(&self, name: &str) -> Json {
        // The name is one, so it is a reference.
        let template = Template::parse_with_values(&format!("${{value:{name}}}"), Path::new(""));
        let place = template.map(|template| self.place_of(template)).unwrap_or_default();
        Json::Value(Source::Secret(place))
    }

    /// A text, a number, a boolean, or a section that says of which kind it is.
    fn template(&self, item: &Item<'_>) -> Option<Json> {
        match &item.value.kind {
            ValueKind::Table(_) => {
                let section = Section::of(item);
                let template = section.get("template");
                section.finish();
                self.template(&template?)
            }
            ValueKind::Array(_) => {
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
