//! What a value may be: how it is read, and how it is shown.
//!
//! Ranges are those that a fault names; what is out of them is reported, and what was there stays.

use std::{marker::PhantomData, ops::RangeInclusive, time::Duration};

#[cfg(test)]
use serde_json::Value as Json;

use super::{Shown, told::Told};
#[cfg(test)]
use super::{told::nullable, written};
use crate::config::check::{MAX_DURATION, item::Item, section::Section};

/// How values of one kind are read and shown.
pub(crate) trait Kind: Sync {
    type Of: Clone + PartialEq;

    /// Reads it; a fault is reported, and gives `None`.
    fn item(&self, _item: &Item<'_>) -> Option<Self::Of> {
        None
    }

    /// Reads it where it stands in its section, over what is there.
    fn read(&self, section: &Section<'_>, name: &'static str, value: &mut Self::Of) {
        if let Some(read) = section.get(name).and_then(|item| self.item(&item)) {
            *value = read;
        }
    }

    /// As people may see it; `None`: not at all, or with another key.
    fn show(&self, _value: &Self::Of) -> Option<Shown> {
        None
    }

    /// What names in JSON end with.
    fn unit(&self) -> &'static str {
        ""
    }

    /// What documents say of it, and of this value where there is one.
    #[cfg(test)]
    fn describe(&self, _value: Option<&Self::Of>) -> Described {
        Described::default()
    }
}

/// What documents say of a value.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct Described {
    /// In OpenAPI; `None` where it is not shown.
    pub(crate) schema: Option<Json>,
    /// In TOML; `None` where there is none by default.
    pub(crate) toml: Option<String>,
}

#[cfg(test)]
impl Described {
    fn of<T: Told>(value: Option<&T>) -> Self {
        Self { schema: Some(T::schema()), toml: value.and_then(|value| written::told(&value.told())) }
    }
}

/// A whole number.
pub(crate) struct Whole<T> {
    range: RangeInclusive<u64>,
    /// Bytes, written with a unit or without.
    is_size: bool,
    of: PhantomData<fn() -> T>,
}

/// A whole number that counts things.
pub(crate) const fn count<T>(range: RangeInclusive<u64>) -> Whole<T> {
    Whole { range, is_size: false, of: PhantomData }
}

/// Bytes.
pub(crate) const fn size<T>(range: RangeInclusive<u64>) -> Whole<T> {
    Whole { range, is_size: true, of: PhantomData }
}

impl<T: TryFrom<u64> + Told> Kind for Whole<T> {
    type Of = T;

    fn item(&self, item: &Item<'_>) -> Option<T> {
        let range = self.range.clone();
        let whole = if self.is_size { item.size(range) } else { item.integer(range) };
        whole.and_then(|whole| T::try_from(whole).ok())
    }

    fn show(&self, value: &T) -> Option<Shown> {
        Some(value.told())
    }

    fn unit(&self) -> &'static str {
        if self.is_size { "Bytes" } else { "" }
    }

    #[cfg(test)]
    fn describe(&self, value: Option<&T>) -> Described {
        let size = |value: &T| match value.told() {
            Shown::Whole(bytes) => Some(format!("{:?}", written::size(bytes))),
            _ => None,
        };
        let described = Described::of(value);
        if self.is_size { Described { toml: value.and_then(size), ..described } } else { described }
    }
}

/// A number with a fraction.
pub(crate) struct Number(pub(crate) RangeInclusive<f64>);

impl Kind for Number {
    type Of = f64;

    fn item(&self, item: &Item<'_>) -> Option<f64> {
        item.number(self.0.clone())
    }

    fn show(&self, value: &f64) -> Option<Shown> {
        Some(value.told())
    }

    #[cfg(test)]
    fn describe(&self, value: Option<&f64>) -> Described {
        Described::of(value)
    }
}

/// A duration.
pub(crate) struct Time(RangeInclusive<Duration>);

/// A duration; none at all is one too.
pub(crate) const fn any_time() -> Time {
    Time(Duration::ZERO..=MAX_DURATION)
}

/// A duration that is not nothing.
pub(crate) const fn some_time() -> Time {
    Time(Duration::from_millis(1)..=MAX_DURATION)
}

/// A duration that is not shorter than this.
pub(crate) const fn time_of_at_least(least: Duration) -> Time {
    Time(least..=MAX_DURATION)
}

/// A duration from `least` to `most`.
pub(crate) const fn time_within(least: Duration, most: Duration) -> Time {
    Time(least..=most)
}

impl Kind for Time {
    type Of = Duration;

    fn item(&self, item: &Item<'_>) -> Option<Duration> {
        item.duration(self.0.clone())
    }

