//! The store on real files in temporary folders.

mod away;
mod bounds;
mod cursors;
mod damage;
mod inboxes;
mod life;
mod model;
mod refusals;
mod variables;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, mpsc},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::*;
use crate::clock::Calendar;
use wskeeper_core::{
    entry::{Entry, Item},
    event::LinkId,
    message::Payload,
    receipt::{EndReason, Receipt, State},
};

/// A moment of the tests' own, far from now.
fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(2_000_000_000_000 + millis)
}

fn policy(dir: &Path) -> Policy {
    Policy::new(dir, 64 << 20)
}

fn open(dir: &Path) -> (Arc<Store>, Recovered) {
    Store::open(&policy(dir), Calendar::default()).unwrap()
}

fn record(id: u128) -> Record {
    Record {
        id: MessageId(id),
        endpoint: "feed".into(),
        link: 0,
        accepted_at: at(1),
        expires_at: None,
        key: None,
        idempotency_key: None,
        payload: Payload::from(&*format!("message {id}")),
        marked: false,
    }
}

fn append(id: u128) -> Op {
    Op::Append(Box::new(record(id)))
}

fn settled(id: u128, state: State) -> Settled {
    Settled {
        id: MessageId(id),
        state,
        end_reason: None,
        generation: Some(7),
        updated_at: at(2),
        keep_until: at(1000),
        claim_until: None,
    }
}

fn settle(id: u128, state: State) -> Op {
    Op::Settle(Box::new(settled(id, state)))
}

fn dead(id: u128) -> Op {
    Op::Settle(Box::new(Settled { end_reason: Some(EndReason::Poison), ..settled(id, State::Dead) }))
}

fn entry(endpoint: &str, cursor: u64) -> Entry {
    let link = LinkId { endpoint: endpoint.into(), index: 1 };
    let item = Item::Message(Payload::from(&*format!("entry {cursor}")));
    Entry { cursor, at: at(cursor), link, generation: 3, item }
}

/// Entries of an inbox with these cursors; what is before `oldest` need not be kept.
fn arrived(endpoint: &str, after: u64, cursors: &[u64], oldest: u64) -> Op {
    let entries = cursors.iter().map(|cursor| entry(endpoint, *cursor).into()).collect();
    Op::Arrived(Box::new(Segment { endpoint: endpoint.into(), after, entries, oldest }))
}

/// Submits, and waits until it is on disk or refused.
fn write(store: &Store, op: Op) -> Result<u64, WriteError> {
    write_all(store, [op]).pop().unwrap()
}

/// Submits all at once, and waits for all.
fn write_all(store: &Store, ops: impl IntoIterator<Item = Op>) -> Vec<Result<u64, WriteError>> {
    let (tell, told) = mpsc::channel();
    let done = |place: usize| {
        let tell = tell.clone();
        Box::new(move |outcome| tell.send((place, outcome)).unwrap()) as Done
    };
    store.submit_all(ops.into_iter().enumerate().map(|(place, op)| (op, Some(done(place)))).collect::<Vec<_>>());
    drop(tell);
    let mut outcomes: Vec<_> = told.iter().collect();
    outcomes.sort_by_key(|(place, _)| *place);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn ids(recovered: &Recovered) -> Vec<u128> {
    recovered.messages.iter().map(|record| record.id.0).collect()
}

fn letters(store: &Store) -> Vec<u128> {
    block_on(store.dead(None, None, 10_000)).unwrap().iter().map(|letter| letter.id.0).collect()
}

/// What a crash leaves: the files as they are now.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
