//! For tests: what a reload does about each key, tried out, is what docs/configuration.md says.
//!
//! A new key fails here until [`value`] has another value than its default, and the reference a class.

use std::{collections::BTreeMap, fs, path::Path};

use super::{Action, keys, parse_toml, plan};

/// Without a collector the other keys of its section say nothing.
const OTLP: &str = "tracing.otlp_endpoint = \"http://127.0.0.1:4317\"\n";

/// A value that is not the default, and what it needs around it.
fn value(key: &str) -> (&'static str, &'static str) {
    let plain = |value| (value, "");
    match key.rsplit('.').next().unwrap_or(key) {
        "watch" | "allow_empty" | "chaos" | "per_link" | "protocols_optional" | "critical" | "insecure"
        | "conflate" => plain("true"),
        "enabled" => plain("false"),
        "listen" => plain("\"127.0.0.1:1\""),
        "otlp_endpoint" => plain("\"http://127.0.0.1:4318\""),
        _ if key == "tracing.timeout" => ("\"7s\"", OTLP),
        _ if key.starts_with("tracing.") => ("\"other\"", OTLP),
        "socket_mode" => ("\"0600\"", "api.listen = \"unix:/s\"\n"),
        "socket_group" => ("\"g\"", "api.listen = \"unix:/s\"\n"),
        "tokens" => plain("[{ name = \"t\", token = \"${env:T}\", scopes = [\"read\"] }]"),
        "allowed_hosts" | "protocols" => plain("[\"other\"]"),
        "allowed_origins" => plain("[\"https://other\"]"),
        "readiness" => plain("\"links\""),
        "level" => plain("\"warn\""),
        "format" => plain("\"json\""),
        "on_full" => plain("\"wait\""),
        "when_down" => plain("\"reject\""),
        "on_clean_close" => plain("\"stay_closed\""),
        "delivery" => plain("\"at_least_once\""),
        "durability" => plain("\"disk\""),
        "dir" | "ca" => plain("\"/other\""),
        "cert" => ("\"/c\"", "endpoints.a.tls.key = \"/k\"\n"),
        "key" => ("\"/other\"", "endpoints.a.tls.cert = \"/c\"\n"),
        "server_name" | "*" => plain("\"other\""),
        "url" => plain("\"ws://other\""),
        "urls" => plain("[\"ws://h\", \"ws://other\"]"),
        "abort_code" => plain("4000"),
        "ping" => plain("false"),
        "when_idle" => plain("\"in\""),
        "outcomes" => plain("[{ match = { code = 4000 }, then = \"park\" }]"),
        "outgoing" => ("\"/other\"", "endpoints.a.outbox.ack.incoming = \"/i\"\n"),
        "incoming" => ("\"/other\"", "endpoints.a.outbox.ack.outgoing = \"/o\"\n"),
        "ack_timeout" => {
            ("\"1s\"", "endpoints.a.outbox.ack.outgoing = \"/o\"\nendpoints.a.outbox.ack.incoming = \"/i\"\n")
        }
        "min_ready" => ("2", "endpoints.a.links = 2\n"),
        "multiplier" => plain("3.5"),
        "max_body" | "max_message" | "max_bytes" | "memory" => plain("\"2MiB\""),
        "initial" => plain("\"1s\""),
        "header_timeout" | "body_timeout" | "write_timeout" | "keepalive" | "connect_timeout" | "close_timeout"
        | "idle" | "timeout" | "first" | "max" | "stable" | "park_probe" | "retry_after_max" | "ttl" | "keep"
        | "confirm_interval" | "drain" | "overlap" => plain("\"7s\""),
        "rate" | "per_host" | "total" | "max_connections" | "receipts" | "max_messages" | "links" | "redirects" => {
            plain("7")
        }
        _ => panic!("give {key} a value that is not its default, in src/config/classes.rs"),
    }
}

