//! What a value may be: how it is read, and how it is shown.
//!
//! Ranges are those that a fault names; what is out of them is reported, and what was there stays.

use std::{marker::PhantomData, ops::RangeInclusive, time::Duration};

#[cfg(test)]
use serde_json::{Value as Json, json};

use super::{Shown, Value, told::Told};
use crate::config::check::{MAX_DURATION, item::Item, section::Section};

/// How values of one kind are read and shown.
pub(crate) trait Kind: Sync {
    type Of: Clone + PartialEq;
    /// Reads it; a fault is reported, and gives `None`.
    fn item(&self, item: &Item<'_>) -> Option<Self::Of>;
    /// Reads it where it stands in its section, over what is there.
    fn read(&self, section: &Section<'_>, name: &'static str, value: &mut Self::Of) {
        if let Some(read) = section.get(name).and_then(|item| self.item(&item)) {
            *value = read;
        }
    }
    fn show(&self, value: &Self::Of) -> Option<Shown>;
    fn unit(&self) -> &'static str {
        ""
    }
    #[cfg(test)]
    fn schema(&self) -> Option<Json>;
    #[cfg(test)]
    fn written(&self, value: &Self::Of) -> Option<String>;
}

/// A value of a kind at a place within an `S`.
pub(crate) struct Field<S, K: Kind> {
    pub(crate) get: fn(&S) -> &K::Of,
    pub(crate) get_mut: fn(&mut S) -> &mut K::Of,
    pub(crate) kind: K,
}

impl<S, K: Kind> Value<S> for Field<S, K> {
    fn read(&self, section: &Section<'_>, name: &'static str, into: &mut S) {
        self.kind.read(section, name, (self.get_mut)(into));
    }

    fn is_same(&self, one: &S, other: &S) -> bool {
        (self.get)(one) == (self.get)(other)
    }

    fn keep(&self, new: &mut S, old: &S) {
        (self.get_mut)(new).clone_from((self.get)(old));
    }

    fn show(&self, of: &S) -> Option<Shown> {
        self.kind.show((self.get)(of))
    }

    fn unit(&self) -> &'static str {
        self.kind.unit()
    }

    #[cfg(test)]
    fn schema(&self) -> Option<Json> {
        self.kind.schema()
    }

    #[cfg(test)]
    fn written(&self, of: &S) -> Option<String> {
        self.kind.written((self.get)(of))
    }
}

/// A key that makes a value together with others: it is read and compared in a way of its own, and shown as what it gave.
pub(crate) struct Part<S, K: Kind> {
    pub(crate) read: fn(&Section<'_>, &mut S),
    pub(crate) is_same: fn(&S, &S) -> bool,
    pub(crate) of: fn(&S) -> K::Of,
    pub(crate) kind: K,
}

/// A key that is read with another one, and is no value of its own. `default` is what the documents say, in TOML; empty for none.
pub(crate) const fn with_another<S>(default: &'static str) -> Part<S, Written> {
    Part { read: |_, _| {}, is_same: |_, _| true, of: |_| (), kind: Written(default) }
}

/// A default that only documents know.
pub(crate) struct Written(
    #[cfg_attr(not(test), allow(dead_code, reason = "documents are written by tests"))] pub(crate) &'static str,
);

impl Kind for Written {
    type Of = ();

    fn item(&self, _item: &Item<'_>) -> Option<()> {
        None
    }

    fn show(&self, _value: &()) -> Option<Shown> {
        None
    }

    #[cfg(test)]
    fn schema(&self) -> Option<Json> {
        None
    }

    #[cfg(test)]
    fn written(&self, _value: &()) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.to_owned())
    }
}

impl<S, K: Kind> Value<S> for Part<S, K> {
    fn read(&self, section: &Section<'_>, _name: &'static str, into: &mut S) {
        (self.read)(section, into);
    }

    fn is_same(&self, one: &S, other: &S) -> bool {
        (self.is_same)(one, other)
    }

    // What needs a restart is a whole value.
    fn keep(&self, _new: &mut S, _old: &S) {}

    fn show(&self, of: &S) -> Option<Shown> {
        self.kind.show(&(self.of)(of))
    }

    fn unit(&self) -> &'static str {
        self.kind.unit()
    }

    #[cfg(test)]
    fn schema(&self) -> Option<Json> {
        self.kind.schema()
    }

    #[cfg(test)]
    fn written(&self, of: &S) -> Option<String> {
        self.kind.written(&(self.of)(of))
    }
}

/// `true` or `false`.
pub(crate) struct Flag;

impl Kind for Flag {
    type Of = bool;

    fn item(&self, item: &Item<'_>) -> Option<bool> {
        item.bool()
    }

    fn show(&self, value: &bool) -> Option<Shown> {
        Some(Shown::Bool(*value))
    }

    #[cfg(test)]
    fn schema(&self) -> Option<Json> {
        Some(json!({ "type": "boolean" }))
    }

