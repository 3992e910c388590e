//! `[defaults]` and `[endpoints.NAME]`.
//!
//! Both are read by the same rows of the table: the built-in values lie under `[defaults]`, and those under each endpoint. A rule
//! over two keys is tested only where one of them is written, so that it complains once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use config::ValueKind;

use super::{
    bridges, compression, digest, http2,
    item::Item,
    outcomes, proxy, push, request,
    section::{Section, join},
    session,
};
use crate::config::{
    ConfiguredEndpoint, preset,
    push::PushTo,
    reach::Reach,
    session::{Keys, Written},
    table::{
        endpoint::{ENDPOINT, OWN},
        kinds::{By, FLAG, Kind as _, Optional, Over, Time, some_time},
        value::Part,
    },
};
use wskeeper_core::{
    backoff::{LEAST, LEAST_STABLE},
    bucket::Pacing,
    heartbeat::{Watch, WhenIdle},
    link,
    outbox::{self, Ack, Delivery},
    outcome::Rule,
};

/// What is said of a name that is none, and what to write.
pub(in crate::config) const NO_NAME: (&str, &str) = (
    "is not a name for an endpoint",
    "begin with a letter or digit and use letters, digits, `_`, `-` and `.`, at most 64 in all",
);

/// The longest name of an endpoint, in bytes.
const MAX_NAME: usize = 64;

/// A heartbeat of less than this is most likely a slip of a unit.
const SHORT: Duration = Duration::from_millis(100);

/// How long an acknowledgement is waited for.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// Reads `[defaults]`.
pub(super) fn defaults(section: &Section<'_>, shared: &BTreeMap<String, Written>) -> ConfiguredEndpoint {
    let mut endpoint = ConfiguredEndpoint::default();
    ENDPOINT.read(section, &mut endpoint);
    for key in OWN.keys {
        section.expect(key.name());
        if section.has(key.name()) {
            section.fault(key.name(), "cannot be a default", "give each endpoint a `url` or `urls` of its own");
        }
    }
    section.finish();
    let _ = session::compile(section, (&endpoint.keys, shared), &endpoint, false);
    endpoint
}

/// Reads `[endpoints.NAME]`, each over the defaults.
pub(super) fn endpoints(
    section: &Section<'_>,
    defaults: &ConfiguredEndpoint,
    shared: &BTreeMap<String, Written>,
) -> BTreeMap<Arc<str>, ConfiguredEndpoint> {
    let mut endpoints = BTreeMap::new();
    for (name, section) in section.named() {
        if !is_name(name) {
            section.report.fault(section.origin(), &section.path, NO_NAME.0, NO_NAME.1);
        }
        let name: Arc<str> = name.into();
        endpoints.insert(Arc::clone(&name), endpoint(&section, name, defaults, shared));
    }
    endpoints
}

/// Reads one, over the defaults.
pub(in crate::config) fn endpoint(
    section: &Section<'_>,
    name: Arc<str>,
    defaults: &ConfiguredEndpoint,
    shared: &BTreeMap<String, Written>,
) -> ConfiguredEndpoint {
    let mut endpoint = defaults.clone();
    endpoint.name = name;
    let rows = lay_preset(section, &mut endpoint);
    ENDPOINT.read(section, &mut endpoint);
    Arc::make_mut(&mut endpoint.link).outcomes.extend(rows);
    look_at_reach(section, &endpoint.keys, shared);
    finish(section, &mut endpoint, shared);
    endpoint
}

/// What `[defaults]` refer to is given to servers that dynamic endpoints name, so it must be listed as if it were theirs.
pub(super) fn look_at_defaults(
    section: &Section<'_>,
    (defaults, shared): (&ConfiguredEndpoint, &BTreeMap<String, Written>),
    reach: &Reach,
) {
    if let Some(table) = section.table() {
        let is_foreign = |name: &str| shared.contains_key(name) && !defaults.keys.values.contains_key(name);
        for (key, value) in table {
            reach.look(section.report, value, &join(&section.path, key), &is_foreign);
        }
    }
    let hint = "move it to the endpoints of the file that need it, or to [values]";
    let problem = "dynamic endpoints would run this program too";
    if defaults.push.iter().any(|push| matches!(push.to, PushTo::Command(_))) {
        section.fault("push", problem, hint);
    }
    for written in defaults.keys.values.values() {
        if matches!(&written.value.kind, ValueKind::Table(table) if table.contains_key("command")) {
            section.report.fault(written.value.origin(), &written.path, problem, hint);
        }
    }
}

