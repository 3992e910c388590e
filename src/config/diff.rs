//! What a new configuration changes, and what each change costs.
//!
//! Every struct is taken apart without `..`, so a new key does not compile until someone has decided its class here.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{Api, Config, Endpoint, Limits, Log, Metrics, Storage};
use crate::core::{
    inbox, link,
    outcome::{Match, Rule},
};

/// What changed. Endpoints that are the same in both are not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// By name.
    pub endpoints: BTreeMap<Arc<str>, EndpointChange>,
    /// Keys of the daemon that are followed at once.
    pub live: Vec<&'static str>,
    /// Keys of the daemon that only a restart can follow.
    pub restart: Vec<&'static str>,
}

/// What became of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointChange {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is in both, and not the same.
    Changed(EndpointDiff),
}

/// Which keys of one endpoint changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointDiff {
    /// Keys that links follow without a new connection.
    pub live: Vec<&'static str>,
    /// Keys that only a new connection can follow.
    pub redial: Vec<&'static str>,
    /// The number of links before and after, where it changed: those between come or go, the others stay.
    pub links: Option<(u32, u32)>,
}

impl Diff {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty() && self.live.is_empty() && self.restart.is_empty()
    }
}

impl EndpointDiff {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.redial.is_empty() && self.links.is_none()
    }
}

/// Adds to a list the keys of those fields of the old value, taken apart before, that the new one has otherwise.
macro_rules! note {
    ($list:expr, $new:expr, { $($field:ident => $key:literal),+ $(,)? }) => {
        $(if *$field != $new.$field {
            $list.push($key);
        })+
    };
}

/// Compares two configurations.
pub fn diff(old: &Config, new: &Config) -> Diff {
    let mut diff = Diff::default();
    let Config { api, log, metrics, admission, limits, storage, endpoints } = old;
    diff.daemon(api, &new.api);
    diff.rest(log, &new.log);
    note!(diff.live, new, { admission => "admission" });
    let Metrics { per_link } = metrics;
    note!(diff.restart, new.metrics, { per_link => "metrics.per_link" });
    let Limits { memory, receipts, drain } = limits;
    note!(diff.restart, new.limits, { memory => "limits.memory", receipts => "limits.receipts" });
    note!(diff.live, new.limits, { drain => "limits.drain" });
    let Storage { dir, max_bytes } = storage;
    note!(diff.restart, new.storage, { dir => "storage.dir", max_bytes => "storage.max_bytes" });
    for (name, old) in endpoints {
        let change = match new.endpoints.get(name) {
            None => EndpointChange::Removed,
            Some(new) => EndpointChange::Changed(endpoint(old, new)),
        };
        if change != EndpointChange::Changed(EndpointDiff::default()) {
            diff.endpoints.insert(name.clone(), change);
        }
    }
    for name in new.endpoints.keys().filter(|name| !endpoints.contains_key(*name)) {
        diff.endpoints.insert(name.clone(), EndpointChange::Added);
    }
    diff
}

impl Diff {
    fn daemon(&mut self, old: &Api, new: &Api) {
        let Api {
            listen,
            chaos,
            tokens,
            allowed_hosts,
            allowed_origins,
            readiness,
            max_body,
            max_connections,
            header_timeout,
            body_timeout,
            write_timeout,
            keepalive,
        } = old;
        note!(self.restart, new, {
            listen => "api.listen",
            max_body => "api.max_body",
            max_connections => "api.max_connections",
            header_timeout => "api.header_timeout",
            body_timeout => "api.body_timeout",
            write_timeout => "api.write_timeout",
        });
        // Looked up at each request.
        note!(self.live, new, {
            chaos => "api.chaos",
            tokens => "api.tokens",
            allowed_hosts => "api.allowed_hosts",
            allowed_origins => "api.allowed_origins",
            readiness => "api.readiness",
            keepalive => "api.keepalive",
        });
    }

    fn rest(&mut self, old: &Log, new: &Log) {
        let Log { level, format } = old;
        note!(self.restart, new, { level => "log.level", format => "log.format" });
    }
}

/// Compares an endpoint with what became of it.
pub fn endpoint(old: &Endpoint, new: &Endpoint) -> EndpointDiff {
    let Endpoint {
        // It is the same: endpoints are compared by name.
        name: _,
        urls,
        links,
        protocols,
        protocols_optional,
        headers,
        redirects,
        tls,
        critical,
        min_ready,
        link,
        inbox,
        receipts_keep,
    } = old;
    let mut diff =
        EndpointDiff { links: (*links != new.links).then_some((*links, new.links)), ..EndpointDiff::default() };
    note!(diff.redial, new, { urls => "url", protocols => "protocols", headers => "headers", tls => "tls" });
    note!(diff.live, new, {
        protocols_optional => "protocols_optional",
        redirects => "redirects",
        critical => "critical",
        min_ready => "min_ready",
        receipts_keep => "receipts",
    });
    policy(&mut diff, link, &new.link);
    let inbox::Policy { max_messages, max_bytes, max_message } = inbox;
    note!(diff.live, new.inbox, { max_messages => "inbox.max_messages", max_bytes => "inbox.max_bytes" });
    // The socket is built with it.
    note!(diff.redial, new.inbox, { max_message => "inbox.max_message" });
    diff
}

