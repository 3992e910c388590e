//! The store against a model that is a few collections, with restarts and crashes anywhere in between.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;
use wskeeper_core::{entry::Stretch, session::Kept as VariablesKept};

const MAX_DEAD: usize = 3;
const LINKS: [&str; 2] = ["feed", "desk"];

#[derive(Debug, Clone)]
enum Step {
    /// Ops handed over together.
    Batch(Vec<Op>),
    /// Closed and opened again.
    Restart,
    /// Opened again on what a killed process leaves.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(op(), 1..12).prop_map(Step::Batch),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let link = || (prop::sample::select(LINKS.to_vec()).prop_map(Arc::from), 0_u32..2);
    prop_oneof![
        6 => any_record().prop_map(|record| Op::Append(Box::new(record))),
        2 => (0_u128..40, any::<bool>()).prop_map(|(id, marked)| Op::Mark { id: MessageId(id), marked }),
        6 => any_settled().prop_map(|settled| Op::Settle(Box::new(settled))),
        1 => (link(), link()).prop_map(|(from, to)| Op::Move { from, to }),
        1 => (link(), any::<bool>()).prop_map(|((endpoint, link), all)| Op::Discard {
            endpoint,
            link: (!all).then_some(link),
            at: at(5),
            keep_until: at(50),
        }),
        1 => (0_u128..40, any_record())
            .prop_map(|(letter, record)| Op::Revive { letter: MessageId(letter), record: Box::new(record) }),
        1 => (0_u128..40).prop_map(|id| Op::DropDead(MessageId(id))),
        3 => any_segment(),
        1 => prop::sample::select(LINKS.to_vec()).prop_map(|name| Op::ForgetInbox(name.into())),
        2 => (link(), prop::option::of(0_u32..3)).prop_map(|(of, seq)| Op::Remember {
            of,
            kept: Box::new(seq.map(|seq| ("seq".into(), seq.into())).into_iter().collect()),
        }),
        2 => (link(), prop::collection::vec(any::<u8>(), 0..3)).prop_map(|((endpoint, link), kept)| Op::HoldKey {
            of: (endpoint, format!("k{link}").into()),
            kept: kept.into(),
        }),
        1 => link().prop_map(|(endpoint, _)| Op::ForgetKeys(endpoint)),
        1 => (link(), any::<bool>()).prop_map(|((endpoint, link), all)| Op::ForgetVariables {
            endpoint,
            link: (!all).then_some(link),
        }),
        2 => (receiver(), any::<u64>()).prop_map(|(of, cursor)| Op::KeepCursor { of, cursor }),
        1 => receiver().prop_map(Op::ForgetCursor),
    ]
}

fn receiver() -> impl Strategy<Value = Receiver> {
    let names = prop::sample::select(vec!["hook", "pipe"]);
    (prop::sample::select(LINKS.to_vec()), names).prop_map(|(endpoint, name)| (endpoint.into(), name.into()))
}

prop_compose! {
    fn any_record()(
        id in 0_u128..40,
        endpoint in prop::sample::select(LINKS.to_vec()),
        link in 0_u32..2,
        expires in prop::option::of(0_u64..99),
        key in prop::option::of("[a-ü]{0,3}"),
        once in prop::option::of("[a-c]"),
        bytes in prop_oneof![4 => 0_usize..50, 1 => 3000_usize..9000],
        marked in any::<bool>(),
        text in any::<bool>(),
    ) -> Record {
        let payload = if text { Payload::from(&*"ü".repeat(bytes)) } else { Payload::binary(vec![7; bytes]) };
        Record {
            endpoint: endpoint.into(), link, expires_at: expires.map(at), key: key.map(Into::into),
            idempotency_key: once.map(Into::into), payload, marked, ..record(id)
        }
    }
}

prop_compose! {
    fn any_settled()(
        id in 0_u128..40,
        state in prop::sample::select(State::ALL[2..].to_vec()),
        end_reason in prop::option::of(prop::sample::select(EndReason::ALL.to_vec())),
        generation in prop::option::of(any::<u64>()),
        keep in prop_oneof![3 => (0_u64..99).prop_map(at), 1 => Just(UNIX_EPOCH)],
        claim in prop::option::of((0_u64..99).prop_map(at)),
    ) -> Settled {
        Settled { end_reason, generation, keep_until: keep, claim_until: claim, ..settled(id, state) }
    }
}

prop_compose! {
    /// Cursors count from 0 here; the model moves them behind those that it has.
    fn any_segment()(
        endpoint in prop::sample::select(LINKS.to_vec()),
        after in 0_u64..3,
        count in 0_u64..4,
        window in 0_u64..12,
    ) -> Op {
        arrived(endpoint, after, &(3..3 + count).collect::<Vec<_>>(), window)
    }
}

