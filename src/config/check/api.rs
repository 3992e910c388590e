//! `[api]`: where the local API listens and who may use it.
//!
//! An address that other machines can reach demands tokens; it is refused here, before anything listens.

use std::{path::PathBuf, sync::Arc};

use super::{
    item::Item,
    section::{Section, suggestion},
};
use crate::config::{Config, Listen, Scope, Token, reach};
use wskeeper_link::endpoint::template::Redaction;

/// What fits `sun_path` with its closing NUL.
const MAX_SOCKET_PATH: usize = 107;

/// Rules of `[api]`.
pub(in crate::config) fn rules(section: &Section<'_>, config: &mut Config) {
    let api = &config.api;
    if let Listen::Tcp(address) = &api.listen
        && !address.ip().to_canonical().is_loopback()
        && !section.has("tokens")
    {
        section.fault(
            "listen",
            format!("{address} can be reached from other machines, and there are no tokens"),
            "add [[api.tokens]], or listen on 127.0.0.1 or a unix socket",
        );
    }
    let mut seen = Vec::new();
    for token in &api.tokens {
        if seen.contains(&&token.name) {
            section.fault("tokens", "two tokens have the same name", "give each a name of its own");
        }
        seen.push(&token.name);
    }
}

/// `[[api.tokens]]`
pub(in crate::config) fn tokens(section: &Section<'_>, tokens: &mut Vec<Token>) {
    let list = section.list("tokens").unwrap_or_default();
    // An endpoint that a token is for may come later.
    let may_come = section.get("dynamic").is_some_and(|item| item.text().is_some_and(|text| text != "off"));
    tokens.extend(list.iter().filter_map(|section| token(section, may_come)));
}

/// `listen`, with `socket_mode` and `socket_group`
pub(in crate::config) fn listen(section: &Section<'_>, listen: &mut Listen) {
    let mode = section.get("socket_mode").and_then(|item| mode(&item)).unwrap_or(0o660);
    let group = section.get("socket_group").and_then(|item| item.text().map(str::to_owned));
    let Some(item) = section.get("listen") else { return };
    let Some(text) = item.text() else { return };
    if let Some(path) = text.strip_prefix("unix:") {
        if let Some(unix) = unix(&item, path, mode, group) {
            *listen = unix;
        }
        return;
    }
    for key in ["socket_mode", "socket_group"] {
        if section.has(key) {
            section.warn(key, "has an effect only where api.listen is a unix socket");
        }
    }
    let address = match text.split_once(':') {
        Some(("localhost", port)) => format!("127.0.0.1:{port}").parse(),
        _ => text.parse(),
    };
    match address {
        Ok(address) => *listen = Listen::Tcp(address),
        Err(_) => item.fault(
            "is not an address to listen on",
            "write an IP address with a port (\"127.0.0.1:7700\", \"[::1]:7700\") or \"unix:/PATH\"",
        ),
    }
}

fn unix(item: &Item<'_>, path: &str, mode: u32, group: Option<String>) -> Option<Listen> {
    let path: PathBuf =
        if path.is_empty() { PathBuf::new() } else { item.report.folder_of(item.value.origin()).join(path) };
    let length = path.as_os_str().len();
    if length == 0 || length > MAX_SOCKET_PATH || path.to_string_lossy().contains('\0') {
        item.fault(
            format!("is not a path for a socket: it has {length} bytes"),
            format!("write \"unix:/PATH\" with a path of 1 to {MAX_SOCKET_PATH} bytes"),
        );
        return None;
    }
    if mode & 0o006 != 0 {
        item.report.warn("api.socket_mode", "every user of this machine may use the socket");
    }
    Some(Listen::Unix { path, mode, group })
}

fn mode(item: &Item<'_>) -> Option<u32> {
    const FORM: &str = "write octal digits in quotes, such as \"0660\"";
    let text = item.text()?;
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777 && text.len() <= 4);
    if mode.is_none() {
        item.fault("is not a file mode", FORM);
    }
    mode
}

fn token(section: &Section<'_>, may_come: bool) -> Option<Token> {
    let name = section.get("name").map(|item| item.text().map(Arc::from));
    let secret = section.get("token");
    let scopes = section.get("scopes");
    let only = section.get("endpoints");
    section.finish();
    for (key, missing, hint) in [
        ("name", name.is_none(), "give it a name for the logs"),
        ("token", secret.is_none(), "say where it is: \"${file:/etc/wskeeper/token}\""),
        ("scopes", scopes.is_none(), "list what it allows: \"read\", \"send\", \"admin\""),
    ] {
        if missing && !section.has(key) {
            section.fault(key, "is missing", hint);
        }
    }
    // Each is read before any is asked for, so that one fault hides no other.
    let endpoints = only.map(|item| only_endpoints(&item, may_come));
    let secret = secret.and_then(|item| item.template_reference());
    let scopes = scopes.and_then(|item| scopes_of(&item));
    Some(Token {
        name: name??,
        secret: secret?,
        scopes: scopes?,
        endpoints: endpoints.map_or(Some(None), |only| only.map(Some))?,
    })
}

