//! Who changes an endpoint: one at a time for each name, whatever happens to others meanwhile.
//!
//! What a reader would get wrong: the name of an endpoint outlives it. One that is on its way out has its turn until nothing of it is left, and
//! another of the same name begins after that.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

/// The names whose endpoints are being changed, or wait for that.
#[derive(Debug, Default)]
pub struct Turns(Mutex<BTreeMap<Arc<str>, Arc<tokio::sync::Mutex<()>>>>);

/// A turn, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Arc<Turns>,
    name: Arc<str>,
    /// `None` only while it is dropped.
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits until nobody else changes the endpoint of this name.
    pub async fn take(self: &Arc<Self>, name: &Arc<str>) -> Turn {
        let lock = Arc::clone(self.0.lock().entry(Arc::clone(name)).or_default());
        let guard = lock.lock_owned().await;
        Turn { turns: Arc::clone(self), name: Arc::clone(name), guard: Some(guard) }
    }

    /// The same where nobody does.
    pub fn try_take(self: &Arc<Self>, name: &Arc<str>) -> Option<Turn> {
        let lock = Arc::clone(self.0.lock().entry(Arc::clone(name)).or_default());
        let guard = lock.try_lock_owned().ok()?;
        Some(Turn { turns: Arc::clone(self), name: Arc::clone(name), guard: Some(guard) })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut names = self.turns.0.lock();
        self.guard = None;
        // Whoever waits for it has it too.
        if names.get(&self.name).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            names.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_is_waited_for_by_those_of_the_same_name_and_leaves_nothing() {
        let turns = Arc::<Turns>::default();
        let (one, other) = (Arc::from("one"), Arc::from("other"));
        let first = turns.take(&one).await;
        assert!(turns.try_take(&one).is_none());
        let beside = turns.take(&other).await;
        let waiting = tokio::spawn({
            let (turns, one) = (Arc::clone(&turns), Arc::clone(&one));
            async move { drop(turns.take(&one).await) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop((first, beside));
        waiting.await.unwrap();
        assert!(turns.0.lock().is_empty());
    }
}
