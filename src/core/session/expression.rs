//! Regular expressions over messages, text or binary, and over the reasons of closes. The one file that names `regex`.
//!
//! They look at bytes: `\x04` is that byte, `.` any byte but a line's end, `\w` and `\d` are ASCII's, and other characters stand for the
//! bytes of their UTF-8. What a reader would get wrong: time is linear in the message, whatever the expression is.

use std::{borrow::Cow, fmt};

use regex::bytes::{Regex, RegexBuilder};

/// What a compiled one may take, in bytes.
const SIZE_MAX: usize = 1 << 20;

/// A regular expression.
#[derive(Clone)]
pub struct Expression(Regex);

impl Expression {
    /// Reads one; else what is wrong with it.
    pub fn parse(source: &str) -> Result<Self, String> {
        let built = RegexBuilder::new(source).unicode(false).size_limit(SIZE_MAX).dfa_size_limit(SIZE_MAX).build();
        built.map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
            other @ (regex::Error::Syntax(_) | _) => {
                other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
            }
        })
    }

    /// One that finds this text.
    pub fn literal(text: &str) -> Result<Self, String> {
        Self::parse(&regex::escape(text))
    }

    /// The names of its groups, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.capture_names().flatten()
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it matches.
    pub fn is_match(&self, bytes: &[u8]) -> bool {
        self.0.is_match(bytes)
    }

    /// What its named groups hold, in the order of the names, of those that took part.
    pub(super) fn groups<'b>(&self, bytes: &'b [u8]) -> Vec<Option<Cow<'b, str>>> {
        let Some(found) = self.0.captures(bytes) else { return Vec::new() };
        self.names().map(|name| found.name(name).map(|group| String::from_utf8_lossy(group.as_bytes()))).collect()
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source()
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.source())
    }
}
