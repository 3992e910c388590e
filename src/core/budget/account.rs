//! What the links of one endpoint hold together that cannot give way: messages that are not whole, and the windows of compression.
//!
//! It is a part of the three quarters that history may have, and history gives way to it. What a reader would get wrong: how much an endpoint
//! may hold depends on the others. It may hold as much as all of them leave free (the dynamic threshold of Choudhury and Hahne, with a factor
//! of 1), so however much one holds, the next one finds room.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{Budget, most_history, take};

/// What the links of one endpoint hold together.
#[derive(Debug)]
pub struct Account {
    budget: Arc<Budget>,
    held: AtomicU64,
}

impl Account {
    /// One that holds nothing.
    pub fn new(budget: &Arc<Budget>) -> Arc<Self> {
        Arc::new(Self { budget: Arc::clone(budget), held: AtomicU64::new(0) })
    }

    /// A link's part, which is empty.
    pub fn hold(self: &Arc<Self>) -> Hold {
        Hold { account: Arc::clone(self), bytes: 0 }
    }

    /// Bytes that its links hold.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// `more` bytes for one that has `own`.
    fn take(&self, own: u64, more: u64) -> bool {
        let budget = &self.budget;
        let free = most_history(budget.limit).saturating_sub(self.held());
        let is_alone = budget.gathering.load(Ordering::Relaxed) == own;
        // One that is alone may be larger: else it could never pass. The others may be as large as what is free before it grows.
        let most = if is_alone { most_history(budget.limit) } else { free };
        if !take(&budget.gathering, more, most) {
            return false;
        }
        if !budget.take_as_history(more) {
            budget.make_room_in_history(more);
            if !budget.take_as_history(more) {
                budget.gathering.fetch_sub(more, Ordering::Relaxed);
                return false;
            }
        }
        self.held.fetch_add(more, Ordering::Relaxed);
        true
    }

    fn give_back(&self, bytes: u64) {
        for sum in [&self.held, &self.budget.gathering, &self.budget.history, &self.budget.used] {
            sum.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

/// What one link holds of its endpoint's [`Account`]; dropping it gives it back.
#[derive(Debug)]
pub struct Hold {
    account: Arc<Account>,
    bytes: u64,
}

impl Hold {
    /// How many bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Has this many from now on; if there is no room for more, what it has stays.
    pub fn resize(&mut self, bytes: u64) -> bool {
        if bytes == self.bytes {
            return true;
        }
        if bytes > self.bytes {
            if !self.account.take(self.bytes, bytes - self.bytes) {
                return false;
            }
        } else {
            self.account.give_back(self.bytes - bytes);
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.account.give_back(self.bytes);
    }
}
