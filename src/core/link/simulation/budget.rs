//! Whether links together keep to what they may dial.
#![expect(clippy::disallowed_types, reason = "the core knows no lock; its tests take the one at hand")]

use std::sync::Mutex;

use super::*;
use crate::allowance::{Allowance, For, Limit, SharedAllowance};

/// An allowance, and when it was taken from.
#[derive(Debug)]
pub(super) struct Allowed {
    limit: Limit,
    allowance: Mutex<Allowance>,
    dials: Mutex<Vec<Instant>>,
}

impl Allowed {
    /// One world in nine has one.
    pub(super) fn of(seed: u64, now: Instant) -> Option<Arc<Self>> {
        let attempts = u32::try_from(8 + seed % 40).expect("small");
        let limit = Limit { attempts, per: Duration::from_secs(30 + seed % 200) };
        let made = || Self { limit, allowance: Mutex::new(Allowance::new(limit, now)), dials: Mutex::default() };
        seed.is_multiple_of(9).then(|| Arc::new(made()))
    }
}

impl SharedAllowance for Allowed {
    fn take(&self, now: Instant, what: For) -> Result<(), Instant> {
        self.allowance.lock().expect("no test panics in it").take(now, what)
    }

    fn until(&self, now: Instant, what: For) -> Option<Instant> {
        self.allowance.lock().expect("no test panics in it").until(now, what)
    }
}

impl World {
    pub(super) fn allow(&mut self, index: usize) {
        let allowed = self.allowed.clone().map(|allowed| allowed as Arc<dyn SharedAllowance>);
        self.nodes[index].link.allow(allowed);
    }

    /// A link dials: so many of all links have not done so within the time.
    pub(super) fn note_dial(&self) {
        let Some(allowed) = &self.allowed else { return };
        let mut dials = allowed.dials.lock().expect("no test panics in it");
        dials.push(self.now);
        let Limit { attempts, per } = allowed.limit;
        let within = dials.iter().rev().take_while(|at| self.now - **at < per).count();
        assert!(within <= attempts as usize, "{within} dials within {per:?}, not {attempts}");
    }

    /// How much longer a world needs to come to itself.
    pub(super) fn budget_delay(&self) -> Duration {
        self.allowed.as_ref().map_or(Duration::ZERO, |allowed| allowed.limit.per * 6)
    }
}
