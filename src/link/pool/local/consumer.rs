//! A reader of an endpoint's inbox, or of the pool's log: what it asks for, and what it is told of what it lost.
//!
//! What a reader would get wrong: a gap of the consumer's own is told whatever types it asked for.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
};

use crate::{
    hub::{From, Next, Reader},
    pool::{Pool, listeners::Wakes},
};
use wskeeper_core::{
    entry::{Arrived, Entry, Item, Stretch},
    session::Filter,
};

/// What an entry is, by the names of the events of a WebSocket, and two of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// A connection opened.
    Open,
    /// A message arrived.
    Message,
    /// A connection failed.
    Error,
    /// A connection closed, or an attempt came to nothing.
    Close,
    /// The link came into another phase.
    Phase,
    /// Messages may have been lost between two connections.
    Gap,
}

impl EventType {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Open, Self::Message, Self::Error, Self::Close, Self::Phase, Self::Gap];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Message => "message",
            Self::Error => "error",
            Self::Close => "close",
            Self::Phase => "phase",
            Self::Gap => "gap",
        }
    }

    /// That of an item.
    pub const fn of(item: &Item) -> Self {
        match item {
            Item::Open { .. } => Self::Open,
            Item::Message(_) => Self::Message,
            Item::Error { .. } => Self::Error,
            Item::Close(_) => Self::Close,
            Item::Phase { .. } => Self::Phase,
            Item::LinkGap { .. } => Self::Gap,
        }
    }
}

/// How a consumer wants to read.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Where it begins.
    pub from: From,
    /// Only these; `None`: all.
    pub types: Option<Vec<EventType>>,
    /// Only this link's events.
    pub link: Option<u32>,
    /// This part of the inbox instead of the whole.
    pub stream: Option<Box<str>>,
    /// Only messages that meet this.
    pub filter: Option<Filter>,
    /// Falling behind ends the reading.
    pub close_on_lag: bool,
    /// Lazy links are to be awake for it.
    pub wakes: bool,
}

impl Wish {
    /// Whether the consumer is told of something of this type, of the link of this number.
    pub fn takes(&self, link: u32, kind: EventType) -> bool {
        self.link.is_none_or(|wanted| wanted == link)
            && self.types.as_ref().is_none_or(|types| kind == EventType::Gap || types.contains(&kind))
    }
}

/// What a consumer has lost, because it was too slow or came too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// How many entries; `None`: nobody knows, they are of an earlier life.
    pub missed: Option<u64>,
    /// The last cursor before them.
    pub from: u64,
    /// The last of theirs.
    pub to: u64,
}

/// What a consumer is told next.
#[derive(Debug)]
pub enum Told<T = Arc<Entry>> {
    /// It asked for this.
    Entry(T),
    /// It lost this, and goes on after it.
    Gap(Lag),
    /// It lost this, and wanted to be ended then.
    Lagged(Lag),
    /// The endpoint is gone, or the pool ends.
    Gone,
}

/// A consumer between two events.
#[derive(Debug)]
pub struct Consumer {
    pool: Pool,
    /// `None`: the whole pool.
    endpoint: Option<Arc<str>>,
    reader: Reader,
    wish: Wish,
    /// A longer message meets no filter.
    max_json: usize,
    /// It has read on since it told something last.
    has_passed: bool,
}

impl Consumer {
    /// Of one endpoint, if there is one of this name, and a stream of that name where one is wished for.
    pub fn of(pool: &Pool, endpoint: &str, wish: Wish) -> Option<Self> {
        let wakes = wish.wakes.then(|| Wakes::of(wish.link));
        let reader = pool.read(endpoint, (wish.stream.as_deref(), wish.from), wakes)?;
        let max_json = pool.endpoint(endpoint)?.config.max_json();
        Some(Self { pool: pool.clone(), endpoint: Some(endpoint.into()), reader, wish, max_json, has_passed: false })
    }

    /// Of the pool's log.
    pub fn of_all(pool: &Pool, wish: Wish) -> Self {
        let reader = pool.subscribe_all(wish.from);
        Self { pool: pool.clone(), endpoint: None, reader, wish, max_json: 0, has_passed: false }
    }

