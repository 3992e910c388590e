//! What of a set is kept over a restart: keys that programs hold by a name, and their leases.
//!
//! What a reader would get wrong: a key that a local WebSocket or the configuration holds as well is kept for the others only.

use std::{sync::Arc, time::Instant};

use super::{
    Holder, Lasting, Refusal, Set,
    set::{Coming, Key},
};

impl Set {
    /// The next key of which what is kept has changed, where that is kept: `None` behind it: nothing is any more.
    pub fn poll_lasting(&mut self) -> Option<(Arc<str>, Option<Lasting>)> {
        let key = self.touched.pop_first()?;
        let lasting = self.keys.get(&key).and_then(lasting);
        Some((key, lasting))
    }

    /// Has all of it told again, or these keys.
    pub fn touch(&mut self, keys: Option<Vec<Arc<str>>>) {
        let keys = keys.unwrap_or_else(|| self.keys.keys().cloned().collect());
        self.touched.extend(keys);
    }

    /// A key is as it was before a restart, whatever the configuration says now of keys that are put.
    pub fn restore(&mut self, now: Instant, lasting: Lasting) -> Result<(), Refusal> {
        let Lasting { key, place: _, message, holders } = lasting;
        for (name, until) in holders {
            let lease = until.map(|until| until.saturating_duration_since(now));
            self.put_as(now, &key, (Holder::Named(name), Coming::Restored), lease, message.clone())?;
        }
        Ok(())
    }
}

fn lasting(held: &Key) -> Option<Lasting> {
    let named = held.holders.iter().filter_map(|(holder, until)| match holder {
        Holder::Named(name) => Some((Arc::clone(name), *until)),
        Holder::Configuration | Holder::Socket(_) => None,
    });
    let holders: Vec<_> = named.collect();
    let wish = &held.wish;
    let (key, message) = (Arc::clone(&wish.key), wish.add.clone());
    (!holders.is_empty()).then_some(Lasting { key, place: wish.place, message, holders })
}
