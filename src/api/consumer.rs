//! A local reader of an endpoint's inbox, or of the pool's log: what it asks for, and what it is told of what it lost.
//!
//! The event stream and the local WebSocket read through it, so that `from`, `types`, `link` and `on_lag` mean the same in
//! both. A gap of the reader's own is told whatever types it asked for.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use super::{
    Shared,
    convert::{self, BinaryType},
    problem::Problem,
    query::Params,
    wire,
};
use wskeeper_link::{
    hub::{Arrived, Entry, From, Item, Next, Reader, Stretch},
    pool::Pool,
};

/// What a consumer that is told something long waits for room.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// What is little takes nothing while it is told.
const SMALL: usize = 16 << 10;

/// What an entry takes while it is told: a message, and its text in JSON.
pub(super) fn length(entry: &Entry) -> u64 {
    entry.item.message_len().filter(|bytes| *bytes > SMALL).map_or(0, |bytes| 2 * bytes as u64)
}

/// The same for messages that are told as they came.
pub(super) fn frames_length(arrived: &Arrived) -> u64 {
    let length = arrived.run.frames().len();
    if length > SMALL { length as u64 } else { 0 }
}

const MESSAGE: &str = "message";
/// Types of events, as `?types=` names them.
const TYPES: [&str; 6] = ["open", MESSAGE, "error", "close", "phase", "gap"];

/// How a consumer wants to read.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    from: From,
    types: Option<Vec<String>>,
    pub(super) binary: BinaryType,
    /// Falling behind ends the reading.
    close_on_lag: bool,
    /// Only this link's events.
    pub(super) link: Option<u32>,
}

impl Wish {
    /// The parameters that every consumer may give.
    pub(super) const PARAMS: [&str; 4] = ["from", "types", "binaryType", "on_lag"];

    /// Reads them, and `link` where it is there.
    pub(super) fn read(params: &Params, last_seen: Option<&str>) -> Result<Self, Problem> {
        let from = params.with("from", "latest, oldest or a cursor", from)?;
        let types = params.with("types", &format!("a list of {}", TYPES.join(", ")), |list| {
            let types: Vec<_> = list.split(',').map(|word| word.trim().to_owned()).collect();
            types.iter().all(|word| TYPES.contains(&word.as_str())).then_some(types)
        })?;
        let on_lag = params.with("on_lag", "gap or close", |word| match word {
            "gap" => Some(false),
            "close" => Some(true),
            _ => None,
        })?;
        Ok(Self {
            // What a reconnecting client has seen is newer than what its URL says.
            from: last_seen.and_then(from_cursor).or(from).unwrap_or(From::Latest),
            types,
            binary: params.with("binaryType", "base64 or hex", BinaryType::from_word)?.unwrap_or_default(),
            close_on_lag: on_lag.unwrap_or_default(),
            link: params.parse("link", "the number of a link")?,
        })
    }

    fn takes(&self, entry: &Entry) -> bool {
        self.takes_kind(entry.link.index, kind(&entry.item))
    }

    fn takes_kind(&self, index: u32, kind: &str) -> bool {
        self.link.is_none_or(|link| link == index)
            && self.types.as_ref().is_none_or(|types| kind == "gap" || types.iter().any(|word| word == kind))
    }
}

fn from(word: &str) -> Option<From> {
    match word {
        "latest" => Some(From::Latest),
        "oldest" => Some(From::Oldest),
        cursor => from_cursor(cursor),
    }
}

fn from_cursor(cursor: &str) -> Option<From> {
    cursor.trim().parse().ok().map(From::After)
}

const fn kind(item: &Item) -> &'static str {
    match item {
        Item::Open { .. } => "open",
        Item::Message(_) => MESSAGE,
        Item::Error { .. } => "error",
        Item::Close(_) => "close",
        Item::Phase { .. } => "phase",
        Item::LinkGap { .. } => "gap",
    }
}

/// What a consumer is told next.
#[derive(Debug)]
pub(super) enum Told<T = Arc<Entry>> {
    /// It asked for this.
    Entry(T),
    /// It lost this, and goes on after it.
    Gap(wire::Event),
    /// It lost this, and wanted to be ended then.
    Lagged(wire::Event),
    /// The endpoint is gone, or the daemon stops.
    Gone,
}

/// A consumer between two events.
#[derive(Debug)]
pub(super) struct Consumer {
    pool: Pool,
    /// `None`: the whole pool.
    endpoint: Option<Arc<str>>,
    reader: Reader,
    wish: Wish,
}

