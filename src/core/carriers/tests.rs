//! Examples of each place, and a model that carriers are held to whatever happens to them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::epoch;

const POLICY: Policy = Policy { most: 2, retire_after: None, falls_back: true };

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 443))
}

#[test]
fn links_share_a_carrier_up_to_its_room_and_those_beyond_it_have_another() {
    let (now, at) = (epoch(), [address(1)]);
    let mut carriers = Carriers::default();
    assert_eq!(carriers.place(now, &"key", &at, POLICY), Assignment::New(1));
    assert_eq!(carriers.place(now, &"key", &at, POLICY), Assignment::Wait(1), "one is made at a time");
    assert_eq!(carriers.place(now, &"other", &at, POLICY), Assignment::New(2), "but not for another key");
    carriers.open(now, 1, at[0], 100);
    assert_eq!(carriers.place(now, &"key", &at, POLICY), Assignment::On(1));
    assert_eq!(carriers.place(now, &"key", &at, POLICY), Assignment::New(3));
    carriers.open(now, 3, at[0], 100);
    assert!(!carriers.leave(1));
    assert_eq!(carriers.place(now, &"key", &at, POLICY), Assignment::On(1), "the older of two that are as full");
    assert_eq!((carriers.links(1), carriers.links(3), carriers.count()), (2, 1, 2));
}

#[test]
fn a_carrier_takes_no_link_of_another_address_none_beyond_the_peers_word_and_none_when_it_is_old_or_closing() {
    let now = epoch();
    let here = [address(1)];
    let mut carriers = Carriers::default();
    let many = Policy { most: 100, retire_after: Some(Duration::from_mins(1)), falls_back: true };
    assert_eq!(carriers.place(now, &(), &here, many), Assignment::New(1));
    carriers.open(now, 1, here[0], 1);
    assert_eq!(carriers.place(now, &(), &here, many), Assignment::New(2), "the peer takes one stream only");
    assert!(carriers.leave(2), "it came to nothing");
    carriers.allow(1, 100);
    assert_eq!(carriers.place(now, &(), &[address(9), here[0]], many), Assignment::On(1), "the name still leads there");
    assert_eq!(carriers.place(now, &(), &[address(9)], many), Assignment::New(3), "the name has moved");
    carriers.leave(3);
    let old = now.later(Duration::from_mins(1));
    assert_eq!(carriers.place(old, &(), &here, many), Assignment::New(4));
    carriers.leave(4);
    carriers.close(1);
    assert_eq!(carriers.place(now, &(), &here, many), Assignment::New(5));
    assert!(!carriers.leave(1) && carriers.leave(1), "those that it had go on");
    assert_eq!(carriers.links(1), 0);
}

#[test]
fn an_address_without_http_2_is_not_asked_again_for_a_while() {
    let (now, at) = (epoch(), [address(1)]);
    let mut carriers = Carriers::default();
    carriers.note_plain(now, at[0]);
    assert_eq!(carriers.place(now, &(), &at, POLICY), Assignment::Plain);
    let requires = Policy { falls_back: false, ..POLICY };
    assert_eq!(carriers.place(now, &(), &at, requires), Assignment::New(1), "who wants it asks all the same");
    carriers.leave(1);
    assert_eq!(carriers.place(now, &(), &[address(2), at[0]], POLICY), Assignment::Plain, "they are of one name");
    assert_eq!(carriers.place(now, &(), &[address(2)], POLICY), Assignment::New(2), "of another nothing is known");
    carriers.leave(2);
    let later = now.later(FORGET);
    assert_eq!(carriers.place(later, &(), &at, POLICY), Assignment::New(3), "it may have learned it");
    for last in 0..=u8::MAX {
        carriers.note_plain(now, address(last));
    }
    let known = (0..=u8::MAX).filter(|last| carriers.is_plain(now, address(*last))).count();
    assert_eq!(known, REMEMBERED);
}