/// A dynamic endpoint may name some values of the file, and gives none that those are made of.
fn look_at_reach(section: &Section<'_>, keys: &Keys, shared: &BTreeMap<String, Written>) {
    let Some(reach) = &section.report.reach else { return };
    let is_foreign = |name: &str| shared.contains_key(name) && !keys.values.contains_key(name);
    for (key, value) in section.table().into_iter().flatten() {
        reach.look(section.report, value, &join(&section.path, key), &is_foreign);
    }
    if let Some(preset) = keys.preset {
        reach.look(section.report, &preset.tree(), "preset", &is_foreign);
    }
    for (name, written) in keys.values.iter().filter(|(name, _)| reach.is_within(name)) {
        let problem = format!("a value in [values] of the file refers to `{name}`");
        section.report.fault(written.value.origin(), &written.path, problem, "choose another name");
    }
}

/// Reads the keys of the endpoint's preset over the defaults. Answers with its rows of `outcomes`, which stand behind those of the endpoint.
fn lay_preset(section: &Section<'_>, endpoint: &mut ConfiguredEndpoint) -> Vec<Rule> {
    let named = section.get("preset").and_then(|item| preset::read(&item));
    let Some(preset) = named.or(endpoint.keys.preset) else { return Vec::new() };
    let tree = preset.tree();
    let keys = Section::root(section.report, &tree);
    let rows = std::mem::take(&mut Arc::make_mut(&mut endpoint.link).outcomes);
    ENDPOINT.read(&keys, endpoint);
    keys.finish();
    std::mem::replace(&mut Arc::make_mut(&mut endpoint.link).outcomes, rows)
}

pub(in crate::config) fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn finish(section: &Section<'_>, endpoint: &mut ConfiguredEndpoint, shared: &BTreeMap<String, Written>) {
    endpoint.urls = request::urls(section);
    request::look_at_credentials(section, endpoint);
    digest::look_at_urls(section, endpoint);
    look_at_proofs(section, &endpoint.link);
    outcomes::look_at_urls(section, &endpoint.link.outcomes, endpoint.urls.len());
    session::follow_links(section, endpoint);
    let compiled = session::compile(section, (&endpoint.keys, shared), endpoint, true);
    (endpoint.session, endpoint.values) = (compiled.session, compiled.values);
    if endpoint.link.requests.error != compiled.error {
        Arc::make_mut(&mut endpoint.link).requests.error = compiled.error;
    }
    endpoint.subscriptions = compiled.subscriptions;
    if !compiled.shared.is_empty() {
        // They are the endpoint's from here on: a change of one is a change of it.
        endpoint.keys_mut().values.extend(compiled.shared);
    }
    request::look_at_variables(section, endpoint);
    push::look_at_streams(section, endpoint);
    bridges::look_at_names(section, &endpoint.push, &endpoint.bridges);
    outcomes::look_at_forgotten(section, &endpoint.link.outcomes, endpoint.session.as_deref());
    section.finish();
    endpoint.agree();
    if endpoint.stay_closed {
        Arc::make_mut(&mut endpoint.link).outcomes.extend(outcomes::stay_closed());
    }
}

/// Rules over keys of the endpoint itself.
pub(in crate::config) fn rules(section: &Section<'_>, endpoint: &mut ConfiguredEndpoint) {
    let links = endpoint.keys.subscriptions.min_links.unwrap_or(endpoint.links);
    let min_ready = endpoint.min_ready;
    if min_ready > links && (section.has("min_ready") || section.has("links")) {
        let problem = format!("{min_ready} of {links} links can never be ready");
        section.fault("min_ready", problem, format!("write at most {links}, or raise `links`"));
    }
    let reconnect = section.section("reconnect");
    if section.has("links") || reconnect.has("budget") {
        let budget = reconnect.section("budget");
        if endpoint.attempts.attempts.is_some_and(|attempts| attempts < links) {
            let problem = "is less than the endpoint has links, which have to connect first";
            budget.fault(
                "attempts",
                problem,
                format!("write at least {links}; as many again let each link reconnect once"),
            );
        }
    }
    let queue = section.section("outbox");
    for key in ["delivery", "durability", "confirm_interval"] {
        if section.has(key) && queue.has(key) {
            queue.fault(key, "stands here and at the endpoint itself", "keep one of them");
        }
    }
    proxy::rules(section, endpoint);
    http2::rules(section, endpoint);
    compression::rules(section, endpoint);
    digest::rules(section, endpoint);
}

