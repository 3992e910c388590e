//! Streams and their readers, beside the whole inbox.

use wskeeper_core::session::MAX_JSON;

use super::*;
use crate::hub::{Entry, From, Item, Next, Reader};

fn link() -> LinkId {
    LinkId { endpoint: "test".into(), index: 0 }
}

fn stream(name: &str, wanted: &str, max_messages: usize) -> Stream {
    let filter = Filter::new(Filter::condition(wanted));
    Stream { name: name.into(), filter, max_messages, max_bytes: 1 << 20 }
}

fn endpoint(streams: Vec<Stream>) -> Endpoint {
    Endpoint { streams, ..Endpoint::default() }
}

/// An inbox of so many messages, and streams beside it.
struct Bench {
    inbox: Arc<Hub>,
    streams: Streams,
    budget: Arc<Budget>,
}

impl Bench {
    fn new(max_messages: usize, streams: Vec<Stream>) -> Self {
        let budget = Budget::new(u64::MAX);
        let policy = inbox::Policy { max_messages, ..inbox::Policy::default() };
        let bench = Self { inbox: Hub::new(policy, 1, &budget, 1), streams: Streams::default(), budget };
        bench.follow(streams);
        bench
    }

    fn follow(&self, streams: Vec<Stream>) {
        self.streams.follow(&endpoint(streams), &self.budget, 1);
    }

    /// As a slot does it.
    fn arrive(&self, run: Run) {
        match self.streams.current() {
            None => self.inbox.deliver(&link(), 1, SystemTime::UNIX_EPOCH, run),
            Some(streams) => self.inbox.deliver_sorted(&link(), 1, SystemTime::UNIX_EPOCH, run, &streams),
        }
    }

    fn read(&self, name: &str, from: From) -> Reader {
        self.streams.get(name).expect("there is such a stream").subscribe(from)
    }
}

/// A message of symbol `s`, the `n`th of all.
fn message(symbol: usize, n: usize) -> String {
    format!("{{\"s\":\"S{symbol}\",\"n\":{n}}}")
}

fn run(texts: &[String]) -> Run {
    crate::hub::tests::run(texts)
}

/// The texts that are there now; panics at a gap.
fn texts(reader: &mut Reader) -> Vec<String> {
    let text = |next: Next| match next {
        Next::Entry(entry) => match &entry.item {
            Item::Message(payload) => String::from_utf8_lossy(payload.bytes()).into_owned(),
            other => format!("{other:?}"),
        },
        Next::Gap { .. } | Next::Closed => panic!("no entry: {next:?}"),
    };
    std::iter::from_fn(|| reader.try_next()).map(text).collect()
}

#[test]
fn a_message_is_in_each_stream_that_it_meets_in_its_order_and_with_numbers_that_follow_each_other() {
    let bench =
        Bench::new(100, vec![stream("one", "/s=S1", 10), stream("two", "/s=S2", 10), stream("odd", "/n=1", 10)]);
    let all: Vec<String> = [(1, 0), (2, 1), (3, 2), (1, 3), (1, 1)].map(|(symbol, n)| message(symbol, n)).into();
    bench.arrive(run(&all));
    bench.arrive(run(&["no JSON".to_owned(), message(2, 5)]));
    assert_eq!(texts(&mut bench.read("one", From::Oldest)), [all[0].clone(), all[3].clone(), all[4].clone()]);
    assert_eq!(texts(&mut bench.read("two", From::Oldest)), [all[1].clone(), message(2, 5)]);
    assert_eq!(texts(&mut bench.read("odd", From::Oldest)), [all[1].clone(), all[4].clone()]);
    assert_eq!(texts(&mut bench.inbox.subscribe(From::Oldest)).len(), 7);
    let mut one = bench.read("one", From::Oldest);
    let cursors: Vec<u64> = std::iter::from_fn(|| one.try_next())
        .map(|next| match next {
            Next::Entry(entry) => entry.cursor,
            Next::Gap { .. } | Next::Closed => panic!("{next:?}"),
        })
        .collect();
    assert_eq!(cursors, [1, 2, 3]);
    assert_eq!(texts(&mut bench.read("one", From::After(2))), [all[4].clone()]);
    let item = Item::Open { protocol: "".into(), extensions: "".into() };
    let at = SystemTime::UNIX_EPOCH;
    bench.streams.publish(&Entry { cursor: 0, at, link: link(), generation: 1, item }.into());
    assert!(texts(&mut bench.read("two", From::After(2)))[0].starts_with("Open"));
}

