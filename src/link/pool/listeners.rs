//! Who listens to an endpoint's links: lazy ones are told, for they are awake while somebody does.
//!
//! What a reader would get wrong: a link is told under the lock of the counts, so that the last word it hears is the last that was said.

use std::collections::BTreeMap;

use super::{runtime::EndpointRuntime, slot::Slot};
use crate::hub::Listened;
use wskeeper_core::link::Input;

/// Which links somebody listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wakes {
    All,
    One(u32),
}

impl Wakes {
    /// That of who wants this link's events only, or those of all.
    pub(super) fn of(link: Option<u32>) -> Self {
        link.map_or(Self::All, Self::One)
    }

    pub(super) fn link(self) -> Option<u32> {
        match self {
            Self::All => None,
            Self::One(link) => Some(link),
        }
    }
}

/// How many listen.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    /// To all links.
    all: usize,
    /// To one of them, by its number.
    of: BTreeMap<u32, usize>,
}

impl Listeners {
    /// Answers whether somebody listens now where nobody did, or the reverse.
    fn note(&mut self, link: Option<u32>, begins: bool) -> bool {
        let count = match link {
            None => &mut self.all,
            Some(link) => self.of.entry(link).or_default(),
        };
        *count = if begins { count.saturating_add(1) } else { count.saturating_sub(1) };
        let is_turn = *count == usize::from(begins);
        if *count == 0
            && let Some(link) = link
        {
            self.of.remove(&link);
        }
        is_turn
    }

    /// Whether somebody listens to this link.
    pub(super) fn has(&self, link: u32) -> bool {
        self.all > 0 || self.of.contains_key(&link)
    }
}

impl Listened for EndpointRuntime {
    fn listens(&self, link: Option<u32>, begins: bool) {
        let mut listeners = self.listeners();
        if listeners.note(link, begins) && self.is_lazy() {
            match link {
                Some(link) => self.slot(link).iter().for_each(|slot| tell(slot, &listeners)),
                None => self.slots().iter().for_each(|slot| tell(slot, &listeners)),
            }
        }
    }
}

impl EndpointRuntime {
    /// Whether its links have a connection only while somebody wants it.
    pub(super) fn is_lazy(&self) -> bool {
        self.config().link.idle_timeout.is_some()
    }

    /// Tells links that have just begun. One that has just become lazy asks.
    pub(super) fn tell_listened(&self, slots: &[impl std::ops::Deref<Target = Slot>]) {
        if self.is_lazy() {
            let listeners = self.listeners();
            for slot in slots {
                tell(slot, &listeners);
            }
        }
    }
}

fn tell(slot: &Slot, listeners: &Listeners) {
    slot.answer(Input::Listened(listeners.has(slot.id.index)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_who_comes_and_the_last_who_goes_are_news() {
        let mut listeners = Listeners::default();
        let news: Vec<bool> =
            [(None, true), (None, true), (None, false), (None, false), (Some(3), true), (Some(3), false)]
                .map(|(link, begins)| listeners.note(link, begins))
                .into();
        assert_eq!(news, [true, false, false, true, true, true]);
        listeners.note(Some(3), true);
        assert!(listeners.has(3) && !listeners.has(4));
        listeners.note(None, true);
        assert!(listeners.has(4));
    }
}
