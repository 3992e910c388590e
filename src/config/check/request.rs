//! What the upgrade request is made of: URLs, subprotocols, headers.
//!
//! A text without references is judged here and now; one with references only as far as it is written, and again by the
//! dialler once it is evaluated.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use config::ValueKind;
use http::{HeaderName, HeaderValue, header::HOST};

use super::{item::Item, section::Section};
use crate::config::{
    ConfiguredEndpoint,
    table::{
        kinds::{Over, Written},
        value::Part,
    },
};
use wskeeper_link::endpoint::{
    Endpoint, FieldName, subprotocol,
    template::{Redaction, Template},
    url::{Target, UNIX},
};

/// The key of the server's.
const HEADERS: &str = "headers";

/// Headers that are no secret in themselves and help people when shown.
const SHOWN: [&str; 6] = ["accept-language", "cache-control", "host", "origin", "referer", "user-agent"];

/// Headers that the handshake and HTTP itself own (RFC 6455 §4.1, RFC 9110 §7.6.1).
const OWNED: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// `url`, which tells of `urls` too.
pub(in crate::config) static URL: Part<ConfiguredEndpoint, Written> =
    Part { read: |_, _| {}, is_same: |one, other| one.urls == other.urls, of: |_| (), kind: Written("") };

/// `urls`, which shows `url` too.
pub(in crate::config) static URLS: Part<ConfiguredEndpoint, Over<Vec<Template>>> =
    Part { read: |_, _| {}, is_same: |_, _| true, of: |endpoint| endpoint.urls.clone(), kind: Over(|_, _| {}) };

/// `url` or `urls`.
pub(super) fn urls(section: &Section<'_>) -> Vec<Template> {
    let one = section.get("url");
    let many = section.get("urls");
    if section.has("url") && section.has("urls") {
        section.fault("url", "`url` and `urls` are both given", "keep one; the first of `urls` is the primary");
    } else if !section.has("url") && !section.has("urls") {
        section.fault("url", "is missing", "say where to connect: url = \"wss://feed.example/v2\"");
    }
    let mut items: Vec<Item<'_>> = one.into_iter().collect();
    if let Some(many) = many
        && let Some(list) = many.list()
    {
        if list.is_empty() {
            many.fault("there is no URL in it", "list at least one: [\"wss://feed.example/v2\"]");
        }
        items.extend(list);
    }
    items.iter().filter_map(url).collect()
}

/// A request is made before there is a connection, so its variables are those that the link keeps, and those that `dial` sets.
pub(super) fn look_at_variables(section: &Section<'_>, endpoint: &Endpoint) {
    let session = endpoint.session.as_deref();
    let is_there = |name: &str| session.is_some_and(|session| session.keeps(name) || session.plan.dials(name));
    let missing = |template: &Template| {
        template.variables().filter(|name| !is_there(name)).map(str::to_owned).collect::<Vec<_>>()
    };
    let fault = |section: &Section<'_>, key: &'static str, template: &Template| {
        for name in missing(template) {
            let (problem, hint) = no_variable(&name);
            section.fault(key, problem, hint);
        }
    };
    endpoint.urls.iter().for_each(|url| fault(section, if section.has("urls") { "urls" } else { "url" }, url));
    endpoint.protocols.iter().for_each(|protocol| fault(section, "protocols", protocol));
    let written = section.section("headers").entries();
    for (name, template) in &endpoint.headers {
        match written.iter().find(|(as_written, _)| as_written.eq_ignore_ascii_case(name.as_str())) {
            Some((_, item)) => missing(template).iter().map(|name| no_variable(name)).for_each(|(problem, hint)| {
                item.fault(problem, hint);
            }),
            None => fault(section, "headers", template),
        }
    }
}

fn no_variable(name: &str) -> (String, &'static str) {
    let problem = format!("no connection leaves the variable `{name}` to the next, and no step of `dial` sets it");
    (problem, "list it in session.keep, where something must set it, or set it in session.dial")
}

/// Warns of credentials that would go over the network in clear.
pub(super) fn look_at_credentials(section: &Section<'_>, endpoint: &Endpoint) {
    let authorized = endpoint.headers.iter().any(|(name, _)| matches!(name.as_str(), "authorization" | "cookie"));
    for template in &endpoint.urls {
        let Some(Ok(target)) = template.as_literal().map(|text| Target::parse(&text)) else { continue };
        if target.basic_auth.is_some() && endpoint.headers.iter().any(|(name, _)| **name == "authorization") {
            let hint = "keep one: the header, or user and password in the URL";
            section.fault("headers", "`Authorization` is given, and the URL brings credentials too", hint);
        }
        if !target.tls && !target.is_loopback() && (authorized || target.basic_auth.is_some()) {
            section.warn("url", "credentials go over the network in clear: use wss://");
        }
    }
}

