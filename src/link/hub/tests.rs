//! Hubs and their readers, the disk among them.

use bytes::Bytes;
use futures_util::task::noop_waker_ref;
use proptest::prelude::*;
use wskeeper_core::run::Marks;

use super::*;

fn hub(max_messages: usize, first: u64) -> Arc<Hub> {
    let policy = inbox::Policy { max_messages, ..inbox::Policy::default() };
    Hub::new(policy, 1, &Budget::new(u64::MAX), first)
}

fn publish(hub: &Hub, text: &str) -> u64 {
    let link = LinkId { endpoint: "test".into(), index: 0 };
    hub.deliver(&link, 1, SystemTime::UNIX_EPOCH, text.into());
    hub.cursor()
}

fn text(next: Option<Next>) -> String {
    match next {
        Some(Next::Entry(entry)) => match &entry.item {
            Item::Message(payload) => String::from_utf8_lossy(payload.bytes()).into_owned(),
            other => panic!("no message: {other:?}"),
        },
        other => panic!("no entry: {other:?}"),
    }
}

#[test]
fn a_subscriber_resumes_after_the_cursor_that_it_has_seen() {
    let hub = hub(10, 100);
    let first = publish(&hub, "a");
    publish(&hub, "b");
    assert_eq!(first, 100);
    assert_eq!(text(hub.subscribe(From::After(first)).try_next()), "b");
    assert_eq!(text(hub.subscribe(From::Oldest).try_next()), "a");
    assert!(hub.subscribe(From::Latest).try_next().is_none());
    assert!(hub.subscribe(From::After(101)).try_next().is_none());
}

#[test]
fn a_subscriber_that_fell_behind_is_told_how_much_it_missed() {
    let hub = hub(2, 1);
    let mut reader = hub.subscribe(From::Latest);
    for word in ["a", "b", "c", "d", "e"] {
        publish(&hub, word);
    }
    assert!(matches!(reader.try_next(), Some(Next::Gap { missed: Some(3), from: 1, to: 3 })));
    assert_eq!(text(reader.try_next()), "d");
}

#[test]
fn a_cursor_of_an_earlier_run_is_a_gap_of_unknown_size() {
    let hub = hub(2, 1000);
    publish(&hub, "a");
    let mut reader = hub.subscribe(From::After(17));
    assert!(matches!(reader.try_next(), Some(Next::Gap { missed: None, from: 18, to: 999 })));
    assert_eq!(text(reader.try_next()), "a");
}

#[tokio::test]
async fn a_closed_hub_is_read_to_its_end() {
    let hub = hub(2, 1);
    let mut reader = hub.subscribe(From::Latest);
    publish(&hub, "last");
    hub.close();
    assert_eq!(text(Some(reader.next().await)), "last");
    assert!(matches!(reader.next().await, Next::Closed));
    assert_eq!(hub.readers(), 1);
    drop(reader);
    assert_eq!(hub.readers(), 0);
}

#[tokio::test]
async fn a_waiting_subscriber_is_woken_and_patience_loses_nothing() {
    let hub = hub(10, 1);
    let mut reader = hub.subscribe(From::Latest);
    assert!(reader.next_within(Duration::ZERO).await.is_none());
    let reading = tokio::spawn(async move { text(Some(reader.next().await)) });
    tokio::task::yield_now().await;
    publish(&hub, "a");
    assert_eq!(reading.await.unwrap(), "a");
}

#[test]
fn a_cursor_taken_before_anything_came_misses_nothing() {
    let hub = hub(10, 100);
    let before = hub.cursor();
    publish(&hub, "a");
    assert_eq!(text(hub.subscribe(From::After(before)).try_next()), "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reader_accounts_for_everything_while_publishing_goes_on() {
    const ALL: u64 = 2000;
    let hub = hub(16, 1);
    let account = |mut reader: Reader| async move {
        let mut accounted = 0;
        loop {
            match reader.next().await {
                Next::Entry(_) => accounted += 1,
                Next::Gap { missed, .. } => accounted += missed.unwrap(),
                Next::Closed => return accounted,
            }
        }
    };
    let readers: Vec<_> = (0..4).map(|_| tokio::spawn(account(hub.subscribe(From::Oldest)))).collect();
    for _ in 0..ALL {
        publish(&hub, "x");
        tokio::task::yield_now().await;
    }
    hub.close();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), ALL);
    }
}

fn message(cursor: u64) -> Entry {
    let link = LinkId { endpoint: "test".into(), index: 0 };
    let text = cursor.to_string();
    Entry { cursor, at: SystemTime::UNIX_EPOCH, link, generation: 1, item: Item::Message(text.as_str().into()) }
}