/// The same rules without rows, sums or an index.
#[derive(Default)]
struct Model {
    messages: Vec<Record>,
    receipts: BTreeMap<u128, KeptReceipt>,
    dead: VecDeque<u128>,
    /// Segments of all inboxes, oldest first.
    segments: Vec<Segment>,
    cursor: u64,
    variables: BTreeMap<(Arc<str>, u32), VariablesKept>,
    cursors: BTreeMap<Receiver, u64>,
    keys: BTreeMap<Arc<str>, KeptKeys>,
}

impl Model {
    fn hold(&mut self, of: &(Arc<str>, Arc<str>), kept: &[u8]) -> u64 {
        let keys = self.keys.entry(Arc::clone(&of.0)).or_default();
        let changed = if kept.is_empty() {
            u64::from(keys.remove(&of.1).is_some())
        } else {
            keys.insert(Arc::clone(&of.1), kept.into());
            1
        };
        self.keys.retain(|_, keys| !keys.is_empty());
        changed
    }

    fn apply(&mut self, op: &Op) -> u64 {
        match op {
            Op::Append(record) => self.append(record),
            Op::Mark { id, marked } => {
                let found = self.messages.iter_mut().find(|record| record.id == *id);
                found.map_or(0, |record| {
                    record.marked = *marked;
                    1
                })
            }
            Op::Settle(settled) => self.settle(settled),
            Op::Move { from, to } => {
                let mut count = 0;
                for record in self.messages.iter_mut().filter(|r| (&r.endpoint, r.link) == (&from.0, from.1)) {
                    (record.endpoint, record.link) = to.clone();
                    count += 1;
                }
                count
            }
            Op::Discard { endpoint, link, at, keep_until } => {
                let is_meant = |r: &&Record| r.endpoint == *endpoint && link.is_none_or(|link| link == r.link);
                let gone: Vec<_> = self.messages.iter().filter(is_meant).map(|record| record.id.0).collect();
                for id in &gone {
                    self.settle(&Settled {
                        end_reason: Some(EndReason::Removed),
                        generation: None,
                        updated_at: *at,
                        keep_until: *keep_until,
                        ..settled(*id, State::Dropped)
                    });
                }
                gone.len() as u64
            }
            Op::Revive { letter, record } => {
                let is_there = self.dead.contains(&letter.0) && self.append(record) == 1;
                if is_there { self.drop_dead(letter.0) } else { 0 }
            }
            Op::DropDead(id) => self.drop_dead(id.0),
            guest => self.apply_guest(guest),
        }
    }

    /// The same for what is no message's.
    fn apply_guest(&mut self, op: &Op) -> u64 {
        match op {
            Op::Arrived(segment) => {
                let is_over = |old: &Segment| old.entries.last().unwrap().last() < segment.oldest;
                self.segments.retain(|old| old.endpoint != segment.endpoint || !is_over(old));
                self.segments.extend((!segment.entries.is_empty()).then(|| Segment::clone(segment)));
                segment.entries.len() as u64
            }
            Op::ForgetInbox(name) => {
                let before = self.segments.len();
                self.segments.retain(|segment| segment.endpoint != *name);
                (before - self.segments.len()) as u64
            }
            Op::Remember { of, kept } if kept.is_empty() => self.variables.remove(of).map_or(0, |_| 1),
            Op::Remember { of, kept } => {
                self.variables.insert(of.clone(), VariablesKept::clone(kept));
                1
            }
            Op::HoldKey { of, kept } => self.hold(of, kept),
            Op::ForgetKeys(endpoint) => self.keys.remove(endpoint).map_or(0, |keys| keys.len() as u64),
            Op::ForgetVariables { endpoint, link } => {
                let before = self.variables.len();
                self.variables.retain(|of, _| of.0 != *endpoint || link.is_some_and(|link| link != of.1));
                (before - self.variables.len()) as u64
            }
            Op::KeepCursor { of, cursor } => {
                self.cursors.insert(of.clone(), *cursor);
                1
            }
            Op::ForgetCursor(of) => u64::from(self.cursors.remove(of).is_some()),
            other => panic!("a message's: {other:?}"),
        }
    }

    /// Gives entries numbers that none has had; of its window, as much is left as the strategy said.
    fn number(&mut self, op: Op) -> Op {
        let Op::Arrived(mut segment) = op else { return op };
        segment.oldest = (self.cursor + 1).saturating_sub(segment.oldest);
        segment.after += self.cursor;
        let numbered = |old: &Stretch| entry(&segment.endpoint, old.first() + self.cursor).into();
        segment.entries = segment.entries.iter().map(numbered).collect();
        self.cursor += 9;
        Op::Arrived(segment)
    }

