//! An endpoint's configuration and sums, for the wire.
//!
//! The configuration is shown as its table of keys says.

use super::super::wire;
use crate::config::Config;
use wskeeper_core::phase::Phase;
use wskeeper_link::pool::{EndpointView, Totals};

pub(in crate::api) fn endpoint(view: &EndpointView, config: &Config) -> wire::Endpoint {
    wire::Endpoint {
        name: view.config.name.to_string(),
        config: wire::EndpointConfig(config.written(&view.config).shown()),
        totals: totals(&view.totals),
        links: None,
        pushes: None,
    }
}

fn totals(totals: &Totals) -> wire::Totals {
    let Totals { phases, buffered_amount, queued_messages, inbox_cursor, consumers, subscriptions } = totals;
    wire::Totals {
        phases: Phase::ALL.into_iter().map(|phase| phase.to_string()).zip(*phases).collect(),
        buffered_amount: *buffered_amount,
        queued_messages: *queued_messages,
        inbox_cursor: *inbox_cursor,
        consumers: *consumers,
        subscriptions: subscriptions.map(super::subscriptions),
    }
}
