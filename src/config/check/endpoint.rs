//! `[defaults]` and `[endpoints.NAME]`.
//!
//! Both are read by the same function over a [`Draft`]: the built-in values lie under `[defaults]`, and those under each
//! endpoint. A rule over two keys is tested only where one of them is written, so that it complains once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    MAX_DURATION, MAX_SIZE, outcomes,
    request::{self, Request},
    section::Section,
    tls,
};
use crate::{
    config::{Endpoint, Tls},
    core::{
        backoff::{self, LEAST, LEAST_STABLE},
        heartbeat::{self, Watch, WhenIdle},
        inbox, link,
        outbox::{self, Ack, Delivery, OnFull, WhenDown},
        outcome::Rule,
    },
};

/// The longest name of an endpoint, in bytes.
const MAX_NAME: usize = 64;

/// Of an outbox or an inbox.
const DURABILITY: [(&str, bool); 2] = [("memory", false), ("disk", true)];

/// How long an acknowledgement is waited for.
const ACK_TIMEOUT: Duration = Duration::from_secs(30);

/// An endpoint before it has a URL.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    links: u32,
    request: Request,
    tls: Tls,
    critical: bool,
    min_ready: u32,
    connect_timeout: Duration,
    close_timeout: Duration,
    park_probe: Duration,
    retry_after_max: Duration,
    stay_closed: bool,
    heartbeat: heartbeat::Policy,
    backoff: backoff::Policy,
    outcomes: Vec<Rule>,
    outbox: outbox::Policy,
    confirm_interval: Duration,
    rotates: bool,
    overlap: Duration,
    inbox: inbox::Policy,
    receipts_keep: Duration,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            links: 1,
            request: Request::default(),
            tls: Tls::default(),
            critical: false,
            min_ready: 1,
            connect_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            park_probe: Duration::from_mins(10),
            retry_after_max: Duration::from_mins(5),
            stay_closed: false,
            heartbeat: heartbeat::Policy::default(),
            backoff: backoff::Policy::default(),
            outcomes: Vec::new(),
            outbox: outbox::Policy::default(),
            confirm_interval: Duration::ZERO,
            rotates: true,
            overlap: Duration::from_secs(1),
            inbox: inbox::Policy::default(),
            receipts_keep: Duration::from_mins(10),
        }
    }
}

/// Reads `[defaults]`.
pub(super) fn defaults(section: &Section<'_>) -> Draft {
    let draft = read(section, Draft::default());
    for key in ["url", "urls"] {
        if section.has(key) {
            section.fault(key, "cannot be a default", "give each endpoint a `url` or `urls` of its own");
        }
    }
    section.known("url");
    section.known("urls");
    section.finish();
    draft
}

/// Reads `[endpoints.NAME]`, each over the defaults.
pub(super) fn endpoints(section: &Section<'_>, defaults: &Draft) -> BTreeMap<Arc<str>, Arc<Endpoint>> {
    let mut endpoints = BTreeMap::new();
    for (name, section) in section.named() {
        if !is_name(name) {
            section.report.fault(
                section.origin(),
                &section.path,
                "is not a name for an endpoint",
                "begin with a letter or digit and use letters, digits, `_`, `-` and `.`, at most 64 in all",
            );
        }
        let name: Arc<str> = name.into();
        let endpoint = finish(&section, name.clone(), read(&section, defaults.clone()));
        endpoints.insert(name, Arc::new(endpoint));
    }
    endpoints
}

fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn finish(section: &Section<'_>, name: Arc<str>, draft: Draft) -> Endpoint {
    let urls = request::urls(section);
    request::look_at_credentials(section, &urls, &draft.request);
    look_at_proofs(section, &draft);
    outcomes::look_at_urls(section, &draft.outcomes, urls.len());
    section.finish();
    let mut rules = draft.outcomes;
    if draft.stay_closed {
        rules.extend(outcomes::stay_closed());
    }
    let policy = link::Policy {
        urls: urls.len(),
        connect_timeout: draft.connect_timeout,
        close_timeout: draft.close_timeout,
        park_probe: draft.park_probe,
        retry_after_max: draft.retry_after_max,
        heartbeat: draft.heartbeat,
        confirm_interval: draft.confirm_interval,
        backoff: draft.backoff,
        outcomes: rules,
        outbox: Arc::new(draft.outbox),
        rotates: draft.rotates,
        overlap: draft.overlap,
        max_inbound: draft.inbox.max_message,
    };
    Endpoint {
        name,
        targets: urls.iter().map(request::target).collect(),
        urls,
        links: draft.links,
        protocols: draft.request.protocols,
        protocols_optional: draft.request.protocols_optional,
        headers: draft.request.headers,
        redirects: draft.request.redirects,
        tls: draft.tls,
        critical: draft.critical,
        min_ready: draft.min_ready,
        link: Arc::new(policy),
        inbox: draft.inbox,
        receipts_keep: draft.receipts_keep,
    }
}

fn read(section: &Section<'_>, mut draft: Draft) -> Draft {
    let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    draft.links = section.count("links", 1..=100_000).map_or(draft.links, small);
    draft.critical = section.bool("critical").unwrap_or(draft.critical);
    draft.min_ready = section.count("min_ready", 1..=100_000).map_or(draft.min_ready, small);
    if draft.min_ready > draft.links && (section.has("min_ready") || section.has("links")) {
        let problem = format!("{} of {} links can never be ready", draft.min_ready, draft.links);
        section.fault("min_ready", problem, format!("write at most {}, or raise `links`", draft.links));
    }
    let wait = || Duration::from_millis(1)..=MAX_DURATION;
    draft.connect_timeout = section.duration("connect_timeout", wait()).unwrap_or(draft.connect_timeout);
    draft.close_timeout = section.duration("close_timeout", wait()).unwrap_or(draft.close_timeout);
    draft.request = request::read(section, draft.request);
    draft.tls = tls::read(&section.section("tls"), draft.tls);
    heartbeat(&section.section("heartbeat"), &mut draft.heartbeat);
    reconnect(&section.section("reconnect"), &mut draft);
    let rotation = section.section("rotation");
    draft.rotates = rotation.bool("enabled").unwrap_or(draft.rotates);
    draft.overlap = rotation.duration("overlap", Duration::ZERO..=MAX_DURATION).unwrap_or(draft.overlap);
    rotation.finish();
    if let Some(rules) = outcomes::read(section) {
        draft.outcomes = rules;
    }
    promises(section, &mut draft);
    let queue = section.section("outbox");
    promises(&queue, &mut draft);
    for key in ["delivery", "durability", "confirm_interval"] {
        if section.has(key) && queue.has(key) {
            queue.fault(key, "stands here and at the endpoint itself", "keep one of them");
        }
    }
    outbox(&queue, &mut draft.outbox);
    inbox(&section.section("inbox"), &mut draft.inbox);
    let receipts = section.section("receipts");
    draft.receipts_keep = receipts.duration("keep", Duration::ZERO..=MAX_DURATION).unwrap_or(draft.receipts_keep);
    receipts.finish();
    draft
}

fn heartbeat(section: &Section<'_>, policy: &mut heartbeat::Policy) {
    let wait = || Duration::from_millis(1)..=MAX_DURATION;
    policy.idle = section.duration("idle", wait()).unwrap_or(policy.idle);
    let timeout = section.duration("timeout", wait());
    policy.timeout = timeout.unwrap_or(policy.timeout);
    watch(section, timeout.is_some(), policy);
    if let Some(item) = section.get("abort_code")
        && let Some(code) = item.integer(1000..=4999).and_then(|code| u16::try_from(code).ok())
    {
        if code == 1000 || (3000..=4999).contains(&code) {
            policy.abort_code = Some(code);
        } else {
            item.fault(
                format!("{code} is not a close code that may be sent"),
                "write 1000 or a code from 3000 to 4999",
            );
        }
    }
    section.finish();
}