    #[cfg(test)]
    fn written(&self, value: &bool) -> Option<String> {
        Some(value.to_string())
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
    fn schema(&self) -> Option<Json> {
        Some(T::schema())
    }

    #[cfg(test)]
    fn written(&self, value: &T) -> Option<String> {
        let Shown::Whole(whole) = value.told() else { return None };
        Some(if self.is_size { format!("{:?}", super::written::size(whole)) } else { whole.to_string() })
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
        Some(Shown::Number(*value))
    }

    #[cfg(test)]
    fn schema(&self) -> Option<Json> {
        Some(json!({ "type": "number", "format": "double" }))
    }

    #[cfg(test)]
    fn written(&self, value: &f64) -> Option<String> {
        Some(format!("{value:?}"))
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
    fn schema(&self) -> Option<Json> {
        Some(u64::schema())
    }

    #[cfg(test)]
    fn written(&self, value: &Duration) -> Option<String> {
        Some(format!("{:?}", super::written::duration(*value)))
    }
}

/// One of a closed set of words.
pub(crate) struct Word<T: 'static>(pub(crate) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq + Sync> Word<T> {
    fn word(&self, value: &T) -> &'static str {
        // Every value of the type has its word.
        self.0.iter().find(|(_, named)| named == value).map_or("", |(word, _)| word)
    }
}

impl<T: Copy + PartialEq + Sync> Kind for Word<T> {
    type Of = T;

    fn item(&self, item: &Item<'_>) -> Option<T> {
        item.word(self.0)
    }

    fn show(&self, value: &T) -> Option<Shown> {
        Some(Shown::Text(self.word(value).to_owned()))
    }

    #[cfg(test)]
    fn schema(&self) -> Option<Json> {
        Some(json!({ "type": "string" }))
    }

    #[cfg(test)]
    fn written(&self, value: &T) -> Option<String> {
        Some(format!("{:?}", self.word(value)))
    }
}

/// What may be absent: there is none by default.
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
    fn schema(&self) -> Option<Json> {
        self.0.schema().map(super::told::nullable)
    }

    #[cfg(test)]
    fn written(&self, value: &Self::Of) -> Option<String> {
        self.0.written(value.as_ref()?)
    }
}

/// Read by a function of its own.
pub(crate) struct By<T>(pub(crate) fn(&Item<'_>) -> Option<T>);

impl<T: Told> Kind for By<T> {
    type Of = T;

    fn item(&self, item: &Item<'_>) -> Option<T> {
        (self.0)(item)
    }

    fn show(&self, value: &T) -> Option<Shown> {
        Some(value.told())
    }

    #[cfg(test)]
    fn schema(&self) -> Option<Json> {
        Some(T::schema())
    }

    #[cfg(test)]
    fn written(&self, value: &T) -> Option<String> {
        super::written::told(&value.told())
    }
}

/// Read by a function that looks at its section, and lays what it reads over what is there.
pub(crate) struct Over<T>(pub(crate) fn(&Section<'_>, &mut T));

impl<T: Told> Kind for Over<T> {
    type Of = T;

    fn item(&self, _item: &Item<'_>) -> Option<T> {
        None
    }

    fn read(&self, section: &Section<'_>, _name: &'static str, value: &mut T) {
        (self.0)(section, value);
    }

    fn show(&self, value: &T) -> Option<Shown> {
        Some(value.told())
    }

    #[cfg(test)]
    fn schema(&self) -> Option<Json> {
        Some(T::schema())
    }

    #[cfg(test)]
    fn written(&self, value: &T) -> Option<String> {
        super::written::told(&value.told())
    }
}

/// As [`Over`], and not shown, or shown by another key.
pub(crate) struct Hidden<T>(pub(crate) fn(&Section<'_>, &mut T));

impl<T: Clone + PartialEq> Kind for Hidden<T> {
    type Of = T;

    fn item(&self, _item: &Item<'_>) -> Option<T> {
        None
    }

    fn read(&self, section: &Section<'_>, _name: &'static str, value: &mut T) {
        (self.0)(section, value);
    }

    fn show(&self, _value: &T) -> Option<Shown> {
        None
    }

    #[cfg(test)]
    fn schema(&self) -> Option<Json> {
        None
    }

    #[cfg(test)]
    fn written(&self, _value: &T) -> Option<String> {
        None
    }
}

/// What another key shows.
pub(crate) struct Unshown<K>(pub(crate) K);

impl<K: Kind> Kind for Unshown<K> {
    type Of = K::Of;

    fn item(&self, item: &Item<'_>) -> Option<Self::Of> {
        self.0.item(item)
    }

    fn read(&self, section: &Section<'_>, name: &'static str, value: &mut Self::Of) {
        self.0.read(section, name, value);
    }

    fn show(&self, _value: &Self::Of) -> Option<Shown> {
        None
    }

    #[cfg(test)]
    fn schema(&self) -> Option<Json> {
        None
    }

    #[cfg(test)]
    fn written(&self, value: &Self::Of) -> Option<String> {
        self.0.written(value)
    }
}
