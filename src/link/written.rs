//! For tests: settings as a text, in the few keys of the daemon's configuration that they need.
//!
//! What a reader would get wrong: nothing is checked, and a key that is not here is a panic.

use std::{path::Path, sync::Arc, time::Duration};

use toml::{Table, Value};

use crate::{
    endpoint::{Digest, Endpoint, FieldName, Pin, Redaction, Template, proxy::ProxyChoice, url::Target},
    pool::Settings,
    store,
};
use wskeeper_core::{
    link,
    outbox::OnFull,
    outcome::{Action, Match, Rule},
    requests,
};

/// The settings that a text in TOML says.
pub(crate) fn settings(text: &str) -> Settings {
    let mut settings = Settings::default();
    let (mut defaults, mut endpoints) = (Table::new(), Table::new());
    for (key, value) in text.parse::<Table>().expect("TOML") {
        match (key.as_str(), value) {
            ("defaults", Value::Table(keys)) => defaults = keys,
            ("endpoints", Value::Table(tables)) => endpoints = tables,
            ("admission", Value::Table(keys)) => {
                settings.admission.rate = keys.get("rate").map(|rate| rate.as_float().expect("a number"));
                settings.admission.total = keys.get("total").map_or(settings.admission.total, whole);
            }
            ("storage", Value::Table(keys)) => {
                settings.store =
                    Some(store::Policy::new(text_of(&keys["dir"]), keys.get("max_bytes").map_or(1 << 30, whole)));
            }
            (other, _) => panic!("{other} is not for tests"),
        }
    }
    for (name, keys) in endpoints {
        let mut all = defaults.clone();
        all.extend(keys.as_table().expect("a section").clone());
        let endpoint = endpoint(&name, &all);
        settings.endpoints.insert(Arc::clone(&endpoint.name), Arc::new(endpoint));
    }
    settings
}

fn endpoint(name: &str, keys: &Table) -> Endpoint {
    let mut endpoint = Endpoint { name: name.into(), ..Endpoint::default() };
    let mut policy = link::Policy::default();
    for (key, value) in keys {
        match (key.as_str(), value) {
            ("url", url) => endpoint.urls = vec![template(url, Redaction::Url)],
            ("urls", urls) => endpoint.urls = list(urls, Redaction::Url),
            ("links", links) => endpoint.links = whole(links),
            ("cookies", flag) => endpoint.cookies = flag.as_bool().expect("a flag"),
            ("digest", Value::Table(keys)) => {
                let key = |key: &str| template(&keys[key], Redaction::Literals);
                endpoint.digest = Some(Box::new(Digest { user: key("user"), password: key("password") }));
            }
            ("redirects", redirects) => endpoint.redirects = whole(redirects),
            ("protocols", protocols) => endpoint.protocols = list(protocols, Redaction::Literals),
            ("protocols_optional", flag) => endpoint.protocols_optional = flag.as_bool().expect("a flag"),
            ("connect_timeout", Value::String(hours)) => {
                let hours = hours.strip_suffix('h').and_then(|hours| hours.parse().ok()).expect("hours");
                policy.connect_timeout = Duration::from_hours(hours);
            }
            ("headers", Value::Table(headers)) => {
                let header = |(name, value): (&String, &Value)| {
                    (name.parse::<FieldName>().expect("a name"), template(value, Redaction::Literals))
                };
                endpoint.headers = headers.iter().map(header).collect();
                endpoint.headers.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
            }
            ("tls", Value::Table(keys)) => tls(keys, &mut endpoint),
            ("source_address" | "deny" | "resolve" | "proxy" | "proxy_ca" | "proxy_headers", value) => {
                way(key, value, &mut endpoint);
            }
            ("requests", Value::Table(keys)) => {
                let pointer = |key: &str| Some(text_of(&keys[key]).into());
                let (id, reply) = (pointer("id"), pointer("reply"));
                policy.requests = requests::Policy { id, reply, ..requests::Policy::default() };
            }
            ("outbox", Value::Table(keys)) => outbox(keys, Arc::make_mut(&mut policy.outbox)),
            ("reconnect", Value::Table(keys)) => {
                assert_eq!(text_of(&keys["on_clean_close"]), "stay_closed");
                policy.outcomes.extend([1000, 1001, 1005].map(|code| Rule {
                    when: Match {
                        code: Some(code..=code),
                        class: Some(wskeeper_core::close::Cause::Remote),
                        ..Match::default()
                    },
                    then: Action::StayClosed,
                    after: 1,
                    forget: [].into(),
                }));
            }
            (other, _) => panic!("{other} is not for tests"),
        }
    }
    let target = |url: &Template| Target::parse(&url.as_literal()?).ok().map(Arc::new);
    endpoint.targets = endpoint.urls.iter().map(target).collect();
    policy.urls = endpoint.urls.len();
    policy.max_inbound = endpoint.inbox.max_message;
    endpoint.link = Arc::new(policy);
    endpoint
}

