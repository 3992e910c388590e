//! How values are shown that look the same wherever they stand; what may be secret is left out here.

use std::{collections::BTreeMap, net::IpAddr, ops::RangeInclusive, path::PathBuf};

use http::HeaderName;
#[cfg(test)]
use serde_json::{Value as Json, json};

use super::Shown;
use crate::config::{
    Listen,
    bridge::Bridge,
    preset::Preset,
    push::{Push, PushBody, PushTo},
    session::{Names, Part, Said, Steps, Word, Written},
};
use wskeeper_core::{
    outbox::Ack,
    outcome::{Match, Rule},
    session::Filter,
};
use wskeeper_link::endpoint::{
    FieldName, Pin, Stream, Template,
    network::IpNet,
    proxy::{Proxy, ProxyChoice},
};

/// A value that is shown in one way.
pub(crate) trait Told: Clone + PartialEq {
    /// As people may see it.
    fn told(&self) -> Shown;
    /// What OpenAPI says of it.
    #[cfg(test)]
    fn schema() -> Json;
}

/// Whole numbers, and the format that OpenAPI has for each.
macro_rules! whole {
    ($($type:ty, $format:expr;)*) => {$(
        impl Told for $type {
            fn told(&self) -> Shown {
                Shown::Whole(u64::try_from(*self).unwrap_or(u64::MAX))
            }

            #[cfg(test)]
            fn schema() -> Json {
                let format: Option<&str> = $format;
                let mut schema = json!({ "type": "integer", "minimum": 0 });
                if let Some(format) = format {
                    schema["format"] = format.into();
                }
                schema
            }
        }
    )*};
}

whole! {
    u8, Some("int32");
    u16, Some("int32");
    u32, Some("int32");
    u64, Some("int64");
    usize, None;
}

/// Texts, each with how it is shown.
macro_rules! text {
    ($($type:ty, $shown:expr;)*) => {$(
        impl Told for $type {
            fn told(&self) -> Shown {
                let shown: fn(&Self) -> String = $shown;
                Shown::Text(shown(self))
            }

            #[cfg(test)]
            fn schema() -> Json {
                json!({ "type": "string" })
            }
        }
    )*};
}

text! {
    String, String::clone;
    Box<str>, |text| text.to_string();
    PathBuf, |path| path.display().to_string();
    // References as they are written, and of the rest what may be seen.
    Template, |template| template.shown();
    IpAddr, IpAddr::to_string;
    IpNet, IpNet::to_string;
    Pin, Pin::to_string;
    Listen, |listen| match listen {
        Listen::Tcp(address) => address.to_string(),
        Listen::Unix { path, .. } => format!("unix:{}", path.display()),
    };
}

impl Told for ProxyChoice {
    fn told(&self) -> Shown {
        Shown::Text(match self {
            Self::Direct => "none".to_owned(),
            Self::Environment => "env".to_owned(),
            Self::Url(url) => url.shown(),
        })
    }

    #[cfg(test)]
    fn schema() -> Json {
        json!({ "type": "string" })
    }
}

impl Told for &'static Preset {
    fn told(&self) -> Shown {
        Shown::Text(self.name.to_owned())
    }

    #[cfg(test)]
    fn schema() -> Json {
        json!({ "type": "string" })
    }
}

/// What is written in a session, and the schema of that.
macro_rules! written {
    ($($type:ty, $schema:expr;)*) => {$(
        impl Told for $type {
            fn told(&self) -> Shown {
                self.0.shown()
            }

            #[cfg(test)]
            fn schema() -> Json {
                $schema
            }
        }
    )*};
}

written! {
    Steps, json!({ "type": "array", "items": { "type": "object" } });
    Part, json!({ "type": "object" });
    Names, json!({ "type": "array", "items": { "type": "string" } });
    Word, json!({ "type": "string" });
}

impl Told for Said {
    fn told(&self) -> Shown {
        // A text is short for that.
        let shown = self.0.shown_as_sent();
        if matches!(shown, Shown::Text(_)) { Shown::Members(vec![("text".to_owned(), shown)]) } else { shown }
    }

