//! How a world ends: it heals, wholly or in part, every link comes back, and then all of them are stopped.

use super::{hosts::Mood, *};

impl World {
    /// The world turns benign, or at least one server does: every link must come back by itself, or by a `resume` where it was paused.
    pub(super) fn recover(&mut self) {
        (self.calm, self.benign, self.hostile) = (true, true, false);
        let (well, urls) = (self.any_url(), self.policy.urls);
        for url in 0..urls {
            let bad = [Mood::Down, hosts::BUSY][(self.chance.bits() % 2) as usize];
            self.hosts.servers[url].mood = if url == well || self.one_in(2) { Mood::Well } else { bad };
            if self.one_in(2) {
                self.hosts.move_away(url);
            }
        }
        let Policy { park_probe, retry_after_max, backoff, .. } = &*self.policy;
        let longest = (*park_probe).max(*retry_after_max).max(backoff.max);
        let end =
            self.now + longest.mul_f64(1.1) + backoff.max * u32::try_from(urls).expect("few") + Duration::from_mins(1);
        let end = end + self.budget_delay();
        while self.now < end && !self.is_well() {
            for index in 0..LINKS {
                self.listen(index, true);
                if self.nodes[index].link.phase() == Phase::Paused {
                    self.feed(index, Input::Verb(Verb::Resume));
                }
            }
            self.step();
        }
        let phases = self.nodes.iter().map(|node| (node.link.phase(), node.link.reason(), node.link.rotating()));
        assert!(self.is_well(), "not ready in a benign world: {:?}", phases.collect::<Vec<_>>());
    }

    fn is_well(&self) -> bool {
        self.nodes.iter().all(|node| node.link.phase() == Phase::Ready && node.link.rotating().is_none())
    }

    pub(super) fn stop(&mut self) {
        for index in 0..LINKS {
            self.feed(index, Input::Stop(Duration::from_secs(1), EndReason::Shutdown));
        }
        self.now += Duration::from_secs(1);
        self.pass();
        for node in &self.nodes {
            let open = |state: &receipt::State| matches!(state, receipt::State::Queued | receipt::State::Stored);
            // What is on disk is kept, and goes on in another life.
            let is_kept =
                |number: &u64| self.durable && !node.bound.contains_key(number) && !node.asked.contains_key(number);
            let has_ended = |number: &u64| node.held[number].1.is_end();
            assert!(node.asked.keys().all(has_ended), "a request without an end");
            assert!(
                !node.held.iter().any(|(number, (_, state))| open(state) && !is_kept(number)),
                "a message without an end"
            );
            let lost = |number: &u64| node.held[number].1 == receipt::State::Unknown && !node.left.contains(number);
            assert!(self.delivery == Delivery::AtMostOnce || !node.held.keys().any(lost), "lost, at least once");
            assert!(node.lines.iter().all(|line| !line.dialing && !line.open), "not stopped");
        }
    }
}