/// `ping` and `when_idle`. Without pings, silence ends a connection only where somebody says how long it may be.
fn watch(section: &Section<'_>, limits_silence: bool, policy: &mut heartbeat::Policy) {
    let words = [WhenIdle::In, WhenIdle::Out, WhenIdle::Both].map(|when| (when.as_str(), when));
    let when = section.get("when_idle").and_then(|item| item.word(&words));
    let pings = section.bool("ping").unwrap_or(policy.pings());
    policy.watch = match (pings, policy.watch) {
        (true, Watch::Pings(before)) => Watch::Pings(when.unwrap_or(before)),
        (true, Watch::Silence | Watch::Tcp) => Watch::Pings(when.unwrap_or(WhenIdle::Both)),
        (false, Watch::Silence) => Watch::Silence,
        (false, Watch::Pings(_) | Watch::Tcp) if limits_silence => Watch::Silence,
        (false, Watch::Pings(_) | Watch::Tcp) => Watch::Tcp,
    };
    if !pings && section.has("when_idle") {
        section.warn("when_idle", "without pings (`ping = false`) it means nothing");
    }
}

/// Without pings no peer proves what it has read, but by an acknowledgement of its application.
fn look_at_proofs(section: &Section<'_>, draft: &Draft) {
    let again = draft.outbox.delivery == Delivery::AtLeastOnce;
    if again && !draft.heartbeat.pings() && draft.outbox.ack.is_none() {
        section.section("heartbeat").fault(
            "ping",
            "at least once needs a proof that the peer has read a message, and without pings there is none",
            "let the peer's application acknowledge messages (`outbox.ack`), leave `ping` true, or set delivery = \"at_most_once\"",
        );
    }
}

fn reconnect(section: &Section<'_>, draft: &mut Draft) {
    let policy = &mut draft.backoff;
    let some = || Duration::from_millis(1)..=MAX_DURATION;
    let any = || Duration::ZERO..=MAX_DURATION;
    policy.first = section.duration("first", any()).unwrap_or(policy.first);
    policy.initial = section.duration("initial", some()).unwrap_or(policy.initial);
    policy.multiplier =
        section.get("multiplier").and_then(|item| item.number(1.0..=1000.0)).unwrap_or(policy.multiplier);
    policy.max = section.duration("max", some()).unwrap_or(policy.max);
    policy.stable = section.duration("stable", any()).unwrap_or(policy.stable);
    if policy.initial > policy.max && (section.has("initial") || section.has("max")) {
        let key = if section.has("initial") { "initial" } else { "max" };
        section.fault(key, "`initial` is longer than `max`", "write an `initial` of at most `max`");
    }
    draft.park_probe = section.duration("park_probe", some()).unwrap_or(draft.park_probe);
    draft.retry_after_max = section.duration("retry_after_max", any()).unwrap_or(draft.retry_after_max);
    let floors = [
        ("initial", draft.backoff.initial, LEAST, "a delay is drawn up to 10ms at least"),
        ("max", draft.backoff.max, LEAST, "a delay is drawn up to 10ms at least"),
        ("stable", draft.backoff.stable, LEAST_STABLE, "a link is stable after 1s at the earliest"),
    ];
    for (key, value, least, said) in floors {
        if section.has(key) && value < least {
            section.warn(key, said);
        }
    }
    let choices = [("reconnect", false), ("stay_closed", true)];
    draft.stay_closed = section.get("on_clean_close").and_then(|item| item.word(&choices)).unwrap_or(draft.stay_closed);
    section.finish();
}

/// What is promised of a message: in `outbox`, or at the endpoint itself.
fn promises(section: &Section<'_>, draft: &mut Draft) {
    let policy = &mut draft.outbox;
    let delivery = [("at_most_once", Delivery::AtMostOnce), ("at_least_once", Delivery::AtLeastOnce)];
    policy.delivery = section.get("delivery").and_then(|item| item.word(&delivery)).unwrap_or(policy.delivery);
    policy.durable = section.get("durability").and_then(|item| item.word(&DURABILITY)).unwrap_or(policy.durable);
    draft.confirm_interval =
        section.duration("confirm_interval", Duration::ZERO..=MAX_DURATION).unwrap_or(draft.confirm_interval);
}