    #[cfg(test)]
    fn schema() -> Json {
        json!({ "type": "object" })
    }
}

impl Told for BTreeMap<String, Written> {
    fn told(&self) -> Shown {
        Shown::Members(self.iter().map(|(name, value)| (name.clone(), Shown::Text(value.references()))).collect())
    }

    #[cfg(test)]
    fn schema() -> Json {
        json!({ "type": "object", "additionalProperties": { "type": "string" } })
    }
}

impl Told for bool {
    fn told(&self) -> Shown {
        Shown::Bool(*self)
    }

    #[cfg(test)]
    fn schema() -> Json {
        json!({ "type": "boolean" })
    }
}

impl Told for f64 {
    fn told(&self) -> Shown {
        Shown::Number(*self)
    }

    #[cfg(test)]
    fn schema() -> Json {
        json!({ "type": "number", "format": "double" })
    }
}

impl<T: Told> Told for Vec<T> {
    fn told(&self) -> Shown {
        Shown::List(self.iter().map(T::told).collect())
    }

    #[cfg(test)]
    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }
}

impl<T: Told> Told for Option<T> {
    fn told(&self) -> Shown {
        self.as_ref().map_or(Shown::Null, T::told)
    }

    #[cfg(test)]
    fn schema() -> Json {
        nullable(T::schema())
    }
}

impl Told for (FieldName, Template) {
    fn told(&self) -> Shown {
        Shown::members([("name", Shown::Text(self.0.written().to_owned())), ("value", self.1.told())])
    }

    #[cfg(test)]
    fn schema() -> Json {
        reference("Header")
    }
}

/// A host, a port, and the addresses that it has there.
impl Told for (Box<str>, u16, Vec<IpAddr>) {
    fn told(&self) -> Shown {
        let (host, port, addresses) = self;
        Shown::members([("host", host.told()), ("port", port.told()), ("addresses", addresses.told())])
    }

    #[cfg(test)]
    fn schema() -> Json {
        json!({ "type": "object" })
    }
}

impl Told for Ack {
    fn told(&self) -> Shown {
        Shown::members([("outgoing", self.outgoing.told()), ("incoming", self.incoming.told())])
    }

    #[cfg(test)]
    fn schema() -> Json {
        reference("Ack")
    }
}

impl Told for Stream {
    fn told(&self) -> Shown {
        let Self { name, filter, max_messages, max_bytes } = self;
        let wanted = filter.wanted().iter().map(|(at, value)| (at.source().to_owned(), Shown::Text(value.to_string())));
        Shown::members([
            ("name", Shown::Text(name.to_string())),
            ("match", Shown::Members(wanted.collect())),
            ("maxMessages", max_messages.told()),
            ("maxBytes", max_bytes.told()),
        ])
    }

    #[cfg(test)]
    fn schema() -> Json {
        reference("Stream")
    }
}

impl Told for Push {
    fn told(&self) -> Shown {
        let Self { name, to, body, stream, filter, policy, timeout } = self;
        let (url, command, headers, is_signed) = match to {
            PushTo::Http(http) => (http.url.told(), Shown::Null, headers(&http.headers), http.secret.is_some()),
            PushTo::Command(command) => (Shown::Null, command.told(), Shown::List(Vec::new()), false),
            PushTo::Broker(_) => (Shown::Null, Shown::Null, Shown::List(Vec::new()), false),
        };
        let none = Proxy::default();
        let Proxy { choice, headers: proxy_headers, ca, obeys_deny: _ } = match to {
            PushTo::Http(http) => &http.proxy,
            PushTo::Command(_) | PushTo::Broker(_) => &none,
        };
        let word = PushBody::WORDS.iter().find(|(_, other)| other == body).map_or("", |(word, _)| word);
        Shown::members([
            ("name", Shown::Text(name.to_string())),
            ("url", url),
            ("command", command),
            ("stream", stream.as_ref().map_or(Shown::Null, |stream| Shown::Text(stream.to_string()))),
            ("match", wanted(filter.as_ref())),
            ("body", Shown::Text(word.to_owned())),
            ("batch", policy.max_items.told()),
            ("maxBytes", policy.max_bytes.told()),
            ("headers", headers),
            ("signed", is_signed.told()),
            ("proxy", choice.told()),
            ("proxyHeaders", proxy_headers.told()),
            ("proxyCa", ca.told()),
            ("timeoutMs", u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).told()),
        ])
    }

    #[cfg(test)]
    fn schema() -> Json {
        reference("Push")
    }
}

