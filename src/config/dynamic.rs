//! An endpoint that comes by the API: the same keys, judged by the same table, over the same defaults as those of the file.
//!
//! What a reader would get wrong: it is judged by itself. Nothing of the other endpoints is looked at, so that one of ten thousand costs
//! what one of ten does.

#![allow(clippy::wildcard_enum_match_arm, reason = "kinds of a foreign crate: those that hold nothing are no texts")]

use std::{collections::BTreeMap, fmt, sync::Arc};

use config::{FileFormat, Value, ValueKind};
use ring::digest::{SHA256, digest};
use serde_json::{Map, Number, Value as Json};

use super::{
    ConfiguredEndpoint, Fault, Faults,
    broker::Broker,
    check::{
        endpoint,
        section::{Report, Section, join},
        session::is_secret,
    },
    push::PushTo,
    reach::{BODY, Reach},
    session::{Written, behind_names},
    source,
};
use wskeeper_link::endpoint::proxy::{Proxy, ProxyChoice};

/// The longest definition, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// How deep what was put may lie: no key lies deeper, and what a session sends hardly does.
const MAX_DEPTH: usize = 32;

/// What lies under dynamic endpoints: the file's.
#[derive(Clone, Default)]
pub struct Base {
    /// `[defaults]`
    pub(super) defaults: ConfiguredEndpoint,
    /// `[values]`
    pub(super) shared: BTreeMap<String, Written>,
    /// `[brokers.NAME]`
    pub(super) brokers: BTreeMap<Arc<str>, Arc<Broker>>,
    /// What they may name.
    pub(super) reach: Reach,
}

/// There are secrets in it.
impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base").field("reach", &self.reach).finish_non_exhaustive()
    }
}

/// How what was put is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// JSON.
    Json,
    /// TOML.
    Toml,
}

/// One that is valid.
#[derive(Debug, Clone)]
pub struct Judged {
    /// With what lies under it.
    pub endpoint: ConfiguredEndpoint,
    /// What was put.
    pub definition: Definition,
    /// Settings that may be mistakes.
    pub warnings: Vec<String>,
    /// Keys whose texts seem to be secrets in clear.
    pub in_clear: Vec<String>,
}

/// The keys of a dynamic endpoint as they were put: JSON in one form, whichever it came in. It may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Definition(Arc<str>);

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.tag())
    }
}

impl Definition {
    /// One that was kept.
    pub(super) fn kept(text: &str) -> Self {
        Self(text.into())
    }

    /// As it is kept.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What tells it from another one, and nothing of what is in it.
    pub fn tag(&self) -> String {
        let digest = digest(&SHA256, self.0.as_bytes());
        digest.as_ref().iter().take(16).fold(String::new(), |tag, byte| format!("{tag}{byte:02x}"))
    }
}

/// Reads what was put for the endpoint `name`, over `base`. It looks at files, so it may block.
pub fn judge(base: &Base, name: &Arc<str>, text: &str, form: Form) -> Result<Judged, Faults> {
    let mut faults = Vec::new();
    let format = match form {
        Form::Json => FileFormat::Json,
        Form::Toml => FileFormat::Toml,
    };
    let tree = source::parse(text, BODY, format, &mut faults);
    if depth(&tree) > MAX_DEPTH {
        faults.push(fault("", "is nested too deep", &format!("nothing lies deeper than {MAX_DEPTH} levels")));
    }
    if let Some(faults) = Faults::new(faults) {
        return Err(faults);
    }
    let brokers = base.brokers.clone().into();
    let report = Report { reach: Some(base.reach.clone()), brokers, ..Report::default() };
    // Before anything that is named is looked at.
    base.reach.look(&report, &tree, "", &|_| false);
    if !endpoint::is_name(name) {
        report.fault(None, "name", endpoint::NO_NAME.0, endpoint::NO_NAME.1);
    }
    if let Some(faults) = Faults::new(report.faults.take()) {
        return Err(faults);
    }
    let mut endpoint =
        endpoint::endpoint(&Section::root(&report, &tree), Arc::clone(name), &base.defaults, &base.shared);
    // What the file denies, nobody allows.
    for network in &base.defaults.network.deny {
        if !endpoint.network.deny.contains(network) {
            endpoint.network.deny.push(*network);
        }
    }
    // And nobody goes round it by a proxy of their own.
    let is_url = |proxy: &Proxy| matches!(proxy.choice, ProxyChoice::Url(_));
    if is_url(&endpoint.proxy) && endpoint.proxy.choice != base.defaults.proxy.choice {
        endpoint.proxy.obeys_deny = true;
    }
    for push in endpoint.push.iter_mut().filter(|push| !base.defaults.push.contains(push)) {
        if let PushTo::Http(http) = &mut push.to {
            http.proxy.obeys_deny = is_url(&http.proxy);
        }
    }
    if let Some(faults) = Faults::new(report.faults.into_inner()) {
        return Err(faults);
    }
    let mut in_clear = Vec::new();
    find_clear(&tree, "", "", &mut in_clear);
    let definition = Definition(json(&tree).to_string().into());
    Ok(Judged { endpoint, definition, warnings: report.warnings.into_inner().into_iter().collect(), in_clear })
}

