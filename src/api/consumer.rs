//! What a local consumer asks for in a query: `from`, `types`, `link` and `on_lag` mean the same at the event stream and at the local WebSocket.
//!
//! Reading itself is [`wskeeper_link::pool::local`]'s.

use std::time::Duration;

use super::{convert::BinaryType, links, problem::Problem, query::Params};
use crate::config::suggestion;
use wskeeper_core::session::Filter;
use wskeeper_link::{
    hub::{Arrived, Entry, From},
    pool::{
        Pool,
        local::{self, EventType},
    },
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

/// How a consumer wants to read, and be told.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) reading: local::Wish,
    pub(super) binary: BinaryType,
}

impl Wish {
    /// The parameters that every consumer may give.
    pub(super) const PARAMS: [&str; 4] = ["from", "types", "binaryType", "on_lag"];

    /// Those of an endpoint's.
    pub(super) const OWN: [&str; 6] = ["from", "types", "binaryType", "on_lag", "stream", "match"];

    /// Reads them, and `link` where it is there.
    pub(super) fn read(params: &Params, last_seen: Option<&str>) -> Result<Self, Problem> {
        let from = params.with("from", "latest, oldest or a cursor", from)?;
        let known = EventType::ALL.map(EventType::as_str).join(", ");
        let types = params.with("types", &format!("a list of {known}"), |list| {
            list.split(',').map(|word| event_type(word.trim())).collect::<Option<Vec<_>>>()
        })?;
        let on_lag = params.with("on_lag", "gap or close", |word| match word {
            "gap" => Some(false),
            "close" => Some(true),
            _ => None,
        })?;
        // Who wants to know of a link only, and hears nothing that arrives, does not wake it.
        let wakes = types.as_ref().is_none_or(|types: &Vec<EventType>| types.contains(&EventType::Message));
        let reading = local::Wish {
            // What a reconnecting client has seen is newer than what its URL says.
            from: last_seen.and_then(from_cursor).or(from).unwrap_or(From::Latest),
            types,
            close_on_lag: on_lag.unwrap_or_default(),
            link: params.parse("link", "the number of a link")?,
            stream: params.get("stream").map(Into::into),
            filter: filter(params)?,
            wakes,
        };
        Ok(Self {
            reading,
            binary: params.with("binaryType", "base64 or hex", BinaryType::from_word)?.unwrap_or_default(),
        })
    }
}

/// What `match` asks for, once or more.
fn filter(params: &Params) -> Result<Option<Filter>, Problem> {
    let read = |written: &str| {
        Filter::condition(written).ok_or_else(|| {
            let form = "a JSON pointer, `=` and a value, as in match=/s=BTCUSDT";
            Problem::bad_request(format!("query parameter match={written:?} is not {form}"))
        })
    };
    let wanted = params.all("match").map(read).collect::<Result<Vec<_>, _>>()?;
    Ok((!wanted.is_empty()).then(|| Filter::new(wanted)))
}

/// Why there is no such consumer: the endpoint is not there, or its stream is not.
pub(super) fn none(pool: &Pool, endpoint: &str, stream: Option<&str>) -> Problem {
    match (stream, pool.endpoint(endpoint)) {
        (Some(stream), Some(view)) => {
            let known: Vec<&str> = view.config.streams.iter().map(|stream| &*stream.name).collect();
            let hint = if known.is_empty() { "it has none".to_owned() } else { suggestion(stream, &known) };
            Problem::not_found(format!("{endpoint:?} has no stream {stream:?}; {hint}"))
        }
        (Some(_) | None, _) => links::no_endpoint(endpoint),
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

fn event_type(word: &str) -> Option<EventType> {
    EventType::ALL.into_iter().find(|kind| kind.as_str() == word)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use wskeeper_core::entry::Item;

    fn wish(query: &str, last_seen: Option<&str>) -> Result<Wish, Problem> {
        let allowed = [&Wish::OWN[..], &["link"]].concat();
        Wish::read(&Params::read(Some(query), &allowed)?, last_seen)
    }

    fn takes(query: &str, index: u32, item: &Item) -> bool {
        wish(query, None).unwrap().reading.takes(index, EventType::of(item))
    }

    fn gap() -> Item {
        Item::LinkGap { from: SystemTime::UNIX_EPOCH, to: SystemTime::UNIX_EPOCH }
    }

    #[test]
    fn the_last_event_id_counts_before_the_url() {
        assert_eq!(wish("from=oldest", Some("17")).map(|wish| wish.reading.from), Ok(From::After(17)));
        assert_eq!(wish("from=oldest", None).map(|wish| wish.reading.from), Ok(From::Oldest));
        assert_eq!(wish("from=9", None).map(|wish| wish.reading.from), Ok(From::After(9)));
        assert_eq!(wish("", None).map(|wish| wish.reading.from), Ok(From::Latest));
        assert!(wish("from=yesterday", None).is_err());
    }

    #[test]
    fn a_gap_is_told_whatever_types_are_asked_for() {
        assert!(takes("types=message", 0, &gap()));
    }

    #[test]
    fn only_what_was_asked_for_is_told() {
        let open = || Item::Open { protocol: "".into(), extensions: "".into() };
        assert!(takes("", 0, &open()) && takes("types=open,close", 0, &open()));
        assert!(!takes("types=message,close", 0, &open()));
        assert!(takes("link=1", 1, &open()) && !takes("link=1", 0, &open()) && !takes("link=1", 0, &gap()));
        assert!(wish("types=message,nonsense", None).is_err());
    }
}
