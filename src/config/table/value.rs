//! Where a key's value lives, and what is done with it there.
//!
//! Most are a [`Field`]: a value of a kind at a place. What several keys make together is a [`Part`] for each of them.

#[cfg(test)]
use super::kinds::Described;
use super::{
    Shown,
    kinds::{Kind, Written},
};
use crate::config::check::section::Section;

/// A key's value within an `S`.
pub(crate) trait Value<S>: Sync {
    /// Reads it, over what is there.
    fn read(&self, section: &Section<'_>, name: &'static str, into: &mut S);
    fn is_same(&self, one: &S, other: &S) -> bool;
    /// The old value stays in force.
    fn keep(&self, new: &mut S, old: &S);
    /// As people may see it; `None` where it is not shown, or shown with another key.
    fn show(&self, of: &S) -> Option<Shown>;
    /// What its name in JSON ends with.
    fn unit(&self) -> &'static str;
    #[cfg(test)]
    fn describe(&self, of: &S) -> Described;
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
    fn describe(&self, of: &S) -> Described {
        self.kind.describe(Some((self.get)(of)))
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
    fn describe(&self, of: &S) -> Described {
        self.kind.describe(Some(&(self.of)(of)))
    }
}