/// Warns of secret files that are missing or that everyone may read.
pub(super) fn look_at_files(item: &Item<'_>, template: &Template) {
    for path in template.files() {
        if let Some(warning) = secret_file_warning(path) {
            item.report.warn(&item.path, &warning);
        }
    }
}

/// What is to be said of a file that holds a secret.
pub(super) fn secret_file_warning(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Ok(_) if is_open_to_all(path) => {
            Some(format!("every user of this machine may read {}: chmod o-r it", path.display()))
        }
        Ok(_) => None,
        Err(error) => Some(format!("{} cannot be read now: {error}", path.display())),
    }
}

/// Whether every user of this machine may read a file.
pub(super) fn is_open_to_all(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

fn url(item: &Item<'_>) -> Option<Template> {
    let template = item.template_with_variables()?.with_redaction(Redaction::Url);
    look_at_files(item, &template);
    match template.as_literal().map(|text| Target::parse(&text)) {
        Some(Err(fault)) => item.fault(fault.to_string(), "write it like \"wss://feed.example/v2\""),
        Some(Ok(Target { unix: Some(socket), .. })) => {
            item.report.may_name(item.value.origin(), &item.path, Path::new(&*socket));
        }
        // Which socket it leads to is not known; that it leads to one is written.
        None if template.literals().next().is_some_and(|first| first.starts_with(UNIX))
            && item.report.reach.is_some() =>
        {
            item.fault("the path of a unix socket cannot have references in a dynamic endpoint", "write the path out");
        }
        Some(Ok(_)) | None => {}
    }
    Some(template)
}

/// `protocols`
pub(in crate::config) fn protocols(item: &Item<'_>) -> Option<Vec<Template>> {
    let mut protocols: Vec<Template> = Vec::new();
    for item in item.list()? {
        let Some(template) = item.template_with_variables() else { continue };
        look_at_files(&item, &template);
        let literal = template.as_literal();
        if !template.literals().all(subprotocol::is_text) || literal.as_deref().is_some_and(str::is_empty) {
            item.fault(
                "is not a subprotocol",
                "write visible ASCII characters, no spaces and none of ( ) < > @ , ; : \\ \" / [ ] ? = { }",
            );
        } else if literal.is_some() && protocols.iter().any(|other| other.as_literal() == literal) {
            item.fault("the subprotocol is listed twice", "list each once; the first is the one wanted most");
        } else {
            protocols.push(template);
        }
    }
    Some(protocols)
}

/// `headers`, added up by name with those that are there.
pub(in crate::config) fn headers(section: &Section<'_>, headers: &mut Vec<(FieldName, Template)>) {
    added(section, HEADERS, headers);
}

/// Headers of the server's request or of the proxy's, as this key has them.
pub(super) fn added(section: &Section<'_>, key: &'static str, headers: &mut Vec<(FieldName, Template)>) {
    let mut seen: Vec<HeaderName> = Vec::new();
    for (name, item) in section.section(key).entries() {
        let Ok(name) = name.parse::<FieldName>() else {
            item.fault("is not a header's name", "use letters, digits and dashes");
            let _ = item.template();
            continue;
        };
        let is_owned = OWNED.contains(&name.as_str()) || name.as_str().starts_with("sec-websocket-");
        if is_owned || key != HEADERS && *name == HOST {
            let hint = match name.as_str() {
                "sec-websocket-protocol" if key == HEADERS => "list subprotocols in `protocols`",
                _ => "leave it out",
            };
            item.fault("the handshake sets this header itself", hint);
            continue;
        }
        if seen.contains(&*name) {
            item.fault(
                "the header is given twice, in another case",
                "keep one: case does not matter in a header's name",
            );
            continue;
        }
        // A header of [defaults] that this endpoint does not want.
        if item.value.kind == ValueKind::Boolean(false) {
            headers.retain(|(other, _)| **other != *name);
        } else if let Some(template) = header(&item, &name, key) {
            headers.retain(|(other, _)| **other != *name);
            headers.push((name.clone(), template));
        }
        seen.push((*name).clone());
    }
    headers.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
}

fn header(item: &Item<'_>, name: &HeaderName, key: &str) -> Option<Template> {
    let redaction = if SHOWN.contains(&name.as_str()) { Redaction::Open } else { Redaction::Literals };
    // Nothing has been made for an attempt when its proxy is looked for.
    let template = if key == HEADERS { item.template_with_variables() } else { item.template() };
    let template = template?.with_redaction(redaction);
    look_at_files(item, &template);
    if template.literals().any(|text| HeaderValue::from_bytes(text.as_bytes()).is_err()) {
        item.fault("has a character that no header may have", "leave out line ends and control characters");
        return None;
    }
    Some(template)
}
