//! Texts and JSON with references in them.

use config::ValueKind;
use wskeeper_core::session::{Json, Source, Text, TextPart, Value};
use wskeeper_link::endpoint::{
    Template,
    template::{Scanned, scan},
};

use super::{Reader, clear};
use crate::config::check::{
    item::Item,
    section::{join, suggestion},
};

/// What a reference may be, by its first word.
const KINDS: [&str; 13] = [
    "credential",
    "endpoint",
    "env",
    "file",
    "generation",
    "key",
    "keys",
    "link",
    "now",
    "seq",
    "uuid",
    "value",
    "var",
];

/// Those of them that are of a subscription.
const OF_KEYS: [&str; 2] = ["key", "keys"];

impl Reader<'_> {
    /// A text with references.
    pub(super) fn text(&self, item: &Item<'_>) -> Option<Text> {
        clear::look_at_text(item);
        self.text_of(item, item.text()?)
    }

    /// This text with references, which is written at `item`.
    pub(super) fn text_of(&self, item: &Item<'_>, text: &str) -> Option<Text> {
        let mut parts = Vec::new();
        let mut is_whole = true;
        for piece in pieces(item, text)? {
            match piece {
                Scanned::Text(literal) => parts.push(TextPart::Literal(literal.into())),
                Scanned::Reference(written) => match self.reference(item, written) {
                    Some(json) => parts.extend(as_text(json)),
                    None => is_whole = false,
                },
            }
        }
        is_whole.then(|| Text(parts.into()))
    }

    /// JSON with references.
    pub(super) fn json(&self, item: &Item<'_>) -> Option<Json> {
        let literal = |value: Value| Some(Json::Literal(value));
        match &item.value.kind {
            ValueKind::Nil => literal(Value::Null),
            ValueKind::Boolean(value) => literal((*value).into()),
            ValueKind::I64(number) => literal((*number).into()),
            ValueKind::U64(number) => literal((*number).into()),
            ValueKind::Float(number) if number.is_finite() => literal((*number).into()),
            ValueKind::Float(_) | ValueKind::I128(_) | ValueKind::U128(_) => {
                item.fault("is a number that JSON has not, or that is too large", "write it as a text");
                None
            }
            ValueKind::String(text) => self.json_of(item, text),
            ValueKind::Array(list) => {
                let item = |(at, value)| Item { report: item.report, path: format!("{}[{at}]", item.path), value };
                let items: Vec<_> = list.iter().enumerate().map(item).map(|item| self.json(&item)).collect();
                Some(folded_list(items.into_iter().collect::<Option<_>>()?))
            }
            ValueKind::Table(table) => {
                let mut members: Vec<_> = table.iter().collect();
                members.sort_by_key(|(name, _)| *name);
                let member = |(name, value): (&String, _)| {
                    let item = Item { report: item.report, path: join(&item.path, name), value };
                    clear::look_at_member(&item, name);
                    (name.clone(), self.json(&item))
                };
                let members: Vec<_> = members.into_iter().map(member).collect();
                let members = members.into_iter().map(|(name, json)| Some((name.into(), json?)));
                Some(folded_object(members.collect::<Option<_>>()?))
            }
        }
    }

    /// A string: one reference alone is the value itself.
    fn json_of(&self, item: &Item<'_>, text: &str) -> Option<Json> {
        if let [Scanned::Reference(written)] = pieces(item, text)?.as_slice() {
            return self.reference(item, written);
        }
        let text = self.text_of(item, text)?;
        let literal = |part: &TextPart| match part {
            TextPart::Literal(text) => Some(text.to_string()),
            TextPart::Value(_) => None,
        };
        let whole: Option<String> = text.0.iter().map(literal).collect();
        Some(whole.map_or(Json::Text(text), |whole| Json::Literal(whole.into())))
    }

    /// `${…}`
    fn reference(&self, item: &Item<'_>, written: &str) -> Option<Json> {
        let inner = &written[2..written.len() - 1];
        let source = match inner.split_once(':') {
            None => match inner {
                "seq" => Source::Seq,
                "uuid" => Source::Uuid,
                "now" => Source::Now,
                "endpoint" => Source::Endpoint,
                "link" => Source::Link,
                "generation" if self.is_before.get() => {
                    let hint = "use ${uuid}, or a step of `open`";
                    item.fault("is the number of the connection, and there is none yet", hint);
                    return None;
                }
                "generation" => Source::Generation,
                "key" => self.of_subscription(item, Source::Key)?,
                "keys" => self.of_subscription(item, Source::Keys)?,
                other => return self.unknown(item, other),
            },
            Some(("now", "ms")) => Source::NowMillis,
            Some(("now", "rfc3339")) => Source::NowRfc3339,
            Some(("now", _)) => {
                item.fault("is no form of the time", "write ${now}, ${now:ms} or ${now:rfc3339}");
                return None;
            }
            Some(("var", name)) => {
                let (name, default) = name.split_once('|').map_or((name, None), |(name, rest)| (name, Some(rest)));
                Source::Var(self.variable(item, name)?, default.map(Into::into))
            }
            Some(("value", name)) => return self.values.get(self, item, name),
            Some(("env" | "file" | "credential", _)) => Source::Secret(self.secret(item, written)?),
            Some((kind, _)) => return self.unknown(item, kind),
        };
        Some(Json::Value(source))
    }

    /// The key of a subscription, where a message about one is made.
    fn of_subscription(&self, item: &Item<'_>, source: Source) -> Option<Source> {
        let mut keys = self.keys.borrow_mut();
        let Some(found) = keys.as_mut() else {
            item.fault(
                "means nothing here: there is no key of a subscription",
                "use it in `add` and `remove` of `subscriptions`",
            );
            return None;
        };
        found.push(source.clone());
        Some(source)
    }

    /// Those of a key are known where there is one.
    fn unknown(&self, item: &Item<'_>, kind: &str) -> Option<Json> {
        let has_key = self.keys.borrow().is_some();
        let known: Vec<&str> = KINDS.into_iter().filter(|kind| has_key || !OF_KEYS.contains(kind)).collect();
        let hint = match suggestion(kind, &known) {
            near if near.starts_with("did") => near,
            near => format!("{near}; or write `$${{` for the two characters `${{`"),
        };
        item.fault("a reference is of an unknown kind", hint);
        None
    }

    /// The place of a reference to a secret among all of them.
    fn secret(&self, item: &Item<'_>, written: &str) -> Option<usize> {
        let folder = item.report.folder_of(item.value.origin());
        let template = Template::parse(written, &folder).map_err(|fault| item.fault(fault.problem, fault.hint)).ok()?;
        crate::config::check::request::look_at_files(item, &template);
        Some(self.place_of(template))
    }

    /// The place of what is read for each attempt.
    pub(super) fn place_of(&self, template: Template) -> usize {
        let mut secrets = self.secrets.borrow_mut();
        let known = secrets.iter().position(|known| *known == template);
        known.unwrap_or_else(|| {
            secrets.push(template);
            secrets.len().saturating_sub(1)
        })
    }
}

