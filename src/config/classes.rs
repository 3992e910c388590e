//! For tests: what a reload does about each key, tried out, is what its row says.
//!
//! A value that is not the default is looked for among those below and those that the key's own text has in quotes.

use super::{
    ReloadAction, parse_toml, plan,
    table::{Key, Table, daemon::DAEMON, endpoint},
};

const VALUES: [&str; 34] = [
    "true",
    "false",
    "2",
    "7",
    "12",
    "3.5",
    "4000",
    "\"1s\"",
    "\"7s\"",
    "\"2MiB\"",
    "\"127.0.0.1:1\"",
    "\"/other\"",
    "\"0600\"",
    "\"other\"",
    "[\"other\"]",
    "[\"https://other\"]",
    "{ X-A = \"b\" }",
    "{ \"h:1\" = [\"127.0.0.1\"] }",
    "{ other = \"b\" }",
    "{ outgoing = \"/o\", incoming = \"/i\" }",
    "[{ match = { code = 4000 }, then = \"park\" }]",
    "[{ name = \"t\", match = { \"/s\" = \"a\" } }]",
    "[{ name = \"t\", url = \"http://h/\" }]",
    "{ b = { nats = [\"nats://h\"] } }",
    "[{ name = \"t\", broker = \"b\", publish = \"a\" }]",
    "\"go ${key}\"",
    "{ text = \"a\" }",
    "[{ send = \"a\" }]",
    "[{ match = { text = \"a\" }, hide = true }]",
    "[{ every = \"1s\", send = \"a\" }]",
    "[{ wait = \"1s\" }]",
    "{ after = \"1s\" }",
    "{ text = \"a\" }",
    "[{ name = \"t\", token = \"${env:T}\", scopes = [\"read\"] }]",
];

/// What a key needs around it to mean anything.
fn around(path: &str) -> &'static str {
    match path {
        "tracing.otlp_endpoint" => "",
        _ if path.starts_with("tracing.") => "tracing.otlp_endpoint = \"http://127.0.0.1:4317\"\n",
        "api.socket_mode" | "api.socket_group" => "api.listen = \"unix:/s\"\n",
        "digest.user" => "endpoints.a.digest.password = \"/p\"\n",
        "digest.password" => "endpoints.a.digest.user = \"/u\"\n",
        "tls.cert" => "endpoints.a.tls.key = \"/k\"\n",
        "tls.key" => "endpoints.a.tls.cert = \"/c\"\n",
        "outbox.ack_timeout" => "endpoints.a.outbox.ack = { outgoing = \"/o\", incoming = \"/i\" }\n",
        "requests.id" => "endpoints.a.requests.reply = \"/r\"\n",
        "requests.reply" => "endpoints.a.requests.id = \"/i\"\n",
        "values" => "endpoints.a.session.open = [{ set = { a = \"${value:other}\" } }]\n",
        "session.keep" | "session.durable" | "subscriptions.skip_when" => {
            "endpoints.a.session.open = [{ set = { other = 1 } }]\n"
        }
        "subscriptions.keys"
        | "subscriptions.max_keys"
        | "subscriptions.per_link"
        | "subscriptions.spread_after"
        | "subscriptions.links.min"
        | "subscriptions.links.max"
        | "subscriptions.links.close_after" => "endpoints.a.subscriptions.add = \"go ${key}\"\n",
        "bridges" => "brokers.b.nats = [\"nats://h\"]\n",
        "idle_timeout" => "endpoints.a.start = \"lazy\"\n",
        "min_ready" => "endpoints.a.links = 2\n",
        _ => "",
    }
}

/// What became of the endpoint or the daemon when this key alone was set; `None` where nothing did.
fn class(path: &str, place: &str, value: &str) -> Option<&'static str> {
    let url = "endpoints.a.url = \"ws://h\"\n";
    let kept = if matches!(path, "url" | "urls") { "" } else { url };
    let around = around(path);
    let new = parse_toml(&format!("{around}{kept}{place} = {value}\n"), "test.toml").ok()?;
    // What stands around it alone is not always valid: a certificate without its key.
    let old = parse_toml(&format!("{around}{url}"), "test.toml").or_else(|_| parse_toml(url, "test.toml")).unwrap();
    let plan = plan(&old.config, new, true, &|_| Vec::new());
    let step = &plan.steps["a"];
    match (plan.live.as_slice(), plan.restart.as_slice(), step.kept) {
        ([], [], ReloadAction::Unchanged) if step.before != step.after => Some("others come or go"),
        ([], [], ReloadAction::Unchanged) => None,
        ([], [], ReloadAction::AppliedLive) | ([_], [], ReloadAction::Unchanged) => Some("live"),
        ([], [], ReloadAction::Rotate) => Some("rotate"),
        ([], [_], ReloadAction::Unchanged) => Some("restart"),
        other => panic!("{path}: {other:?}"),
    }
}

fn tried<S>(key: &Key<S>, prefix: &str) -> Option<&'static str> {
    let text = key.text.join("\n");
    let quoted = text.split('"').skip(1).step_by(2).map(|word| format!("\"{word}\""));
    let lists = text.split('"').skip(1).step_by(2).map(|word| format!("[\"{word}\"]"));
    let values: Vec<String> = VALUES.iter().map(|value| (*value).to_owned()).chain(quoted).chain(lists).collect();
    values.iter().find_map(|value| class(key.path, &format!("{prefix}{}", key.path), value))
}

fn look<S>(table: &'static Table<S>, prefix: &str, wrong: &mut Vec<String>) {
    // Those without a text are other places of keys that are tried there.
    for (key, _) in table.leaves().into_iter().filter(|(key, _)| !key.text.is_empty()) {
        let tried = tried(key, prefix);
        if tried != Some(key.reload.word()) {
            wrong.push(format!("{} is {tried:?}, its row says {:?}", key.path, key.reload));
        }
    }
}

#[test]
fn what_a_reload_does_about_each_key_is_what_its_row_says() {
    let mut wrong = Vec::new();
    look(&DAEMON, "", &mut wrong);
    look(&endpoint::OWN, "endpoints.a.", &mut wrong);
    look(&endpoint::ENDPOINT, "endpoints.a.", &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