impl Consumer {
    /// Of one endpoint.
    pub(super) fn of(shared: &Shared, endpoint: &str, wish: Wish) -> Result<Self, Problem> {
        let reader = shared.pool.subscribe(endpoint, wish.from).ok_or_else(|| super::links::no_endpoint(endpoint))?;
        Ok(Self { pool: shared.pool.clone(), endpoint: Some(endpoint.into()), reader, wish })
    }

    /// Of the pool's log.
    pub(super) fn of_all(shared: &Shared, wish: Wish) -> Self {
        Self { pool: shared.pool.clone(), endpoint: None, reader: shared.pool.subscribe_all(wish.from), wish }
    }

    /// How it wants binary data.
    pub(super) fn binary(&self) -> BinaryType {
        self.wish.binary
    }

    /// Waits for what comes next. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Told {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same, for a task that waits for other things too.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Told> {
        loop {
            let next = ready!(self.reader.poll_next(cx));
            if let Some(told) = self.tell(next, |wish, entry| wish.takes(entry)) {
                return Poll::Ready(told);
            }
        }
    }

    /// The same without what is no message, and messages that arrived together at once.
    pub(super) fn poll_next_messages(&mut self, cx: &mut Context<'_>) -> Poll<Told<Arc<Arrived>>> {
        loop {
            let next = match ready!(self.reader.poll_next_stretch(cx)) {
                Next::Entry(Stretch::Entry(_)) => continue,
                Next::Entry(Stretch::Arrived(arrived)) => Next::Entry(arrived),
                Next::Gap { missed, from, to } => Next::Gap { missed, from, to },
                Next::Closed => Next::Closed,
            };
            if let Some(told) = self.tell(next, |wish, arrived| wish.takes_kind(arrived.link.index, MESSAGE)) {
                return Poll::Ready(told);
            }
        }
    }

    /// What was told last is told again, later: there is no room for it in the budget now.
    pub(super) fn put_back(&mut self) {
        self.reader.put_back();
    }

    fn tell<T>(&self, next: Next<T>, takes: impl Fn(&Wish, &T) -> bool) -> Option<Told<T>> {
        match next {
            Next::Closed => Some(Told::Gone),
            Next::Entry(entry) => takes(&self.wish, &entry).then_some(Told::Entry(entry)),
            Next::Gap { missed, from, to } => {
                if let Some(name) = &self.endpoint {
                    self.pool.count_gap(name, missed);
                }
                let event = convert::lag(self.endpoint.as_deref(), missed, from, to);
                Some(if self.wish.close_on_lag { Told::Lagged(event) } else { Told::Gap(event) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use wskeeper_core::event::LinkId;

    fn wish(query: &str, last_seen: Option<&str>) -> Result<Wish, Problem> {
        let allowed = [&Wish::PARAMS[..], &["link"]].concat();
        Wish::read(&Params::read(Some(query), &allowed)?, last_seen)
    }

    fn takes(query: &str, index: u32, item: Item) -> bool {
        let link = LinkId { endpoint: "e".into(), index };
        wish(query, None).unwrap().takes(&Entry { cursor: 1, at: SystemTime::UNIX_EPOCH, link, generation: 1, item })
    }

    fn gap() -> Item {
        Item::LinkGap { from: SystemTime::UNIX_EPOCH, to: SystemTime::UNIX_EPOCH }
    }

    #[test]
    fn the_last_event_id_counts_before_the_url() {
        assert_eq!(wish("from=oldest", Some("17")).map(|wish| wish.from), Ok(From::After(17)));
        assert_eq!(wish("from=oldest", None).map(|wish| wish.from), Ok(From::Oldest));
        assert_eq!(wish("from=9", None).map(|wish| wish.from), Ok(From::After(9)));
        assert_eq!(wish("", None).map(|wish| wish.from), Ok(From::Latest));
        assert!(wish("from=yesterday", None).is_err());
    }

    #[test]
    fn a_gap_is_told_whatever_types_are_asked_for() {
        assert!(takes("types=message", 0, gap()));
    }

    #[test]
    fn only_what_was_asked_for_is_told() {
        let open = || Item::Open { protocol: "".into(), extensions: "".into() };
        assert!(takes("", 0, open()) && takes("types=open,close", 0, open()));
        assert!(!takes("types=message,close", 0, open()));
        assert!(takes("link=1", 1, open()) && !takes("link=1", 0, open()) && !takes("link=1", 0, gap()));
        assert!(wish("types=message,nonsense", None).is_err());
    }
}
