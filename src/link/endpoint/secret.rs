//! Text that is never shown: an evaluated header, URL or token.
//!
//! Only [`Secret::expose`] gives the text, so a search for `expose` finds every place where a secret leaves its box. Where that is not enough,
//! for a panic may say anything, [`hide`] knows what references have given.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use subtle::ConstantTimeEq as _;
use wskeeper_core::confidences::{Confidences, HIDDEN, confidences};

/// What references have given, newest last.
static KNOWN: Mutex<Known> = Mutex::new(Known { texts: BTreeSet::new(), order: VecDeque::new(), bytes: 0 });
/// So many bytes of it at most are known, the newest.
const KNOWN_BYTES: usize = 1 << 20;
/// A panic does not wait longer for others who look.
const PATIENCE: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Known {
    texts: BTreeSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
    bytes: usize,
}

/// A reference has given this text: [`hide`] knows it from now on.
pub(super) fn note(text: &str) {
    let text = text.trim();
    let mut known = KNOWN.lock();
    if text.is_empty() || text.len() > KNOWN_BYTES || known.texts.contains(text) {
        return;
    }
    let text = Arc::<str>::from(text);
    known.bytes += text.len();
    known.texts.insert(Arc::clone(&text));
    known.order.push_back(text);
    while known.bytes > KNOWN_BYTES
        && let Some(oldest) = known.order.pop_front()
    {
        known.bytes -= oldest.len();
        known.texts.remove(&oldest);
    }
}

/// A text without what references have given: environment, files, credentials, values.
pub fn hide(text: &str) -> String {
    match KNOWN.try_lock_for(PATIENCE) {
        Some(known) => Confidences::of(confidences(known.texts.iter().map(|text| &**text))).hide(text, false),
        None => HIDDEN.into(),
    }
}

/// An evaluated text. `Debug` and `Display` write `***`.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Takes the text.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself; not for logs, errors or answers.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nothing() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn what_references_have_given_is_hidden_in_any_text_and_bounded() {
        note("Bearer tok-8231-of-this-test\n");
        note("  ");
        let said = |text: &str| hide(text);
        assert_eq!(
            said("panicked at a.rs:1:\nno: Err(\"tok-8231-of-this-test\")"),
            "panicked at a.rs:1:\nno: Err(\"***\")"
        );
        assert_eq!(said("an index of 5 for 3"), "an index of 5 for 3");
        for number in 0..3000 {
            note(&format!("{number:0>1024}"));
        }
        let known = KNOWN.lock();
        assert!(known.bytes <= KNOWN_BYTES && known.order.len() == known.texts.len());
    }

    #[test]
    fn secrets_are_equal_when_their_texts_are() {
        assert_eq!(Secret::new("a"), Secret::new("a"));
        assert_ne!(Secret::new("a"), Secret::new("ab"));
    }
}
