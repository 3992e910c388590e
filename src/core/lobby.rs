//! Where the links of an endpoint wait before they have made anything of an attempt.
//!
//! Ten thousand may be due in one moment, and admission lets in some dozens at a time. So only so many of an endpoint evaluate their
//! secrets and look names up; the others wait with nothing in their hands, and what is evaluated is not stale when it is used.
//!
//! What a reader would get wrong: this limits no attempts. Admission does; who leaves the lobby asks it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// However little admission allows, so many prepare an attempt.
const LEAST: usize = 8;

/// The lobbies of all endpoints.
#[derive(Debug)]
pub struct Lobby {
    most: usize,
    rooms: BTreeMap<Arc<str>, Room>,
    waiting: usize,
}

#[derive(Debug, Default)]
struct Room {
    /// Those who have left it and prepare an attempt.
    ahead: usize,
    line: BTreeSet<u64>,
}

impl Lobby {
    /// Empty. Of each endpoint as many prepare an attempt as may be `connecting` in the whole pool.
    pub fn new(connecting: usize) -> Self {
        Self { most: connecting.max(LEAST), rooms: BTreeMap::new(), waiting: 0 }
    }

    /// Follows another limit, from the next who leaves on.
    pub fn set_limit(&mut self, connecting: usize) {
        self.most = connecting.max(LEAST);
    }

    /// Comes in. Answers with whether to go on at once. `ticket` must be larger than any before it.
    pub fn enter(&mut self, endpoint: &Arc<str>, ticket: u64) -> bool {
        let room = self.rooms.entry(Arc::clone(endpoint)).or_default();
        let goes_on = room.line.is_empty() && room.ahead < self.most;
        if goes_on {
            room.ahead += 1;
        } else {
            room.line.insert(ticket);
            self.waiting += 1;
        }
        goes_on
    }

    /// One who went on has no more need of it. Answers with who goes on now.
    pub fn leave(&mut self, endpoint: &Arc<str>) -> Vec<u64> {
        let Some(room) = self.rooms.get_mut(endpoint) else { return Vec::new() };
        room.ahead = room.ahead.saturating_sub(1);
        let mut going = Vec::new();
        while room.ahead < self.most
            && let Some(next) = room.line.pop_first()
        {
            room.ahead += 1;
            going.push(next);
        }
        self.waiting -= going.len();
        if room.ahead == 0 && room.line.is_empty() {
            self.rooms.remove(endpoint);
        }
        going
    }

    /// Waits no more.
    pub fn withdraw(&mut self, endpoint: &Arc<str>, ticket: u64) {
        if self.rooms.get_mut(endpoint).is_some_and(|room| room.line.remove(&ticket)) {
            self.waiting -= 1;
        }
    }

    /// How many come before a ticket: those in line, and those who prepare; `None`: it does not wait here.
    pub fn ahead(&self, endpoint: &Arc<str>, ticket: u64) -> Option<usize> {
        let room = self.rooms.get(endpoint).filter(|room| room.line.contains(&ticket))?;
        Some(room.line.range(..ticket).count() + room.ahead)
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
        let (mut lobby, a, b) = (Lobby::new(10), Arc::<str>::from("a"), Arc::<str>::from("b"));
        for ticket in 0..10 {
            assert!(lobby.enter(&a, ticket));
        }
        assert!(!lobby.enter(&a, 10) && !lobby.enter(&a, 11));
        assert!(lobby.enter(&b, 12), "one endpoint does not hold up another");
        assert_eq!((lobby.waiting(), lobby.ahead(&a, 11), lobby.ahead(&a, 3)), (2, Some(11), None));
        assert_eq!(lobby.leave(&a), [10]);
        lobby.withdraw(&a, 11);
        assert_eq!((lobby.leave(&a), lobby.waiting()), (vec![], 0));
        for _ in 0..9 {
            lobby.leave(&a);
        }
        lobby.leave(&b);
        assert!(lobby.rooms.is_empty());
    }

    #[test]
    fn a_higher_limit_lets_more_go_on() {
        let (mut lobby, a) = (Lobby::new(1), Arc::<str>::from("a"));
        let going = (0..20).filter(|ticket| lobby.enter(&a, *ticket)).count();
        assert_eq!(going, LEAST);
        lobby.set_limit(12);
        assert_eq!(lobby.leave(&a), [8, 9, 10, 11, 12]);
    }
}
