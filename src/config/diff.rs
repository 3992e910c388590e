//! Which keys a new configuration changes, and what each change costs: nothing, a new connection, or a restart.
//!
//! Every struct is taken apart without `..`, so a new key does not compile until someone has decided its class here. A key that
//! needs a restart is not only noted: the new configuration gets the old value back, because that one stays in force.

use super::{Api, Config, Endpoint, Limits, Log, Metrics, Storage, Tls, Tracing};
use crate::core::{
    admission, backoff, heartbeat, inbox, link, outbox,
    outcome::{Match, Rule},
};

/// Which keys outside of `[endpoints]` changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DaemonDiff {
    /// Keys that are followed at once.
    pub(super) live: Vec<&'static str>,
    /// Keys that only a restart can follow.
    pub(super) restart: Vec<&'static str>,
}

/// Which keys of one endpoint changed, but for the number of links.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct EndpointDiff {
    /// Keys that links follow without a new connection.
    pub(super) live: Vec<&'static str>,
    /// Keys that only a new connection can follow.
    pub(super) renew: Vec<&'static str>,
}

/// Adds to a list the keys of those fields of the old value, taken apart before, that the new one has otherwise.
macro_rules! note {
    ($list:expr, $new:expr, { $($field:ident => $key:literal),+ $(,)? }) => {
        $(if *$field != $new.$field {
            $list.push($key);
        })+
    };
}

/// As `note!`, and gives the new value the old fields back.
macro_rules! hold {
    ($list:expr, $new:expr, { $($field:ident => $key:literal),+ $(,)? }) => {
        $(if *$field != $new.$field {
            $list.push($key);
            $new.$field.clone_from($field);
        })+
    };
}

/// Compares everything but the endpoints, and gives `new` the old values of what needs a restart. An open store cannot be
/// changed; one that is not open yet is looked for where the new configuration says.
pub(super) fn daemon(old: &Config, new: &mut Config, store_is_open: bool) -> DaemonDiff {
    let mut diff = DaemonDiff::default();
    // Endpoints are compared one by one.
    let Config { watch, allow_empty, api, log, metrics, admission, limits, storage, tracing, endpoints: _ } = old;
    note!(diff.live, new, { watch => "watch", allow_empty => "allow_empty" });
    diff.api(api, &mut new.api);
    let Log { level, format } = log;
    hold!(diff.restart, new.log, { level => "log.level", format => "log.format" });
    let Metrics { per_link } = metrics;
    hold!(diff.restart, new.metrics, { per_link => "metrics.per_link" });
    let admission::Policy { per_host, total, rate } = admission;
    note!(diff.live, new.admission, {
        per_host => "admission.per_host",
        total => "admission.total",
        rate => "admission.rate",
    });
    let Limits { memory, receipts, drain } = limits;
    hold!(diff.restart, new.limits, { memory => "limits.memory", receipts => "limits.receipts" });
    note!(diff.live, new.limits, { drain => "limits.drain" });
    let Tracing { otlp } = tracing;
    note!(diff.restart, new.tracing, { otlp => "tracing" });
    let Storage { dir, max_bytes } = storage;
    if store_is_open {
        hold!(diff.restart, new.storage, { dir => "storage.dir", max_bytes => "storage.max_bytes" });
    } else {
        note!(diff.live, new.storage, { dir => "storage.dir", max_bytes => "storage.max_bytes" });
    }
    diff
}

