//! What a client that never rests, and a peer that never answers, can make of what is asked for.

use std::time::Duration;

use super::{questions::OPEN_MAX, *};
use crate::session::Matcher;

fn wish(place: u64) -> Change {
    Change::Add(Wish { place, key: format!("k{place}").into(), add: Some(Payload::binary("+")), remove: None })
}

fn begun() -> Asked {
    let mut asked = Asked::default();
    asked.begin(&Wanted::default(), None);
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
    assert_eq!((asked.entries.len(), asked.by_key.len(), asked.changed.len(), asked.due), (1, 1, 1, 1));
    let next = asked.take(&Subscribing::default()).unwrap();
    assert_eq!(next.wishes.iter().map(|wish| wish.place).collect::<Vec<_>>(), [1]);
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
    assert_eq!((say(&mut asked, now), asked.waits_for_answers(&plan)), (OPEN_MAX, true));
    let later = now + Duration::from_secs(10);
    asked.expire(later, &"no answer".into());
    assert_eq!((say(&mut asked, later), asked.due), (10, 0));
}

#[test]
fn a_peer_that_refuses_only_is_asked_without_a_pause_and_may_refuse_the_newest() {
    let answer = KeyAnswer { matcher: Matcher::default(), extract: [].into(), which: Which::Oldest, hide: true };
    let plan = Subscribing { refuse: [answer].into(), timeout: Duration::from_secs(10), ..Subscribing::default() };
    let (mut asked, now) = (begun(), crate::epoch());
    let count = OPEN_MAX as u64 + 10;
    (1..=count).for_each(|place| asked.follow(&wish(place)));
    while let Some(next) = asked.take(&plan) {
        let token = next.keys[0].as_ref().into();
        asked.sent(next, vec![token], &plan, now);
    }
    assert_eq!(asked.due, 0);
    assert_eq!((asked.questions.named("k1"), asked.questions.named(&format!("k{count}"))), (None, Some(vec![count])));
}
