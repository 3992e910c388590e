//! An endpoint's configuration and sums, for the wire.
//!
//! The configuration is shown as its table of keys says.

use super::super::wire;
use crate::config::InForce;
use wskeeper_core::phase::Phase;
use wskeeper_link::{
    endpoint::Endpoint,
    hub::StreamView,
    pool::{EndpointView, RequestsView, Totals},
};

pub(in crate::api) fn endpoint(view: &EndpointView, config: &InForce) -> wire::Endpoint {
    wire::Endpoint {
        name: view.config.name.to_string(),
        source: config.source(&view.config.name).into(),
        config: wire::EndpointConfig(config.written(&view.config).shown()),
        totals: totals(&view.totals),
        links: None,
        pushes: None,
        bridges: None,
        requests: None,
        streams: None,
    }
}

pub(in crate::api) fn requests(view: RequestsView, config: &Endpoint) -> wire::RequestCounts {
    let RequestsView { waiting, asked } = view;
    wire::RequestCounts { waiting, asked, in_flight: config.link.requests.in_flight }
}

pub(in crate::api) fn stream(view: &StreamView) -> wire::StreamCounts {
    let StreamView { name, cursor, bytes, readers } = view;
    let behind = readers.iter().map(|reader| cursor.saturating_sub(reader.cursor)).max();
    wire::StreamCounts {
        name: name.to_string(),
        cursor: *cursor,
        bytes: *bytes,
        readers: readers.len() as u64,
        behind: behind.unwrap_or_default(),
        lost: readers.iter().map(|reader| reader.missed).sum(),
    }
}

fn totals(totals: &Totals) -> wire::Totals {
    let Totals { phases, asleep, buffered_amount, queued_messages, inbox_cursor, consumers, subscriptions, budget } =
        totals;
    wire::Totals {
        phases: Phase::ALL.into_iter().map(|phase| phase.to_string()).zip(*phases).collect(),
        asleep: *asleep,
        buffered_amount: *buffered_amount,
        queued_messages: *queued_messages,
        inbox_cursor: *inbox_cursor,
        consumers: *consumers,
        subscriptions: subscriptions.map(super::subscriptions),
        budget: budget.map(super::budget),
    }
}
