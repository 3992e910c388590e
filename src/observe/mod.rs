//! What can be known of the daemon, as log lines and metrics.
//!
//! A fact about a link comes in as one `Event` and leaves as one log line and one metric, in one exhaustive match
//! (`telling`). Payloads are logged at no level; label values come from closed sets, so that no peer can make series at will.

mod endpoint;
mod families;
mod handles;
mod observer;
#[cfg(target_os = "linux")]
mod own;
mod render;
mod series;
mod spans;
mod telling;
#[cfg(test)]
mod tests;
pub mod words;

pub use endpoint::EndpointMetrics;
pub use families::Families;
pub use handles::LinkMetrics;
pub use observer::Telling;
pub use render::{CONTENT_TYPE, render};
pub use spans::{Exporter, Spans};
pub use telling::visible;
