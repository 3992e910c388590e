//! What the client verbs ask of a link as the API tells it.
//!
//! What a reader would get wrong: a phase is a word here, which a newer daemon may know and this program may not.

use std::time::SystemTime;

use crate::api::wire::Link;
use wskeeper_core::phase::Phase;

/// `NAME/INDEX`.
pub(super) fn name(link: &Link) -> String {
    format!("{}/{}", link.endpoint, link.index)
}

/// What stands behind the name of a link, or of an endpoint, that came by the API.
pub(super) fn mark(link: &Link) -> &'static str {
    if matches!(link.source.as_str(), "memory" | "disk") { " (api)" } else { "" }
}

/// The phase, if this version knows its word.
pub(super) fn phase(link: &Link) -> Option<Phase> {
    Phase::from_word(&link.phase)
}

/// A time as the API writes it.
pub(super) fn moment(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339_weak(text).ok()
}
