//! What the world does to processes, to the network and to the bucket.

use super::*;

/// Which faults there are.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// By chance, all the time.
    pub(super) are_on: bool,
    /// Clocks may stand.
    pub(super) clocks_stand: bool,
}

impl Faults {
    /// Whether it goes wrong this time, as once in so many.
    pub(super) fn strikes(&self, chance: &mut Chance, many: u64) -> bool {
        self.are_on && chance.bits().is_multiple_of(many)
    }
}

/// One thing that the world does.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// A process is killed; another may start in its place, with its name or without.
    Kill(usize),
    Start {
        configuration: usize,
        name: Option<Arc<str>>,
    },
    /// A process is stopped, or its machine is, and then its clock stands.
    Stop {
        node: usize,
        clock_stands: bool,
        goes_on_after: Duration,
    },
    Continue {
        node: usize,
        since: Option<Instant>,
    },
    CutOff(usize),
    Join(usize),
    /// The bucket answers nobody.
    Outage(Duration),
    EndWatches,
    Stall {
        node: usize,
        until: Instant,
    },
    Drain(usize),
    Configure {
        node: usize,
        configuration: usize,
    },
    /// Something at random, and the next after it.
    Any,
}

impl World {
    /// The next fault comes in a while.
    pub(super) fn plan_fault(&mut self) {
        let delay = self.span(50, 1200);
        self.plan(delay, Event::Fault(Fault::Any));
    }

    fn any_of(&mut self, many: usize) -> usize {
        usize::try_from(self.chance.bits() % many as u64).unwrap()
    }

    fn any_fault(&mut self) -> Fault {
        let running: Vec<usize> =
            (0..self.nodes.len()).filter(|node| self.nodes[*node].running == Running::Yes).collect();
        let configuration = self.any_of(self.configurations.len());
        if running.len() < 3 {
            return Fault::Start { configuration, name: None };
        }
        let node = running[self.any_of(running.len())];
        let span = self.span(50, 2500);
        match self.chance.bits() % 14 {
            0 | 1 => Fault::Kill(node),
            2 | 3 => Fault::Stop { node, clock_stands: false, goes_on_after: span },
            4 => Fault::Stop { node, clock_stands: self.faults.clocks_stand, goes_on_after: span },
            5 | 6 => Fault::CutOff(node),
            7 => Fault::Outage(span.min(LEASE * 3 / 2)),
            8 => Fault::EndWatches,
            9 | 10 => Fault::Stall { node, until: self.now + span },
            11 => Fault::Drain(node),
            12 => Fault::Configure { node, configuration },
            // Somebody may have given two processes one name.
            _ if running.len() < 7 => {
                let name = self.one_in(3).then(|| Arc::clone(&self.nodes[node].name));
                Fault::Start { configuration, name }
            }
            _ => Fault::EndWatches,
        }
    }

    pub(super) fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Any => {
                if self.faults.are_on {
                    let fault = self.any_fault();
                    self.strike(fault);
                    self.plan_fault();
                }
            }
            Fault::Kill(node) => {
                let configuration = self.any_of(self.configurations.len());
                // In a container it has the same name and number again.
                let name = self.one_in(2).then(|| Arc::clone(&self.nodes[node].name));
                self.end(node);
                let delay = self.span(10, 2000);
                self.plan(delay, Event::Fault(Fault::Start { configuration, name }));
            }
            Fault::Start { configuration, name } => {
                if self.nodes.iter().filter(|node| node.running != Running::Dead).count() < 7 {
                    self.join(configuration, name);
                }
            }
            Fault::Stop { node, clock_stands, goes_on_after } => {
                self.nodes[node].running = Running::Stopped;
                let since = clock_stands.then_some(self.now);
                self.plan(goes_on_after, Event::Fault(Fault::Continue { node, since }));
            }
            Fault::Continue { node, since } => self.go_on(node, since),
            Fault::CutOff(node) => {
                self.nodes[node].is_cut_off = true;
                let delay = self.span(50, 2500);
                self.plan(delay, Event::Fault(Fault::Join(node)));
            }
            Fault::Join(node) => self.nodes[node].is_cut_off = false,
            Fault::Outage(span) => {
                self.bucket.away_until = Some(self.now + span);
                let delay = span + self.span(0, 20);
                self.plan(delay, Event::Fault(Fault::EndWatches));
            }
            Fault::EndWatches => {
                for watch in 0..self.bucket.watches.len() {
                    if self.one_in(2) {
                        self.end_watch(watch);
                    }
                }
            }
            Fault::Stall { node, until } => {
                for watching in self.bucket.watches.iter_mut().filter(|watching| watching.node == node) {
                    watching.stalls_until = Some(until);
                }
            }
            Fault::Drain(node) => {
                self.nodes[node].is_draining = true;
                self.feed_if_running(node, Input::Drain);
                let (delay, configuration) = (self.span(10, 2000), self.any_of(self.configurations.len()));
                self.plan(delay, Event::Fault(Fault::Start { configuration, name: None }));
            }
            Fault::Configure { node, configuration } => {
                self.feed_if_running(node, Input::Configure(self.configurations[configuration].clone()));
            }
        }
    }

    fn feed_if_running(&mut self, node: usize, input: Input) {
        self.pass(Event::Tell { node, input });
    }

    /// A process that was stopped goes on: with what came in, or with its timers.
    fn go_on(&mut self, node: usize, stood_since: Option<Instant>) {
        if self.nodes[node].running != Running::Stopped {
            return;
        }
        self.nodes[node].running = Running::Yes;
        if let Some(since) = stood_since {
            self.nodes[node].stand(since, self.now);
        }
        // It may not get round to anything before it writes.
        self.check();
        if self.one_in(2) {
            self.wake(node);
        }
        if self.one_in(2) {
            self.feed(node, Input::Paused);
        }
        while let Some(event) = self.nodes[node].mail.pop_front() {
            self.happen(event);
            self.check();
            if self.nodes[node].running != Running::Yes {
                return;
            }
        }
    }

    /// Nothing is wrong any more.
    pub(super) fn heal(&mut self) {
        (self.faults.are_on, self.bucket.away_until) = (false, None);
        for watching in &mut self.bucket.watches {
            watching.stalls_until = None;
        }
        for node in 0..self.nodes.len() {
            self.nodes[node].is_cut_off = false;
            self.go_on(node, None);
        }
        let holds = |node: &Node| node.running == Running::Yes && !node.is_draining;
        if !self.nodes.iter().any(holds) {
            self.join(0, None);
        }
    }
}
