//! Programs that put and release keys faster than these can be asked for.

use super::*;

/// Programs put keys and release them after a while, so fast.
struct Churn {
    every: Duration,
    life: Duration,
    next: u64,
    open: std::collections::VecDeque<(Instant, String)>,
}

impl Churn {
    fn new((every, life): (u64, u64)) -> Self {
        let [every, life] = [every, life].map(Duration::from_millis);
        Self { every, life, next: 0, open: std::collections::VecDeque::new() }
    }

    /// Goes on until `is` so; answers with how long that took.
    fn until(&mut self, world: &mut World, most: Duration, is: impl Fn(&World) -> bool) -> Duration {
        let began = world.now;
        while !is(world) {
            let so_far = world.now - began;
            assert!(so_far <= most, "it takes longer than {most:?}: {:?}", world.nodes[0].link.rotating());
            world.put(&format!("c{}", self.next), 0);
            self.open.push_back((world.now + self.life, format!("c{}", self.next)));
            self.next += 1;
            world.pass(self.every);
            while let Some((_, key)) = self.open.pop_front_if(|(until, _)| *until <= world.now) {
                world.release(&key, 0);
            }
        }
        world.now - began
    }
}

fn is_ready(world: &World) -> bool {
    world.nodes[0].link.phase() == Phase::Ready
}

/// So long it takes at most to say this of so many keys one by one, and a little more.
fn saying(keys: usize) -> Duration {
    SPACING * u32::try_from(keys + 2).unwrap()
}

proptest! {
    #[test]
    fn keys_that_come_and_go_faster_than_the_rate_hold_up_neither_ready_nor_a_rotation(
        standing in 0..30_usize, churn in (20..150_u64, 50..3000_u64), confirmed in any::<bool>(), ahead in 0..100_u64,
    ) {
        let plan = plan(|plan| {
            if let Some(subscribing) = &mut plan.subscriptions {
                subscribing.until_confirmed = confirmed;
            }
        });
        let mut world = World::new(plan, policy(None, (1, 1), None));
        for key in 0..standing {
            world.put(&format!("k{key}"), 0);
        }
        world.pass(Duration::from_mins(1));
        let mut churn = Churn::new(churn);
        let from = world.now;
        churn.until(&mut world, Duration::from_mins(10), |world| world.now >= from + Duration::from_secs(ahead));
        world.end(0, Lane::Current);
        churn.until(&mut world, Duration::from_secs(30), |world| world.nodes[0].peers.contains_key(&true));
        // Each that is there by now is said once at most, whatever comes meanwhile.
        let keys = world.held.len();
        churn.until(&mut world, saying(keys) + Duration::from_secs(1), is_ready);
        let has = world.has(0);
        prop_assert!((0..standing).all(|key| has.contains(&format!("k{key}"))), "{has:?}");
        // And in a rotation also those that the old connection has asked for meanwhile, and what it was told to end.
        let (keys, generation) = (world.held.len(), world.nodes[0].link.generation());
        world.feed(0, Input::Verb(Verb::Rotate));
        churn.until(&mut world, saying(4 * keys) + Duration::from_secs(2), |world| world.nodes[0].link.generation() > generation);
        // Nothing is left behind.
        world.pass(Duration::from_mins(5));
        for (_, key) in churn.open.drain(..) {
            world.release(&key, 0);
        }
        world.pass(Duration::from_mins(5));
        world.look();
    }
}

#[test]
fn a_key_that_comes_while_a_rotation_waits_for_its_last_keys_is_asked_for_on_the_new_connection_alone() {
    let mut world = World::new(plan(|_| ()), policy(None, (1, 1), None));
    for key in ["a", "b", "c", "d", "e", "f", "g"] {
        world.put(key, 0);
    }
    world.pass(Duration::from_secs(5));
    world.feed(0, Input::Verb(Verb::Rotate));
    world.pass(Duration::from_millis(1));
    for key in ["p", "q", "r", "s"] {
        world.put(key, 0);
    }
    world.pass(2 * SPACING);
    let old = ["+a", "+b,c,d", "+e,f,g", "+p", "+q,r,s"];
    assert_eq!(world.nodes[0].peers[&true].heard, old, "the old one carries on");
    assert_eq!(world.nodes[0].peers[&false].heard, ["+a,b,c", "+d,e,f", "+g,p,q"]);
    // The new one has what stood when it began, and waits for the last that the old one has asked for.
    world.put("t", 0);
    world.pass(SPACING);
    assert_eq!(world.nodes[0].peers[&true].heard, ["+a,b,c", "+d,e,f", "+g,p,q", "+r,s,t"]);
    assert_eq!(world.nodes[0].peers[&false].heard, old);
    world.pass(Duration::from_secs(5));
    world.look();
}

#[test]
fn where_the_new_connection_of_a_rotation_is_lost_the_old_one_asks_again() {
    let mut world = World::new(plan(|_| ()), policy(None, (1, 1), None));
    world.put("a", 0);
    world.pass(Duration::from_secs(5));
    world.put("b", 0);
    world.feed(0, Input::Verb(Verb::Rotate));
    world.pass(Duration::from_millis(1));
    (world.is_mute, world.was_mute) = (true, true);
    world.put("c", 0);
    world.pass(Duration::from_millis(1));
    world.end(0, Lane::Beside);
    world.is_mute = false;
    world.pass(Duration::from_millis(300));
    assert_eq!(world.has(0).into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
}