/// A fault of the whole of what was put.
fn fault(path: &str, problem: &str, hint: &str) -> Fault {
    Fault { file: BODY.into(), path: path.into(), problem: problem.into(), hint: hint.into() }
}

fn depth(value: &Value) -> usize {
    match &value.kind {
        ValueKind::Table(table) => 1 + table.values().map(depth).max().unwrap_or_default(),
        ValueKind::Array(list) => 1 + list.iter().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// As JSON; members are in order of their names.
fn json(value: &Value) -> Json {
    match &value.kind {
        ValueKind::Nil => Json::Null,
        ValueKind::Boolean(value) => Json::Bool(*value),
        ValueKind::I64(number) => (*number).into(),
        ValueKind::U64(number) => (*number).into(),
        // No key takes one.
        ValueKind::I128(number) => Json::String(number.to_string()),
        ValueKind::U128(number) => Json::String(number.to_string()),
        ValueKind::Float(number) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
        ValueKind::String(text) => Json::String(text.clone()),
        ValueKind::Array(list) => Json::Array(list.iter().map(json).collect()),
        ValueKind::Table(table) => {
            let mut members: Vec<_> = table.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            Json::Object(members.into_iter().map(|(name, value)| (name.clone(), json(value))).collect::<Map<_, _>>())
        }
    }
}

/// Parts of a definition whose texts say what is expected, and send nothing.
const EXPECTED: [&str; 6] = ["match", "expect", "confirm", "refuse", "label", "outcomes"];

/// The keys at which something seems to be a secret in clear. `name` is what the text is called.
fn find_clear(value: &Value, name: &str, path: &str, found: &mut Vec<String>) {
    match &value.kind {
        ValueKind::Table(table) => {
            let mut members: Vec<_> = table.iter().filter(|(member, _)| !EXPECTED.contains(&member.as_str())).collect();
            members.sort_by_key(|(member, _)| *member);
            for (member, value) in members {
                // What a value is made of is called as the value is, and what something is signed with is a secret.
                let called = match (name, member.as_str()) {
                    (_, "template") => name,
                    ("hmac" | "jwt", "key") => "secret",
                    (_, member) => member,
                };
                find_clear(value, called, &join(path, member), found);
            }
        }
        ValueKind::Array(list) => {
            list.iter().enumerate().for_each(|(at, value)| find_clear(value, name, &format!("{path}[{at}]"), found));
        }
        ValueKind::String(text) => {
            let is_named = (is_secret(name) || name.eq_ignore_ascii_case("cookie")) && !text.trim().is_empty();
            if is_named && !text.contains("${") || has_userinfo(text) || !behind_names(text).is_empty() {
                found.push(path.to_owned());
            }
        }
        _ => {}
    }
}

/// Whether a URL brings a user or a password that is no reference.
fn has_userinfo(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let userinfo = authority.rsplit_once('@').map(|(userinfo, _)| userinfo);
    userinfo.is_some_and(|userinfo| !userinfo.split(':').next_back().unwrap_or_default().contains("${"))
}
