//! An endpoint as the API shows it: its whole configuration in force, and what it is doing.
//!
//! The keys are those of the configuration in camelCase, units added; a table of rows stands as rows. Text that may be
//! secret is left out: references stand as they are written, never as what they evaluate to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Link, List, RequestCounts, StreamCounts};
use crate::config::Shown;

/// An endpoint: its configuration without what is secret, and sums over its links.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Endpoint {
    /// The name.
    pub name: String,
    /// Where it comes from: the `file`; or the API, which keeps it in `memory` or on `disk`.
    pub source: String,
    /// What is in force, defaults included.
    pub config: EndpointConfig,
    /// Sums over its links.
    pub totals: Totals,
    /// The first 1000 of them, and `next` for `GET /v1/links`; not in a list of endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub links: Option<List<Link>>,
    /// Receivers that its messages are pushed to; not in a list of endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pushes: Option<Vec<super::Push>>,
    /// Its bridges; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridges: Option<Vec<super::Bridge>>,
    /// Its requests that have not ended; `null` where it has none, and in a list of endpoints.
    pub requests: Option<RequestCounts>,
    /// Its streams, by name; not in a list of endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<Vec<StreamCounts>>,
}

/// An endpoint's configuration in force.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EndpointConfig(pub Shown);

#[cfg(test)]
impl utoipa::PartialSchema for EndpointConfig {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        let (_, schema) = crate::config::table::written::schemas().swap_remove(0);
        serde_json::from_value(schema).expect("it is a schema")
    }
}

#[cfg(test)]
impl utoipa::ToSchema for EndpointConfig {
    fn schemas(schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>) {
        for (name, schema) in crate::config::table::written::schemas().into_iter().skip(1) {
            schemas.push((name, serde_json::from_value(schema).expect("it is a schema")));
        }
    }
}

/// Sums over an endpoint's links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Links by phase; every phase is there.
    pub phases: BTreeMap<String, u32>,
    /// Of those that are `paused`, lazy ones that nobody wants.
    #[serde(default)]
    pub asleep: u32,
    /// Bytes held.
    pub buffered_amount: u64,
    /// Messages held.
    pub queued_messages: u64,
    /// The newest cursor of its inbox.
    pub inbox_cursor: u64,
    /// Local subscribers.
    pub consumers: u64,
    /// Keys that its links are to have asked their peers for, by state; `null` where it has no subscriptions.
    #[serde(default)]
    pub subscriptions: Option<super::SubscriptionCounts>,
    /// Its attempts; `null` where `reconnect.budget` does not count them.
    #[serde(default)]
    pub budget: Option<BudgetState>,
}

/// Attempts of an endpoint's links, which `reconnect.budget` counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct BudgetState {
    /// How many may begin.
    pub attempts: u32,
    /// The window in which they are counted.
    pub per_ms: u64,
    /// How many have begun and count.
    pub used: u32,
    /// The store keeps the count; else a restart forgets it.
    pub kept: bool,
    /// When the next may begin; `null` where one may now.
    pub until: Option<String>,
}
