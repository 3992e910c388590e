//! Whether lazy links are awake when somebody wants them, and only then.
//!
//! What a reader would get wrong: what is wanted is known here by what programs have done, not by asking the link.

use super::{node::Node, *};

/// Who wants one link.
#[derive(Debug)]
pub(super) struct Sleep {
    /// Somebody listens.
    is_heard: bool,
    /// When somebody last wanted it.
    wanted_at: Instant,
    /// Since when nobody does.
    unwanted_since: Option<Instant>,
    /// An operator asks for something right now.
    pub(super) is_ordered: bool,
    /// Until then nobody sends: programs have times of their own.
    quiet_until: Instant,
}

impl Sleep {
    pub(super) fn new(now: Instant) -> Self {
        Self { is_heard: false, wanted_at: now, unwanted_since: None, is_ordered: false, quiet_until: now }
    }
}

impl World {
    pub(super) fn is_lazy(&self) -> bool {
        self.policy.idle_timeout.is_some()
    }

    /// Somebody listens to a link, or nobody does any more.
    pub(super) fn listen(&mut self, index: usize, is_heard: bool) {
        if self.is_lazy() && self.nodes[index].sleep.is_heard != is_heard {
            self.nodes[index].sleep.is_heard = is_heard;
            self.feed(index, Input::Listened(is_heard));
        }
    }

    pub(super) fn listen_at_random(&mut self, index: usize) {
        if self.is_lazy() && self.one_in(60) {
            let is_heard = self.one_in(3);
            self.listen(index, is_heard);
        }
    }

    /// Whether programs send at this time.
    pub(super) fn is_busy(&mut self, index: usize) -> bool {
        let is_busy = self.nodes[index].sleep.quiet_until <= self.now;
        if is_busy && self.is_lazy() && self.one_in(25) {
            let span = Duration::from_secs(self.chance.bits() % 400);
            self.nodes[index].sleep.quiet_until = self.now + span;
        }
        is_busy
    }

    /// Whether something was sent that has not come to its end, or somebody listens.
    fn is_wanted(&self, node: &Node) -> bool {
        let open = [receipt::State::Queued, receipt::State::Stored];
        let waits = |state: &receipt::State| {
            // At least once, what is written is kept until it is proved.
            open.contains(state) || self.delivery == Delivery::AtLeastOnce && *state == receipt::State::Written
        };
        let asks = node.asked.keys().any(|number| node.held.get(number).is_some_and(|(_, state)| !state.is_end()));
        node.sleep.is_heard || asks || node.held.values().any(|(_, state)| waits(state))
    }

    /// Something happened to a link.
    pub(super) fn note_wishes(&mut self, index: usize) {
        let (is_wanted, now) = (self.is_wanted(&self.nodes[index]), self.now);
        let sleep = &mut self.nodes[index].sleep;
        if is_wanted || sleep.is_ordered {
            sleep.wanted_at = now;
        }
        if is_wanted {
            sleep.unwanted_since = None;
        } else {
            sleep.unwanted_since.get_or_insert(now);
        }
    }

    /// A connection is closed for want of somebody who wants it not before its time, and none is begun for nobody.
    pub(super) fn check_sleep(&mut self, index: usize, command: &Command) {
        let Some(idle) = self.policy.idle_timeout else { return };
        let is_wanted = self.is_wanted(&self.nodes[index]);
        let sleep = &self.nodes[index].sleep;
        match command {
            Command::Tell(Event::Phase { to: Phase::Closing, reason: Reason::Asleep, .. }) => {
                let unwanted = self.now - sleep.wanted_at;
                assert!(unwanted >= idle, "asleep after {unwanted:?}, not {idle:?}");
            }
            Command::Tell(Event::Phase { from: Phase::Paused, to: Phase::Waiting | Phase::Connecting, .. }) => {
                assert!(is_wanted || sleep.is_ordered, "woken by nobody");
                self.nodes[index].toll.ordered += 1;
            }
            _ => {}
        }
    }

    /// A ready connection that nobody wants is closed in time, and one that somebody wants is not missing without a reason.
    pub(super) fn check_awake(&self, node: &Node) {
        let Some(idle) = self.policy.idle_timeout else { return };
        let since = node.sleep.wanted_at.max(node.link.since());
        // Someone may wait for a proof, which is asked for in time.
        let proof = self.policy.confirm_interval + self.policy.heartbeat.timeout + self.policy.close_timeout;
        let is_late = self.now - since > idle + proof;
        let is_wanted = self.is_wanted(node);
        assert!(is_wanted || node.link.phase() != Phase::Ready || !is_late, "awake for nobody since {since:?}");
        assert!(!(is_wanted && node.link.is_asleep()), "asleep, and wanted");
    }
}

#[test]
fn a_lazy_link_sleeps_and_wakes_all_the_time_and_loses_nothing_where_nothing_else_happens() {
    let (mut slept, mut sent) = (0, 0);
    for seed in (0..WORLDS).filter(|seed| !seed.is_multiple_of(7)).step_by(6) {
        let mut world = World::calm(seed);
        let policy = Policy { idle_timeout: Some(Duration::from_secs(1 + seed % 20)), ..Policy::clone(&world.policy) };
        world.policy = Arc::new(policy);
        (0..LINKS).for_each(|index| world.feed(index, Input::Policy(Arc::clone(&world.policy))));
        (0..STEPS * 3).for_each(|_| world.step());
        world.benign = true;
        for node in &mut world.nodes {
            node.sleep.quiet_until = world.now + Duration::from_hours(9);
        }
        for _ in 0..STEPS {
            world.step();
        }
        for node in &world.nodes {
            slept += node.link.generation();
            sent += node.held.len();
            let is_other = |number: &u64| node.bound.contains_key(number) || node.asked.contains_key(number);
            for (number, (_, state)) in node.held.iter().filter(|(number, _)| !is_other(number)) {
                let is_there = node.read.contains(number);
                // Where nobody waits for a proof, a peer that is late may be cut off before it has read the last of it; then nobody is told that it had.
                let is_open = world.delivery == Delivery::AtMostOnce && *state == receipt::State::Unknown;
                let is_over = is_open || [receipt::State::Expired, receipt::State::Dropped].contains(state);
                assert!(is_there || is_over, "seed {seed}: {number} is {state} and was not read");
            }
            let read: Vec<_> = node.read.iter().filter(|number| !node.asked.contains_key(*number)).collect();
            assert!(read.is_sorted_by(|one, next| one < next), "seed {seed}: twice or out of order: {read:?}");
        }
    }
    assert!(slept > 15_000 && sent > 30_000, "{slept} connections, {sent} messages");
}