impl DaemonDiff {
    fn api(&mut self, old: &Api, new: &mut Api) {
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
        hold!(self.restart, new, {
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
}

/// Compares an endpoint with what became of it.
pub(super) fn endpoint(old: &Endpoint, new: &Endpoint) -> EndpointDiff {
    let Endpoint {
        // It is the same: endpoints are compared by name.
        name: _,
        urls,
        // They follow from `urls`.
        targets: _,
        // Links come and go by it, and those in both are not touched.
        links: _,
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
    let mut diff = EndpointDiff::default();
    note!(diff.renew, new, { urls => "url", protocols => "protocols", headers => "headers" });
    note!(diff.live, new, {
        protocols_optional => "protocols_optional",
        redirects => "redirects",
        critical => "critical",
        min_ready => "min_ready",
        receipts_keep => "receipts.keep",
    });
    let Tls { ca, client, server_name, insecure } = tls;
    note!(diff.renew, new.tls, {
        ca => "tls.ca",
        client => "tls.cert",
        server_name => "tls.server_name",
        insecure => "tls.insecure",
    });
    diff.policy(link, &new.link);
    let inbox::Policy { max_messages, max_bytes, max_message, durable } = inbox;
    note!(diff.live, new.inbox, {
        max_messages => "inbox.max_messages",
        max_bytes => "inbox.max_bytes",
        durable => "inbox.durability",
    });
    // The socket is built with it.
    note!(diff.renew, new.inbox, { max_message => "inbox.max_message" });
    diff
}

impl EndpointDiff {
    fn policy(&mut self, old: &link::Policy, new: &link::Policy) {
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
            rotates,
            overlap,
            // Told as `inbox.max_message`.
            max_inbound: _,
        } = old;
        note!(self.live, new, { connect_timeout => "connect_timeout", close_timeout => "close_timeout" });
        let heartbeat::Policy { watch, idle, timeout, abort_code } = heartbeat;
        note!(self.live, new.heartbeat, {
            watch => "heartbeat.ping",
            idle => "heartbeat.idle",
            timeout => "heartbeat.timeout",
            abort_code => "heartbeat.abort_code",
        });
        let backoff::Policy { first, initial, multiplier, max, stable } = backoff;
        note!(self.live, new.backoff, {
            first => "reconnect.first",
            initial => "reconnect.initial",
            max => "reconnect.max",
            stable => "reconnect.stable",
        });
        if multiplier.to_bits() != new.backoff.multiplier.to_bits() {
            self.live.push("reconnect.multiplier");
        }
        note!(self.live, new, {
            park_probe => "reconnect.park_probe",
            retry_after_max => "reconnect.retry_after_max",
        });
        // What follows a clean close is rows too.
        if outcomes.len() != new.outcomes.len() || !outcomes.iter().zip(&new.outcomes).all(same_rule) {
            self.live.push("outcomes");
        }
        self.outbox(outbox, &new.outbox);
        note!(self.live, new, {
            confirm_interval => "outbox.confirm_interval",
            rotates => "rotation.enabled",
            overlap => "rotation.overlap",
        });
    }

    fn outbox(&mut self, old: &outbox::Policy, new: &outbox::Policy) {
        let outbox::Policy {
            max_messages,
            max_bytes,
            max_message,
            ttl,
            on_full,
            when_down,
            conflate,
            delivery,
            ack,
            durable,
        } = old;
        note!(self.live, new, {
            max_messages => "outbox.max_messages",
            max_bytes => "outbox.max_bytes",
            max_message => "outbox.max_message",
            ttl => "outbox.ttl",
            on_full => "outbox.on_full",
            when_down => "outbox.when_down",
            conflate => "outbox.conflate",
            delivery => "outbox.delivery",
            ack => "outbox.ack",
            durable => "outbox.durability",
        });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_toml;

    fn changed(old: &str, new: &str) -> EndpointDiff {
        let base = "[endpoints.a]\nurl = \"ws://h/\"\n";
        let config = |text: &str| parse_toml(&format!("{base}{text}"), "test.toml").unwrap().config;
        endpoint(&config(old).endpoints["a"], &config(new).endpoints["a"])
    }

    #[test]
    fn the_same_text_is_no_change() {
        let text = "outcomes = [{ match = { reason = \"x\", code = 4000 }, then = \"park\" }]";
        assert_eq!(changed(text, text), EndpointDiff::default());
    }

    #[test]
    fn rows_of_outcomes_that_differ_in_a_pattern_alone_are_a_change() {
        let rule = |reason: &str| format!("outcomes = [{{ match = {{ reason = {reason:?} }}, then = \"park\" }}]");
        assert_eq!(changed(&rule("x"), &rule("y")).live, ["outcomes"]);
    }

    #[test]
    fn a_change_names_the_keys_and_no_other() {
        let diff = changed("", "reconnect = { max = \"9s\", park_probe = \"1h\" }\ntls = { insecure = true }");
        assert_eq!(diff.live, ["reconnect.max", "reconnect.park_probe"]);
        assert_eq!(diff.renew, ["tls.insecure"]);
    }
}
