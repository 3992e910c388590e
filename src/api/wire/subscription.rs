//! The JSON of subscriptions.

use serde::{Deserialize, Serialize};

/// A key that links are to have asked their peers for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// The key.
    pub key: String,
    /// `pending`, `active`, `refused`
    pub state: String,
    /// Why it was refused.
    pub why: Option<String>,
    /// The link that it is with; `null`: it waits until one has room.
    pub link: Option<u32>,
    /// Who holds it; never nobody.
    pub holders: Vec<Holder>,
    /// What would help, where it is asked for alone and is not active.
    pub advice: Option<String>,
}

/// One who holds a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// `program`, `websocket`, `configuration`
    pub kind: String,
    /// The name that a program gave.
    pub name: Option<String>,
    /// When it is released unless the lease is renewed.
    pub lease_until: Option<String>,
}

/// How many keys are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct SubscriptionCounts {
    /// To be asked for, or asked for and not answered.
    pub pending: u64,
    /// Confirmed; or asked for, where no answer is waited for.
    pub active: u64,
    /// Refused.
    pub refused: u64,
}