    fn inboxes(&self) -> BTreeMap<Arc<str>, KeptInbox> {
        let mut inboxes = BTreeMap::<Arc<str>, KeptInbox>::new();
        for segment in &self.segments {
            let kept = &mut inboxes.entry(Arc::clone(&segment.endpoint)).or_default().entries;
            let mut after = segment.after;
            for entry in segment.entries.iter().flat_map(Stretch::entries) {
                kept.push((after, Entry::clone(&entry)));
                after = entry.cursor;
            }
        }
        inboxes
    }

    fn append(&mut self, record: &Record) -> u64 {
        let is_known = self.messages.iter().any(|held| held.id == record.id)
            || self.receipts.contains_key(&record.id.0)
            || self.dead.contains(&record.id.0);
        self.messages.extend((!is_known).then(|| record.clone()));
        u64::from(!is_known)
    }

    fn settle(&mut self, settled: &Settled) -> u64 {
        let held = self.messages.iter().position(|record| record.id == settled.id);
        let mut kept = match held.map(|place| self.messages.remove(place)) {
            Some(record) => {
                if settled.state == State::Dead {
                    self.dead.push_back(record.id.0);
                    self.dead.drain(..self.dead.len().saturating_sub(MAX_DEAD));
                }
                KeptReceipt {
                    receipt: Receipt {
                        id: record.id,
                        endpoint: record.endpoint,
                        link: record.link,
                        state: State::Queued,
                        bytes: record.payload.len() as u64,
                        accepted_at: record.accepted_at,
                        updated_at: settled.updated_at,
                        generation: None,
                        end_reason: None,
                    },
                    keep_until: settled.keep_until,
                    claim: record.idempotency_key.zip(settled.claim_until),
                }
            }
            None => match self.receipts.get(&settled.id.0) {
                Some(kept) if kept.receipt.state.can_become(settled.state) => kept.clone(),
                _ => return 0,
            },
        };
        kept.receipt.state = settled.state;
        kept.receipt.end_reason = settled.end_reason;
        kept.receipt.generation = settled.generation.or(kept.receipt.generation);
        kept.receipt.updated_at = settled.updated_at;
        kept.keep_until = settled.keep_until.max(kept.claim.as_ref().map_or(UNIX_EPOCH, |claim| claim.1));
        self.receipts.insert(settled.id.0, kept);
        1
    }

    fn drop_dead(&mut self, id: u128) -> u64 {
        let before = self.dead.len();
        self.dead.retain(|other| *other != id);
        (before - self.dead.len()) as u64
    }
}

fn open_bounded(dir: &Path) -> (Arc<Store>, Recovered) {
    Store::open(&Policy { max_dead: MAX_DEAD, ..policy(dir) }, Calendar::default()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_as_its_model_does(steps in prop::collection::vec(step(), 1..25)) {
        let mut folder = tempfile::tempdir().unwrap();
        let mut store = open_bounded(folder.path()).0;
        let mut model = Model::default();
        for step in steps.into_iter().chain([Step::Crash, Step::Restart]) {
            let recovered = match step {
                Step::Batch(ops) => {
                    let ops: Vec<_> = ops.into_iter().map(|op| model.number(op)).collect();
                    let expected: Vec<_> = ops.iter().map(|op| Ok(model.apply(op))).collect();
                    model.receipts.retain(|_, kept| kept.keep_until > UNIX_EPOCH);
                    prop_assert_eq!(write_all(&store, ops), expected);
                    prop_assert_eq!(store.status().messages, model.messages.len());
                    prop_assert_eq!(store.status().receipts, model.receipts.len());
                    prop_assert_eq!(letters(&store), Vec::from(model.dead.clone()));
                    continue;
                }
                Step::Restart => {
                    drop(store);
                    let (again, recovered) = open_bounded(folder.path());
                    store = again;
                    recovered
                }
                Step::Crash => {
                    let after = tempfile::tempdir().unwrap();
                    copy(folder.path(), after.path());
                    let (again, recovered) = open_bounded(after.path());
                    (store, folder) = (again, after);
                    recovered
                }
            };
            prop_assert_eq!(&recovered.messages, &model.messages);
            let receipts: Vec<_> = model.receipts.values().cloned().collect();
            prop_assert_eq!(&recovered.receipts, &receipts);
            prop_assert_eq!(&recovered.inboxes, &model.inboxes());
            prop_assert_eq!(&recovered.variables, &model.variables);
            prop_assert_eq!(&recovered.cursors, &model.cursors);
            prop_assert_eq!(&recovered.keys, &model.keys);
            prop_assert_eq!(letters(&store), Vec::from(model.dead.clone()));
        }
    }
}
