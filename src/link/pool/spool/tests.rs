//! The spool over a store in a folder of its own.

use std::time::Duration;

use super::*;
use crate::clock::Calendar;
use wskeeper_core::message::Payload;

const PATIENCE: Duration = Duration::from_secs(10);

fn record(id: u128, bytes: usize, marked: bool) -> Box<Record> {
    Box::new(Record {
        id: MessageId(id),
        endpoint: "feed".into(),
        link: 0,
        accepted_at: Calendar::default().now(),
        expires_at: None,
        key: None,
        idempotency_key: None,
        payload: Payload::binary(vec![0; bytes]),
        marked,
    })
}

async fn open(folder: &std::path::Path) -> Arc<Spool> {
    let spool = Spool::new(Receipts::new(10, Calendar::default()), Calendar::default());
    spool.open(Some(&store::Policy::new(folder, 1 << 20))).await;
    spool
}

#[tokio::test]
async fn what_may_have_begun_to_leave_is_unknown_when_its_task_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path()).await;
    for (id, marked) in [(1, true), (2, false)] {
        assert_eq!(spool.carry_out(Op::Append(record(id, 1, marked))).await, Ok(1));
    }
    let link = LinkId { endpoint: "feed".into(), index: 0 };
    let reclaimed = spool.reclaim(&link, EndReason::Panicked).await;
    assert_eq!(reclaimed, Reclaimed { waiting: vec![MessageId(2)], unknown: vec![MessageId(1)] });
    let waiting: Vec<_> = spool.take(&link).iter().map(|record| record.id).collect();
    assert_eq!(waiting, [MessageId(2)]);
    spool.close(BTreeMap::new()).await;
    let again = open(folder.path()).await;
    let end = again.receipts.settle(MessageId(1), State::Confirmed, PATIENCE).await.unwrap();
    assert_eq!((end.state, end.end_reason), (State::Unknown, Some(EndReason::Panicked)));
}

#[tokio::test]
async fn a_store_that_was_full_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path()).await;
    let refused = spool.carry_out(Op::Append(record(1, 1 << 20, false))).await;
    assert!(matches!(refused, Err(WriteError::Full(_))), "{refused:?}");
    assert!(spool.view().and_then(|view| view.failure).is_some());
    assert_eq!(spool.closed(), None);
    assert_eq!(spool.carry_out(Op::Append(record(2, 1, false))).await, Ok(1));
    assert_eq!(spool.view().and_then(|view| view.failure), None);
}
