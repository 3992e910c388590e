//! A push as people see it.
//!
//! What a reader would get wrong: how far it is behind is counted when somebody looks, from where it has read to.

use std::{sync::Arc, time::SystemTime};

use parking_lot::Mutex;
use wskeeper_core::push::Counts;
use wskeeper_link::endpoint::Template;

use crate::{
    config::push::{Push, PushTo},
    observe::PushNumbers,
};

/// Where a push's task writes how it is.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<Shown>);

/// What a task tells of itself.
#[derive(Debug, Default, Clone)]
pub(super) struct Shown {
    pub(super) state: &'static str,
    pub(super) read: u64,
    pub(super) cursor: u64,
    pub(super) waiting: usize,
    pub(super) tries: u32,
    pub(super) next_at: Option<SystemTime>,
    pub(super) failing_since: Option<SystemTime>,
    pub(super) delivered_at: Option<SystemTime>,
    pub(super) error: Option<(Arc<str>, SystemTime)>,
    pub(super) unkept: Option<Arc<str>>,
    pub(super) connected_since: Option<SystemTime>,
    pub(super) counts: Counts,
}

impl Board {
    pub(super) fn read(&self) -> Shown {
        self.0.lock().clone()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Shown)) {
        change(&mut self.0.lock());
    }
}

/// A push, and how it goes.
#[derive(Debug, Clone)]
pub struct PushView {
    /// What it is called.
    pub name: Arc<str>,
    /// Where to, without what is secret.
    pub to: String,
    /// `idle`, `sending`, `waiting` for its next try, or `stopped`.
    pub state: &'static str,
    /// Its receiver has everything up to here, or knows that it has not.
    pub cursor: u64,
    /// Its cursor is kept over a restart.
    pub durable: bool,
    /// Why the cursor is not on disk, where it should be.
    pub unkept: Option<Arc<str>>,
    /// Entries of the inbox that it has not handed over, those included that may not be meant for it.
    pub behind: u64,
    /// Attempts of what is first in line.
    pub tries: u32,
    /// When it tries again.
    pub next_at: Option<SystemTime>,
    /// Since when nothing is taken.
    pub failing_since: Option<SystemTime>,
    /// Its broker, where it is a bridge.
    pub broker: Option<Arc<str>>,
    /// Since when that is connected.
    pub connected_since: Option<SystemTime>,
    /// When the receiver took something last.
    pub delivered_at: Option<SystemTime>,
    /// What went wrong last, and when.
    pub error: Option<(Arc<str>, SystemTime)>,
    /// What has happened since it began.
    pub counts: Counts,
}

impl PushView {
    pub(super) fn of(name: &Arc<str>, push: &Push, durable: bool, shown: Shown, unread: usize) -> Self {
        let (to, broker) = match &push.to {
            PushTo::Http(http) => (http.url.shown(), None),
            PushTo::Command(command) => (command.first().map(Template::shown).unwrap_or_default(), None),
            PushTo::Broker(to) => (to.address.source().to_owned(), Some(Arc::clone(&to.broker.name))),
        };
        let Shown {
            state,
            cursor,
            waiting,
            tries,
            next_at,
            failing_since,
            delivered_at,
            error,
            unkept,
            connected_since,
            counts,
            read: _,
        } = shown;
        let behind = unread.saturating_add(waiting) as u64;
        Self {
            name: Arc::clone(name),
            to,
            state,
            cursor,
            durable,
            unkept,
            behind,
            tries,
            next_at,
            failing_since,
            broker,
            connected_since,
            delivered_at,
            error,
            counts,
        }
    }

    pub(super) fn numbers(self) -> PushNumbers {
        PushNumbers {
            name: self.name,
            counts: self.counts,
            behind: self.behind,
            failing: self.failing_since.is_some(),
            connected: self.broker.map(|_| self.connected_since.is_some()),
        }
    }
}
