//! What is sent, and other texts with references in them, as data: `render` makes the bytes.
//!
//! What a reader would get wrong: in [`Json`] a string that is one reference is the value itself, with its own type, and `null` where the
//! variable is not set; in a [`Text`] a value is written as it is, and nothing escapes it.

use bytes::Bytes;

use super::{Var, json::Value};
use crate::message::Kind;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A reference to a secret, by its place in [`super::Start::secrets`].
    Secret(usize),
    /// A variable; else this, where there is a default.
    Var(Var, Option<Box<str>>),
    /// The counter of the connection.
    Seq,
    /// A random name (RFC 9562, version 4).
    Uuid,
    /// Seconds since 1970.
    Now,
    /// Milliseconds since 1970.
    NowMillis,
    /// RFC 3339, in UTC.
    NowRfc3339,
    /// The endpoint's name.
    Endpoint,
    /// The link's number.
    Link,
    /// The connection's number.
    Generation,
    /// The key of a subscription.
    Key,
    /// The keys of a message of subscriptions: in JSON a list, in a text with commas between them.
    Keys,
}

/// A text with references.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Text(pub Box<[TextPart]>);

/// A piece of it.
#[derive(Debug, Clone, PartialEq)]
pub enum TextPart {
    /// As written.
    Literal(Box<str>),
    /// To be evaluated.
    Value(Source),
}

/// JSON with references.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// As written.
    Literal(Value),
    /// One reference and nothing else.
    Value(Source),
    /// A string with references in it.
    Text(Text),
    /// An array.
    List(Box<[Json]>),
    /// An object.
    Object(Box<[(Box<str>, Json)]>),
}

/// A piece of a binary message.
#[derive(Debug, Clone, PartialEq)]
pub enum BytesPart {
    /// As written.
    Fixed(Bytes),
    /// UTF-8.
    Text(Text),
    /// UTF-8 behind its length in two bytes.
    Prefixed(Text),
    /// Parts behind their length as MQTT writes it: seven bits a byte, the lowest first.
    VarLen(Box<[BytesPart]>),
}

/// What a message is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A text.
    Text(Text),
    /// JSON.
    Json(Json),
    /// Bytes as written.
    Fixed(Bytes),
    /// Bytes from parts.
    Bytes(Box<[BytesPart]>),
}

/// A message to send.
#[derive(Debug, Clone, PartialEq)]
pub struct Send {
    /// Its data.
    pub body: Body,
    /// Its opcode.
    pub kind: Kind,
}

impl Text {
    /// As it is.
    pub fn literal(text: &str) -> Self {
        Self([TextPart::Literal(text.into())].into())
    }
}

impl Json {
    /// Whether nothing is left to be evaluated.
    pub fn literal(&self) -> Option<&Value> {
        match self {
            Self::Literal(value) => Some(value),
            Self::Value(_) | Self::Text(_) | Self::List(_) | Self::Object(_) => None,
        }
    }
}