/// `heartbeat.timeout`: what it is matters only where silence ends a connection.
pub(in crate::config) static TIMEOUT: Part<ConfiguredEndpoint, Optional<Time>> = Part {
    read: |section, endpoint| {
        some_time().read(section, "timeout", &mut Arc::make_mut(&mut endpoint.link).heartbeat.timeout);
    },
    is_same: |one, other| one.link.heartbeat.timeout == other.link.heartbeat.timeout,
    of: |endpoint| match endpoint.link.heartbeat.watch {
        Watch::Pings(_) | Watch::Silence => Some(endpoint.link.heartbeat.timeout),
        Watch::Tcp => None,
    },
    kind: Optional(some_time()),
};

/// `heartbeat.when_idle`
pub(in crate::config) static WHEN_IDLE: Part<ConfiguredEndpoint, Over<String>> = Part {
    read: |_, _| {},
    is_same: |_, _| true,
    of: |endpoint| match endpoint.link.heartbeat.watch {
        Watch::Pings(when) => when.as_str().to_owned(),
        Watch::Silence | Watch::Tcp => String::new(),
    },
    kind: Over(|_, _| {}),
};

/// `heartbeat.ping`, which reads `when_idle` with it.
pub(in crate::config) static PING: Part<ConfiguredEndpoint, By<bool>> = Part {
    read: watch,
    is_same: |one, other| one.link.heartbeat.watch == other.link.heartbeat.watch,
    of: |endpoint| endpoint.link.heartbeat.pings(),
    kind: FLAG,
};

/// Without pings, silence ends a connection only where somebody says how long it may be.
fn watch(section: &Section<'_>, endpoint: &mut ConfiguredEndpoint) {
    let policy = &mut Arc::make_mut(&mut endpoint.link).heartbeat;
    let words = [WhenIdle::In, WhenIdle::Out, WhenIdle::Both].map(|when| (when.as_str(), when));
    let when = section.get("when_idle").and_then(|item| item.word(&words));
    let pings = section.get("ping").and_then(|item| item.bool()).unwrap_or(policy.pings());
    policy.watch = match (pings, policy.watch) {
        (true, Watch::Pings(before)) => Watch::Pings(when.unwrap_or(before)),
        (true, Watch::Silence | Watch::Tcp) => Watch::Pings(when.unwrap_or(WhenIdle::Both)),
        (false, Watch::Silence) => Watch::Silence,
        (false, Watch::Pings(_) | Watch::Tcp) if section.has("timeout") => Watch::Silence,
        (false, Watch::Pings(_) | Watch::Tcp) => Watch::Tcp,
    };
    if !pings && section.has("when_idle") {
        section.warn("when_idle", "without pings (`ping = false`) it means nothing");
    }
}

/// `heartbeat.abort_code`
pub(in crate::config) fn abort_code(item: &Item<'_>) -> Option<u16> {
    let code = item.integer(1000..=4999).and_then(|code| u16::try_from(code).ok())?;
    if code == 1000 || code >= 3000 {
        return Some(code);
    }
    item.fault(format!("{code} is not a close code that may be sent"), "write 1000 or a code from 3000 to 4999");
    None
}

/// Without pings no peer proves what it has read, but by an acknowledgement of its application.
fn look_at_proofs(section: &Section<'_>, policy: &link::Policy) {
    let again = policy.outbox.delivery == Delivery::AtLeastOnce;
    if again && !policy.heartbeat.pings() && policy.outbox.ack.is_none() {
        section.section("heartbeat").fault(
            "ping",
            "at least once needs a proof that the peer has read a message, and without pings there is none",
            "let the peer's application acknowledge messages (`outbox.ack`), leave `ping` true, or set delivery = \"at_most_once\"",
        );
    }
}

