//! Random names in a transcript: a session makes others each time, and a peer answers with the one that it was asked by.
//!
//! What a reader would get wrong: where a transcript and a session have as many UUIDs in one message, they are taken for the same ones in
//! order; whether the rest is the same is compared afterwards.

use std::{borrow::Cow, str::FromStr as _};

use uuid::Uuid;
use wskeeper_core::message::{Kind, Payload};

/// Characters of one.
const LENGTH: usize = 36;

/// Those of the transcript, and what the session made in their place.
#[derive(Default)]
pub(super) struct Names(Vec<(String, String)>);

impl Names {
    /// Takes those of a message for those that stand where it was sent; gives it with these.
    pub(super) fn learn(&mut self, written: &str, sent: &str) -> String {
        let (theirs, ours) = (uuids(written), uuids(sent));
        if theirs.len() == ours.len() {
            for (their, our) in theirs.into_iter().zip(ours) {
                if !self.0.iter().any(|(known, _)| known == their) {
                    self.0.push((their.to_owned(), our.to_owned()));
                }
            }
        }
        self.in_place(written).into_owned()
    }

    /// What the peer says, with the names of now.
    pub(super) fn of_now<'p>(&self, payload: &'p Payload) -> Cow<'p, Payload> {
        let Ok(text) = std::str::from_utf8(payload.bytes()) else { return Cow::Borrowed(payload) };
        match (self.in_place(text), payload.kind()) {
            (Cow::Borrowed(_), _) => Cow::Borrowed(payload),
            (Cow::Owned(text), Kind::Text) => Cow::Owned(Payload::checked_text(text)),
            (Cow::Owned(text), Kind::Binary) => Cow::Owned(Payload::binary(text)),
        }
    }

    fn in_place<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.0.iter().filter(|(their, our)| their != our).fold(Cow::Borrowed(text), |text, (their, our)| {
            if text.contains(their.as_str()) { Cow::Owned(text.replace(their.as_str(), our)) } else { text }
        })
    }
}

fn uuids(text: &str) -> Vec<&str> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < text.len() {
        match text.get(at..at.saturating_add(LENGTH)).filter(|part| Uuid::from_str(part).is_ok()) {
            Some(part) => {
                found.push(part);
                at = at.saturating_add(LENGTH);
            }
            None => at = at.saturating_add(1),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_the_session_made_stands_in_for_that_of_the_transcript() {
        let (one, two) = ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-9222-222222222222");
        let mut names = Names::default();
        assert_eq!(names.learn(&format!("é[2,\"{one}\"]"), &format!("é[2,\"{two}\"]")), format!("é[2,\"{two}\"]"));
        assert_eq!(names.learn("none", &format!("one {two}")), "none", "they are not as many");
        let said = Payload::from(format!("[3,\"{one}\"]").as_str());
        assert_eq!(names.of_now(&said).bytes(), format!("[3,\"{two}\"]").as_bytes());
    }
}
