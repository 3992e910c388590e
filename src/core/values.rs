//! Values that are kept for all who use them: what is fresh, when one is made anew ahead of its end, one making at a time, and what
//! follows a failure.
//!
//! Nothing is made here. Who asks is told the value, to wait, or to make it; what came of a making is told to [`Values::made`]. What a reader
//! would get wrong: a value that fails to be made again is used until its own end, and a value that was refused is forgotten only by who
//! used one that was made before: a hundred links that are refused at once make one new value, not a hundred.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    backoff::{self, Backoff},
    chance::Chance,
    clock::Clock,
};

/// Makings of one value ahead of its end are at least so far apart.
pub const SPACING: Duration = Duration::from_secs(1);

/// Delays after failures.
const PATIENCE: backoff::Policy = backoff::Policy {
    first: Duration::from_secs(1),
    initial: Duration::from_secs(1),
    multiplier: 2.0,
    max: Duration::from_mins(1),
    stable: Duration::from_secs(1),
};

/// Values by a key.
pub struct Values<K> {
    kept: BTreeMap<K, Entry>,
    chance: Chance,
}

#[derive(Default)]
struct Entry {
    value: Option<Kept>,
    is_being_made: bool,
    failure: Option<Failure>,
    backoff: Backoff,
}

struct Kept {
    text: Arc<str>,
    made_at: Instant,
    /// Until then; `None`: for good.
    ends: Option<Instant>,
    /// From then on it is made anew.
    renew: Option<Instant>,
}

struct Failure {
    unmade: Unmade,
    at: Instant,
    until: Instant,
}

/// Why a value could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmade {
    /// A sentence for people.
    pub why: Arc<str>,
    /// Whoever gives it takes our credentials for wrong.
    pub is_refused: bool,
}

/// What who asks is told.
#[derive(PartialEq, Eq)]
pub enum Told {
    /// The value, and its end.
    Value(Arc<str>, Option<Instant>),
    /// It is being made by another.
    Wait,
    /// Make it.
    Make,
    /// It could not be made, and is not tried again yet.
    Failed(Unmade),
}

impl<K: Ord + Clone> Values<K> {
    /// None yet. `seed` fixes all chance.
    pub fn new(seed: u64) -> Self {
        Self { kept: BTreeMap::new(), chance: Chance::new(seed) }
    }

    /// Asks for a value; one that was made before `refused` is not good any more.
    pub fn ask(&mut self, now: Instant, key: &K, refused: Option<Instant>) -> Told {
        let entry = self.kept.entry(key.clone()).or_default();
        if let Some(refused) = refused {
            entry.value = entry.value.take().filter(|kept| kept.made_at > refused);
        }
        match &entry.value {
            Some(kept) if kept.ends.is_none_or(|ends| ends > now) => {
                return Told::Value(Arc::clone(&kept.text), kept.ends);
            }
            Some(_) | None => {}
        }
        match &entry.failure {
            _ if entry.is_being_made => Told::Wait,
            Some(Failure { unmade, until, .. }) if *until > now => Told::Failed(unmade.clone()),
            Some(_) | None => {
                entry.is_being_made = true;
                Told::Make
            }
        }
    }

    /// What failed to be made before this moment is tried again as soon as it is asked for.
    pub fn try_again(&mut self, key: &K, before: Instant) {
        if let Some(entry) = self.kept.get_mut(key) {
            entry.failure.take_if(|failure| failure.at <= before);
        }
    }

    /// A making is over: the value and how long it is good for (`None`: for good), or why there is none.
    pub fn made(&mut self, now: Instant, key: &K, made: Result<(Arc<str>, Option<Duration>), Unmade>) {
        let Some(entry) = self.kept.get_mut(key) else { return };
        entry.is_being_made = false;
        match made {
            Ok((text, span)) => {
                (entry.failure, entry.backoff) = (None, Backoff::default());
                // What ends sooner is made when it is asked for, or it would be made for nobody for ever.
                let renew = span.filter(|span| *span > SPACING).map(|span| {
                    // Somewhere in the last quarter, but for the very end.
                    let ahead = self.chance.between(span / 10, span / 4);
                    now.later(span.saturating_sub(ahead).max(SPACING))
                });
                entry.value = Some(Kept { text, made_at: now, ends: span.map(|span| now.later(span)), renew });
            }
            Err(unmade) => {
                let delay = entry.backoff.next_delay(&PATIENCE, now, &mut self.chance).max(SPACING / 2);
                entry.failure = Some(Failure { unmade, at: now, until: now.later(delay) });
            }
        }
    }

    /// When to call [`Values::due`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.kept.values().filter_map(Entry::due).min()
    }

    /// Values to be made now, ahead of their ends.
    pub fn due(&mut self, now: Instant) -> Vec<K> {
        let due = self.kept.iter_mut().filter(|(_, entry)| entry.due().is_some_and(|at| at <= now));
        due.map(|(key, entry)| {
            entry.is_being_made = true;
            key.clone()
        })
        .collect()
    }

    /// Nobody uses it any more.
    pub fn forget(&mut self, key: &K) {
        self.kept.remove(key);
    }
}

