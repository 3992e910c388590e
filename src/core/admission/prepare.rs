//! Where the links of an endpoint wait before they have made anything of an attempt.
//!
//! Ten thousand may be due in one moment, and admission lets in some dozens at a time. So only so many of an endpoint evaluate their
//! secrets and look names up; the others wait with nothing in their hands, and what is evaluated is not stale when it is used.
//!
//! What a reader would get wrong: this limits no attempts. `Admission` does; a link that has prepared asks it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// However little admission allows, so many prepare an attempt.
const LEAST: usize = 8;

/// Who prepares an attempt, and who waits to, by endpoint.
#[derive(Debug)]
pub struct PrepareLimit {
    most: usize,
    queues: BTreeMap<Arc<str>, Queue>,
    waiting: usize,
}

#[derive(Debug, Default)]
struct Queue {
    /// Those who prepare an attempt.
    ahead: usize,
    line: BTreeSet<u64>,
}

impl PrepareLimit {
    /// Empty. Of each endpoint as many prepare an attempt as may be `connecting` in the whole pool.
    pub fn new(connecting: usize) -> Self {
        Self { most: connecting.max(LEAST), queues: BTreeMap::new(), waiting: 0 }
    }

    /// Follows another limit, from the next who leaves on.
    pub fn set_limit(&mut self, connecting: usize) {
        self.most = connecting.max(LEAST);
    }

    /// Asks to prepare. Answers with whether to go on at once. `ticket` must be larger than any before it.
    pub fn enter(&mut self, endpoint: &Arc<str>, ticket: u64) -> bool {
        let queue = self.queues.entry(Arc::clone(endpoint)).or_default();
        let goes_on = queue.line.is_empty() && queue.ahead < self.most;
        if goes_on {
            queue.ahead += 1;
        } else {
            queue.line.insert(ticket);
            self.waiting += 1;
        }
        goes_on
    }

    /// One who went on has no more need of it. Answers with who goes on now.
    pub fn leave(&mut self, endpoint: &Arc<str>) -> Vec<u64> {
        let Some(queue) = self.queues.get_mut(endpoint) else { return Vec::new() };
        queue.ahead = queue.ahead.saturating_sub(1);
        let mut going = Vec::new();
        while queue.ahead < self.most
            && let Some(next) = queue.line.pop_first()
        {
            queue.ahead += 1;
            going.push(next);
        }
        self.waiting -= going.len();
        if queue.ahead == 0 && queue.line.is_empty() {
            self.queues.remove(endpoint);
        }
        going
    }

    /// Waits no more.
    pub fn withdraw(&mut self, endpoint: &Arc<str>, ticket: u64) {
        if self.queues.get_mut(endpoint).is_some_and(|queue| queue.line.remove(&ticket)) {
            self.waiting -= 1;
        }
    }

    /// How many come before a ticket: those in line, and those who prepare; `None`: it does not wait here.
    pub fn ahead(&self, endpoint: &Arc<str>, ticket: u64) -> Option<usize> {
        let queue = self.queues.get(endpoint).filter(|queue| queue.line.contains(&ticket))?;
        Some(queue.line.range(..ticket).count() + queue.ahead)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_of_each_endpoint_go_on_and_the_others_follow_in_order() {
        let (mut limit, a, b) = (PrepareLimit::new(10), Arc::<str>::from("a"), Arc::<str>::from("b"));
        for ticket in 0..10 {
            assert!(limit.enter(&a, ticket));
        }
        assert!(!limit.enter(&a, 10) && !limit.enter(&a, 11));
        assert!(limit.enter(&b, 12), "one endpoint does not hold up another");
        assert_eq!((limit.waiting(), limit.ahead(&a, 11), limit.ahead(&a, 3)), (2, Some(11), None));
        assert_eq!(limit.leave(&a), [10]);
        limit.withdraw(&a, 11);
        assert_eq!((limit.leave(&a), limit.waiting()), (vec![], 0));
        for _ in 0..9 {
            limit.leave(&a);
        }
        limit.leave(&b);
        assert!(limit.queues.is_empty());
    }

    #[test]
    fn a_higher_limit_lets_more_go_on() {
        let (mut limit, a) = (PrepareLimit::new(1), Arc::<str>::from("a"));
        let going = (0..20).filter(|ticket| limit.enter(&a, *ticket)).count();
        assert_eq!(going, LEAST);
        limit.set_limit(12);
        assert_eq!(limit.leave(&a), [8, 9, 10, 11, 12]);
    }
}