fn way(key: &str, value: &Value, endpoint: &mut Endpoint) {
    match (key, value) {
        ("source_address", ip) => endpoint.network.source = Some(text_of(ip).parse().expect("an address")),
        ("deny", networks) => {
            let networks = networks.as_array().expect("a list").iter();
            endpoint.network.deny = networks.map(|network| text_of(network).parse().expect("a network")).collect();
        }
        ("resolve", Value::Table(places)) => {
            let place = |(name, ip): (&String, &Value)| {
                let (host, port) = name.rsplit_once(':').expect("a host and port");
                (host.into(), port.parse().expect("a port"), vec![text_of(ip).parse().expect("an address")])
            };
            endpoint.network.resolve = places.iter().map(place).collect();
        }
        ("proxy", url) => endpoint.proxy.choice = ProxyChoice::Url(template(url, Redaction::Url)),
        ("proxy_ca", path) => endpoint.proxy.ca = Some(text_of(path).into()),
        ("proxy_headers", Value::Table(headers)) => {
            let header = |(name, value): (&String, &Value)| {
                (name.parse::<FieldName>().expect("a name"), template(value, Redaction::Literals))
            };
            endpoint.proxy.headers = headers.iter().map(header).collect();
        }
        (other, _) => panic!("{other} is not for tests"),
    }
}

fn tls(keys: &Table, endpoint: &mut Endpoint) {
    let path = |key: &str| keys.get(key).map(|path| text_of(path).into());
    endpoint.tls.ca = path("ca");
    endpoint.tls.client = path("cert").zip(path("key"));
    endpoint.tls.server_name = keys.get("server_name").map(|name| text_of(name).to_owned());
    let pins = keys.get("pin").map_or_else(Vec::new, |pins| pins.as_array().expect("a list").clone());
    endpoint.tls.pins = pins.iter().map(|pin| Pin::parse(text_of(pin)).expect("a pin")).collect();
    endpoint.tls.only_1_3 = keys.get("min_version").is_some_and(|version| text_of(version) == "1.3");
    endpoint.tls.hides_name = keys.get("sni").is_some_and(|flag| !flag.as_bool().expect("a flag"));
    endpoint.tls.alpn = keys
        .get("alpn")
        .map(|list| list.as_array().expect("a list").iter().map(|protocol| text_of(protocol).into()).collect());
    endpoint.tls.insecure = keys.get("insecure").is_some_and(|flag| flag.as_bool().expect("a flag"));
}

fn outbox(keys: &Table, policy: &mut wskeeper_core::outbox::Policy) {
    for (key, value) in keys {
        match (key.as_str(), value.as_str()) {
            ("durability", Some("disk")) => policy.durable = true,
            ("on_full", Some("drop_oldest")) => policy.on_full = OnFull::DropOldest,
            ("on_full", Some("wait")) => policy.on_full = OnFull::Wait,
            ("max_messages", _) => policy.max_messages = whole(value),
            ("max_message", _) => policy.max_message = whole(value),
            ("max_bytes", _) => policy.max_bytes = whole(value),
            (other, _) => panic!("{other} is not for tests"),
        }
    }
}

fn template(value: &Value, redaction: Redaction) -> Template {
    Template::parse(text_of(value), Path::new("")).expect("a template").with_redaction(redaction)
}

fn list(values: &Value, redaction: Redaction) -> Vec<Template> {
    values.as_array().expect("a list").iter().map(|value| template(value, redaction)).collect()
}

fn text_of(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn whole<T: TryFrom<i64>>(value: &Value) -> T {
    value.as_integer().and_then(|whole| T::try_from(whole).ok()).expect("a whole number")
}