/// Rules of `heartbeat`.
pub(in crate::config) fn heartbeat(section: &Section<'_>, endpoint: &mut ConfiguredEndpoint) {
    let policy = &endpoint.link.heartbeat;
    for (key, value, said) in [
        ("idle", policy.idle, "so short a silence is common, and each brings a ping: write 100ms at least"),
        (
            "timeout",
            policy.timeout,
            "a peer that is well may answer later, and its connection is ended: write 100ms at least",
        ),
    ] {
        if section.has(key) && value < SHORT {
            section.warn(key, said);
        }
    }
}

/// Rules of `reconnect`.
pub(in crate::config) fn reconnect(section: &Section<'_>, endpoint: &mut ConfiguredEndpoint) {
    let policy = &endpoint.link.backoff;
    if policy.initial > policy.max && (section.has("initial") || section.has("max")) {
        let key = if section.has("initial") { "initial" } else { "max" };
        section.fault(key, "`initial` is longer than `max`", "write an `initial` of at most `max`");
    }
    let floors = [
        ("initial", policy.initial, LEAST, "a delay is drawn up to 10ms at least"),
        ("max", policy.max, LEAST, "a delay is drawn up to 10ms at least"),
        ("stable", policy.stable, LEAST_STABLE, "a link is stable after 1s at the earliest"),
    ];
    for (key, value, least, said) in floors {
        if section.has(key) && value < least {
            section.warn(key, said);
        }
    }
}

/// A burst of what has no rate.
fn look_at_bursts(section: &Section<'_>, pacing: Pacing) {
    let pairs = [("burst", "rate", pacing.rate.is_none()), ("burst_bytes", "rate_bytes", pacing.rate_bytes.is_none())];
    for (burst, rate, _) in pairs.into_iter().filter(|(burst, _, is_free)| *is_free && section.has(burst)) {
        section.warn(burst, &format!("without `{rate}` it means nothing"));
    }
}

/// Rules of `outbox.total`.
pub(in crate::config) fn total_pacing(section: &Section<'_>, endpoint: &mut ConfiguredEndpoint) {
    look_at_bursts(section, endpoint.pacing);
}

/// Rules of `outbox`.
pub(in crate::config) fn outbox(section: &Section<'_>, endpoint: &mut ConfiguredEndpoint) {
    let policy: &outbox::Policy = &endpoint.link.outbox;
    look_at_bursts(section, policy.pacing);
    if policy.max_message as u64 <= policy.max_bytes {
        return;
    }
    if section.has("max_message") {
        section.fault(
            "max_message",
            "`max_message` is larger than `max_bytes`",
            "no such message could be queued: make `max_bytes` as large",
        );
        return;
    }
    // A smaller queue takes smaller messages; what is larger could never be queued.
    let largest = usize::try_from(policy.max_bytes).unwrap_or(policy.max_message);
    Arc::make_mut(&mut Arc::make_mut(&mut endpoint.link).outbox).max_message = largest;
}

/// `requests.id`, `requests.reply`
pub(in crate::config) fn pointer(item: &Item<'_>) -> Option<Box<str>> {
    let text = item.text()?;
    if text.starts_with('/') {
        return Some(text.into());
    }
    item.fault("is not a JSON pointer", "write a path that begins with `/`, as `/id` or `/1` (RFC 6901)");
    None
}

/// Rules of `requests`.
pub(in crate::config) fn requests(section: &Section<'_>, endpoint: &mut ConfiguredEndpoint) {
    let policy = &endpoint.link.requests;
    for (key, is_there, other) in [("id", policy.id.is_some(), "reply"), ("reply", policy.reply.is_some(), "id")] {
        if section.has(other) && !is_there && !section.has(key) {
            section.fault(key, "is missing", "say where the id stands in requests (`id`) and in replies (`reply`)");
        }
    }
}

/// `outbox.ack_timeout`
pub(in crate::config) static ACK_TIMEOUT: Part<ConfiguredEndpoint, Optional<Time>> = Part {
    read: |_, _| {},
    is_same: |_, _| true,
    of: |endpoint| endpoint.link.outbox.ack.as_ref().map(|ack| ack.timeout),
    kind: Optional(some_time()),
};

