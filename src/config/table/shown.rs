//! A configuration as people may see it: JSON whose members stand in the table's order.

use serde::{Serialize, Serializer};

/// A value, as it may be shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    /// There is none.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A count, milliseconds or bytes.
    Whole(u64),
    /// A factor.
    Number(f64),
    /// A word, a name, a redacted text.
    Text(String),
    /// A list.
    List(Vec<Shown>),
    /// A section, or a row of a list.
    Members(Vec<(String, Shown)>),
}

impl Shown {
    /// A section of these.
    pub(crate) fn members<const N: usize>(members: [(&str, Self); N]) -> Self {
        Self::Members(members.into_iter().map(|(name, shown)| (name.to_owned(), shown)).collect())
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Whole(value) => serializer.serialize_u64(*value),
            Self::Number(value) => serializer.serialize_f64(*value),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Members(members) => serializer.collect_map(members.iter().map(|(name, shown)| (name, shown))),
        }
    }
}
