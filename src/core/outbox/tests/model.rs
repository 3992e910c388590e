//! The outbox beside a model: plain lists, searched from end to end, under random orders.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy)]
enum Order {
    Offer { bytes: usize, key: Option<u8>, ttl: Option<u64>, ready: bool },
    Pull(usize),
    Leave(usize),
    Fence,
    Pong,
    Lose(usize, Option<u16>),
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
        2 => prop::sample::select(vec![1, 2, usize::MAX]).prop_map(Order::Leave),
        1 => Just(Order::Fence),
        1 => Just(Order::Pong),
        2 => (0_usize..5, prop::sample::select(vec![None, Some(1000), Some(1008)])).prop_map(|(begun, code)| Order::Lose(begun, code)),
        2 => (1_u64..30).prop_map(Order::Wait),
        1 => any::<bool>().prop_map(Order::Conflate),
        1 => Just(Order::Clear),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    let on_full = prop::sample::select(vec![OnFull::Reject, OnFull::DropOldest, OnFull::DropNewest, OnFull::Wait]);
    let when_down = prop::sample::select(vec![WhenDown::Hold, WhenDown::Reject, WhenDown::Drop]);
    let delivery = prop::sample::select(vec![Delivery::AtMostOnce, Delivery::AtLeastOnce]);
    (1_usize..6, 1_u64..100, prop::option::of(1_u64..60), on_full, when_down, any::<bool>(), delivery).prop_map(
        |(max_messages, max_bytes, ttl, on_full, when_down, conflate, delivery)| Policy {
            pacing: Pacing::default(),
            max_messages,
            max_bytes,
            max_message: 35,
            ttl: ttl.map(Duration::from_millis),
            on_full,
            when_down,
            conflate,
            delivery,
            ack: None,
            durable: false,
        },
    )
}

#[derive(Debug, Clone, PartialEq)]
struct Line {
    id: u128,
    bytes: usize,
    key: Option<u8>,
    expires: Option<Instant>,
    /// It may have arrived.
    sent: bool,
    strikes: u8,
}

/// The same rules without an index, a counter or a mark: what is covered by a ping is a list of names.
struct Model {
    policy: Policy,
    queued: Vec<Line>,
    transit: Vec<Line>,
    written: Vec<Line>,
    covered: Vec<u128>,
    proved: Vec<u128>,
    states: BTreeMap<u128, State>,
}

impl Model {
    fn held(&self) -> (usize, u64) {
        let lines = || self.queued.iter().chain(&self.transit);
        (lines().count(), lines().map(|line| line.bytes as u64).sum())
    }

    /// What is kept to be sent again.
    fn kept(&self) -> &[Line] {
        if self.again() { &self.written } else { &[] }
    }

    fn again(&self) -> bool {
        self.policy.delivery == Delivery::AtLeastOnce
    }

    /// The end of a line that has not arrived as far as we know.
    fn drop_line(&mut self, line: &Line, state: State) {
        self.end(line.id, if line.sent { State::Unknown } else { state });
    }

    fn end(&mut self, id: u128, state: State) {
        self.states.insert(id, state);
    }

    fn drop_all(&mut self, lines: &[Line], state: State) {
        for line in lines {
            self.drop_line(line, state);
        }
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
            let all = || queued.iter().chain(&self.transit).chain(self.kept());
            let bytes: usize = all().map(|other| other.bytes).sum();
            all().count() < self.policy.max_messages && (bytes + line.bytes) as u64 <= self.policy.max_bytes
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
        let gone: Vec<_> = self.queued.iter().filter(|line| !after.contains(line)).cloned().collect();
        self.drop_all(&gone, State::Dropped);
        after.push(line);
        self.queued = after;
        None
    }

    /// Whether the first must not leave before the proof of what has left.
    fn is_blocked(&self) -> bool {
        let last = self.transit.last().or(self.kept().last());
        let alone = self.transit.is_empty() && self.written.is_empty();
        let suspicious = |first: &Line| last.is_some_and(|last| last.strikes > 0) || (first.strikes > 0 && !alone);
        self.queued.first().is_some_and(suspicious)
    }

