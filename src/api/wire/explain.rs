//! Why a link is where it is: facts for programs, and the same as sentences for people.

use serde::{Deserialize, Serialize};

use super::{LastClose, Link, Timings};

/// Why a link is where it is, what comes next, what would help.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The link as it is now.
    pub link: Link,
    /// The proxy that its attempts go through, without user and password; `null` where there is none.
    #[serde(default)]
    pub proxy: Option<String>,
    /// Cookies that the link keeps, which go to the servers that set them; `null` where `cookies` is not set.
    #[serde(default)]
    pub cookies: Option<u32>,
    /// The attempts of its endpoint; `null` where `reconnect.budget` does not count them.
    #[serde(default)]
    pub budget: Option<super::BudgetState>,
    /// Why it is in its phase: a sentence.
    pub why: String,
    /// Where its session waits; `null` unless it does, before its attempt connects or while it is `opening`.
    #[serde(default)]
    pub session: Option<SessionStep>,
    /// How the last connection or attempt ended: a sentence.
    pub ended: Option<String>,
    /// Since when there is no connection, and how the last one was lost; `null` while there is one.
    pub outage: Option<Outage>,
    /// What decided what comes next; `null` where nothing had to.
    pub rule: Option<Ruling>,
    /// Who dials before it; `null` unless it waits for admission.
    pub admission: Option<Standing>,
    /// What comes next: a sentence.
    pub next: Option<String>,
    /// What would help: a sentence each, the most likely first.
    pub advice: Vec<String>,
    /// The last attempts, oldest first, as far as they are remembered.
    pub attempts: Vec<Attempt>,
    /// What a server said when it last refused an upgrade, as far as that is remembered; `null` without the scope `admin`.
    #[serde(default)]
    pub rejection: Option<Rejection>,
    /// Messages that have left and are kept, at least once, until the peer proves that it has read them. They count in the outbox.
    #[serde(default)]
    pub unconfirmed_messages: u64,
    /// Its keys by state; `null` where the endpoint has no subscriptions.
    #[serde(default)]
    pub subscriptions: Option<super::SubscriptionCounts>,
    /// Receivers that the endpoint's messages are pushed to.
    #[serde(default)]
    pub pushes: Vec<super::Push>,
    /// Its endpoint's bridges.
    #[serde(default)]
    pub bridges: Vec<super::Bridge>,
    /// Its requests that have not ended; `null` where the endpoint has no requests.
    #[serde(default)]
    pub requests: Option<super::RequestCounts>,
    /// Why they wait: a sentence.
    #[serde(default)]
    pub requests_why: Option<String>,
    /// The streams of its endpoint, by name.
    #[serde(default)]
    pub streams: Vec<super::StreamCounts>,
}

/// A step of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct SessionStep {
    /// Its list: `dial` or `open`.
    pub list: String,
    /// Its place there, from 0. For `subscribe`, which is no step of `open` but comes after them: keys so far.
    pub at: u64,
    /// How many steps the list has; keys, for `subscribe`.
    pub of: u64,
    /// What it does: `send`, `expect`, `set`, `forget`, `wait`, `http`, or `subscribe`.
    pub act: String,
}

/// A time without a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Outage {
    /// When it began.
    pub since: String,
    /// How the connection before it ended; `null` where there was none yet.
    pub lost: Option<LastClose>,
}

/// What a server said when it refused an upgrade. It is a stranger's text, without what this daemon has told it in confidence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// When.
    pub at: String,
    /// The HTTP status.
    pub status: Option<u16>,
    /// Its headers, in order. What may be secret is `***`.
    pub headers: Vec<AnswerHeader>,
    /// The first 4 KiB of its body. Control characters other than a line's end are shown as a picture.
    pub body: String,
    /// There was more than is kept.
    pub is_cut: bool,
}

/// A header of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct AnswerHeader {
    /// In small letters.
    pub name: String,
    /// The value.
    pub value: String,
}

/// A row of the outcome table that decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Ruling {
    /// What the row looks at.
    pub matches: String,
    /// What it says: a word of `outcomes.then`.
    pub then: String,
    /// Ends in a row that it decided.
    pub in_a_row: u32,
    /// From how many in a row on it does so; exponential backoff before.
    pub after: u32,
    /// All that as a sentence.
    pub sentence: String,
}

/// A place in the line for admission.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Attempts that come before it.
    pub ahead: u64,
    /// Links that dial the same address now, `NAME/INDEX`; some of them, where there are many and the token may see them.
    pub holders: Vec<String>,
    /// Attempts under way in the whole pool.
    pub connecting: u64,
    /// The rate alone holds it back.
    pub held_by_rate: bool,
    /// Since when its addresses have been known to be down, where that is what it waits for: one link at a time tries whether they
    /// are back.
    #[serde(default)]
    pub down_since: Option<String>,
    /// Then: the link that tries now, or that tried last, `NAME/INDEX`.
    #[serde(default)]
    pub awaits: Option<String>,
    /// Then: when the next one tries, where none does now.
    #[serde(default)]
    pub next_look_at: Option<String>,
}

/// One attempt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// When it began.
    pub at: String,
    /// Its number since the link was last stable.
    pub attempt: u32,
    /// The URL as it is configured, without what is secret.
    pub url: String,
    /// `open`, `failed`, or `unfinished`: under way, or given up for something else.
    pub result: String,
    /// The address that was reached, where it was.
    pub address: Option<String>,
    /// The failure class.
    pub cause: Option<String>,
    /// The HTTP status of a refused upgrade.
    pub status: Option<u16>,
    /// What went wrong.
    pub detail: Option<String>,
    /// How long its steps took; a step that is missing was not reached or not needed.
    pub timings: Option<Timings>,
    /// How long the wait after it should be.
    pub then_waits_ms: Option<f64>,
}