#[test]
fn a_reader_of_one_symbol_of_a_thousand_has_no_gap_while_the_inbox_turns_over_and_is_given_its_own_only() {
    const SYMBOLS: usize = 1000;
    const ROUNDS: usize = 50;
    let streams = (0..SYMBOLS).map(|symbol| stream(&format!("s{symbol}"), &format!("/s=S{symbol}"), ROUNDS)).collect();
    let bench = Bench::new(1024, streams);
    let mut whole = bench.inbox.subscribe(From::Latest);
    let mut reader = bench.read("s7", From::Latest);
    for round in 0..ROUNDS {
        let all: Vec<String> = (0..SYMBOLS).map(|symbol| message(symbol, round)).collect();
        all.chunks(64).for_each(|together| bench.arrive(run(together)));
    }
    let wanted: Vec<String> = (0..ROUNDS).map(|round| message(7, round)).collect();
    assert_eq!(texts(&mut reader), wanted, "each of its own, none of the others', no gap");
    assert!(
        matches!(whole.try_next(), Some(Next::Gap { missed: Some(48_976), .. })),
        "the whole inbox has turned over"
    );
}

#[test]
fn a_stream_tells_its_readers_what_they_missed_of_it_alone() {
    let bench = Bench::new(100, vec![stream("one", "/s=S1", 2)]);
    let mut reader = bench.read("one", From::Latest);
    for n in 0..10 {
        bench.arrive(run(&[message(n % 2, n)]));
    }
    assert!(matches!(reader.try_next(), Some(Next::Gap { missed: Some(3), from: 1, to: 3 })));
    assert_eq!(texts(&mut reader), [message(1, 7), message(1, 9)]);
}

#[test]
fn a_stream_holds_no_more_than_its_own_messages() {
    let bench = Bench::new(1, vec![stream("one", "/s=S1", 10)]);
    let long = format!("{{\"s\":\"S2\",\"x\":\"{}\"}}", "x".repeat(100_000));
    bench.arrive(run(&[long.clone(), message(1, 0), long]));
    assert!(bench.streams.get("one").is_some_and(|hub| hub.state().ring.cost() < 1000));
}

#[test]
fn a_reload_keeps_what_stays_begins_what_is_new_and_ends_the_readers_of_what_is_gone() {
    let bench = Bench::new(100, vec![stream("stays", "/s=S1", 10), stream("goes", "/s=S1", 10)]);
    bench.arrive(run(&[message(1, 0)]));
    let (mut stays, mut goes) = (bench.read("stays", From::Oldest), bench.read("goes", From::Oldest));
    bench.follow(vec![stream("new", "/s=S2", 10), stream("stays", "/s=S2", 10)]);
    bench.arrive(run(&[message(1, 1), message(2, 2)]));
    assert_eq!(texts(&mut stays), [message(1, 0), message(2, 2)]);
    assert_eq!(texts(&mut bench.read("new", From::Oldest)), [message(2, 2)]);
    assert_eq!(texts(&mut goes), [message(1, 0)]);
    assert!(goes.hub.is_closed() && !stays.hub.is_closed() && bench.streams.get("goes").is_none());
    assert_eq!(bench.streams.readers(), 1);
    bench.follow(Vec::new());
    assert!(stays.hub.is_closed() && bench.streams.current().is_none());
}

#[test]
fn what_a_filter_looks_at_is_read_once_for_all_who_keep_up() {
    let filter = Filter::new(Filter::condition("/s=S1"));
    for streams in [Vec::new(), vec![stream("two", "/s=S2", 10)]] {
        let bench = Bench::new(100, streams);
        let mut readers = [From::Latest, From::Latest].map(|from| bench.inbox.subscribe(from));
        bench.arrive(run(&[message(1, 0), message(2, 1), message(1, 2)]));
        let met = readers.each_mut().map(|reader| {
            let mut met = Vec::new();
            while let Some(Next::Entry(entry)) = reader.try_next() {
                let Item::Message(payload) = &entry.item else { panic!("{entry:?}") };
                met.push(reader.is_met(&filter, entry.cursor, payload.bytes(), MAX_JSON));
            }
            met
        });
        assert_eq!(met, [[true, false, true], [true, false, true]]);
        let [one, other] = &readers;
        assert!(
            one.documents.as_ref().zip(other.documents.as_ref()).is_some_and(|(one, other)| Arc::ptr_eq(one, other))
        );
    }
}

#[test]
fn a_stream_tells_how_far_its_readers_are_and_what_they_have_missed() {
    let bench = Bench::new(100, vec![stream("one", "/s=S1", 3), stream("two", "/s=S2", 3)]);
    let (slow, mut quick) = (bench.read("one", From::Oldest), bench.read("one", From::Oldest));
    let arrive = |n| bench.arrive(run(&[message(1, n)]));
    (0..3).for_each(arrive);
    assert_eq!(texts(&mut quick).len(), 3);
    let mut late = bench.read("one", From::Oldest);
    (3..8).for_each(arrive);
    assert!(matches!(late.try_next(), Some(Next::Gap { missed: Some(5), .. })));
    let seen = bench.streams.seen();
    let readers: Vec<_> = seen[0].readers.iter().map(|reader| (reader.cursor, reader.missed)).collect();
    assert_eq!((&*seen[0].name, seen[0].cursor, readers), ("one", 8, vec![(0, 0), (3, 0), (5, 5)]));
    assert!(seen[0].bytes > 0 && seen[1].readers.is_empty() && seen[1].bytes == 0, "{seen:?}");
    drop((slow, quick, late));
    assert!(bench.streams.seen()[0].readers.is_empty());
}