    /// Whose inbox it reads; `None`: the log of the pool.
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// Waits for what comes next. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Told {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same; `None` where it has passed over something that it was not asked for, up to [`Consumer::position`], and there is nothing behind
    /// that now.
    pub async fn next_or_passed(&mut self) -> Option<Told> {
        poll_fn(|cx| match self.poll_next(cx) {
            Poll::Ready(told) => Poll::Ready(Some(told)),
            Poll::Pending if std::mem::take(&mut self.has_passed) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// The same as [`Consumer::next`], for a task that waits for other things too.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Told> {
        loop {
            let next = ready!(self.reader.poll_next(cx));
            let is_met = match &next {
                Next::Entry(entry) => self.is_met(entry),
                Next::Gap { .. } | Next::Closed => true,
            };
            let takes = |wish: &Wish, entry: &Arc<Entry>| wish.takes(entry.link.index, EventType::of(&entry.item));
            let told = if is_met { self.tell(next, takes) } else { None };
            self.has_passed = told.is_none();
            if let Some(told) = told {
                return Poll::Ready(told);
            }
        }
    }

    /// The same without what is no message, and messages that arrived together at once.
    pub fn poll_next_messages(&mut self, cx: &mut Context<'_>) -> Poll<Told<Arc<Arrived>>> {
        loop {
            let next = match ready!(self.reader.poll_next_stretch(cx)) {
                Next::Entry(Stretch::Entry(_)) => continue,
                Next::Entry(Stretch::Arrived(arrived)) => match self.met(arrived) {
                    Some(arrived) => Next::Entry(arrived),
                    None => continue,
                },
                Next::Gap { missed, from, to } => Next::Gap { missed, from, to },
                Next::Closed => Next::Closed,
            };
            if let Some(told) = self.tell(next, |wish, arrived| wish.takes(arrived.link.index, EventType::Message)) {
                return Poll::Ready(told);
            }
        }
    }

    /// Whether it meets the filter; what is no message does.
    fn is_met(&mut self, entry: &Entry) -> bool {
        match (&self.wish.filter, &entry.item) {
            (Some(filter), Item::Message(payload)) => {
                self.reader.is_met(filter, entry.cursor, payload.bytes(), self.max_json)
            }
            (None, _)
            | (
                Some(_),
                Item::Open { .. } | Item::Error { .. } | Item::Close(_) | Item::Phase { .. } | Item::LinkGap { .. },
            ) => true,
        }
    }

    /// What of it meets the filter.
    fn met(&mut self, arrived: Arc<Arrived>) -> Option<Arc<Arrived>> {
        let Some(filter) = &self.wish.filter else { return Some(arrived) };
        let numbered = (arrived.cursor..).zip(arrived.run.messages()).enumerate();
        let met: Vec<usize> = numbered
            .filter(|(_, (number, (_, bytes)))| self.reader.is_met(filter, *number, bytes, self.max_json))
            .map(|(place, _)| place)
            .collect();
        if met.len() == arrived.run.count() {
            return Some(arrived);
        }
        let run = arrived.run.picked(met.iter().copied())?;
        Some(Arc::new(Arrived { link: arrived.link.clone(), run, ..*arrived }))
    }

    /// What was told last is told again, later: there is no room for it in the budget now.
    pub fn put_back(&mut self) {
        self.reader.put_back();
    }

    /// Up to where it has read.
    pub fn position(&self) -> u64 {
        self.reader.position()
    }

    fn tell<T>(&self, next: Next<T>, takes: impl Fn(&Wish, &T) -> bool) -> Option<Told<T>> {
        match next {
            Next::Closed => Some(Told::Gone),
            Next::Entry(entry) => takes(&self.wish, &entry).then_some(Told::Entry(entry)),
            Next::Gap { missed, from, to } => {
                if let Some(name) = &self.endpoint {
                    self.pool.count_gap(name, missed);
                }
                let lag = Lag { missed, from, to };
                Some(if self.wish.close_on_lag { Told::Lagged(lag) } else { Told::Gap(lag) })
            }
        }
    }
}