fn outbox(section: &Section<'_>, policy: &mut outbox::Policy) {
    policy.max_messages = section.count("max_messages", 1..=100_000_000).unwrap_or(policy.max_messages);
    policy.max_bytes = bytes(section, "max_bytes").unwrap_or(policy.max_bytes);
    policy.max_message = message(section, "max_message").unwrap_or(policy.max_message);
    policy.ttl = section.duration("ttl", Duration::from_millis(1)..=MAX_DURATION).or(policy.ttl);
    let on_full = [
        ("reject", OnFull::Reject),
        ("drop_oldest", OnFull::DropOldest),
        ("drop_newest", OnFull::DropNewest),
        ("wait", OnFull::Wait),
    ];
    policy.on_full = section.get("on_full").and_then(|item| item.word(&on_full)).unwrap_or(policy.on_full);
    let when_down = [("hold", WhenDown::Hold), ("reject", WhenDown::Reject), ("drop", WhenDown::Drop)];
    policy.when_down = section.get("when_down").and_then(|item| item.word(&when_down)).unwrap_or(policy.when_down);
    policy.conflate = section.bool("conflate").unwrap_or(policy.conflate);
    acknowledgement(section, policy);
    if policy.max_message as u64 > policy.max_bytes {
        if section.has("max_message") {
            section.fault(
                "max_message",
                "`max_message` is larger than `max_bytes`",
                "no such message could be queued: make `max_bytes` as large",
            );
        } else {
            // A smaller queue takes smaller messages; what is larger could never be queued.
            policy.max_message = usize::try_from(policy.max_bytes).unwrap_or(policy.max_message);
        }
    }
    section.finish();
}

fn acknowledgement(outbox: &Section<'_>, policy: &mut outbox::Policy) {
    let section = outbox.section("ack");
    let pointer = |key| {
        let item = section.get(key)?;
        let text = item.text()?;
        if !text.starts_with('/') {
            item.fault("is not a JSON pointer", "write a path that begins with `/`, as `/id` or `/1` (RFC 6901)");
        }
        Some(Box::from(text))
    };
    let timeout = outbox.duration("ack_timeout", Duration::from_millis(1)..=MAX_DURATION);
    match (pointer("outgoing"), pointer("incoming")) {
        (Some(outgoing), Some(incoming)) => {
            policy.ack = Some(Ack { outgoing, incoming, timeout: ACK_TIMEOUT });
        }
        (Some(_), None) if !section.has("incoming") => {
            section.fault("incoming", "is missing", "say where the key is in what arrives, as `/ack`");
        }
        (None, Some(_)) if !section.has("outgoing") => {
            section.fault("outgoing", "is missing", "say where the key is in what is sent, as `/id`");
        }
        (Some(_), None) | (None, Some(_) | None) => {}
    }
    match (&mut policy.ack, timeout) {
        (Some(ack), Some(timeout)) => ack.timeout = timeout,
        (None, Some(_)) => outbox.warn("ack_timeout", "without `ack` there is nothing to wait for"),
        (Some(_) | None, None) => {}
    }
    section.finish();
}

/// `max_message` may exceed `max_bytes` here: the newest message is kept whatever its size.
fn inbox(section: &Section<'_>, policy: &mut inbox::Policy) {
    policy.durable = section.get("durability").and_then(|item| item.word(&DURABILITY)).unwrap_or(policy.durable);
    policy.max_messages = section.count("max_messages", 1..=100_000_000).unwrap_or(policy.max_messages);
    policy.max_bytes = bytes(section, "max_bytes").unwrap_or(policy.max_bytes);
    policy.max_message = message(section, "max_message").unwrap_or(policy.max_message);
    section.finish();
}

fn bytes(section: &Section<'_>, key: &'static str) -> Option<u64> {
    section.get(key)?.size(1..=MAX_SIZE)
}

fn message(section: &Section<'_>, key: &'static str) -> Option<usize> {
    section.get(key)?.size(1..=1 << 30).and_then(|size| usize::try_from(size).ok())
}

#[cfg(test)]
mod tests {
    use crate::{
        config::parse_toml,
        core::heartbeat::{Watch, WhenIdle},
    };

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