fn resumed(entries: Vec<(u64, Entry)>, first: u64, after: u64) -> Arc<Hub> {
    Hub::resumed(inbox::Policy::default(), 1, &Budget::new(u64::MAX), Past { entries, first, after })
}

#[test]
fn a_cursor_that_was_never_given_is_a_gap_and_everything_kept() {
    let hub = hub(10, 100);
    publish(&hub, "a");
    let mut reader = hub.subscribe(From::After(9999));
    assert!(matches!(reader.try_next(), Some(Next::Gap { missed: None, .. })));
    assert_eq!(text(reader.try_next()), "a");
    assert!(reader.try_next().is_none());
}

#[test]
fn after_a_clean_restart_a_reader_goes_on_as_if_nothing_had_been() {
    let hub = resumed(vec![(10, message(11)), (11, message(12))], 1000, 12);
    publish(&hub, "new");
    let mut reader = hub.subscribe(From::After(11));
    assert_eq!(text(reader.try_next()), "12");
    assert_eq!(text(reader.try_next()), "new");
    assert_eq!(reader.position(), 1000);
}

#[test]
fn after_a_crash_a_reader_is_told_that_something_may_be_missing() {
    let hub = resumed(vec![(10, message(11))], 1000, 999);
    for seen in [11, 12, 998] {
        let mut reader = hub.subscribe(From::After(seen));
        let gap = reader.try_next();
        assert!(matches!(gap, Some(Next::Gap { missed: None, from, to: 999 }) if from == seen + 1), "{gap:?}");
        assert!(reader.try_next().is_none());
    }
    let mut late = hub.subscribe(From::After(5));
    assert!(matches!(late.try_next(), Some(Next::Gap { missed: None, from: 6, to: 10 })));
    assert_eq!(text(late.try_next()), "11");
}

#[test]
fn the_disk_reads_what_it_has_not_in_runs_of_bounded_size() {
    let hub = hub(3, 100);
    for word in ["a", "b", "c", "d"] {
        publish(&hub, word);
    }
    let cursors = |unstored: Option<Unstored>| {
        unstored.map(|found| (found.after, found.oldest, found.entries.iter().map(Stretch::first).collect::<Vec<_>>()))
    };
    assert_eq!(cursors(hub.unstored(0, 1 << 20)), Some((100, 101, vec![101, 102, 103])));
    assert_eq!(cursors(hub.unstored(101, 1)), Some((101, 101, vec![102])));
    assert_eq!(cursors(hub.unstored(103, 1 << 20)), None);
    assert_eq!(hub.count_after(101), 2);
}

#[test]
fn a_closed_hub_takes_nothing() {
    let hub = hub(3, 100);
    let last = publish(&hub, "a");
    hub.close();
    assert_eq!(publish(&hub, "b"), last);
    assert!(hub.is_closed());
}

fn flooded(hub: &Hub, messages: usize, bytes: usize) {
    for _ in 0..messages {
        publish(hub, &"x".repeat(bytes));
    }
}

#[test]
fn what_was_put_back_is_read_again_or_is_a_gap() {
    let hub = hub(2, 100);
    let mut reader = hub.subscribe(From::Latest);
    publish(&hub, "a");
    publish(&hub, "b");
    for _ in 0..2 {
        assert_eq!(text(reader.try_next()), "a");
        reader.put_back();
    }
    publish(&hub, "c");
    assert!(matches!(reader.try_next(), Some(Next::Gap { missed: Some(1), from: 100, to: 100 })));
    assert_eq!(text(reader.try_next()), "b");
}

#[test]
fn full_inboxes_make_room_for_what_is_sent_and_readers_are_told() {
    let budget = Budget::with_holders(256 << 10, Box::<Inboxes>::default());
    let hubs: Vec<_> = (0..16).map(|_| Hub::new(inbox::Policy::default(), 1, &budget, 1)).collect();
    let mut reader = hubs[0].subscribe(From::Latest);
    for hub in &hubs {
        flooded(hub, 32, 1 << 10);
    }
    assert!(budget.history() > 180 << 10, "{}", budget.history());
    let shares: Vec<_> = (0..256).map(|_| budget.reserve(1000)).collect();
    assert!(shares.iter().all(Option::is_some));
    assert!(budget.used() <= budget.limit());
    assert!(matches!(reader.try_next(), Some(Next::Gap { missed: Some(_), from: 1, .. })));
}

