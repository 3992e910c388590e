//! The outbox beside a model: plain lists, searched from end to end, under random orders.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy)]
enum Order {
    Offer { bytes: usize, key: Option<u8>, ttl: Option<u64>, ready: bool },
    Pull(usize),
    Flush,
    Fence,
    Pong,
    Lose(u64),
    Wait(u64),
    Conflate(bool),
    Clear,
}

fn order() -> impl Strategy<Value = Order> {
    let offer = (0_usize..40, prop::option::of(0_u8..3), prop::option::of(0_u64..50), any::<bool>())
        .prop_map(|(bytes, key, ttl, ready)| Order::Offer { bytes, key, ttl, ready });
    prop_oneof![
        8 => offer,
        4 => (1_usize..4).prop_map(Order::Pull),
        2 => Just(Order::Flush),
        1 => Just(Order::Fence),
        1 => Just(Order::Pong),
        1 => (0_u64..200).prop_map(Order::Lose),
        2 => (1_u64..30).prop_map(Order::Wait),
        1 => any::<bool>().prop_map(Order::Conflate),
        1 => Just(Order::Clear),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    let on_full = prop::sample::select(vec![OnFull::Reject, OnFull::DropOldest, OnFull::DropNewest, OnFull::Wait]);
    let when_down = prop::sample::select(vec![WhenDown::Hold, WhenDown::Reject, WhenDown::Drop]);
    (1_usize..6, 1_u64..100, prop::option::of(1_u64..60), on_full, when_down, any::<bool>()).prop_map(
        |(max_messages, max_bytes, ttl, on_full, when_down, conflate)| Policy {
            max_messages,
            max_bytes,
            max_message: 35,
            ttl: ttl.map(Duration::from_millis),
            on_full,
            when_down,
            conflate,
        },
    )
}

#[derive(Debug, Clone, PartialEq)]
struct Line {
    id: u128,
    bytes: usize,
    key: Option<u8>,
    expires: Option<Instant>,
}

/// The same rules without an index, a counter or a mark: what is covered by a ping is a list of names.
struct Model {
    policy: Policy,
    queued: Vec<Line>,
    transit: Vec<Line>,
    written: Vec<u128>,
    covered: Vec<u128>,
    proved: Vec<u128>,
    states: BTreeMap<u128, State>,
}

impl Model {
    fn held(&self) -> (usize, u64) {
        let lines = || self.queued.iter().chain(&self.transit);
        (lines().count(), lines().map(|line| line.bytes as u64).sum())
    }

    fn end(&mut self, id: u128, state: State) {
        self.states.insert(id, state);
    }

    fn end_all(&mut self, ids: Vec<u128>, state: State) {
        self.states.extend(ids.into_iter().map(|id| (id, state)));
    }

    fn offer(&mut self, now: Instant, mut line: Line, ready: bool) -> Option<Refusal> {
        line.expires = line.expires.or(self.policy.ttl.map(|ttl| now + ttl));
        if line.bytes > self.policy.max_message {
            return Some(Refusal::TooBig);
        }
        match (ready, self.policy.when_down) {
            (false, WhenDown::Reject) => return Some(Refusal::Down),
            (false, WhenDown::Drop) => {
                self.end(line.id, State::Dropped);
                return None;
            }
            (true, _) | (false, WhenDown::Hold) => {}
        }
        if line.expires.is_some_and(|at| at <= now) {
            self.end(line.id, State::Expired);
            return None;
        }
        let mut after = self.queued.clone();
        if self.policy.conflate
            && line.key.is_some()
            && let Some(older) = after.iter().rposition(|other| other.key == line.key)
        {
            after.remove(older);
        }
        let fits = |queued: &[Line]| {
            let bytes: usize = queued.iter().chain(&self.transit).map(|other| other.bytes).sum();
            queued.len() + self.transit.len() < self.policy.max_messages
                && (bytes + line.bytes) as u64 <= self.policy.max_bytes
        };
        if !fits(&after) {
            match self.policy.on_full {
                OnFull::Wait if line.bytes as u64 <= self.policy.max_bytes => return Some(Refusal::Wait),
                OnFull::Reject | OnFull::Wait => return Some(Refusal::Full),
                OnFull::DropOldest if !fits(&[]) => return Some(Refusal::Full),
                OnFull::DropNewest => {
                    self.end(line.id, State::Dropped);
                    return None;
                }
                OnFull::DropOldest => {
                    while !fits(&after) {
                        after.remove(0);
                    }
                }
            }
        }
        let gone: Vec<_> = self.queued.iter().filter(|line| !after.contains(line)).map(|line| line.id).collect();
        self.end_all(gone, State::Dropped);
        after.push(line);
        self.queued = after;
        None
    }

    fn flush(&mut self) {
        for line in std::mem::take(&mut self.transit) {
            let proved = self.proved.contains(&line.id);
            self.end(line.id, if proved { State::Confirmed } else { State::Written });
            if !proved {
                self.written.push(line.id);
            }
        }
    }

    fn pong(&mut self) {
        for id in std::mem::take(&mut self.covered) {
            if self.transit.iter().any(|line| line.id == id) {
                self.proved.push(id);
            } else if self.written.contains(&id) {
                self.written.retain(|other| *other != id);
                self.end(id, State::Confirmed);
            }
        }
    }

    fn lose(&mut self, escaped: u64) {
        self.covered.clear();
        for id in std::mem::take(&mut self.written) {
            self.end(id, State::Unknown);
        }
        let mut offset = 0;
        let mut back = Vec::new();
        for line in std::mem::take(&mut self.transit) {
            let begun = offset < escaped;
            offset += 6 + line.bytes as u64;
            match (self.proved.contains(&line.id), begun) {
                (true, _) => self.end(line.id, State::Confirmed),
                (false, true) => self.end(line.id, State::Unknown),
                (false, false) => back.push(line),
            }
        }
        for line in back.into_iter().rev() {
            let replaced =
                self.policy.conflate && line.key.is_some() && self.queued.iter().any(|other| other.key == line.key);
            if replaced {
                self.end(line.id, State::Dropped);
            } else {
                self.queued.insert(0, line);
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        let is_over = |line: &Line| line.expires.is_some_and(|at| at <= now);
        let over: Vec<_> = self.queued.iter().filter(|line| is_over(line)).map(|line| line.id).collect();
        self.queued.retain(|line| !is_over(line));
        self.end_all(over, State::Expired);
    }

    fn clear(&mut self) {
        for line in std::mem::take(&mut self.transit) {
            let state = if self.proved.contains(&line.id) { State::Confirmed } else { State::Dropped };
            self.end(line.id, state);
        }
        for line in std::mem::take(&mut self.queued) {
            self.end(line.id, State::Dropped);
        }
    }
}

/// Carries out one order on both and answers with what the outbox told.
fn step(
    order: Order,
    now: &mut Instant,
    id: u128,
    outbox: &mut Outbox,
    model: &mut Model,
    budget: &Arc<Budget>,
) -> Vec<Ended> {
    let mut told = Vec::new();
    match order {
        Order::Offer { bytes, key, ttl, ready } => {
            let expires = ttl.map(|ttl| *now + Duration::from_millis(ttl));
            let message = Box::new(Message {
                id: MessageId(id),
                payload: Payload::binary(id.to_be_bytes().repeat(3)[..bytes].to_vec()),
                key: key.map(|key| key.to_string().into()),
                expires_at: expires,
                wants_confirmation: id.is_multiple_of(2),
                share: budget.reserve(bytes).unwrap(),
            });
            let answer = outbox.offer(*now, message, ready, &mut told).err().map(|(_, refusal)| refusal);
            assert_eq!(answer, model.offer(*now, Line { id, bytes, key, expires }, ready));
            assert!(answer.is_none() || told.is_empty(), "a refusal changes nothing");
            if answer.is_none() {
                model.states.entry(id).or_insert(State::Queued);
            }
        }
        Order::Pull(count) => {
            for _ in 0..count {
                let pulled = outbox.next(*now);
                let is_due = |line: &Line| line.expires.is_none_or(|at| at > *now);
                let line = model.queued.first().is_some_and(is_due).then(|| model.queued.remove(0));
                assert_eq!(pulled.map(|payload| payload.len()), line.as_ref().map(|line| line.bytes));
                model.transit.extend(line);
            }
        }
        Order::Flush => {
            outbox.flushed(*now, &mut Vec::new(), &mut told);
            model.flush();
        }
        Order::Fence => {
            let lines = model.transit.iter().map(|line| line.id);
            model.covered = model.written.iter().copied().chain(lines).collect();
        }
        Order::Pong => model.pong(),
        Order::Lose(escaped) => {
            outbox.lost(escaped, &mut told);
            model.lose(escaped);
        }
        Order::Wait(millis) => {
            *now += Duration::from_millis(millis);
            outbox.expire(*now, &mut told);
            model.expire(*now);
        }
        Order::Conflate(conflate) => {
            model.policy.conflate = conflate;
            outbox.set_policy(model.policy.clone());
        }
        Order::Clear => {
            outbox.clear(State::Dropped, Fate::Removed, &mut told);
            model.clear();
        }
    }
    told
}

proptest! {
    #[test]
    fn the_outbox_does_as_its_model_does(policy in policy(), orders in prop::collection::vec(order(), 1..120)) {
        let mut now = crate::core::epoch();
        let budget = Budget::new(u64::MAX);
        let mut outbox = Outbox::new(policy.clone());
        let mut model = Model {
            policy,
            queued: Vec::new(),
            transit: Vec::new(),
            written: Vec::new(),
            covered: Vec::new(),
            proved: Vec::new(),
            states: BTreeMap::new(),
        };
        let mut states: BTreeMap<u128, State> = BTreeMap::new();
        let mut fence = 0;
        for (id, order) in (0_u128..).zip(orders) {
            let mut told = Vec::new();
            match order {
                Order::Fence => fence = outbox.fence(),
                Order::Pong => outbox.confirm(fence, &mut told),
                _ => {}
            }
            told.extend(step(order, &mut now, id, &mut outbox, &mut model, &budget));
            for ended in told {
                let before = states.insert(ended.id.0, ended.state);
                prop_assert!(before.is_none_or(|before| before.can_become(ended.state)), "{before:?} {ended:?}");
            }
            let (count, bytes) = model.held();
            prop_assert_eq!((outbox.len(), outbox.buffered_amount()), (count, bytes));
            prop_assert!(count <= model.policy.max_messages && bytes <= model.policy.max_bytes);
            prop_assert_eq!(budget.used(), bytes);
            prop_assert_eq!(outbox.next_expiry(), model.queued.iter().filter_map(|line| line.expires).min());
            let wanted = model.written.iter().any(|id| id.is_multiple_of(2));
            prop_assert_eq!(outbox.wants_confirmation(), wanted);
        }
        // Every accepted message is held, or has come to exactly the state that the model says.
        for (id, state) in &model.states {
            prop_assert_eq!(states.get(id).copied().unwrap_or(State::Queued), *state, "message {}", id);
        }
        prop_assert!(states.keys().all(|id| model.states.contains_key(id)));
        let held = model.states.values().filter(|state| **state == State::Queued).count();
        prop_assert_eq!(held, outbox.len());
    }

    /// Whatever is lost and sent again, the peer never sees two messages of a link in the wrong order, nor one twice.
    #[test]
    fn order_is_kept_across_lost_links(
        steps in prop::collection::vec((0_u8..6, 0_u64..60), 1..200),
    ) {
        let now = crate::core::epoch();
        let (mut outbox, mut told) = (Outbox::new(Policy::default()), Vec::new());
        let (mut offered, mut wire, mut transit) = (0_u128, Vec::new(), Vec::new());
        for (step, escaped) in steps {
            match step {
                0..3 => {
                    let message = Message {
                        id: MessageId(offered),
                        payload: Payload::binary(offered.to_be_bytes().to_vec()),
                        key: None,
                        expires_at: None,
                        wants_confirmation: false,
                        share: Share::default(),
                    };
                    prop_assert!(outbox.offer(now, Box::new(message), true, &mut told).is_ok());
                    offered += 1;
                }
                3 => transit.extend(outbox.next(now).map(|payload| payload.bytes().clone())),
                4 => {
                    outbox.flushed(now, &mut Vec::new(), &mut told);
                    wire.append(&mut transit);
                }
                _ => {
                    // The kernel took whole frames and a part of one more; the peer may have seen the whole ones.
                    outbox.lost(escaped, &mut told);
                    let whole = usize::try_from(escaped / 22).unwrap_or(0).min(transit.len());
                    wire.extend(transit.drain(..).take(whole));
                }
            }
        }
        prop_assert!(wire.is_sorted());
        let before = wire.len();
        wire.dedup();
        prop_assert_eq!(before, wire.len());
    }
}