impl Item<'_> {
    fn template_reference(&self) -> Option<wskeeper_link::endpoint::Template> {
        let template = self.template()?.with_redaction(Redaction::Literals);
        if !template.is_reference() {
            self.fault(
                "a token written in the configuration can be read by whoever reads the configuration, and its backups",
                "write where it is: \"${file:PATH}\", \"${credential:NAME}\" or \"${env:NAME}\", and nothing around it",
            );
            return None;
        }
        super::request::look_at_files(self, &template);
        Some(template)
    }
}

fn scopes_of(item: &Item<'_>) -> Option<Vec<Scope>> {
    let words = [("read", Scope::Read), ("send", Scope::Send), ("admin", Scope::Admin)];
    let list = item.list()?;
    if list.is_empty() {
        item.fault("a token without a scope allows nothing", "list at least one of \"read\", \"send\", \"admin\"");
    }
    let mut scopes: Vec<Scope> = list.iter().filter_map(|item| item.word(&words)).collect();
    scopes.sort_unstable();
    scopes.dedup();
    Some(scopes)
}

fn only_endpoints(item: &Item<'_>, may_come: bool) -> Option<Vec<Arc<str>>> {
    let endpoints = item.report.endpoints.borrow();
    let names: Vec<&str> = endpoints.iter().map(|name| &**name).collect();
    let mut only = Vec::new();
    for item in item.list()? {
        let Some(name) = item.text() else { continue };
        if names.contains(&name) || may_come {
            only.push(name.into());
        } else {
            item.fault("no endpoint has this name", suggestion(name, &names));
        }
    }
    Some(only)
}

/// `dynamic_references`
pub(in crate::config) fn references(item: &Item<'_>) -> Option<Vec<String>> {
    let mut references = Vec::new();
    for item in item.list()? {
        let Some(text) = item.text() else { continue };
        if reach::is_pattern(text) {
            references.push(text.to_owned());
        } else {
            item.fault(
                "is no reference that can be listed",
                "write \"${file:/PATH}\", \"${env:NAME}\", \"${credential:NAME}\" or \"${value:NAME}\"; a `*` at the end stands for any rest",
            );
        }
    }
    Some(references)
}

/// `allowed_hosts`
pub(in crate::config) fn hosts(item: &Item<'_>) -> Option<Vec<String>> {
    names(item, host_problem)
}

/// `allowed_origins`
pub(in crate::config) fn origins(item: &Item<'_>) -> Option<Vec<String>> {
    names(item, origin_problem)
}

fn names(item: &Item<'_>, problem: fn(&str) -> Option<&'static str>) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for item in item.list()? {
        let Some(text) = item.text() else { continue };
        match problem(text) {
            Some(hint) => item.fault("cannot be compared with what a request says", hint),
            None => names.push(text.to_ascii_lowercase()),
        }
    }
    Some(names)
}

fn host_problem(text: &str) -> Option<&'static str> {
    if text.contains('*') {
        return Some(
            "write each name that may be asked for, without `*`: that any may would open the API to pages of other sites",
        );
    }
    let host = text.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(text, |(host, _)| host);
    url::Host::parse(host).err().map(|_| "write a host name or address, with a port or without: \"keeper.example\"")
}

fn origin_problem(text: &str) -> Option<&'static str> {
    let origin = url::Url::parse(text).ok().map(|url| url.origin().ascii_serialization());
    let same = origin.is_some_and(|origin| origin.eq_ignore_ascii_case(text) && origin != "null");
    (!same).then_some(
        "write scheme, host and port as a browser does: \"https://board.example\", \"http://localhost:8080\"",
    )
}

#[cfg(test)]
mod tests {
    use crate::config::parse_toml;

    #[test]
    fn a_host_that_stands_for_many_is_refused_with_what_to_write() {
        for host in ["*", "*.example", "*:7700"] {
            let told = parse_toml(&format!("[api]\nallowed_hosts = [\"{host}\"]"), "f").unwrap_err().to_string();
            assert!(told.contains("f:2: api.allowed_hosts[0]: ") && told.contains("without `*`"), "{told}");
        }
        assert!(parse_toml("[api]\nallowed_hosts = [\"a.example\", \"10.0.0.1:80\", \"[::1]\"]", "f").is_ok());
    }
}
