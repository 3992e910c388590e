//! The series of an endpoint's pushes and bridges, set at each scrape.
//!
//! What a reader would get wrong: each counts for itself, and begins at 0 when a reload changes it, as it does after a restart.

use std::sync::Arc;

use wskeeper_core::push::Counts;

use super::{
    endpoint::EndpointMetrics,
    text::{
        Family,
        Kind::{self, Counter as COUNTER, Gauge as GAUGE},
    },
};

/// A push in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushNumbers {
    /// What it is called.
    pub name: Arc<str>,
    /// What has happened since it began.
    pub counts: Counts,
    /// Entries of the inbox that its receiver has not.
    pub behind: u64,
    /// Its receiver takes nothing.
    pub failing: bool,
    /// Of a bridge: its broker is connected.
    pub connected: Option<bool>,
}

const fn family(
    name: &'static str,
    help: &'static str,
    kind: Kind,
    samples: fn(&EndpointMetrics, &mut super::text::Samples<'_>),
) -> Family<EndpointMetrics> {
    Family { name, help, kind, samples }
}

/// The families, in the order of `/metrics`.
#[rustfmt::skip]
pub(super) const FAMILIES: &[Family<EndpointMetrics>] = &[
    family("wskeeper_push_delivered_total", "Messages that receivers of pushes have taken.", COUNTER, |of, to| of.pushes(|name, push| to.number(&[("push", name)], push.counts.delivered))),
    family("wskeeper_push_delivered_bytes_total", "Bytes of messages that receivers of pushes have taken.", COUNTER, |of, to| of.pushes(|name, push| to.number(&[("push", name)], push.counts.delivered_bytes))),
    family("wskeeper_push_failures_total", "Attempts of pushes that failed.", COUNTER, |of, to| of.pushes(|name, push| to.number(&[("push", name)], push.counts.failed))),
    family("wskeeper_push_retries_total", "Attempts of pushes after the first of a batch.", COUNTER, |of, to| of.pushes(|name, push| to.number(&[("push", name)], push.counts.retries))),
    family("wskeeper_push_skipped_total", "Messages that receivers of pushes refused, and that were skipped.", COUNTER, |of, to| of.pushes(|name, push| to.number(&[("push", name)], push.counts.skipped))),
    family("wskeeper_push_gaps_total", "Gaps that were sent to receivers of pushes.", COUNTER, |of, to| of.pushes(|name, push| to.number(&[("push", name)], push.counts.gaps))),
    family("wskeeper_push_cursor_refused_total", "Cursors of pushes that the store refused to keep.", COUNTER, |of, to| of.pushes(|name, push| to.number(&[("push", name)], push.counts.unkept))),
    family("wskeeper_push_behind_entries", "Entries of the inbox that a push has not handed over.", GAUGE, |of, to| of.pushes(|name, push| to.number(&[("push", name)], push.behind))),
    family("wskeeper_push_failing", "1 while the receiver of a push takes nothing, otherwise 0.", GAUGE, |of, to| of.pushes(|name, push| to.number(&[("push", name)], u8::from(push.failing)))),
    family("wskeeper_bridge_delivered_total", "Messages that brokers have taken from bridges.", COUNTER, |of, to| of.bridges(|name, bridge| to.number(&[("bridge", name)], bridge.counts.delivered))),
    family("wskeeper_bridge_delivered_bytes_total", "Bytes of messages that brokers have taken from bridges.", COUNTER, |of, to| of.bridges(|name, bridge| to.number(&[("bridge", name)], bridge.counts.delivered_bytes))),
    family("wskeeper_bridge_failures_total", "Attempts of bridges that failed.", COUNTER, |of, to| of.bridges(|name, bridge| to.number(&[("bridge", name)], bridge.counts.failed))),
    family("wskeeper_bridge_retries_total", "Attempts of bridges after the first of a batch.", COUNTER, |of, to| of.bridges(|name, bridge| to.number(&[("bridge", name)], bridge.counts.retries))),
    family("wskeeper_bridge_skipped_total", "Messages that brokers refused, and that were skipped.", COUNTER, |of, to| of.bridges(|name, bridge| to.number(&[("bridge", name)], bridge.counts.skipped))),
    family("wskeeper_bridge_gaps_total", "Gaps that were published at brokers.", COUNTER, |of, to| of.bridges(|name, bridge| to.number(&[("bridge", name)], bridge.counts.gaps))),
    family("wskeeper_bridge_cursor_refused_total", "Cursors of bridges that the store refused to keep.", COUNTER, |of, to| of.bridges(|name, bridge| to.number(&[("bridge", name)], bridge.counts.unkept))),
    family("wskeeper_bridge_behind_entries", "Entries of the inbox that a bridge has not handed over.", GAUGE, |of, to| of.bridges(|name, bridge| to.number(&[("bridge", name)], bridge.behind))),
    family("wskeeper_bridge_failing", "1 while the broker of a bridge takes nothing, otherwise 0.", GAUGE, |of, to| of.bridges(|name, bridge| to.number(&[("bridge", name)], u8::from(bridge.failing)))),
    family("wskeeper_bridge_connected", "1 while a bridge has a connection to its broker, otherwise 0.", GAUGE, |of, to| of.bridges(|name, bridge| to.number(&[("bridge", name)], u8::from(bridge.connected == Some(true))))),
];
