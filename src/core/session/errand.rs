//! What a session has done for it outside of its connection: an HTTP call, a value that is made.
//!
//! The machine makes an [`Ask`], whoever moves the connection has it done, and what was [`Brought`] comes back to the machine of the same
//! connection by the number of the ask. What a reader would get wrong: the machine keeps the time too. An answer that comes after it has
//! given up is looked at by nobody.

use std::{fmt, ops::RangeInclusive, time::Duration};

use bytes::Bytes;

use super::{Body, Pointer, Recipe, Rule, Text, Var};

/// How the server of a call proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CallTls {
    /// As that of the endpoint, which is shown the endpoint's certificate where there is one.
    #[default]
    Endpoint,
    /// To the machine's own authorities.
    System,
}

/// An HTTP call of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// As in the request.
    pub method: Box<str>,
    /// `http` or `https`.
    pub url: Text,
    /// Names and values.
    pub headers: Box<[(Box<str>, Text)]>,
    /// What is sent with it.
    pub body: Option<Body>,
    /// All of it must be over within this.
    pub timeout: Duration,
    /// A longer answer is none.
    pub max_bytes: usize,
    /// Where the URL is one of `https`.
    pub tls: CallTls,
    /// Variables that are taken out of an answer that was expected.
    pub extract: Box<[(Var, Pointer)]>,
    /// Answers that are expected: the first that matches acts. Where there is none, a status of 200 to 299 is.
    pub expect: Box<[Expected]>,
}

/// An answer that is expected.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// Its status.
    pub status: RangeInclusive<u16>,
    /// What its body must be like, and what follows.
    pub rule: Rule,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub struct Ask {
    /// Names it on its connection.
    pub id: u64,
    /// What.
    pub errand: Errand,
}

/// What is to be done, evaluated.
#[derive(Debug, PartialEq, Eq)]
pub enum Errand {
    /// An HTTP call.
    Call(Box<Request>),
    /// A value to be made.
    Make(Box<Recipe>),
}

/// An HTTP request. Its parts may hold secrets, so `Debug` shows the method alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// As on the wire.
    pub method: Box<str>,
    /// The whole URL.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(Box<str>, String)>,
    /// May be empty.
    pub body: Bytes,
    /// All of it must be over within this.
    pub timeout: Duration,
    /// A longer answer is none.
    pub max_bytes: usize,
    /// Where the URL is one of `https`.
    pub tls: CallTls,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({})", self.method)
    }
}

/// An answer by HTTP. Its body may be a secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Bytes,
    /// Where it leads, without what may be secret, where it is a redirect.
    pub location: Option<Box<str>>,
    /// For how long the server wants to be left alone.
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// This status and body, and nothing else.
    pub fn of(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, body: body.into(), ..Self::default() }
    }
}

/// What came of it.
#[derive(PartialEq, Eq)]
pub enum Brought {
    /// An answer by HTTP.
    Answer(Answer),
    /// A value.
    Made(Box<str>),
    /// None: whoever gives it takes our credentials for wrong. Why, for people; it may hold what is secret.
    Refused(Box<str>),
}

impl fmt::Debug for Brought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(Answer { status, body, .. }) => write!(f, "Answer({status}, {} bytes)", body.len()),
            Self::Made(_) => f.write_str("Made"),
            Self::Refused(_) => f.write_str("Refused"),
        }
    }
}
