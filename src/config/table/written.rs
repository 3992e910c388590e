//! For tests: the table as documents have it: values in TOML, schemas of OpenAPI.
//!
//! A unit is the largest that leaves a whole number; minutes and hours from two on.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{
    Holds, Key, Reload, Shown, Table,
    endpoint::{ENDPOINT, OWN},
    told::Told as _,
};
use crate::config::ConfiguredEndpoint;

pub(super) fn duration(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    match (seconds, millis) {
        (_, 1..) => format!("{}ms", duration.as_millis()),
        (7200.., 0) if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        (120.., 0) if seconds.is_multiple_of(60) => format!("{}min", seconds / 60),
        (_, 0) => format!("{seconds}s"),
    }
}

pub(super) fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.into_iter().find(|(unit, _)| bytes.is_multiple_of(*unit));
    unit.map_or_else(|| bytes.to_string(), |(unit, name)| format!("{}{name}", bytes / unit))
}

pub(super) fn told(shown: &Shown) -> Option<String> {
    match shown {
        Shown::Bool(value) => Some(value.to_string()),
        Shown::Whole(value) => Some(value.to_string()),
        Shown::Number(value) => Some(format!("{value:?}")),
        Shown::Text(text) => Some(format!("{text:?}")),
        Shown::List(items) => Some(format!("[{}]", items.iter().filter_map(told).collect::<Vec<_>>().join(", "))),
        Shown::Null | Shown::Members(_) => None,
    }
}

/// Schemas of what the API shows of an endpoint, by name; the endpoint's own comes first.
pub(crate) fn schemas() -> Vec<(String, Json)> {
    let mut schemas = Vec::new();
    let mut own = members(&OWN, &mut schemas);
    own.extend(members(&ENDPOINT, &mut schemas));
    schemas.insert(0, object("ConfiguredEndpointConfig", "An endpoint's configuration in force.", own));
    let text = || json!({ "type": "string" });
    let perhaps = || json!({ "type": ["string", "null"] });
    let texts = || json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let reference = json!({ "$ref": "#/components/schemas/Match" });
    let member = |(name, schema, about): (&str, Json, &str)| (name.to_owned(), schema, about.to_owned());
    let row =
        |name, about, members: Vec<(&str, Json, &str)>| object(name, about, members.into_iter().map(member).collect());
    schemas.extend([
        row(
            "Header",
            "A header as configured.",
            vec![("name", text(), "Its name."), ("value", text(), "Its value, redacted.")],
        ),
        row(
            "Ack",
            "`outbox.ack`: JSON pointers (RFC 6901) to the value that a message and its acknowledgement share.",
            vec![("outgoing", text(), "Into what is sent."), ("incoming", text(), "Into what arrives.")],
        ),
        row(
            "Outcome",
            "A row of `outcomes`.",
            vec![
                ("match", reference, "All that is not `null` must match."),
                ("then", text(), "`backoff`, `now`, `slow`, `park`, `refresh`, `next_url`, `stay_closed`"),
                ("after", u32::schema(), "From this many such ends in a row on."),
                ("forget", json!({ "type": "array", "items": text() }), "Variables of the session that are deleted."),
            ],
        ),
        row(
            "Stream",
            "A part of the inbox.",
            vec![
                ("name", text(), "What readers call it: `?stream=NAME`."),
                ("match", texts(), "Pointers, and the values that messages have there, as JSON."),
                ("maxMessages", u32::schema(), "Messages kept for readers that are behind."),
                ("maxBytes", u64::schema(), "Their bytes."),
            ],
        ),
        row(
            "Match",
            "What a row looks at.",
            vec![
                ("code", perhaps(), "A close code, or a range such as `4000-4099`."),
                ("reason", perhaps(), "A regular expression over the close reason."),
                ("status", perhaps(), "An HTTP status, or a range."),
                ("class", perhaps(), "A failure class; `remote`: the server closed."),
                ("label", perhaps(), "What a session calls its failure."),
                ("body", perhaps(), "A regular expression over the body of a refused upgrade."),
                ("header", texts(), "Regular expressions over headers of a refused upgrade."),
            ],
        ),
    ]);
    schemas.push(push());
    schemas.push(bridge());
    schemas
}