fn policy(diff: &mut EndpointDiff, old: &link::Policy, new: &link::Policy) {
    let link::Policy {
        // Told as `url`.
        urls: _,
        connect_timeout,
        close_timeout,
        park_probe,
        retry_after_max,
        heartbeat,
        confirm_interval,
        backoff,
        outcomes,
        outbox,
        // Told as `inbox.max_message`.
        max_inbound: _,
    } = old;
    note!(diff.live, new, {
        connect_timeout => "connect_timeout",
        close_timeout => "close_timeout",
        park_probe => "reconnect.park_probe",
        retry_after_max => "reconnect.retry_after_max",
        heartbeat => "heartbeat",
        confirm_interval => "outbox.confirm_interval",
        backoff => "reconnect",
        outbox => "outbox",
    });
    if outcomes.len() != new.outcomes.len() || !outcomes.iter().zip(&new.outcomes).all(same_rule) {
        diff.live.push("outcomes");
    }
}

fn same_rule((old, new): (&Rule, &Rule)) -> bool {
    let Rule { when, then, after } = old;
    let Match { code, reason, status, class } = when;
    let source = |when: &Match| when.reason.as_ref().map(|pattern| pattern.source().to_owned());
    *then == new.then
        && *after == new.after
        && *code == new.when.code
        && reason.as_ref().map(|pattern| pattern.source().to_owned()) == source(&new.when)
        && *status == new.when.status
        && *class == new.when.class
}

impl fmt::Display for EndpointDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut keys: Vec<&str> = self.redial.iter().chain(&self.live).copied().collect();
        if self.links.is_some() {
            keys.push("links");
        }
        f.write_str(&keys.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_toml;

    fn config(text: &str) -> Config {
        parse_toml(text, "test.toml").unwrap().config
    }

    fn changed(old: &str, new: &str) -> EndpointDiff {
        let base = "[endpoints.a]\nurl = \"ws://h/\"\n";
        let (old, new) = (config(&format!("{base}{old}")), config(&format!("{base}{new}")));
        endpoint(&old.endpoints["a"], &new.endpoints["a"])
    }

    #[test]
    fn the_same_text_is_no_change() {
        let text = "[endpoints.a]\nurl = \"ws://h/\"\noutcomes = [{ match = { reason = \"x\", code = 4000 }, then = \"park\" }]";
        assert!(diff(&config(text), &config(text)).is_empty());
    }

    #[test]
    fn what_the_handshake_says_needs_a_new_connection() {
        assert_eq!(changed("", "headers = { X-A = \"1\" }").redial, ["headers"]);
        assert_eq!(changed("", "protocols = [\"a\"]").redial, ["protocols"]);
        assert_eq!(changed("", "tls = { insecure = true }").redial, ["tls"]);
        assert_eq!(changed("", "inbox = { max_message = \"2MiB\" }").redial, ["inbox.max_message"]);
    }

    #[test]
    fn limits_and_delays_are_followed_live() {
        assert_eq!(changed("", "heartbeat = { idle = \"1s\" }").live, ["heartbeat"]);
        assert_eq!(
            changed("", "reconnect = { max = \"9s\", park_probe = \"1h\" }").live,
            ["reconnect.park_probe", "reconnect"]
        );
        assert_eq!(changed("", "outbox = { ttl = \"1s\" }").live, ["outbox"]);
        let rule = |reason: &str| format!("outcomes = [{{ match = {{ reason = {reason:?} }}, then = \"park\" }}]");
        assert_eq!(changed(&rule("x"), &rule("y")).live, ["outcomes"]);
        assert!(changed("", "links = 3").redial.is_empty());
        assert_eq!(changed("", "links = 3").links, Some((1, 3)));
    }

    #[test]
    fn endpoints_come_and_go() {
        let old = config("[endpoints.a]\nurl = \"ws://h/\"\n[endpoints.b]\nurl = \"ws://h/\"");
        let new = config("[endpoints.b]\nurl = \"ws://i/\"\n[endpoints.c]\nurl = \"ws://h/\"");
        let diff = diff(&old, &new);
        assert_eq!(diff.endpoints["a"], EndpointChange::Removed);
        assert_eq!(diff.endpoints["c"], EndpointChange::Added);
        let EndpointChange::Changed(b) = &diff.endpoints["b"] else { panic!("b is in both") };
        assert_eq!(b.to_string(), "url");
    }

    #[test]
    fn a_new_address_for_the_api_needs_a_restart() {
        let diff = diff(
            &config(""),
            &config("[api]\nlisten = \"127.0.0.1:1\"\n[admission]\ntotal = 5\n[limits]\ndrain = \"1s\""),
        );
        assert_eq!((diff.restart, diff.live), (vec!["api.listen"], vec!["admission", "limits.drain"]));
    }
}