#[derive(Debug, Clone)]
enum Step {
    Place(u8, Vec<u8>, u32),
    Open(usize, u8, u32),
    Allow(usize, u32),
    Close(usize),
    Leave(usize),
    Plain(u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0_u8..3;
    let at = || 1_u8..4;
    prop_oneof![
        6 => (key(), vec(at(), 1..3), 1_u32..5).prop_map(|(key, at, most)| Step::Place(key, at, most)),
        4 => (any::<usize>(), at(), 0_u32..6).prop_map(|(which, at, most)| Step::Open(which, at, most)),
        1 => (any::<usize>(), 0_u32..6).prop_map(|(which, most)| Step::Allow(which, most)),
        1 => any::<usize>().prop_map(Step::Close),
        5 => any::<usize>().prop_map(Step::Leave),
        1 => at().prop_map(Step::Plain),
        1 => (0_u64..400).prop_map(Step::Wait),
    ]
}

/// What is known of a carrier by who looks on.
#[derive(Debug, Clone)]
struct Seen {
    key: u8,
    links: u32,
    open: Option<(SocketAddr, u32)>,
    is_closing: bool,
}

proptest! {
    #[test]
    fn no_link_is_ever_where_it_must_not_be_and_no_carrier_outlives_its_links(steps in vec(step(), 0..120)) {
        let mut now = epoch();
        let mut carriers = Carriers::default();
        let mut seen = BTreeMap::<u64, Seen>::new();
        let mut plain = BTreeMap::<SocketAddr, Instant>::new();
        let mut ids = BTreeSet::new();
        let pick = |seen: &BTreeMap<u64, Seen>, which: usize| {
            seen.keys().copied().nth(which.checked_rem(seen.len()).unwrap_or_default())
        };
        for step in steps {
            match step {
                Step::Place(key, at, most) => {
                    let at: Vec<_> = at.into_iter().map(address).collect();
                    let is_plain = at.iter().any(|one| plain.get(one).is_some_and(|until| *until > now));
                    let place = carriers.place(now, &key, &at, Policy { most, ..POLICY });
                    prop_assert_eq!(place == Assignment::Plain, is_plain);
                    match place {
                        Assignment::Plain => {}
                        Assignment::On(id) => {
                            let carrier = seen.get_mut(&id).unwrap();
                            let (address, allowed) = carrier.open.unwrap();
                            prop_assert!(carrier.key == key && !carrier.is_closing && at.contains(&address));
                            prop_assert!(carrier.links < most.min(allowed));
                            carrier.links += 1;
                        }
                        Assignment::Wait(id) => {
                            prop_assert!(seen[&id].key == key && seen[&id].open.is_none() && !seen[&id].is_closing);
                        }
                        Assignment::New(id) => {
                            prop_assert!(ids.insert(id), "a number is given once");
                            let coming = seen.values().filter(|one| one.open.is_none() && !one.is_closing);
                            prop_assert!(coming.filter(|one| one.key == key).count() == 0);
                            seen.insert(id, Seen { key, links: 1, open: None, is_closing: false });
                        }
                    }
                }
                Step::Open(which, at, most) => {
                    if let Some(id) = pick(&seen, which) {
                        carriers.open(now, id, address(at), most);
                        let carrier = seen.get_mut(&id).unwrap();
                        if carrier.open.is_none() && !carrier.is_closing {
                            carrier.open = Some((address(at), most));
                        }
                    }
                }
                Step::Allow(which, most) => {
                    if let Some(id) = pick(&seen, which) {
                        carriers.allow(id, most);
                        if let Some((_, known)) = &mut seen.get_mut(&id).unwrap().open {
                            *known = most;
                        }
                    }
                }
                Step::Close(which) => {
                    if let Some(id) = pick(&seen, which) {
                        carriers.close(id);
                        seen.get_mut(&id).unwrap().is_closing = true;
                    }
                }
                Step::Leave(which) => {
                    if let Some(id) = pick(&seen, which) {
                        let carrier = seen.get_mut(&id).unwrap();
                        carrier.links -= 1;
                        let is_last = carrier.links == 0;
                        prop_assert_eq!(carriers.leave(id), is_last);
                        if is_last {
                            seen.remove(&id);
                        }
                    }
                }
                Step::Plain(last) => {
                    carriers.note_plain(now, address(last));
                    plain.insert(address(last), now.later(FORGET));
                }
                Step::Wait(seconds) => now = now.later(Duration::from_secs(seconds)),
            }
            for (id, carrier) in &seen {
                prop_assert_eq!(carriers.links(*id), carrier.links);
            }
            prop_assert_eq!(carriers.all.len(), seen.len());
        }
    }
}
