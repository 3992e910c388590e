//! Query strings, read strictly: an unknown key, a repeated one or a bad value is an error that names what is allowed.

use std::{str::FromStr, time::Duration};

use super::problem::Problem;
use crate::config::text;

/// The parameters of one request.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads `raw`; only `allowed` keys may be there, each once.
    pub(super) fn read(raw: Option<&str>, allowed: &[&str]) -> Result<Self, Problem> {
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(raw.unwrap_or_default().as_bytes())
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect();
        for (index, (key, _)) in pairs.iter().enumerate() {
            if !allowed.contains(&key.as_str()) {
                let known = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
                return Err(Problem::bad_request(format!("unknown query parameter {key:?}; known here: {known}")));
            }
            // Of conditions all must hold.
            if key != "match" && pairs[..index].iter().any(|(other, _)| other == key) {
                return Err(Problem::bad_request(format!("query parameter {key:?} is given twice")));
            }
        }
        Ok(Self(pairs))
    }

    /// Those that are allowed, whatever others a library has added; where one is there twice, the first counts.
    pub(super) fn read_some(raw: Option<&str>, allowed: &[&str]) -> Self {
        let pairs = url::form_urlencoded::parse(raw.unwrap_or_default().as_bytes());
        let known = pairs.filter(|(key, _)| allowed.contains(&&**key));
        Self(known.map(|(key, value)| (key.into_owned(), value.into_owned())).collect())
    }

    /// The value of a parameter.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// All values of one that may be given more than once.
    pub(super) fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter, parsed; `form` says what it should be.
    pub(super) fn parse<T: FromStr>(&self, key: &str, form: &str) -> Result<Option<T>, Problem> {
        self.with(key, form, |text| text.parse().ok())
    }

    /// The value of a parameter as `read` understands it.
    pub(super) fn with<T>(
        &self,
        key: &str,
        form: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.get(key) else { return Ok(None) };
        match read(text) {
            Some(value) => Ok(Some(value)),
            None => Err(Problem::bad_request(format!("query parameter {key}={text:?} is not {form}"))),
        }
    }

    /// A duration such as `20s`.
    pub(super) fn duration(&self, key: &str) -> Result<Option<Duration>, Problem> {
        self.with(key, "a duration such as 500ms, 20s or 5min", |text| text::duration(text).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_or_repeated_key_is_an_error_that_names_what_is_known() {
        let error = Params::read(Some("a=1&b=2"), &["a", "c"]).expect_err("b is unknown");
        assert!(error.detail().contains("known here: a, c"));
        assert!(Params::read(Some("a=1&a=2"), &["a"]).is_err());
        assert!(Params::read(None, &[]).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn any_number_and_any_duration_is_read_or_refused_and_never_wrapped(
            text in "-?[0-9]{1,40}(\\.[0-9]{1,3})?(e[0-9]{1,3})?(ns|us|ms|s|m|h|d|w|M|y)?|NaN|[+-]?inf(inity)?s?|\\PC{0,12}",
        ) {
            let raw = url::form_urlencoded::Serializer::new(String::new()).append_pair("ttl", &text).append_pair("n", &text).finish();
            let params = Params::read(Some(&raw), &["ttl", "n"]).expect("both are known");
            if let Ok(Some(duration)) = params.duration("ttl") {
                proptest::prop_assert!(duration.as_nanos() == 0 || text.contains(|char: char| ('1'..='9').contains(&char)));
                proptest::prop_assert_eq!(text::duration(&text).ok(), Some(duration));
            }
            if let Ok(Some(number)) = params.parse::<u32>("n", "a number") {
                proptest::prop_assert_eq!(text.trim_start_matches('+').trim_start_matches('0').parse::<u128>().unwrap_or(0), u128::from(number));
            }
        }
    }

    #[test]
    fn a_bad_value_is_an_error_that_says_what_it_should_be() {
        let params = Params::read(Some("ttl=5+apples&n=7"), &["ttl", "n"]).expect("both are known");
        assert!(params.duration("ttl").is_err());
        assert_eq!(params.parse::<u32>("n", "a number"), Ok(Some(7)));
    }
}