    fn pull(&mut self, now: Instant) -> Option<Line> {
        let due = self.queued.first()?.expires.is_none_or(|at| at > now);
        (due && !self.is_blocked()).then(|| self.queued.remove(0))
    }

    /// Whether a proof is urgent.
    fn is_pressed(&self) -> bool {
        let kept: u64 = self.kept().iter().map(|line| line.bytes as u64).sum();
        self.written.iter().any(|line| line.id.is_multiple_of(2))
            || self.kept().len() > self.policy.max_messages / 8
            || kept > self.policy.max_bytes / 8
            || self.is_blocked()
    }

    fn leave(&mut self, count: usize) {
        let count = count.min(self.transit.len());
        for mut line in self.transit.drain(..count).collect::<Vec<_>>() {
            let proved = self.proved.contains(&line.id);
            self.end(line.id, if proved { State::Confirmed } else { State::Written });
            if !proved {
                line.sent = true;
                self.written.push(line);
            }
        }
    }

    fn pong(&mut self) {
        for id in std::mem::take(&mut self.covered) {
            if self.transit.iter().any(|line| line.id == id) {
                self.proved.push(id);
            } else if self.written.iter().any(|line| line.id == id) {
                self.written.retain(|line| line.id != id);
                self.end(id, State::Confirmed);
            }
        }
    }

    fn lose(&mut self, most: usize, code: Option<u16>) {
        self.covered.clear();
        let again = self.again();
        let (mut suspects, mut back) = (Vec::new(), Vec::new());
        for line in std::mem::take(&mut self.written) {
            if again {
                suspects.push(line);
            } else {
                self.end(line.id, State::Unknown);
            }
        }
        for (index, line) in std::mem::take(&mut self.transit).into_iter().enumerate() {
            let begun = index < most;
            match (self.proved.contains(&line.id), begun) {
                (true, _) => self.end(line.id, State::Confirmed),
                (false, true) if again => suspects.push(Line { sent: true, ..line }),
                (false, true) => self.end(line.id, State::Unknown),
                (false, false) => back.push(line),
            }
        }
        for line in &mut suspects {
            line.strikes = if code == Some(1008) { line.strikes + 1 } else { 0 };
        }
        if let Some(dead) = suspects.pop_if(|line| line.strikes == 3) {
            self.end(dead.id, State::Dead);
        }
        back.splice(0..0, suspects);
        for line in back.into_iter().rev() {
            let replaced =
                self.policy.conflate && line.key.is_some() && self.queued.iter().any(|other| other.key == line.key);
            if replaced {
                self.drop_line(&line, State::Dropped);
            } else {
                self.queued.insert(0, line);
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        let is_over = |line: &Line| line.expires.is_some_and(|at| at <= now);
        let over: Vec<_> = self.queued.extract_if(.., |line| is_over(line)).collect();
        self.drop_all(&over, State::Expired);
    }

    fn clear(&mut self) {
        self.lose(0, None);
        let all = std::mem::take(&mut self.queued);
        self.drop_all(&all, State::Dropped);
    }
}

/// Offers a message to both, or has it accepted beforehand where there is room.
fn offer(
    now: Instant,
    (id, bytes, key, ttl, ready): (u128, usize, Option<u8>, Option<u64>, bool),
    (outbox, model): (&mut Outbox, &mut Model),
    budget: &Arc<Budget>,
    told: &mut Vec<Ended>,
) {
    let expires = ttl.map(|ttl| now + Duration::from_millis(ttl));
    let key_text = key.map(|key| key.to_string().into());
    let extras = Extras { key: key_text, wants_confirmation: id.is_multiple_of(2), ..Extras::default() };
    let message = Box::new(Message {
        id: MessageId(id),
        body: Payload::binary(id.to_be_bytes().repeat(3)[..bytes].to_vec()).into(),
        extras: extras.boxed(),
        expires_at: expires,
        share: budget.reserve(bytes).unwrap(),
    });
    // Where there is room, nobody need be asked, and it comes to the same.
    let is_accepted = id % 4 < 2 && bytes <= outbox.policy.max_message && outbox.room(ready).take(&message.body) == 1;
    let answer = if is_accepted {
        outbox.take(now, message, told);
        None
    } else {
        outbox.offer(now, message, ready, told).err().map(|(_, refusal)| refusal)
    };
    assert_eq!(answer, model.offer(now, Line { id, bytes, key, expires, sent: false, strikes: 0 }, ready));
    assert!(answer.is_none() || told.is_empty(), "a refusal changes nothing");
    if answer.is_none() {
        model.states.entry(id).or_insert(State::Queued);
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
            offer(*now, (id, bytes, key, ttl, ready), (outbox, model), budget, &mut told);
        }
        Order::Pull(count) => {
            for _ in 0..count {
                let pulled = outbox.next(*now);
                let line = model.pull(*now);
                assert_eq!(pulled.map(|payload| payload.len()), line.as_ref().map(|line| line.bytes));
                model.transit.extend(line);
            }
        }
        Order::Leave(count) => {
            outbox.left(*now, count, &mut Vec::new(), &mut told);
            model.leave(count);
        }
        Order::Fence => {
            model.covered = model.written.iter().chain(&model.transit).map(|line| line.id).collect();
        }
        Order::Pong => model.pong(),
        Order::Lose(begun, code) => {
            let dead = outbox.lost(begun, code, &mut told);
            assert_eq!(dead.is_some(), told.iter().any(|ended| ended.state == State::Dead));
            model.lose(begun, code);
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
            outbox.lost(0, None, &mut told);
            outbox.clear(State::Dropped, EndReason::Removed, &mut told);
            model.clear();
        }
    }
    told
}

proptest! {
    #[test]
    fn the_outbox_does_as_its_model_does(policy in policy(), orders in prop::collection::vec(order(), 1..120)) {
        let mut now = crate::epoch();
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
            let kept: u64 = model.kept().iter().map(|line| line.bytes as u64).sum();
            prop_assert!(count + model.kept().len() <= model.policy.max_messages && bytes + kept <= model.policy.max_bytes);
            prop_assert_eq!(budget.used(), bytes + kept);
            prop_assert_eq!(outbox.next_expiry(), model.queued.iter().filter_map(|line| line.expires).min());
            let wanted = model.written.iter().any(|line| model.again() || line.id.is_multiple_of(2));
            prop_assert_eq!(outbox.wants_confirmation(), wanted);
            prop_assert_eq!(outbox.is_pressed_for_confirmation(), model.is_pressed());
        }
        // Every accepted message is held, or has come to exactly the state that the model says.
        for (id, state) in &model.states {
            prop_assert_eq!(states.get(id).copied().unwrap_or(State::Queued), *state, "message {}", id);
        }
        prop_assert!(states.keys().all(|id| model.states.contains_key(id)));
        prop_assert_eq!(model.held().0, outbox.len());
    }

