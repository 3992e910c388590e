//! The JSON of endpoints that come and go by the API.

use serde::{Deserialize, Serialize};

use super::Change;

/// What a `PUT` of an endpoint did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EndpointPut {
    /// The name.
    pub name: String,
    /// Where it is kept: `memory`, or `disk`.
    pub source: String,
    /// What `If-Match` may name, as the header `ETag` has it.
    pub etag: String,
    /// Link by link, as a reload tells.
    pub changes: Vec<Change>,
    /// Settings that may be mistakes.
    pub warnings: Vec<String>,
}

/// What a `DELETE` of an endpoint did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EndpointRemoved {
    /// The name.
    pub name: String,
    /// How many links it had.
    pub links: u32,
    /// Messages that had not left. Those of a durable outbox are orphans now.
    pub unsent_messages: u64,
}
