//! Values of the command line: how they are written, and what is said when they are not.

use std::time::Duration;

use crate::config::text;
use wskeeper_core::phase::Phase;

/// A link as written on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkName {
    /// The endpoint's name.
    pub(crate) endpoint: String,
    /// From 0.
    pub(crate) index: u32,
}

impl std::fmt::Display for LinkName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.endpoint, self.index)
    }
}

/// `NAME/INDEX`, or `NAME` for `NAME/0`.
pub(super) fn link(text: &str) -> Result<LinkName, String> {
    let (endpoint, index) = text.rsplit_once('/').unwrap_or((text, "0"));
    let index =
        index.parse().map_err(|_| format!("a link is NAME/INDEX, as in trades/0; {index:?} is not an index"))?;
    if endpoint.is_empty() {
        return Err("a link is NAME/INDEX, as in trades/0".into());
    }
    Ok(LinkName { endpoint: endpoint.into(), index })
}

/// `500ms`, `20s`, `2m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    text::duration(text).map_err(|error| format!("{error}: write a duration as 500ms, 20s or 2m"))
}

/// A duration that is longer than nothing.
pub(super) fn period(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("a period must be longer than nothing".into()),
        period => Ok(period),
    }
}

/// What a header can hold; the daemon says how long it may be.
pub(super) fn visible(text: &str) -> Result<String, String> {
    let is_fine = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_fine { Ok(text.into()) } else { Err("use visible ASCII characters".into()) }
}

/// A link's phase by its word.
pub(super) fn phase(text: &str) -> Result<Phase, String> {
    let words: Vec<&str> = Phase::ALL.iter().map(|phase| phase.as_str()).collect();
    Phase::from_word(text).ok_or_else(|| format!("expected one of {}", words.join(", ")))
}

/// Where `tail` begins.
pub(super) fn from(text: &str) -> Result<String, String> {
    if text == "latest" || text == "oldest" || text.parse::<u64>().is_ok() {
        return Ok(text.into());
    }
    Err("expected latest, oldest, or the number of a cursor".into())
}

/// `NAME=VALUE`
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// `NAME: VALUE`
pub(super) fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write a header as NAME: VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_a_name_and_an_index_and_the_index_may_be_left_out() {
        assert_eq!(link("trades/3"), Ok(LinkName { endpoint: "trades".into(), index: 3 }));
        assert_eq!(link("trades"), Ok(LinkName { endpoint: "trades".into(), index: 0 }));
        assert!(link("trades/x").is_err());
        assert!(link("/1").is_err());
    }

    #[test]
    fn a_period_of_zero_is_refused() {
        assert!(period("0s").is_err());
        assert_eq!(period("2s"), Ok(Duration::from_secs(2)));
    }

    #[test]
    fn a_start_is_a_word_or_a_cursor() {
        assert!(from("latest").is_ok());
        assert!(from("17").is_ok());
        assert!(from("yesterday").is_err());
    }
}
