//! What the budget promises, with holders that are nothing but a number.
#![expect(clippy::disallowed_types, reason = "the core knows no lock; its tests take the one at hand")]

use std::sync::Mutex;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Default)]
struct Heaps(Mutex<Vec<Weak<dyn Holder>>>);

impl Holders for Heaps {
    fn add(&self, holder: Weak<dyn Holder>) {
        self.0.lock().unwrap().push(holder);
    }

    fn all(&self) -> Vec<Arc<dyn Holder>> {
        self.0.lock().unwrap().iter().filter_map(Weak::upgrade).collect()
    }
}

fn of(limit: u64) -> Arc<Budget> {
    Budget::with_holders(limit, Box::<Heaps>::default())
}

/// Holds history in one piece.
#[derive(Debug)]
struct Heap(Mutex<Lease>);

impl Heap {
    fn of(budget: &Arc<Budget>, bytes: u64) -> Arc<Self> {
        let mut lease = budget.lease(Rank::History);
        assert!(lease.resize(bytes));
        let heap = Arc::new(Self(Mutex::new(lease)));
        let holder: Weak<dyn Holder> = Arc::<Self>::downgrade(&heap);
        budget.register(holder);
        heap
    }

    fn bytes(&self) -> u64 {
        self.0.lock().unwrap().bytes()
    }
}

impl Holder for Heap {
    fn held(&self, _may_wait: bool) -> Option<u64> {
        Some(self.0.try_lock().ok()?.bytes())
    }

    fn shrink(&self, to: u64, _may_wait: bool) {
        let mut lease = self.0.lock().unwrap();
        let less = lease.bytes().min(to);
        assert!(lease.resize(less));
    }
}

#[test]
fn a_dropped_share_is_given_back_and_the_limit_holds() {
    let budget = Budget::new(10);
    let six = budget.reserve(6);
    assert!(six.is_some());
    assert!(budget.reserve(5).is_none());
    assert_eq!(budget.used(), 6);
    drop(six);
    assert_eq!(budget.used(), 0);
    assert!(budget.reserve(10).is_some());
}

#[test]
fn history_never_gets_the_last_quarter() {
    let budget = Budget::new(100);
    let mut history = budget.lease(Rank::History);
    assert!(history.resize(75) && !history.resize(76));
    assert!(budget.reserve(25).is_some());
}

#[test]
fn what_arrives_gets_a_quarter_and_history_gives_way_to_it() {
    let budget = of(100);
    let heap = Heap::of(&budget, 75);
    let accepted = budget.reserve(25);
    let (mut body, mut other) = (budget.lease(Rank::Arriving), budget.lease(Rank::Arriving));
    assert!(body.resize(15) && other.resize(10) && !body.resize(16));
    assert_eq!((budget.used(), heap.bytes()), (100, 50));
    drop(other);
    assert!(body.resize(30), "one that is alone may be larger");
    drop((accepted, body));
    assert_eq!(budget.used(), heap.bytes());
}

#[test]
fn what_is_accepted_takes_the_place_of_the_largest_history() {
    let budget = of(100);
    let (large, small) = (Heap::of(&budget, 60), Heap::of(&budget, 15));
    let shares = [25, 20, 20].map(|bytes| budget.reserve(bytes));
    assert!(shares.iter().all(Option::is_some));
    assert_eq!((large.bytes(), small.bytes(), budget.used()), (20, 15, 100));
    assert!(budget.reserve(35).is_some());
    assert_eq!((large.bytes(), small.bytes()), (0, 0));
    assert!(budget.reserve(36).is_none(), "what was accepted stays");
}

#[test]
fn a_holder_has_its_fair_share_from_those_who_hold_more() {
    let budget = of(1024);
    let (greedy, modest) = (Heap::of(&budget, 700), Heap::of(&budget, 68));
    let late = Heap::of(&budget, 0);
    let mut lease = late.0.lock().unwrap();
    assert!(!lease.resize(100));
    lease.claim(100);
    assert!(lease.resize(100));
    assert!(!lease.resize(257));
    lease.claim(257);
    assert!(!lease.resize(257), "that is more than a third of three quarters");
    drop(lease);
    assert_eq!((greedy.bytes(), modest.bytes(), late.bytes()), (600, 68, 100));
}

#[test]
fn what_cannot_be_refused_counts_all_the_same() {
    let budget = Budget::new(10);
    let (beyond, mut history) = (budget.reserve_beyond(12), budget.lease(Rank::History));
    history.resize_beyond(7);
    assert_eq!(budget.used(), 19);
    drop((beyond, history));
    assert_eq!((budget.used(), budget.history()), (0, 0));
}

