//! Keys over several links: which has which, and how many links there are.

use super::*;

#[test]
fn keys_go_to_the_link_with_the_fewest_and_links_grow_and_shrink_with_them() {
    let mut world = World::new(plan(|_| ()), policy(Some(2), (1, 3), None));
    for key in ["a", "b", "c", "d", "e", "f"] {
        world.put(key, 0);
    }
    assert_eq!(world.links(), [0, 1, 2]);
    let full = world.set.put(world.now, "g", Holder::Named("x".into()), None, None);
    assert_eq!(full, Err(subscriptions::Refusal::Full { per_link: 2, links: 3 }));
    world.pass(Duration::from_secs(20));
    let names = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!([0, 1, 2].map(|index| world.has(index)), [names(&["a", "b"]), names(&["c", "d"]), names(&["e", "f"])]);
    for key in ["c", "e", "f"] {
        world.release(key, 0);
    }
    world.pass(Duration::from_secs(7));
    assert_eq!(world.links(), [0, 1, 2], "keys may come back soon");
    world.pass(Duration::from_secs(1));
    assert_eq!((world.links(), world.has(1)), (vec![0, 1], names(&["d"])), "no key moves so that a link can go");
    for key in ["g", "h", "i"] {
        world.put(key, 0);
    }
    for key in ["d", "g"] {
        world.release(key, 0);
    }
    world.pass(Duration::from_secs(20));
    assert_eq!((world.links(), world.has(2)), (vec![0, 2], names(&["h", "i"])), "one in the middle goes, too");
    world.look();
    world.put("j", 0);
    assert_eq!(world.links(), [0, 1, 2]);
    world.pass(Duration::from_secs(20));
    world.look();
}

#[test]
fn keys_of_the_configuration_wait_for_room_and_say_so() {
    let mut world = World::new(plan(|_| ()), policy(Some(1), (1, 1), None));
    world.put("a", 0);
    let keys = ["b".into()];
    assert_eq!(world.set.configure(world.now, &keys), []);
    world.fit();
    let held = world.set.get("b").unwrap();
    assert!(held.link.is_none() && held.why.unwrap().contains("no link has room"));
    world.release("a", 0);
    world.pass(Duration::from_secs(20));
    let held = world.set.get("b").unwrap();
    assert_eq!((held.link, held.state, held.why), (Some(0), KeyState::Active, None));
}

#[test]
fn a_lost_link_keeps_its_keys_until_it_is_gone_for_too_long() {
    let mut world = World::new(plan(|_| ()), policy(Some(10), (2, 2), Some(Duration::from_secs(30))));
    for key in ["a", "b", "c", "d"] {
        world.put(key, 0);
    }
    world.pass(Duration::from_secs(5));
    let link_of = |world: &World, key: &str| world.set.get(key).unwrap().link.unwrap();
    assert_eq!(["a", "b", "c", "d"].map(|key| link_of(&world, key)), [0, 1, 0, 1]);
    let others = world.nodes[1].peers[&true].heard.len();
    world.end(0, Lane::Current);
    world.pass(Duration::from_secs(25));
    assert_eq!((link_of(&world, "a"), world.has(0).len()), (0, 2), "it came back with its keys");
    assert_eq!(world.nodes[1].peers[&true].heard.len(), others, "no other key was asked for again");
    world.feed(0, Input::Verb(Verb::Pause));
    world.pass(Duration::from_secs(29));
    assert_eq!(link_of(&world, "a"), 0);
    world.pass(Duration::from_secs(5));
    assert_eq!(["a", "b", "c", "d"].map(|key| link_of(&world, key)), [1; 4]);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.has(1).len(), 4);
}

#[test]
fn a_set_that_takes_the_place_of_one_that_has_ended_shares_no_place_with_it() {
    let policy = policy(Some(2), (1, 1), None);
    let mut world = World::new(plan(|_| ()), policy.clone());
    // The last one waits for room, and gets none because the others go.
    assert_eq!(world.set.configure(world.now, &["a".into(), "b".into(), "c".into()]), []);
    world.fit();
    world.pass(Duration::from_secs(5));
    let newest = world.set.end(world.now);
    assert_eq!((newest, world.set.bytes(), world.set.counts()), (3, 0, [0; 3]));
    world.fit();
    world.set = Set::new(world.now, policy);
    world.set.number_after(newest);
    // What is late of the first set is nothing about the second.
    world.put("d", 0);
    world.put("b", 0);
    world.pass(Duration::from_secs(5));
    world.look();
    assert_eq!(world.nodes[0].peers[&true].heard, ["+a,b", "-a,b", "+d,b"]);
}
