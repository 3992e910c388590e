//! An endpoint's configuration and sums, for the wire.
//!
//! Every struct is taken apart without `..`, so a new key does not compile until someone has shown it, or decided not to.

use std::{ops::RangeInclusive, path::Path, time::Duration};

use super::super::wire;
use crate::{
    config::{self, FieldName, Template},
    core::{
        backoff,
        heartbeat::{self, Watch},
        inbox, link,
        outbox::{self, Ack, Delivery, OnFull, WhenDown},
        outcome::{Match, Rule},
        phase::Phase,
    },
    pool::{EndpointView, Totals},
};

pub(in crate::api) fn endpoint(view: &EndpointView) -> wire::Endpoint {
    wire::Endpoint {
        name: view.config.name.to_string(),
        config: shown(&view.config),
        totals: totals(&view.totals),
        links: None,
    }
}

fn shown(endpoint: &config::Endpoint) -> wire::EndpointConfig {
    let config::Endpoint {
        // It stands beside.
        name: _,
        urls,
        // They follow from `urls`.
        targets: _,
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
    } = endpoint;
    let link::Policy {
        // Told as `urls`.
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
        // Told as `inbox.maxMessageBytes`.
        max_inbound: _,
    } = &**link;
    let header =
        |(name, value): &(FieldName, Template)| wire::Header { name: name.written().to_owned(), value: value.shown() };
    wire::EndpointConfig {
        urls: urls.iter().map(Template::shown).collect(),
        links: *links,
        protocols: protocols.iter().map(Template::shown).collect(),
        protocols_optional: *protocols_optional,
        headers: headers.iter().map(header).collect(),
        redirects: *redirects,
        connect_timeout_ms: millis(*connect_timeout),
        close_timeout_ms: millis(*close_timeout),
        critical: *critical,
        min_ready: *min_ready,
        heartbeat: beat(heartbeat),
        reconnect: reconnect(backoff, *park_probe, *retry_after_max),
        rotation: wire::RotationKeys { enabled: *rotates, overlap_ms: millis(*overlap) },
        outcomes: outcomes.iter().map(outcome).collect(),
        outbox: out(outbox, *confirm_interval),
        inbox: within(inbox),
        tls: trust(tls),
        receipts: wire::Receipts { keep_ms: millis(*receipts_keep) },
    }
}

fn beat(policy: &heartbeat::Policy) -> wire::Heartbeat {
    let heartbeat::Policy { watch, idle, timeout, abort_code } = policy;
    let (when_idle, timeout) = match watch {
        Watch::Pings(when) => (when.as_str(), Some(*timeout)),
        Watch::Silence => ("", Some(*timeout)),
        Watch::Tcp => ("", None),
    };
    wire::Heartbeat {
        ping: policy.pings(),
        when_idle: when_idle.into(),
        idle_ms: millis(*idle),
        timeout_ms: timeout.map(millis),
        abort_code: *abort_code,
    }
}

fn reconnect(policy: &backoff::Policy, park_probe: Duration, retry_after_max: Duration) -> wire::Reconnect {
    let backoff::Policy { first, initial, multiplier, max, stable } = policy;
    wire::Reconnect {
        first_ms: millis(*first),
        initial_ms: millis(*initial),
        multiplier: *multiplier,
        max_ms: millis(*max),
        stable_ms: millis(*stable),
        park_probe_ms: millis(park_probe),
        retry_after_max_ms: millis(retry_after_max),
    }
}

fn outcome(rule: &Rule) -> wire::Outcome {
    let Rule { when, then, after } = rule;
    let Match { code, reason, status, class } = when;
    wire::Outcome {
        when: wire::Match {
            code: code.as_ref().map(range),
            reason: reason.as_ref().map(|pattern| pattern.source().to_owned()),
            status: status.as_ref().map(range),
            class: class.map(|cause| cause.as_str().to_owned()),
        },
        then: then.as_str().to_owned(),
        after: *after,
    }
}

fn range(range: &RangeInclusive<u16>) -> String {
    let (from, to) = range.clone().into_inner();
    if from == to { from.to_string() } else { format!("{from}-{to}") }
}

fn out(policy: &outbox::Policy, confirm_interval: Duration) -> wire::Outbox {
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
    } = policy;
    let delivery = match delivery {
        Delivery::AtMostOnce => "at_most_once",
        Delivery::AtLeastOnce => "at_least_once",
    };
    let on_full = match on_full {
        OnFull::Reject => "reject",
        OnFull::DropOldest => "drop_oldest",
        OnFull::DropNewest => "drop_newest",
        OnFull::Wait => "wait",
    };
    let when_down = match when_down {
        WhenDown::Hold => "hold",
        WhenDown::Reject => "reject",
        WhenDown::Drop => "drop",
    };
    wire::Outbox {
        max_messages: *max_messages,
        max_bytes: *max_bytes,
        max_message_bytes: *max_message,
        ttl_ms: ttl.map(millis),
        on_full: on_full.to_owned(),
        when_down: when_down.to_owned(),
        conflate: *conflate,
        delivery: delivery.to_owned(),
        ack: ack.as_ref().map(acknowledgement),
        ack_timeout_ms: ack.as_ref().map(|ack| millis(ack.timeout)),
        durability: durability(*durable),
        confirm_interval_ms: millis(confirm_interval),
    }
}

fn acknowledgement(ack: &Ack) -> wire::Ack {
    wire::Ack { outgoing: ack.outgoing.to_string(), incoming: ack.incoming.to_string() }
}

fn durability(durable: bool) -> String {
    if durable { "disk" } else { "memory" }.to_owned()
}

fn within(policy: &inbox::Policy) -> wire::Inbox {
    let inbox::Policy { max_messages, max_bytes, max_message, durable } = policy;
    wire::Inbox {
        max_messages: *max_messages,
        max_bytes: *max_bytes,
        max_message_bytes: *max_message,
        durability: durability(*durable),
    }
}

fn trust(tls: &config::Tls) -> wire::Tls {
    let config::Tls { ca, client, server_name, insecure } = tls;
    let path = |path: &Path| path.display().to_string();
    wire::Tls {
        ca: ca.as_deref().map(path),
        cert: client.as_ref().map(|(cert, _)| path(cert)),
        key: client.as_ref().map(|(_, key)| path(key)),
        server_name: server_name.clone(),
        insecure: *insecure,
    }
}

fn totals(totals: &Totals) -> wire::Totals {
    let Totals { phases, buffered_amount, queued_messages, inbox_cursor, consumers } = totals;
    wire::Totals {
        phases: Phase::ALL.into_iter().map(|phase| phase.to_string()).zip(*phases).collect(),
        buffered_amount: *buffered_amount,
        queued_messages: *queued_messages,
        inbox_cursor: *inbox_cursor,
        consumers: *consumers,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
