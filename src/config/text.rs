//! What people write in one word, wherever they write it: in a file, the environment, a request or at the command line.
//!
//! What a reader would get wrong: the libraries below read more than is meant. `5M` would be five months, and `warning` a target of the
//! log beside which everything is silent; both are faults here.

use std::time::Duration;

use humantime::DurationError;
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};

use super::check::section::suggestion;

/// Levels that a release build tells anything at.
const LEVELS: [&str; 4] = ["error", "warn", "info", "debug"];

/// Why a text is no duration.
#[derive(Debug, thiserror::Error)]
pub enum NoDuration {
    /// `M` stands for months, which nobody wants of a daemon.
    #[error("the unit M stands for months: write 5min for minutes")]
    Months,
    /// It has another form.
    #[error(transparent)]
    Form(#[from] DurationError),
}

/// Why a text is no filter of the log.
#[derive(Debug, thiserror::Error)]
pub enum NoFilter {
    /// Nothing is written.
    #[error("nothing is written")]
    Empty,
    /// It has another form.
    #[error(transparent)]
    Form(#[from] ParseError),
    /// A word without `=` that is no level.
    #[error("{word:?} is no level{near}")]
    Level {
        /// As written.
        word: String,
        /// `; did you mean …?`, or nothing.
        near: String,
    },
}

/// `500ms`, `20s`, `1h 30min`; `0`.
pub fn duration(text: &str) -> Result<Duration, NoDuration> {
    let text = text.trim();
    if text.split(|char: char| !char.is_alphabetic()).any(|unit| unit == "M") {
        return Err(NoDuration::Months);
    }
    Ok(if text == "0" { Duration::ZERO } else { humantime::parse_duration(text)? })
}

/// `info`, or levels by target: `info,wskeeper=debug`.
pub fn log_filter(text: &str) -> Result<Targets, NoFilter> {
    if text.trim().is_empty() {
        return Err(NoFilter::Empty);
    }
    let filter = text.parse()?;
    let mut words = text.split(',').map(str::trim).filter(|word| !word.is_empty() && !word.contains('='));
    match words.find(|word| word.parse::<LevelFilter>().is_err()) {
        None => Ok(filter),
        Some(word) => Err(NoFilter::Level { word: word.to_owned(), near: near(word) }),
    }
}

fn near(word: &str) -> String {
    let lower = word.to_lowercase();
    match LEVELS.iter().find(|level| lower.starts_with(**level)) {
        Some(level) => format!("; did you mean `{level}`?"),
        None => match suggestion(word, &LEVELS) {
            near if near.starts_with("did") => format!("; {near}"),
            _ => String::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_not_months() {
        assert_eq!(duration(" 5min ").unwrap(), Duration::from_mins(5));
        assert_eq!(duration("0").unwrap(), Duration::ZERO);
        assert_eq!(duration("1h 30m").unwrap(), Duration::from_mins(90));
        for months in ["5M", "1h 5M", "5 M"] {
            assert!(matches!(duration(months), Err(NoDuration::Months)), "{months}");
        }
        for bad in ["", "5", "-5s", "5 apples", "99999999999999999999s"] {
            assert!(matches!(duration(bad), Err(NoDuration::Form(_))), "{bad}");
        }
    }

    #[test]
    fn a_lone_word_of_a_filter_is_a_level() {
        for good in ["info", "DEBUG", "info,wskeeper=debug", "wskeeper=debug, hyper=warn", "off"] {
            assert!(log_filter(good).is_ok(), "{good}");
        }
        let said = |text| log_filter(text).unwrap_err().to_string();
        assert_eq!(said("warning"), "\"warning\" is no level; did you mean `warn`?");
        assert_eq!(said("info,wskeeper"), "\"wskeeper\" is no level");
        assert_eq!(said(" "), "nothing is written");
        assert!(matches!(log_filter("wskeeper=loud"), Err(NoFilter::Form(_))));
    }
}
