//! What the client verbs read of the API's answers: no more than they show.
//!
//! Every field may be missing, so that an older client can read a newer daemon and the other way round. Times are kept as
//! they came; [`moment`] reads them.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::core::phase::Phase;

/// One page of a list.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Page<T> {
    /// In order.
    pub(super) items: Vec<T>,
    /// Where the next page begins.
    #[serde(default)]
    pub(super) next: Option<String>,
}

/// A link.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Link {
    pub(super) endpoint: String,
    pub(super) index: u32,
    pub(super) phase: String,
    pub(super) generation: u64,
    pub(super) url: String,
    pub(super) protocol: String,
    pub(super) buffered_amount: u64,
    pub(super) queued_messages: u64,
    pub(super) since: String,
    pub(super) attempt: u32,
    pub(super) next_attempt_at: Option<String>,
    pub(super) phase_reason: String,
    pub(super) rtt_ms: Option<f64>,
    pub(super) last_close: Option<LastClose>,
    pub(super) last_inbound_at: Option<String>,
}

impl Link {
    /// `NAME/INDEX`.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.endpoint, self.index)
    }

    /// The phase, if this version knows its word.
    pub(super) fn phase(&self) -> Option<Phase> {
        Phase::from_word(&self.phase)
    }
}

/// How the last connection or attempt ended.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LastClose {
    pub(super) code: u16,
    pub(super) reason: String,
    pub(super) was_clean: bool,
    pub(super) cause: String,
    pub(super) detail: String,
    pub(super) at: String,
}

/// A line of the flight recorder.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct History {
    pub(super) at: String,
    pub(super) event: String,
    pub(super) phase: String,
    pub(super) generation: u64,
    pub(super) detail: String,
    pub(super) timings: Option<Timings>,
}

/// How long the steps of an attempt took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(clippy::struct_field_names, reason = "the unit belongs to the name")]
pub(super) struct Timings {
    pub(super) dns_ms: Option<f64>,
    pub(super) admission_ms: Option<f64>,
    pub(super) tcp_ms: Option<f64>,
    pub(super) tls_ms: Option<f64>,
    pub(super) upgrade_ms: Option<f64>,
    pub(super) total_ms: Option<f64>,
}

/// What became of a message.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Receipt {
    pub(super) id: String,
    pub(super) endpoint: String,
    pub(super) link: u32,
    pub(super) state: String,
    pub(super) reason: Option<String>,
}

/// A time as the API writes it.
pub(super) fn moment(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339_weak(text).ok()
}
