//! Secrets that are written in clear, where every user of the machine may read the file.
//!
//! What a reader would get wrong: whether a text is a secret cannot be known. These look like one by their name, and it is a warning.

use std::path::Path;

use config::ValueKind;

use crate::config::check::{item::Item, request};

/// What the name of a secret ends in, without `_` and `-`, in lower case.
const ENDINGS: [&str; 12] = [
    "password",
    "passwd",
    "passcode",
    "passphrase",
    "pass",
    "secret",
    "secretkey",
    "privatekey",
    "token",
    "apikey",
    "authorization",
    "credentials",
];

/// A member of JSON.
pub(super) fn look_at_member(item: &Item<'_>, name: &str) {
    if let ValueKind::String(text) = &item.value.kind
        && is_secret(name)
        && is_clear(text)
    {
        warn(item);
    }
}

/// A value: its name is the last part of its path.
pub(super) fn look_at_value(item: &Item<'_>) {
    let path = item.path.strip_suffix(".template").unwrap_or(&item.path);
    let name = path.rsplit('.').next().unwrap_or_default();
    look_at_member(item, name);
}

/// A text: `passcode:abc`, `"token": "abc"`, `pass=abc`.
pub(super) fn look_at_text(item: &Item<'_>) {
    let ValueKind::String(text) = &item.value.kind else { return };
    let mut rest = text.as_str();
    while let Some(at) = rest.find([':', '=']) {
        let (before, after) = rest.split_at(at);
        let name = before.trim_end_matches(['"', '\'', ' ']);
        let name = name.rsplit(|char: char| !(char.is_ascii_alphanumeric() || "_-".contains(char))).next();
        rest = &after[1..];
        if !name.is_some_and(is_secret) {
            continue;
        }
        let value = rest.trim_start_matches(['"', '\'', ' ']);
        let end = value.find(|char: char| char.is_whitespace() || "\"',}&".contains(char)).unwrap_or(value.len());
        // A reference may hold any of those.
        if !value.starts_with("${") && is_clear(&value[..end]) {
            return warn(item);
        }
    }
}

/// Whether what is called so is a secret, by its name.
pub(in crate::config) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace(['_', '-'], "");
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

fn is_clear(text: &str) -> bool {
    !text.trim().is_empty() && !text.contains("${")
}

fn warn(item: &Item<'_>) {
    let origin = item.value.origin().unwrap_or_default();
    let file = origin.rsplit_once(':').filter(|(_, line)| line.bytes().all(|byte| byte.is_ascii_digit()));
    let file = Path::new(file.map_or(origin, |(file, _)| file));
    if file.is_file() && request::is_open_to_all(file) {
        let told = format!(
            "seems to be a secret in clear, and every user of this machine may read {}: write ${{file:PATH}}, or chmod o-r it",
            file.display()
        );
        item.report.warn(&item.path, &told);
    }
}