fn pieces<'s>(item: &Item<'_>, text: &'s str) -> Option<Vec<Scanned<'s>>> {
    scan(text).map_err(|fault| item.fault(fault.problem, fault.hint)).ok()
}

/// As a part of a text.
fn as_text(json: Json) -> Vec<TextPart> {
    match json {
        Json::Literal(Value::String(text)) => vec![TextPart::Literal(text.into())],
        Json::Value(source) => vec![TextPart::Value(source)],
        Json::Text(text) => text.0.into(),
        // A value is none of the others.
        Json::Literal(Value::Null) | Json::List(_) | Json::Object(_) => Vec::new(),
        Json::Literal(value) => vec![TextPart::Literal(value.to_string().into())],
    }
}

/// A list with nothing to evaluate in it is a literal.
fn folded_list(items: Vec<Json>) -> Json {
    let literals: Option<Vec<Value>> = items.iter().map(|json| json.literal().cloned()).collect();
    literals.map_or_else(|| Json::List(items.into()), |literals| Json::Literal(literals.into()))
}

fn folded_object(members: Vec<(Box<str>, Json)>) -> Json {
    let literals: Option<_> =
        members.iter().map(|(name, json)| Some((name.to_string(), json.literal()?.clone()))).collect();
    literals.map_or_else(|| Json::Object(members.into()), |literals| Json::Literal(Value::Object(literals)))
}
