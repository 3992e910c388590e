//! A reader of what is of one connection, for a program that speaks to its peer itself.
//!
//! What a reader would get wrong: it begins with the first message of the connection, which may have been open for long, or with what comes
//! next where the inbox has let the first ones go; and it ends with the connection.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use crate::{
    hub::{From, Next, Reader},
    pool::{Pool, listeners::Wakes},
};
use wskeeper_core::{
    close::Closed,
    entry::{Arrived, Item, Stretch},
};

/// What is told of a connection.
#[derive(Debug)]
pub enum Heard {
    /// Messages that arrived together.
    Messages(Arc<Arrived>),
    /// Its end.
    Closed(Arc<Closed>),
    /// Some of its messages were let go before they were read.
    Lagged,
    /// The endpoint is gone, or the pool ends.
    Gone,
}

/// A reader of one connection.
#[derive(Debug)]
pub struct Follower {
    pool: Pool,
    reader: Reader,
    endpoint: Arc<str>,
    link: u32,
    generation: u64,
    is_whole: bool,
}

impl Follower {
    /// Of the connection of this number; `None`: there is no such endpoint.
    pub fn of(pool: &Pool, endpoint: &str, link: u32, generation: u64) -> Option<Self> {
        let opened = pool.opened(endpoint, link, generation);
        let from = opened.map_or(From::Latest, From::After);
        let reader = pool.read(endpoint, (None, from), Some(Wakes::One(link)))?;
        let (pool, endpoint, is_whole) = (pool.clone(), endpoint.into(), opened.is_some());
        Some(Self { pool, reader, endpoint, link, generation, is_whole })
    }

    /// Whether it began with the first message of the connection.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// What comes next.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        loop {
            let stretch = match ready!(self.reader.poll_next_stretch(cx)) {
                Next::Entry(stretch) => stretch,
                Next::Gap { missed, .. } => {
                    self.pool.count_gap(&self.endpoint, missed);
                    return Poll::Ready(Heard::Lagged);
                }
                Next::Closed => return Poll::Ready(Heard::Gone),
            };
            match stretch {
                Stretch::Arrived(arrived) if self.is_mine(arrived.link.index, arrived.generation) => {
                    return Poll::Ready(Heard::Messages(arrived));
                }
                Stretch::Entry(entry) if self.is_mine(entry.link.index, entry.generation) => {
                    if let Item::Close(closed) = &entry.item {
                        return Poll::Ready(Heard::Closed(Arc::clone(closed)));
                    }
                }
                Stretch::Arrived(_) | Stretch::Entry(_) => {}
            }
        }
    }

    /// What was told last is told again, later: there is no room for it in the budget now.
    pub fn put_back(&mut self) {
        self.reader.put_back();
    }

    fn is_mine(&self, link: u32, generation: u64) -> bool {
        (link, generation) == (self.link, self.generation)
    }
}
