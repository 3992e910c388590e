//! What can be known of the daemon, as log lines and metrics.
//!
//! A fact about a link comes in as one `Event` and leaves as one log line and one metric, in one exhaustive match
//! (`telling`). Payloads are logged at no level; label values come from closed sets, so that no peer can make series at will.

mod daemon;
mod endpoint;
mod families;
mod link;
mod number;
mod observer;
#[cfg(target_os = "linux")]
mod own;
mod push;
mod spans;
mod telling;
#[cfg(test)]
mod tests;
mod text;
pub mod words;

pub use endpoint::EndpointMetrics;
pub use families::{CONTENT_TYPE, Families};
pub use link::LinkMetrics;
pub use observer::Telling;
pub use push::PushNumbers;
pub use spans::{Exporter, Spans};
pub use telling::visible;