/// A push, as a row of `push`.
fn push() -> (String, Json) {
    let text = || json!({ "type": "string" });
    let perhaps = || json!({ "type": ["string", "null"] });
    let member = |(name, schema, about): (&str, Json, &str)| (name.to_owned(), schema, about.to_owned());
    let words = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let headers = json!({ "type": "array", "items": { "$ref": "#/components/schemas/Header" } });
    let command = json!({ "type": ["array", "null"], "items": { "type": "string" } });
    let members = [
        ("name", text(), "What it is called."),
        ("url", perhaps(), "Where to, without what is secret; `null`: to a program."),
        ("command", command, "The program, with its arguments."),
        ("stream", perhaps(), "The stream that it reads; `null`: the whole inbox."),
        ("match", words, "Pointers, and the values that messages have there, as JSON; none: every message."),
        ("body", text(), "`message` or `events`"),
        ("batch", u32::schema(), "Messages in one request, at most."),
        ("maxBytes", u64::schema(), "Their bytes."),
        ("headers", headers.clone(), "Headers of each request."),
        ("signed", bool::schema(), "Requests are signed."),
        ("proxy", text(), "The proxy on the way, without what is secret; `none`, or `env`."),
        ("proxyHeaders", headers, "Headers of the CONNECT request to it."),
        ("proxyCa", perhaps(), "A file of authorities that its certificate is of."),
        ("timeoutMs", u64::schema(), "What the receiver has for one of them."),
    ];
    object("Push", "Where messages go by themselves.", members.into_iter().map(member).collect())
}

/// A bridge, as a row of `bridges`.
fn bridge() -> (String, Json) {
    let text = || json!({ "type": "string" });
    let perhaps = || json!({ "type": ["string", "null"] });
    let member = |(name, schema, about): (&str, Json, &str)| (name.to_owned(), schema, about.to_owned());
    let words = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let members = [
        ("name", text(), "What it is called."),
        ("broker", perhaps(), "The broker, one of `[brokers]`."),
        (
            "publish",
            perhaps(),
            "The subject that messages are published under, with references to values of the message.",
        ),
        ("gaps", perhaps(), "The subject that gaps are published under."),
        ("jetstream", perhaps(), "The stream of JetStream that stores them; `null`: nobody does."),
        ("stream", perhaps(), "The stream of the endpoint that it reads; `null`: the whole inbox."),
        ("match", words, "Pointers, and the values that messages have there, as JSON; none: every message."),
        ("maxInFlight", u32::schema(), "Messages that are published and not acknowledged, at most."),
        ("maxBytes", u64::schema(), "Their bytes."),
        ("timeoutMs", u64::schema(), "What the broker has to acknowledge them."),
    ];
    object("Bridge", "A broker that messages go to by themselves.", members.into_iter().map(member).collect())
}

/// A section's members: name, schema, description. Schemas of sections within it are added to the list.
fn members(table: &Table<ConfiguredEndpoint>, schemas: &mut Vec<(String, Json)>) -> Vec<(String, Json, String)> {
    let mut members = Vec::new();
    for key in table.keys {
        let schema = match &key.holds {
            Holds::Value(value) => value.describe(&ConfiguredEndpoint::default()).schema,
            Holds::Section(section) => {
                // There is a `Rotation` already: one under way.
                let name = if key.name() == "rotation" { "rotationKeys" } else { key.name() };
                let name = name[..1].to_uppercase() + &name[1..];
                let inner = self::members(section, schemas);
                schemas.push(object(&name, &format!("`{}`", key.name()), inner));
                Some(json!({ "$ref": format!("#/components/schemas/{name}") }))
            }
        };
        let Some(schema) = schema else { continue };
        members.push((key.member(), schema, key.text().line.join(" ")));
    }
    members
}

fn object(name: &str, about: &str, members: Vec<(String, Json, String)>) -> (String, Json) {
    let (mut properties, mut required) = (serde_json::Map::new(), Vec::new());
    for (name, mut schema, about) in members {
        if !schema.to_string().contains("\"null\"") {
            required.push(name.clone());
        }
        let described = if schema.get("oneOf").is_some() { &mut schema["oneOf"][0] } else { &mut schema };
        described["description"] = about.into();
        properties.insert(name, schema);
    }
    let mut schema = json!({ "type": "object", "description": about, "properties": properties });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    (name.to_owned(), schema)
}

/// A row's text, by what has it.
#[derive(Default)]
pub(crate) struct Text {
    /// The annotated file, OpenAPI, the reference.
    pub(super) line: Vec<&'static str>,
    /// The reference alone.
    pub(super) more: Vec<&'static str>,
    /// The annotated file in place of the key and its default.
    pub(super) example: Vec<&'static str>,
}

impl<S> Key<S> {
    pub(crate) fn text(&self) -> Text {
        let mut text = Text::default();
        let mut is_line = true;
        for line in self.text.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)) {
            if let Some(example) = line.strip_prefix("> ") {
                text.example.push(example);
            } else if line.is_empty() {
                is_line = false;
            } else if is_line {
                text.line.push(line);
            } else {
                text.more.push(line);
            }
        }
        text
    }
}

impl Reload {
    /// The reference's word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Rotate => "rotate",
            Self::Links => "others come or go",
            Self::Restart | Self::Store => "restart",
        }
    }
}
