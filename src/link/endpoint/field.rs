//! The name of a header as it was written.
//!
//! Names mean the same in any case (RFC 9110 §5.1), but there are servers and middleboxes that know one spelling only; so what was
//! written is what is sent. Two spellings of one name are two values here, and one header.

use std::{fmt, ops::Deref, str::FromStr};

use http::{HeaderName, header::InvalidHeaderName};

/// A header's name, and how it was spelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldName {
    name: HeaderName,
    written: Box<str>,
}

impl FieldName {
    /// As it was written.
    pub fn written(&self) -> &str {
        &self.written
    }
}

impl FromStr for FieldName {
    type Err = InvalidHeaderName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self { name: HeaderName::from_bytes(text.as_bytes())?, written: text.into() })
    }
}

impl Deref for FieldName {
    type Target = HeaderName;

    fn deref(&self) -> &HeaderName {
        &self.name
    }
}

impl PartialEq<HeaderName> for FieldName {
    fn eq(&self, other: &HeaderName) -> bool {
        self.name == *other
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}