/// What became of the endpoint or the daemon when this key alone was set.
fn class(key: &str) -> String {
    let (value, around) = value(key);
    let parse = |text: &str| parse_toml(text, "test.toml").unwrap_or_else(|faults| panic!("{text}{faults}"));
    let url = "endpoints.a.url = \"ws://h\"\n";
    let is_url = matches!(key, "endpoints.*.url" | "endpoints.*.urls");
    let kept = if is_url { "" } else { url };
    let path = key.replace('*', "a");
    let new = parse(&format!("{around}{kept}{path} = {value}\n"));
    // What stands around it alone is not always valid: a pointer without the other.
    let old = parse_toml(&format!("{around}{url}"), "test.toml").unwrap_or_else(|_| parse(url));
    let plan = plan(&old.config, new, true);
    let step = &plan.steps["a"];
    let class = match (plan.live.as_slice(), plan.restart.as_slice(), step.kept) {
        ([], [], Action::Unchanged) if step.before != step.after => "others come or go",
        ([], [], Action::AppliedLive) | ([_], [], Action::Unchanged) => "live",
        ([], [], Action::Rotate) => "rotate",
        ([], [_], Action::Unchanged) => "restart",
        other => panic!("{key}: {other:?}"),
    };
    class.to_owned()
}

/// The last cells of the reference's tables, by section and key.
fn written() -> BTreeMap<(String, String), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let (mut section, mut table) = (String::new(), false);
    let mut classes = BTreeMap::new();
    for line in fs::read_to_string(path).unwrap().lines() {
        match line.trim_start_matches('#').trim() {
            "Reload" | "[log], [metrics], [admission], [limits], [storage]" if line.starts_with('#') => section.clear(),
            "[api]" if line.starts_with('#') => section = "api".into(),
            "[tracing]" if line.starts_with('#') => section = "tracing".into(),
            "Endpoints" if line.starts_with('#') => section = "endpoints.*".into(),
            _ => {}
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if !line.starts_with('|') {
            table = false;
        } else if cells.last() == Some(&"reload") {
            table = true;
        } else if table {
            if let Some(name) = cells[0].strip_prefix('[').and_then(|cell| cell.strip_suffix(']')) {
                name.clone_into(&mut section);
            }
            let key = cells.iter().find_map(|cell| cell.strip_prefix('`')?.strip_suffix('`'));
            if let (Some(key), Some(class)) = (key, cells.last()) {
                classes.insert((section.clone(), key.to_owned()), (*class).to_owned());
            }
        }
    }
    classes
}

/// What the reference says of a key: its own row, or what its section's row says of it or of all.
fn written_of(key: &str, written: &BTreeMap<(String, String), String>) -> Option<String> {
    let key = key.strip_suffix(".*").unwrap_or(key);
    let (section, name) = match key.strip_prefix("endpoints.*.") {
        Some(rest) => ("endpoints.*", rest),
        None => key.rsplit_once('.').unwrap_or(("", key)),
    };
    let row = |name: &str| written.get(&(section.to_owned(), name.to_owned()));
    if let Some(class) = row(name) {
        return Some(class.clone());
    }
    // Three keys of `outbox` may stand at the endpoint itself.
    let (part, name) = name.split_once('.').unwrap_or(("outbox", name));
    let of_section = row(part)?;
    let own = of_section.split("; ").find_map(|part| part.strip_prefix(&format!("`{name}`: ")));
    own.or(of_section.split("; ").next()).map(str::to_owned)
}

#[test]
fn what_a_reload_does_about_each_key_is_what_the_reference_says() {
    let all = keys();
    let is_leaf = |key: &&String| {
        let inside = [format!("{key}."), format!("{key}[].")];
        key.ends_with(".outcomes") || key.ends_with(".tokens") || !all.iter().any(|other| other.starts_with(&inside[0]))
    };
    let written = written();
    let mut wrong = Vec::new();
    let leaves = all.iter().filter(is_leaf).filter(|key| !key.contains("[]") && !key.starts_with("defaults"));
    for key in leaves {
        let (tried, said) = (class(key), written_of(key, &written));
        if said.as_ref() != Some(&tried) {
            wrong.push(format!("{key} is {tried:?}, docs/configuration.md says {said:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