impl Entry {
    fn due(&self) -> Option<Instant> {
        let renew = self.value.as_ref().filter(|_| !self.is_being_made)?.renew?;
        let again = self.failure.as_ref().map(|failure| failure.until);
        Some(again.map_or(renew, |again| again.max(renew)))
    }
}

impl<K> fmt::Debug for Values<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} values", self.kept.len())
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Value(..) => "Value",
            Self::Wait => "Wait",
            Self::Make => "Make",
            Self::Failed(_) => "Failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    #[allow(clippy::unnecessary_wraps, reason = "as what came of a making is told")]
    fn good(text: &str, seconds: u64) -> Result<(Arc<str>, Option<Duration>), Unmade> {
        Ok((text.into(), Some(Duration::from_secs(seconds))))
    }

    fn bad() -> Unmade {
        Unmade { why: "no".into(), is_refused: true }
    }

    fn text(told: &Told) -> &str {
        match told {
            Told::Value(text, _) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_token_that_ends_every_five_seconds_is_renewed_ahead_for_a_day_and_nobody_waits() {
        let (mut values, mut now) = (Values::new(7), crate::epoch());
        let (end, mut chance, mut makings) = (now.later(DAY), Chance::new(3), 1_u32);
        assert_eq!(values.ask(now, &"token", None), Told::Make);
        values.made(now, &"token", good("0", 5));
        let mut asked_at = now;
        while now < end {
            let due = values.poll_timeout().unwrap();
            if asked_at <= due {
                now = asked_at;
                let told = values.ask(now, &"token", None);
                assert!(!text(&told).is_empty());
                asked_at = now.later(chance.between(Duration::from_millis(1), Duration::from_secs(9)));
            } else {
                now = due;
                assert_eq!(values.due(now), ["token"]);
                assert_eq!(values.due(now), [""; 0], "one making at a time");
                // A call takes a while, and the old one is good meanwhile.
                now = now.later(chance.between(Duration::ZERO, Duration::from_millis(400)));
                let _ = text(&values.ask(now, &"token", None));
                makings += 1;
                values.made(now, &"token", good("n", 5));
            }
        }
        assert!((17_280..=24_000).contains(&makings), "{makings}");
    }

    #[test]
    fn who_asks_while_it_is_made_waits_and_a_hundred_refusals_make_one_new_value() {
        let (mut values, now) = (Values::new(7), crate::epoch());
        assert_eq!(values.ask(now, &1, None), Told::Make);
        assert_eq!(values.ask(now, &1, None), Told::Wait);
        values.made(now, &1, good("old", 3600));
        let refused = now.later(Duration::from_secs(9));
        assert_eq!(values.ask(refused, &1, Some(refused)), Told::Make);
        assert!((0..99).all(|_| values.ask(refused, &1, Some(refused)) == Told::Wait));
        let later = refused.later(Duration::from_secs(1));
        values.made(later, &1, good("new", 3600));
        assert_eq!(text(&values.ask(later, &1, Some(refused))), "new");
        assert_eq!(values.ask(later, &1, Some(later)), Told::Make, "the new one was refused too");
    }

    #[test]
    fn a_failure_keeps_the_old_value_until_its_end_and_is_tried_again_slower_and_slower() {
        let (mut values, mut now) = (Values::new(7), crate::epoch());
        let _ = values.ask(now, &1, None);
        values.made(now, &1, good("old", 3600));
        let ends = now.later(Duration::from_hours(1));
        let mut tries = 0;
        loop {
            let due = values.poll_timeout().unwrap();
            if due >= ends {
                break;
            }
            now = due;
            assert_eq!(values.due(now), [1]);
            tries += 1;
            values.made(now, &1, Err(bad()));
            assert_eq!(text(&values.ask(now, &1, None)), "old");
        }
        assert!((8..200).contains(&tries), "{tries} tries in the last quarter of an hour");
        assert!(matches!(values.ask(ends, &1, None), Told::Failed(_) | Told::Make));
    }

    #[test]
    fn a_failure_is_not_waited_out_where_its_cause_may_be_gone_and_by_one_of_many_only() {
        let (mut values, now) = (Values::new(7), crate::epoch());
        let _ = values.ask(now, &1, None);
        values.made(now, &1, Err(bad()));
        assert_eq!(values.ask(now, &1, None), Told::Failed(bad()));
        let refused = now.later(Duration::from_millis(1));
        values.try_again(&1, refused);
        assert_eq!(values.ask(refused, &1, Some(refused)), Told::Make);
        values.try_again(&1, refused);
        assert_eq!(values.ask(refused, &1, Some(refused)), Told::Wait);
        let later = refused.later(Duration::from_millis(1));
        values.made(later, &1, Err(bad()));
        values.try_again(&1, refused);
        assert_eq!(values.ask(later, &1, Some(refused)), Told::Failed(bad()), "it has been tried since");
    }

    #[test]
    fn one_that_ends_at_once_is_made_for_each_who_asks_and_for_nobody_else() {
        let (mut values, now) = (Values::new(7), crate::epoch());
        let _ = values.ask(now, &1, None);
        values.made(now, &1, good("short", 0));
        assert_eq!(values.ask(now, &1, None), Told::Make);
        values.made(now, &1, good("short", 0));
        assert_eq!(values.poll_timeout(), None, "nobody asks");
    }
}