impl Told for Bridge {
    fn told(&self) -> Shown {
        let Self::Out(push) = self;
        let Push { name, to, body: _, stream, filter, policy, timeout } = push;
        let to = match to {
            PushTo::Broker(to) => Some(to),
            PushTo::Http(_) | PushTo::Command(_) => None,
        };
        let text = |text: Option<&str>| text.map_or(Shown::Null, |text| Shown::Text(text.to_owned()));
        Shown::members([
            ("name", Shown::Text(name.to_string())),
            ("broker", text(to.map(|to| &*to.broker.name))),
            ("publish", text(to.map(|to| to.address.source()))),
            ("gaps", text(to.map(|to| &*to.gaps))),
            ("jetstream", text(to.and_then(|to| to.stream.as_deref()))),
            ("stream", text(stream.as_deref())),
            ("match", wanted(filter.as_ref())),
            ("maxInFlight", policy.max_items.told()),
            ("maxBytes", policy.max_bytes.told()),
            ("timeoutMs", u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).told()),
        ])
    }

    #[cfg(test)]
    fn schema() -> Json {
        reference("Bridge")
    }
}

/// Places, and the values that messages have there.
fn wanted(filter: Option<&Filter>) -> Shown {
    let wanted = filter.into_iter().flat_map(Filter::wanted);
    Shown::Members(wanted.map(|(at, value)| (at.source().to_owned(), Shown::Text(value.to_string()))).collect())
}

fn headers(headers: &[(HeaderName, Template)]) -> Shown {
    let one = |(name, value): &(HeaderName, Template)| {
        Shown::members([("name", Shown::Text(name.to_string())), ("value", value.told())])
    };
    Shown::List(headers.iter().map(one).collect())
}

impl Told for Rule {
    fn told(&self) -> Shown {
        let Self { when: Match { code, reason, status, class, label, body, headers }, then, after, forget } = self;
        let text = |text: Option<String>| text.map_or(Shown::Null, Shown::Text);
        let headers =
            headers.iter().map(|(name, pattern)| (name.to_string(), Shown::Text(pattern.source().to_owned())));
        let when = Shown::members([
            ("code", text(code.as_ref().map(range))),
            ("reason", text(reason.as_ref().map(|pattern| pattern.source().to_owned()))),
            ("status", text(status.as_ref().map(range))),
            ("class", text(class.map(|cause| cause.as_str().to_owned()))),
            ("label", text(label.as_ref().map(ToString::to_string))),
            ("body", text(body.as_ref().map(|pattern| pattern.source().to_owned()))),
            ("header", Shown::Members(headers.collect())),
        ]);
        let forget = forget.iter().map(Told::told).collect();
        Shown::members([
            ("match", when),
            ("then", Shown::Text(then.as_str().to_owned())),
            ("after", after.told()),
            ("forget", Shown::List(forget)),
        ])
    }

    #[cfg(test)]
    fn schema() -> Json {
        reference("Outcome")
    }
}

fn range(range: &RangeInclusive<u16>) -> String {
    let (from, to) = (range.start(), range.end());
    if from == to { from.to_string() } else { format!("{from}-{to}") }
}

#[cfg(test)]
fn reference(name: &str) -> Json {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Of a value that may be absent.
#[cfg(test)]
pub(super) fn nullable(mut schema: Json) -> Json {
    match schema.get("type").cloned() {
        Some(kind) => schema["type"] = json!([kind, "null"]),
        None => schema = json!({ "oneOf": [schema, { "type": "null" }] }),
    }
    schema
}