    /// Whatever is lost and sent again, the peer never sees two messages of a link in the wrong order, nor one twice.
    #[test]
    fn order_is_kept_across_lost_links(
        steps in prop::collection::vec((0_u8..6, 0_usize..4), 1..200),
    ) {
        let now = crate::epoch();
        let (mut outbox, mut told) = (Outbox::new(Policy::default()), Vec::new());
        let (mut offered, mut wire, mut transit) = (0_u128, Vec::new(), Vec::new());
        for (step, some) in steps {
            match step {
                0..3 => {
                    let message = Message {
                        id: MessageId(offered),
                        body: Payload::binary(offered.to_be_bytes().to_vec()).into(),
                        extras: None,
                        expires_at: None,
                        share: Share::default(),
                    };
                    prop_assert!(outbox.offer(now, Box::new(message), true, &mut told).is_ok());
                    offered += 1;
                }
                3 => transit.extend(outbox.next(now).map(|body| body.into_first().bytes().clone())),
                4 => {
                    let left = some.min(transit.len());
                    outbox.left(now, left, &mut Vec::new(), &mut told);
                    wire.extend(transit.drain(..left));
                }
                _ => {
                    // The kernel took whole frames and a part of one more; the peer may have seen the whole ones.
                    outbox.lost(some, None, &mut told);
                    wire.extend(transit.drain(..).take(some));
                }
            }
        }
        prop_assert!(wire.is_sorted());
        let before = wire.len();
        wire.dedup();
        prop_assert_eq!(before, wire.len());
    }
}