    fn show(&self, value: &Duration) -> Option<Shown> {
        Some(Shown::Whole(u64::try_from(value.as_millis()).unwrap_or(u64::MAX)))
    }

    fn unit(&self) -> &'static str {
        "Ms"
    }

    #[cfg(test)]
    fn describe(&self, value: Option<&Duration>) -> Described {
        Described { schema: Some(u64::schema()), toml: value.map(|value| format!("{:?}", written::duration(*value))) }
    }
}

/// One of a closed set of words.
pub(crate) struct Word<T: 'static>(pub(crate) &'static [(&'static str, T)]);

/// Of an outbox or an inbox.
pub(crate) const DURABILITY: Word<bool> = Word(&[("memory", false), ("disk", true)]);

impl<T: Copy + PartialEq + Sync> Word<T> {
    fn word(&self, value: &T) -> String {
        // Every value of the type has its word.
        self.0.iter().find(|(_, named)| named == value).map_or("", |(word, _)| word).to_owned()
    }
}

impl<T: Copy + PartialEq + Sync> Kind for Word<T> {
    type Of = T;

    fn item(&self, item: &Item<'_>) -> Option<T> {
        item.word(self.0)
    }

    fn show(&self, value: &T) -> Option<Shown> {
        Some(self.word(value).told())
    }

    #[cfg(test)]
    fn describe(&self, value: Option<&T>) -> Described {
        Described::of(value.map(|value| self.word(value)).as_ref())
    }
}

/// What may be absent.
pub(crate) struct Optional<K>(pub(crate) K);

impl<K: Kind> Kind for Optional<K> {
    type Of = Option<K::Of>;

    fn item(&self, item: &Item<'_>) -> Option<Self::Of> {
        self.0.item(item).map(Some)
    }

    fn show(&self, value: &Self::Of) -> Option<Shown> {
        value.as_ref().map_or(Some(Shown::Null), |value| self.0.show(value))
    }

    fn unit(&self) -> &'static str {
        self.0.unit()
    }

    #[cfg(test)]
    fn describe(&self, value: Option<&Self::Of>) -> Described {
        let described = self.0.describe(value.and_then(Option::as_ref));
        Described { schema: described.schema.map(nullable), ..described }
    }
}

/// Read by a function of its own.
pub(crate) struct By<T>(pub(crate) fn(&Item<'_>) -> Option<T>);

/// `true` or `false`.
pub(crate) const FLAG: By<bool> = By(flag);

fn flag(item: &Item<'_>) -> Option<bool> {
    item.bool()
}

impl<T: Told> Kind for By<T> {
    type Of = T;

    fn item(&self, item: &Item<'_>) -> Option<T> {
        (self.0)(item)
    }

    fn show(&self, value: &T) -> Option<Shown> {
        Some(value.told())
    }

    #[cfg(test)]
    fn describe(&self, value: Option<&T>) -> Described {
        Described::of(value)
    }
}

/// Read by a function that looks at its section, and lays what it reads over what is there.
pub(crate) struct Over<T>(pub(crate) fn(&Section<'_>, &mut T));

impl<T: Told> Kind for Over<T> {
    type Of = T;

    fn read(&self, section: &Section<'_>, _name: &'static str, value: &mut T) {
        (self.0)(section, value);
    }

    fn show(&self, value: &T) -> Option<Shown> {
        Some(value.told())
    }

    #[cfg(test)]
    fn describe(&self, value: Option<&T>) -> Described {
        Described::of(value)
    }
}

/// As [`Over`], and never shown.
pub(crate) struct Hidden<T>(pub(crate) fn(&Section<'_>, &mut T));

impl<T: Clone + PartialEq> Kind for Hidden<T> {
    type Of = T;

    fn read(&self, section: &Section<'_>, _name: &'static str, value: &mut T) {
        (self.0)(section, value);
    }
}

/// What another key shows.
pub(crate) struct Unshown<K>(pub(crate) K);

impl<K: Kind> Kind for Unshown<K> {
    type Of = K::Of;

    fn read(&self, section: &Section<'_>, name: &'static str, value: &mut Self::Of) {
        self.0.read(section, name, value);
    }

    #[cfg(test)]
    fn describe(&self, value: Option<&Self::Of>) -> Described {
        Described { schema: None, ..self.0.describe(value) }
    }
}

/// Nothing but a default that documents know.
pub(crate) struct Written(
    #[cfg_attr(not(test), allow(dead_code, reason = "documents are written by tests"))] pub(crate) &'static str,
);

impl Kind for Written {
    type Of = ();

    #[cfg(test)]
    fn describe(&self, _value: Option<&()>) -> Described {
        Described { schema: None, toml: (!self.0.is_empty()).then(|| self.0.to_owned()) }
    }
}
