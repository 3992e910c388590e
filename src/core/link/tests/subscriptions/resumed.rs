//! Peers that still know on the next connection what they had on the last, and what of it they had never read.

use super::*;

/// They say that they still know it; and they confirm keys, or do not.
fn plan_that_resumes(confirms: bool) -> Arc<Plan> {
    plan(|plan| {
        let var = plan.names.intern("resumed").unwrap();
        let set = crate::session::Act::Set([(var, crate::session::Json::Literal(true.into()))].into());
        plan.open = [crate::session::Step::of(set)].into();
        plan.timeout = Duration::from_secs(30);
        if let Some(subscribing) = &mut plan.subscriptions {
            subscribing.skip_when = Some(When { var, is_set: true });
            if !confirms {
                subscribing.confirm = [].into();
            }
        }
    })
}

fn world(confirms: bool) -> World {
    let mut world = World::new(plan_that_resumes(confirms), policy(None, (1, 1), None));
    (world.resumes, world.was_mute) = (true, true);
    world
}

#[derive(Debug, Clone)]
enum Deed {
    Put(u8),
    Release(u8),
    Deafen,
    Mute(bool),
    Cut,
    Pass(u64),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        6 => (0..6_u8).prop_map(Deed::Put),
        5 => (0..6_u8).prop_map(Deed::Release),
        2 => Just(Deed::Deafen),
        1 => any::<bool>().prop_map(Deed::Mute),
        3 => Just(Deed::Cut),
        2 => (0..1000_u64).prop_map(Deed::Pass),
        3 => (0..60_000_u64).prop_map(Deed::Pass),
    ];
    prop::collection::vec(deed, 0..60)
}

proptest! {
    #[test]
    fn a_peer_that_still_knows_its_keys_has_the_right_ones_whatever_it_had_not_read(story in deeds(), confirms in any::<bool>()) {
        let mut world = world(confirms);
        for deed in story {
            match deed {
                Deed::Put(key) => world.put(&format!("k{key}"), 0),
                Deed::Release(key) => world.release(&format!("k{key}"), 0),
                Deed::Deafen => drop(world.is_deaf.insert(0)),
                Deed::Mute(is_mute) => world.is_mute = is_mute,
                Deed::Cut => world.end(0, Lane::Current),
                Deed::Pass(millis) => world.pass(Duration::from_millis(millis)),
            }
            world.pump();
        }
        world.is_mute = false;
        world.end(0, Lane::Current);
        world.pass(Duration::from_mins(10));
        world.look();
    }
}

#[test]
fn what_had_left_unread_is_asked_for_again_and_what_was_read_is_not() {
    for confirms in [true, false] {
        let mut world = world(confirms);
        for key in ["a", "b", "c"] {
            world.put(key, 0);
        }
        // A ping goes, and its pong comes.
        world.pass(Duration::from_mins(1));
        world.is_deaf.insert(0);
        world.put("d", 0);
        world.release("c", 0);
        world.pass(Duration::from_secs(1));
        world.end(0, Lane::Current);
        world.pass(Duration::from_secs(30));
        assert_eq!(world.nodes[0].peers[&true].heard, ["-c", "+d"], "confirms: {confirms}");
        world.look();
        // What is known now is said no more.
        world.pass(Duration::from_mins(1));
        world.end(0, Lane::Current);
        world.pass(Duration::from_secs(30));
        assert_eq!(world.nodes[0].peers[&true].heard, [""; 0]);
    }
}

#[test]
fn where_the_peer_still_has_its_keys_only_what_has_changed_is_said() {
    let resumed = |plan: &mut Plan| {
        let var = plan.names.intern("resumed").unwrap();
        plan.keep = [var].into();
        plan.on = crate::session::Rules::new(
            [crate::session::Rule {
                matcher: Matcher { text: Some(Expression::literal("ok a").unwrap()), ..Matcher::default() },
                act: crate::session::Do {
                    set: [(var, crate::session::Json::Literal(true.into()))].into(),
                    ..crate::session::Do::default()
                },
            }]
            .into(),
        );
        if let Some(subscribing) = &mut plan.subscriptions {
            subscribing.skip_when = Some(When { var, is_set: true });
        }
    };
    let mut world = World::new(plan(resumed), policy(None, (1, 1), None));
    for key in ["a", "b"] {
        world.put(key, 0);
    }
    world.pass(Duration::from_secs(5));
    world.end(0, Lane::Current);
    world.release("b", 0);
    world.put("c", 0);
    world.pass(Duration::from_mins(2));
    assert_eq!(world.nodes[0].peers[&true].heard, ["-b", "+c"]);
    let states: Vec<KeyState> = world.set.list(0, 9).0.into_iter().map(|held| held.state).collect();
    assert_eq!(states, [KeyState::Active; 2]);
}
