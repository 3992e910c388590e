//! Messages about keys that the peer has not answered: which keys each asked for, what an answer may name it by, and until when.
//!
//! What a reader would get wrong: programs name their own messages as they like, so several may have one name; an answer of that name is
//! about the oldest.

use std::{collections::BTreeMap, time::Instant};

/// So many at most.
pub(super) const OPEN_MAX: usize = 4096;

/// Those of a connection.
#[derive(Debug, Default)]
pub(in crate::session) struct Questions {
    /// By their numbers, the oldest first.
    open: BTreeMap<u64, Question>,
    by_name: BTreeMap<Box<str>, Vec<u64>>,
    newest: u64,
}

/// One.
#[derive(Debug)]
struct Question {
    /// Empty where it ended keys.
    places: Vec<u64>,
    names: Vec<Box<str>>,
    until: Instant,
}

impl Questions {
    /// The number of the next one.
    pub(in crate::session) fn next(&self) -> u64 {
        self.newest.saturating_add(1)
    }

    /// A message was sent. Where there are so many, the oldest is answered no more.
    pub(in crate::session) fn open(&mut self, places: Vec<u64>, names: Vec<Box<str>>, until: Instant) {
        if self.is_full()
            && let Some(oldest) = self.open.first_key_value().map(|(number, _)| *number)
        {
            self.close(oldest);
        }
        self.newest = self.next();
        for name in &names {
            self.by_name.entry(name.clone()).or_default().push(self.newest);
        }
        self.open.insert(self.newest, Question { places, names, until });
    }

    /// Whether there are as many as there may be.
    pub(in crate::session) fn is_full(&self) -> bool {
        self.open.len() >= OPEN_MAX
    }

    /// Until when the oldest is waited for.
    pub(in crate::session) fn deadline(&self) -> Option<Instant> {
        self.open.first_key_value().map(|(_, question)| question.until)
    }

    /// The number and the keys of the oldest, where its time is over.
    pub(in crate::session) fn expire(&mut self, now: Instant) -> Option<(u64, Vec<u64>)> {
        let number =
            self.open.first_key_value().filter(|(_, question)| question.until <= now).map(|(number, _)| *number)?;
        Some((number, self.close(number)))
    }

    /// Whether an answer of this name is about one.
    pub(in crate::session) fn is_named(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Whether answers name any.
    pub(in crate::session) fn have_names(&self) -> bool {
        !self.by_name.is_empty()
    }

    /// The keys of the one that this names, which is answered by that.
    pub(in crate::session) fn named(&mut self, name: &str) -> Option<Vec<u64>> {
        let number = self.by_name.get(name)?.first().copied()?;
        Some(self.close(number))
    }

    /// The keys of the oldest that asks for some, which is answered.
    pub(in crate::session) fn oldest(&mut self) -> Option<Vec<u64>> {
        let number = self.open.iter().find(|(_, question)| !question.places.is_empty()).map(|(number, _)| *number)?;
        Some(self.close(number))
    }

    /// The keys that one asked for.
    pub(in crate::session) fn places(&self, number: u64) -> Option<&[u64]> {
        self.open.get(&number).map(|question| &*question.places)
    }

    /// It is answered. Answers with the keys that it asked for.
    pub(in crate::session) fn close(&mut self, number: u64) -> Vec<u64> {
        let Some(Question { places, names, until: _ }) = self.open.remove(&number) else { return Vec::new() };
        for name in &names {
            if let Some(numbers) = self.by_name.get_mut(name) {
                numbers.retain(|other| *other != number);
                if numbers.is_empty() {
                    self.by_name.remove(name);
                }
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_answer_of_a_name_is_about_the_messages_that_have_it_in_their_order() {
        let (mut questions, now) = (Questions::default(), crate::epoch());
        for place in 1..=3 {
            questions.open(vec![place], vec!["mine".into()], now + Duration::from_secs(place));
        }
        assert_eq!([1, 2].map(|place| questions.named("mine") == Some(vec![place])), [true; 2]);
        assert_eq!(questions.expire(now + Duration::from_secs(2)), None);
        assert_eq!(questions.expire(now + Duration::from_secs(3)), Some((3, vec![3])));
        assert_eq!((questions.named("mine"), questions.have_names(), questions.deadline()), (None, false, None));
    }

    #[test]
    fn there_are_never_too_many() {
        let (mut questions, now) = (Questions::default(), crate::epoch());
        for place in 0..OPEN_MAX as u64 + 10 {
            questions.open(vec![place], vec![place.to_string().into()], now);
        }
        assert_eq!((questions.open.len(), questions.by_name.len()), (OPEN_MAX, OPEN_MAX));
        assert_eq!((questions.named("9"), questions.named("10")), (None, Some(vec![10])));
    }
}