#[test]
fn a_flooded_inbox_takes_nothing_of_what_is_owed_to_another() {
    let budget = Budget::with_holders(64 << 10, Box::<Inboxes>::default());
    let policy = || inbox::Policy { max_messages: 1_000_000, max_bytes: 1 << 30, ..inbox::Policy::default() };
    let (quiet, late, loud) =
        (Hub::new(policy(), 1, &budget, 1), Hub::new(policy(), 1, &budget, 1), Hub::new(policy(), 1, &budget, 1));
    flooded(&quiet, 10, 1000);
    flooded(&loud, 200, 1000);
    let mut reader = quiet.subscribe(From::Oldest);
    assert_eq!((0..10).filter(|_| matches!(reader.try_next(), Some(Next::Entry(_)))).count(), 10);
    flooded(&late, 12, 1000);
    let mut reader = late.subscribe(From::Oldest);
    assert_eq!((0..12).filter(|_| matches!(reader.try_next(), Some(Next::Entry(_)))).count(), 12);
    assert!(quiet.subscribe(From::Oldest).try_next().is_some_and(|next| matches!(next, Next::Entry(_))));
    assert!(budget.history() <= 48 << 10);
}

/// These texts as they would arrive together.
pub(super) fn run(texts: &[String]) -> Run {
    let (mut bytes, mut marks) = (Vec::new(), Marks::default());
    for text in texts {
        let one = Run::from(text.as_str());
        marks.push(bytes.len() + one.frames().len() - text.len(), text.len(), wskeeper_core::message::Kind::Text);
        bytes.extend(one.frames());
    }
    let room = bytes.len();
    marks.take(bytes.into(), room)
}

/// All that a reader is told now, one by one; of a gap, its numbers.
fn told(reader: &mut Reader) -> Vec<(u64, Option<String>)> {
    let mut told = Vec::new();
    while let Some(next) = reader.try_next() {
        match next {
            Next::Entry(entry) => told.push((entry.cursor, Some(text(Some(Next::Entry(entry)))))),
            Next::Gap { from, to, missed } => {
                assert_eq!(missed, Some(to + 1 - from));
                told.extend((from..=to).map(|number| (number, None)));
            }
            Next::Closed => panic!("it is open"),
        }
    }
    told
}

/// The same for one who reads together what arrived together.
fn told_together(reader: &mut Reader) -> (Vec<(u64, Option<String>)>, Vec<Bytes>) {
    let mut cx = Context::from_waker(noop_waker_ref());
    let (mut told, mut frames) = (Vec::new(), Vec::new());
    while let Poll::Ready(next) = reader.poll_next_stretch(&mut cx) {
        match next {
            Next::Entry(stretch) => {
                let texts = stretch.entries().map(|entry| (entry.cursor, Some(text(Some(Next::Entry(entry))))));
                told.extend(texts);
                let Stretch::Arrived(arrived) = stretch else { panic!("all are messages") };
                frames.push(arrived.run.frames());
            }
            Next::Gap { from, to, .. } => told.extend((from..=to).map(|number| (number, None))),
            Next::Closed => panic!("it is open"),
        }
    }
    (told, frames)
}

/// All that the disk is told after a number, and what it need not keep.
fn told_to_disk(hub: &Hub, stored: u64) -> Option<(u64, u64, Vec<Entry>)> {
    let Unstored { after, entries, oldest } = hub.unstored(stored, usize::MAX)?;
    Some((after, oldest, entries.iter().flat_map(Stretch::entries).map(|entry| Entry::clone(&entry)).collect()))
}

proptest! {
    #[test]
    fn whoever_reads_however_is_told_the_same_as_if_each_message_had_come_alone(
        steps in prop::collection::vec((prop::collection::vec("[a-z]{0,40}", 1..12), any::<[bool; 3]>()), 1..40),
    ) {
        let (together, single) = (hub(8, 1), hub(8, 1));
        let link = LinkId { endpoint: "test".into(), index: 0 };
        let [mut one, mut all] = [(); 2].map(|()| together.subscribe(From::Oldest));
        let [mut as_one, mut as_all] = [(); 2].map(|()| single.subscribe(From::Oldest));
        let mut stored = 0;
        for (texts, [reads_one, reads_all, stores]) in steps {
            together.deliver(&link, 1, SystemTime::UNIX_EPOCH, run(&texts));
            for text in &texts {
                publish(&single, text);
            }
            prop_assert_eq!(together.cursor(), single.cursor());
            if reads_one {
                prop_assert_eq!(told(&mut one), told(&mut as_one));
            }
            if reads_all {
                let (told_now, frames) = told_together(&mut all);
                let expected = told_now.iter().filter_map(|(_, text)| Some(Run::from(text.as_deref()?).frames()));
                prop_assert_eq!(frames.concat(), expected.collect::<Vec<_>>().concat());
                prop_assert_eq!(told_now, told(&mut as_all));
            }
            if stores {
                prop_assert_eq!(told_to_disk(&together, stored), told_to_disk(&single, stored));
                stored = together.cursor();
            }
            prop_assert_eq!(together.count_after(stored), single.count_after(stored));
        }
    }
}
