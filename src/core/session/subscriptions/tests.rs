//! What a client that never rests, and a peer that never answers, can make of what is asked for.

use super::*;

fn wish(place: u64) -> Change {
    Change::Add(Wish { place, key: format!("k{place}").into(), add: Some(Payload::binary("+")), remove: None })
}

fn begun() -> Asked {
    let mut asked = Asked::default();
    asked.begin(&Wanted::default(), false);
    asked
}

#[test]
fn a_client_that_asks_and_releases_without_end_leaves_nothing_behind() {
    let mut asked = begun();
    asked.follow(&wish(1));
    for place in 2..100_000 {
        asked.follow(&wish(place));
        asked.follow(&Change::Remove { place, message: None });
        assert!(asked.todo.len() <= 2 * STALE_MAX + 2, "{}", asked.todo.len());
    }
    assert_eq!((asked.entries.len(), asked.by_key.len(), asked.changed.len(), asked.pending()), (1, 1, 1, 1));
    let next = asked.take(&Subscribing::default()).unwrap();
    assert_eq!(next.places, [1]);
    assert!(asked.take(&Subscribing::default()).is_none());
}

#[test]
fn a_peer_that_never_answers_is_asked_no_more_until_it_has_had_its_time() {
    let answer = KeyAnswer { matcher: Matcher::default(), extract: [].into(), which: Which::Oldest, hide: true };
    let plan = Subscribing { confirm: [answer].into(), timeout: Duration::from_secs(10), ..Subscribing::default() };
    let (mut asked, now) = (begun(), crate::epoch());
    let count = OPEN_MAX as u64 + 10;
    (1..=count).for_each(|place| asked.follow(&wish(place)));
    let say = |asked: &mut Asked, now| {
        let mut said = 0;
        while let Some(next) = asked.take(&plan) {
            asked.sent(next, Vec::new(), &plan, now);
            said += 1;
        }
        said
    };
    assert_eq!((say(&mut asked, now), asked.waits_for_answers()), (OPEN_MAX, true));
    let later = now + Duration::from_secs(10);
    asked.expire(later, &"no answer".into());
    assert_eq!((say(&mut asked, later), asked.pending()), (10, 10));
}
