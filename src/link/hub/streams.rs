//! Named parts of an inbox: each message is read once, and goes into the ring of every stream that it meets.
//!
//! A stream is a hub of its own, in memory, with numbers of its own: who reads one symbol of a thousand is waked for that one, and loses
//! nothing to the others. What a reader would get wrong: a stream keeps copies, so that no message of it holds the buffer that it came in
//! with others.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use parking_lot::Mutex;
use wskeeper_core::{
    budget::Budget,
    event::LinkId,
    inbox,
    run::Run,
    session::{Document, Filter, Sorter},
};

use super::{Hub, Stored};
use crate::endpoint::{Endpoint, Stream};

/// A stream as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamView {
    /// Its name.
    pub name: Arc<str>,
    /// The cursor of its newest entry.
    pub cursor: u64,
    /// What it holds, with what is beside messages.
    pub bytes: u64,
    /// Who reads it.
    pub readers: Vec<ReaderView>,
}

/// A subscriber as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaderView {
    /// What it has read last.
    pub cursor: u64,
    /// Entries that were gone before it came to them.
    pub missed: u64,
}

/// The streams of an endpoint. Where there are none it is a lock and a word.
#[derive(Debug, Default)]
pub(crate) struct Streams(Mutex<Option<Arc<Sorted>>>);

/// Streams as they are until a reload.
#[derive(Debug)]
pub(crate) struct Sorted {
    sorter: Sorter,
    max_json: usize,
    hubs: Box<[Arc<Hub>]>,
    places: BTreeMap<Arc<str>, usize>,
}

/// Messages that arrived together, read.
#[derive(Debug)]
pub(crate) struct Documents {
    /// The number of the first in the inbox.
    pub(super) first: u64,
    read: Box<[Document]>,
}

impl Documents {
    /// Reads all of them; the first has this number.
    pub(crate) fn of(first: u64, run: &Run, max_json: usize) -> Self {
        let read = run.messages().map(|(_, bytes)| Document::read(bytes, max_json)).collect();
        Self { first, read }
    }

    /// The message of this number, if it is one of them.
    pub(crate) fn get(&self, number: u64) -> Option<&Document> {
        self.read.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }
}

impl Streams {
    /// Follows the configuration: a stream that stays keeps what it has, one that is gone ends its readers.
    pub(crate) fn follow(&self, endpoint: &Endpoint, budget: &Arc<Budget>, first: u64) {
        let (streams, links, max_json) = (&endpoint.streams, endpoint.max_links(), endpoint.max_json());
        let mut current = self.0.lock();
        let old = current.take();
        if !streams.is_empty() {
            let hubs: Box<[_]> = streams
                .iter()
                .map(|stream| {
                    let Stream { name, max_messages, max_bytes, .. } = stream;
                    let policy = inbox::Policy {
                        max_messages: *max_messages,
                        max_bytes: *max_bytes,
                        ..inbox::Policy::default()
                    };
                    match old.as_ref().and_then(|old| old.get(name)) {
                        Some(hub) => {
                            hub.set_policy(policy, links);
                            hub
                        }
                        None => Hub::new(policy, links, budget, first),
                    }
                })
                .collect();
            let filters: Box<[Filter]> = streams.iter().map(|stream| stream.filter.clone()).collect();
            let places = streams.iter().enumerate().map(|(place, stream)| (Arc::clone(&stream.name), place)).collect();
            *current = Some(Arc::new(Sorted { sorter: Sorter::new(filters), max_json, hubs, places }));
        }
        let gone = old
            .iter()
            .flat_map(|old| &old.places)
            .filter(|(name, _)| !current.as_ref().is_some_and(|current| current.places.contains_key(*name)));
        for hub in gone.filter_map(|(name, _)| old.as_ref()?.get(name)) {
            hub.close();
        }
    }

    /// Adds what is no message to each of them: a reader of any wants to know that the link was down.
    pub(crate) fn publish(&self, fact: &Stored) {
        for hub in self.current().iter().flat_map(|current| &current.hubs) {
            hub.publish(fact.clone());
        }
    }

    /// Those that there are now.
    pub(crate) fn current(&self) -> Option<Arc<Sorted>> {
        self.0.lock().clone()
    }

    /// The stream of this name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Hub>> {
        self.current()?.get(name)
    }

    /// Each as it is now, by name.
    pub(crate) fn seen(&self) -> Vec<StreamView> {
        let current = self.current();
        let streams = current.iter().flat_map(|current| current.places.keys().map(|name| (name, current.get(name))));
        let seen = |(name, hub): (&Arc<str>, Option<Arc<Hub>>)| {
            let (cursor, bytes, readers) = hub?.seen();
            let readers = readers.into_iter().map(|(cursor, missed)| ReaderView { cursor, missed }).collect();
            Some(StreamView { name: Arc::clone(name), cursor, bytes, readers })
        };
        streams.filter_map(seen).collect()
    }

    /// Subscribers of all of them.
    pub(crate) fn readers(&self) -> usize {
        self.current().map_or(0, |current| current.hubs.iter().map(|hub| hub.readers()).sum())
    }

    /// Ends all subscriptions, as [`Hub::close`] does.
    pub(crate) fn close(&self) {
        for hub in self.current().iter().flat_map(|current| &current.hubs) {
            hub.close();
        }
    }
}

impl Sorted {
    fn get(&self, name: &str) -> Option<Arc<Hub>> {
        self.hubs.get(*self.places.get(name)?).cloned()
    }

    /// Reads messages that arrived together, and adds each to the streams that it meets. They have no number in the inbox yet.
    pub(super) fn deliver(&self, link: &LinkId, generation: u64, at: SystemTime, run: &Run) -> Documents {
        let documents = Documents::of(0, run, self.max_json);
        let mut met: Vec<(usize, usize)> = Vec::new();
        for (place, document) in documents.read.iter().enumerate() {
            self.sorter.sort(document, |stream| met.push((stream, place)));
        }
        // Stable: messages of a stream keep their order.
        met.sort_by_key(|(stream, _)| *stream);
        for of_one in met.chunk_by(|(one, _), (other, _)| one == other) {
            let picked = of_one.first().and_then(|(stream, _)| self.hubs.get(*stream));
            let run = run.picked(of_one.iter().map(|(_, place)| *place));
            if let (Some(hub), Some(run)) = (picked, run) {
                hub.deliver(link, generation, at, run);
            }
        }
        documents
    }
}

#[cfg(test)]
mod tests;
