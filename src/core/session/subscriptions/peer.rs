//! What a peer may have of the keys that a connection has asked for, and what it has for certain, for one that still knows them on the next
//! connection.
//!
//! Nothing is certain by having been sent: a peer that is gone has not read all that had left. A key is there for certain once the peer has
//! confirmed it; where nothing confirms, or for what was ended, once the pong has come of a ping that was sent later. What a reader would get
//! wrong: a key that was ended stays here until then, and is ended again on the next connection.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::subscriptions::{Has, Stay, Wish};

/// Keys whose end is not certain are remembered up to so many: a peer need not answer pings, or is sent none.
const ENDING_MAX: usize = 4096;

/// What the peer has, by what was said to it.
#[derive(Debug, Default)]
pub(super) struct PeerKeys {
    has: BTreeMap<Arc<str>, Said>,
    /// How many messages about keys were sent.
    said: u64,
    /// So many of them had left when the ping was sent whose pong is waited for.
    fence: Option<u64>,
    ending: usize,
    changed: BTreeSet<Arc<str>>,
}

#[derive(Debug)]
struct Said {
    has: Has,
    /// By which message.
    by: u64,
}

impl PeerKeys {
    /// The peer still has this from the last connection.
    pub(super) fn still_has(&mut self, has: Has) {
        self.put(has);
    }

    /// A message is sent that asks for these, or ends them.
    pub(super) fn says(&mut self, wishes: Vec<Wish>, is_add: bool) {
        self.said = self.said.saturating_add(1);
        let stay = if is_add { Stay::Perhaps } else { Stay::Ending };
        for wish in wishes {
            self.put(Has { wish, stay });
        }
        while self.ending > ENDING_MAX
            && let Some(key) = self.first_ending()
        {
            self.remove(&key);
        }
    }

    fn first_ending(&self) -> Option<Arc<str>> {
        let of_ending = self.has.iter().filter(|(_, said)| said.has.stay == Stay::Ending);
        of_ending.min_by_key(|(_, said)| said.by).map(|(key, _)| Arc::clone(key))
    }

    /// The peer has confirmed this one.
    pub(super) fn confirmed(&mut self, wish: &Wish) {
        self.put(Has { wish: wish.clone(), stay: Stay::Sure });
    }

    /// It does not have this one, or nothing can be said of it.
    pub(super) fn lacks(&mut self, wish: &Wish) {
        if self.has.get(&wish.key).is_some_and(|said| said.has.wish.place == wish.place) {
            self.remove(&wish.key);
        }
    }

    /// A ping is sent, behind all that was said where that `has_left`, and no other is out.
    pub(super) fn pinged(&mut self, has_left: bool) {
        self.fence = has_left.then_some(self.said);
    }

    /// The pong of that ping has come, or of a later one. Whether keys are there then for certain: `confirms` where no word of the peer does.
    pub(super) fn ponged(&mut self, confirms: bool) {
        let Some(fence) = self.fence.take() else { return };
        let mut gone = Vec::new();
        for (key, said) in &mut self.has {
            match said.has.stay {
                Stay::Perhaps if confirms && said.by <= fence => {
                    said.has.stay = Stay::Sure;
                    self.changed.insert(Arc::clone(key));
                }
                Stay::Ending if said.by <= fence => gone.push(Arc::clone(key)),
                Stay::Perhaps | Stay::Ending | Stay::Sure => {}
            }
        }
        for key in &gone {
            self.remove(key);
        }
    }

    /// What has changed since this was last asked, or `all`; `None`: the peer has it no more.
    pub(super) fn take_changed(&mut self, all: bool) -> Vec<(Arc<str>, Option<Has>)> {
        let changed = std::mem::take(&mut self.changed);
        if all {
            return self.has.iter().map(|(key, said)| (Arc::clone(key), Some(said.has.clone()))).collect();
        }
        let of = |key: Arc<str>| {
            let has = self.has.get(&key).map(|said| said.has.clone());
            (key, has)
        };
        changed.into_iter().map(of).collect()
    }

    pub(super) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    fn put(&mut self, has: Has) {
        let key = Arc::clone(&has.wish.key);
        self.remove(&key);
        self.ending = self.ending.saturating_add(usize::from(has.stay == Stay::Ending));
        self.has.insert(key, Said { has, by: self.said });
    }

    fn remove(&mut self, key: &Arc<str>) {
        self.changed.insert(Arc::clone(key));
        if let Some(said) = self.has.remove(key) {
            self.ending = self.ending.saturating_sub(usize::from(said.has.stay == Stay::Ending));
        }
    }
}