proptest! {
    #[test]
    fn the_largest_go_down_to_one_level_and_no_further_than_needed(
        mut held in prop::collection::vec(0_u64..1000, 1..20),
        bytes in 1_u64..5000,
    ) {
        held.sort_unstable_by_key(|bytes| std::cmp::Reverse(*bytes));
        let level = level(held.iter().copied(), bytes);
        let let_go = |level: u64| held.iter().map(|held| held.saturating_sub(level)).sum::<u64>();
        prop_assert!(let_go(level) >= bytes || level == 0);
        prop_assert!(let_go(level + 1) < bytes);
    }
}

#[test]
fn an_endpoint_holds_at_most_what_it_leaves_free_and_the_next_one_finds_room() {
    let budget = of(128);
    let (greedy, modest) = (Account::new(&budget), Account::new(&budget));
    let mut holds: Vec<Hold> = Vec::new();
    let grow = |account: &Arc<Account>, holds: &mut Vec<Hold>| {
        let mut hold = account.hold();
        let has_room = hold.resize(8);
        holds.push(hold);
        has_room
    };
    while grow(&greedy, &mut holds) {}
    assert_eq!((greedy.held(), budget.used()), (48, 48), "half of three quarters");
    while grow(&modest, &mut holds) {}
    assert_eq!((greedy.held(), modest.held()), (48, 24), "half of the rest");
    drop(holds);
    assert_eq!((greedy.held(), modest.held(), budget.used()), (0, 0, 0));
}

#[test]
fn one_message_that_is_alone_may_be_larger() {
    let budget = of(128);
    let (account, other) = (Account::new(&budget), Account::new(&budget));
    let (mut large, mut small) = (account.hold(), other.hold());
    assert!(large.resize(40) && large.resize(96) && !large.resize(97));
    assert!(!small.resize(1) && large.resize(90) && small.resize(6));
    assert!(large.resize(80) && !large.resize(91), "it is no longer alone");
    assert_eq!((large.bytes(), small.bytes(), budget.used()), (80, 6, 86));
}

#[test]
fn history_gives_way_to_what_arrives_and_only_that_can() {
    let budget = of(128);
    let heap = Heap::of(&budget, 96);
    let account = Account::new(&budget);
    let mut hold = account.hold();
    assert!(hold.resize(30));
    assert_eq!((heap.bytes(), budget.history(), budget.used()), (66, 66, 96));
    assert!(budget.reserve(98).is_some());
    assert_eq!((heap.bytes(), budget.history()), (0, 0));
    let accepted = budget.reserve(98);
    assert!(budget.reserve(1).is_none() && accepted.is_some(), "what has begun to arrive stays");
    assert!(!hold.resize(31) && hold.resize(30), "and so does what was accepted");
}

proptest! {
    /// By a model: sums are right whatever happens, and who holds less than a share of all with one for nobody grows.
    #[test]
    fn whoever_holds_less_than_its_share_finds_room(
        steps in prop::collection::vec((0_usize..4, 0_usize..4, 0_u64..400), 1..200),
    ) {
        let budget = of(4096);
        let most = 3072;
        let heap = Heap::of(&budget, most);
        let accounts: Vec<_> = (0..4).map(|_| Account::new(&budget)).collect();
        let mut holds: Vec<Vec<Hold>> = accounts.iter().map(|account| (0..4).map(|_| account.hold()).collect()).collect();
        for (account, link, bytes) in steps {
            let before = holds[account][link].bytes();
            let (own, all) = (accounts[account].held(), accounts.iter().map(|account| account.held()).sum::<u64>());
            let had_room = holds[account][link].resize(bytes);
            let more = bytes.saturating_sub(before);
            let has_its_share = all + more + own <= most;
            let is_alone = all == before;
            prop_assert_eq!(had_room, more == 0 || has_its_share || is_alone && bytes <= most);
            for (account, holds) in accounts.iter().zip(&holds) {
                prop_assert_eq!(account.held(), holds.iter().map(Hold::bytes).sum::<u64>());
            }
            let held: u64 = accounts.iter().map(|account| account.held()).sum();
            prop_assert_eq!(budget.used(), held + heap.bytes());
            prop_assert!(held + heap.bytes() <= most);
        }
        drop(holds);
        prop_assert_eq!(budget.used(), heap.bytes());
    }
}
