//! `WSKEEPER__SECTION__KEY` over the files.
//!
//! A variable's name has neither case nor dots nor dashes to spare, so each part is compared with the names in the files
//! without regard to those: `WSKEEPER__ENDPOINTS__EU_TRADES__LINKS` means `endpoints.eu-trades.links` where that is written.

use std::collections::BTreeMap;

use config::{Map, Value, ValueKind};

use super::{check, fault::Fault, source};

/// What the names of all variables of ours begin with.
const OURS: &str = "WSKEEPER";

/// What a variable's name begins with.
const PREFIX: &str = "WSKEEPER__";

/// Variables of ours that are no keys.
const OTHERS: [&str; 4] = ["WSKEEPER_API", "WSKEEPER_LOG", "WSKEEPER_TOKEN", "WSKEEPER_TOKEN_FILE"];

/// How the origin of such a value begins; the checker reads numbers and booleans from text there.
pub(crate) const ORIGIN: &str = "environment variable ";

/// Lays the variables over the tree, in order of their names.
pub(crate) fn overlay(root: &mut Value, environment: &BTreeMap<String, String>, faults: &mut Vec<Fault>) {
    for (name, text) in environment {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let origin = format!("{ORIGIN}{name}");
        let done = match rest.split("__").collect::<Vec<_>>().as_slice() {
            parts if parts.iter().any(|part| part.is_empty()) => {
                Err("its name has an empty part; write WSKEEPER__SECTION__KEY with two underscores between parts"
                    .to_owned())
            }
            [one] if let Some(meant) = meant(one) => Err(format!("it names a key at the top; write {meant}")),
            parts => place(root, parts, &mut Vec::new(), value(text, &origin)),
        };
        if let Err(problem) = done {
            let (problem, hint) = problem.split_once("; ").unwrap_or((&problem, ""));
            faults.push(Fault { file: origin, path: String::new(), problem: problem.into(), hint: hint.into() });
        }
    }
}

/// A sentence for each variable that seems to be meant for a key and is not read, in order of their names.
pub(crate) fn doubts(environment: &BTreeMap<String, String>) -> Vec<String> {
    let names = environment.keys().filter(|name| seems_ours(name));
    names
        .map(|name| {
            let right = meant(&name[OURS.len()..]).unwrap_or_else(|| "WSKEEPER__SECTION__KEY".into());
            format!("{ORIGIN}{name} is not read; write {right}, with two underscores between parts")
        })
        .collect()
}

/// A variable that is not read, and is written almost like one that is.
fn seems_ours(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let Some(rest) = upper.strip_prefix(OURS) else { return false };
    if name.starts_with(PREFIX) || OTHERS.contains(&name) || !rest.starts_with(['_', '-', '.']) {
        return false;
    }
    let first = rest.split(['_', '-', '.']).find(|part| !part.is_empty()).unwrap_or_default().to_ascii_lowercase();
    let has_section = check::keys().iter().any(|key| key.split(['.', '[']).next() == Some(&first));
    (has_section && !is_of_a_service(rest)) || rest.contains("__")
}

/// Kubernetes describes each Service to each pod: one named `wskeeper-api` as `WSKEEPER_API_PORT` and the like.
fn is_of_a_service(rest: &str) -> bool {
    rest.ends_with("_PORT")
        || rest.contains("_SERVICE_HOST")
        || rest.contains("_SERVICE_PORT")
        || rest.contains("_PORT_") && (rest.contains("_TCP") || rest.contains("_UDP"))
}

/// The right name of a variable for the key that a wrong one seems to name.
fn meant(rest: &str) -> Option<String> {
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let wanted = plain(rest);
    let keys = check::keys();
    let key = keys.iter().find(|key| key.contains('.') && !key.contains(['*', '[']) && plain(key) == wanted)?;
    Some(format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase()))
}

fn place(under: &mut Value, parts: &[&str], path: &mut Vec<String>, value: Value) -> Result<(), String> {
    let Some((part, rest)) = parts.split_first() else {
        source::merge(under, value);
        return Ok(());
    };
    if matches!(under.kind, ValueKind::Nil) {
        under.kind = ValueKind::Table(Map::new());
    }
    let ValueKind::Table(table) = &mut under.kind else {
        let whole = path.join(".");
        return Err(format!("{whole} is not a section; give the whole of {whole} as JSON in one variable"));
    };
    let key = key(table, part, path)?;
    let origin = value.origin().map(str::to_owned);
    path.push(key.clone());
    place(table.entry(key).or_insert_with(|| Value::new(origin.as_ref(), ValueKind::Nil)), rest, path, value)
}

/// The key that a part of a name means: the one in the files that looks like it, else itself in lower case.
fn key(table: &Map<String, Value>, part: &str, path: &[String]) -> Result<String, String> {
    let mut like: Vec<&String> = table.keys().filter(|key| folded(key) == folded(part)).collect();
    like.sort();
    match like.as_slice() {
        [one] => Ok((*one).clone()),
        // Field names have dashes, and hardly ever underscores.
        [] if path.last().is_some_and(|section| section == "headers") => Ok(part.to_lowercase().replace('_', "-")),
        [] => Ok(part.to_lowercase()),
        [one, other, ..] => Err(format!(
            "it may mean {one} or {other}; set that key in a file, or give the endpoints names that differ in more"
        )),
    }
}

fn folded(name: &str) -> String {
    name.chars().map(|char| if char.is_alphanumeric() { char.to_ascii_lowercase() } else { '_' }).collect()
}

/// Lists and tables are JSON; other text stays text, and the checker reads from it what the key needs.
fn value(text: &str, origin: &String) -> Value {
    if text.trim_start().starts_with(['[', '{'])
        && let Ok(json) = serde_json::from_str(text)
    {
        return from_json(json, origin);
    }
    Value::new(Some(origin), text)
}

fn from_json(json: serde_json::Value, origin: &String) -> Value {
    let kind = match json {
        serde_json::Value::Null => ValueKind::Nil,
        serde_json::Value::Bool(value) => ValueKind::Boolean(value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => ValueKind::I64(value),
            (None, Some(value)) => ValueKind::U64(value),
            (None, None) => ValueKind::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => ValueKind::String(text),
        serde_json::Value::Array(list) => {
            ValueKind::Array(list.into_iter().map(|value| from_json(value, origin)).collect())
        }
        serde_json::Value::Object(table) => {
            ValueKind::Table(table.into_iter().map(|(key, value)| (key, from_json(value, origin))).collect())
        }
    };
    Value::new(Some(origin), kind)
}
