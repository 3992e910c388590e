//! Values that are made before there is a connection: of a signature, a call, a command.
//!
//! What a reader would get wrong: two endpoints share one where it is written for all of them and is the same to the letter; each keeps the
//! [`Value`] itself, and whoever makes them finds out.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Secret, Template};
use wskeeper_core::session::Make;

/// A value.
#[derive(Clone, PartialEq)]
pub struct Value {
    /// What it is called.
    pub name: Box<str>,
    /// Whose it is; `None`: every endpoint's that names it.
    pub owner: Option<Arc<str>>,
    /// Of what it is made.
    pub make: Make,
    /// References to secrets in it, each by its place (`session::Source::Secret`). They may name values that stand before it.
    pub secrets: Box<[Template]>,
    /// How long it is kept.
    pub span: Span,
}

/// How long a value is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// For an attempt.
    Attempt,
    /// For so long, for all who share it.
    For(Duration),
    /// As long as the answer says that brings it, for all who share it; for an attempt where it says nothing.
    Answer,
}

/// What it is made of may be secret.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({}, {})", self.name, self.make.as_str())
    }
}

/// A value that has been made.
#[derive(Debug, Clone)]
pub struct Given {
    /// Which.
    pub name: Box<str>,
    /// The value.
    pub text: Secret,
    /// When it is good no more, where that is known.
    pub ends: Option<Instant>,
}

/// Why there is none of an endpoint's values. It names the value, and shows nothing secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmade {
    /// A sentence for people.
    pub why: Box<str>,
    /// Whoever gives it takes our credentials for wrong.
    pub is_refused: bool,
}

/// The value of this name.
pub fn find<'g>(given: &'g [Given], name: &str) -> Option<&'g str> {
    given.iter().find(|given| *given.name == *name).map(|given| given.text.expose())
}