/// `outbox.ack`, with `ack_timeout`
pub(in crate::config) fn ack(outbox: &Section<'_>, before: &mut Option<Ack>) {
    let section = outbox.section("ack");
    let pointer = |key| {
        let item = section.get(key)?;
        let text = item.text()?;
        if !text.starts_with('/') {
            item.fault("is not a JSON pointer", "write a path that begins with `/`, as `/id` or `/1` (RFC 6901)");
        }
        Some(Box::from(text))
    };
    let timeout = outbox.get("ack_timeout").and_then(|item| some_time().item(&item));
    match (pointer("outgoing"), pointer("incoming")) {
        (Some(outgoing), Some(incoming)) => *before = Some(Ack { outgoing, incoming, timeout: ACK_WAIT }),
        (Some(_), None) if !section.has("incoming") => {
            section.fault("incoming", "is missing", "say where the key is in what arrives, as `/ack`");
        }
        (None, Some(_)) if !section.has("outgoing") => {
            section.fault("outgoing", "is missing", "say where the key is in what is sent, as `/id`");
        }
        (Some(_), None) | (None, Some(_) | None) => {}
    }
    match (before, timeout) {
        (Some(ack), Some(timeout)) => ack.timeout = timeout,
        (None, Some(_)) => outbox.warn("ack_timeout", "without `ack` there is nothing to wait for"),
        (Some(_) | None, None) => {}
    }
    section.finish();
}

#[cfg(test)]
mod tests {
    use crate::config::parse_toml;
    use wskeeper_core::heartbeat::{Watch, WhenIdle};

    #[test]
    fn without_pings_silence_ends_a_connection_only_where_its_length_is_written_down() {
        let watch = |defaults: &str, own: &str| {
            let text = format!("[defaults]\n{defaults}\n[endpoints.a]\nurl = \"ws://h\"\n{own}");
            parse_toml(&text, "test.toml").expect("valid").config.endpoints["a"].link.heartbeat.watch
        };
        assert_eq!(watch("", ""), Watch::Pings(WhenIdle::Both));
        assert_eq!(watch("heartbeat.when_idle = 'in'", "heartbeat.idle = '1s'"), Watch::Pings(WhenIdle::In));
        assert_eq!(watch("heartbeat.timeout = '1s'", "heartbeat.ping = false"), Watch::Tcp);
        assert_eq!(watch("", "heartbeat = { ping = false, timeout = '1s' }"), Watch::Silence);
        assert_eq!(watch("heartbeat.ping = false", "heartbeat.timeout = '1s'"), Watch::Silence);
        assert_eq!(watch("heartbeat.ping = false", "heartbeat.ping = true"), Watch::Pings(WhenIdle::Both));
    }

    #[test]
    fn a_heartbeat_that_is_too_short_for_a_network_is_warned_of() {
        let warned = |keys: &str| {
            let text = format!("[endpoints.a]\nurl = \"ws://h\"\nheartbeat = {{ {keys} }}");
            parse_toml(&text, "test.toml").expect("valid").warnings
        };
        let told = warned("idle = '1ms', timeout = '99ms'");
        assert!(told.len() == 2 && told[0].starts_with("endpoints.a.heartbeat.idle: "), "{told:?}");
        assert_eq!(warned("idle = '100ms', timeout = '100ms'"), Vec::<String>::new());
    }

    #[test]
    fn at_least_once_without_pings_needs_acknowledgements() {
        let keys = "[endpoints.a]\nurl = \"ws://h\"\ndelivery = \"at_least_once\"\nheartbeat.ping = false\n";
        assert!(parse_toml(keys, "test.toml").is_err());
        let acked = format!("{keys}outbox.ack = {{ outgoing = \"/id\", incoming = \"/id\" }}");
        assert!(parse_toml(&acked, "test.toml").is_ok());
    }

    #[test]
    fn a_smaller_queue_takes_smaller_messages() {
        let text = "[endpoints.a]\nurl = \"ws://h\"\noutbox.max_bytes = \"10KiB\"";
        let config = parse_toml(text, "test.toml").expect("valid").config;
        assert_eq!(config.endpoints["a"].link.outbox.max_message, 10 << 10);
    }

    #[test]
    fn a_message_larger_than_the_queue_is_a_fault_where_it_is_asked_for() {
        let text = "[endpoints.a]\nurl = \"ws://h\"\noutbox.max_bytes = \"10KiB\"\noutbox.max_message = \"11KiB\"";
        assert!(parse_toml(text, "test.toml").is_err());
    }
}
