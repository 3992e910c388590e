//! The JSON of the daemon itself, and of what the caller may do with it.
//!
//! `at` is the daemon's own clock: a reader elsewhere that shows how long ago something was must reckon from it.

use serde::{Deserialize, Serialize};

/// The daemon as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Daemon {
    /// Its version.
    pub version: String,
    /// Where its documentation is: `homepage`, or if there is none `repository`, of the `Cargo.toml` that it was built from.
    #[serde(default)]
    pub documentation: Option<String>,
    /// The name of its machine.
    #[serde(default)]
    pub host: String,
    /// `running`, or `draining`: it takes no new messages, sends what it can, and stops.
    pub state: String,
    /// The time of its clock.
    pub at: String,
    /// Since its API began to answer.
    pub uptime_seconds: u64,
    /// `api.keepalive`: an event stream is never silent for longer.
    pub keepalive_ms: u64,
    /// How the last reading of the configuration went, that at start included.
    pub last_reload: LastReload,
    /// What the caller may do.
    pub access: Access,
}

/// How the last reading of the configuration went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LastReload {
    /// Whether it was applied. If not, the one before is in force.
    pub ok: bool,
    /// When the configuration in force was applied.
    pub applied_at: String,
}

/// What the caller's token allows; everything where no tokens are configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Access {
    /// Some of `read`, `send`, `admin`.
    pub scopes: Vec<String>,
    /// The endpoints that it may use; `null`: all.
    pub endpoints: Option<Vec<String>>,
}
