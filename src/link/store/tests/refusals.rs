//! When a refusal for want of room stands, and when it falls.

use super::*;

#[test]
fn a_refusal_stands_until_a_message_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&Policy::new(folder.path(), 1 << 20), Calendar::default()).unwrap();
    let large = |id| Op::Append(Box::new(Record { payload: Payload::binary(vec![0; 100_000]), ..record(id) }));
    let refused = (0..20).find(|id| write(&store, large(*id)).is_err()).unwrap();
    assert!(matches!(store.status().failure, Some(WriteError::Full(_))));
    assert_eq!(write(&store, settle(refused, State::Dropped)), Ok(0));
    assert_eq!(write(&store, Op::Mark { id: MessageId(0), marked: true }), Ok(1));
    assert!(matches!(store.status().failure, Some(WriteError::Full(_))), "nothing was let go");
    assert_eq!(write(&store, settle(0, State::Confirmed)), Ok(1));
    assert_eq!(store.status().failure, None);
    assert_eq!(write(&store, large(refused)), Ok(1));
}
