//! How long, how often and in which order: what all tables have in common.

use std::{fs, time::Duration};

use wskeeper_core::chance::Chance;
use wskeeper_link::clock::Calendar;

use super::results::Run;

/// The frame of a run.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) rounds: usize,
    /// How long a contestant is measured in a round.
    pub(crate) slice: Duration,
    pub(crate) quick: bool,
    seed: u64,
    chance: Chance,
}

impl Setup {
    pub(crate) fn new(quick: bool, seed: u64) -> Self {
        let (rounds, slice) = if quick { (3, Duration::from_millis(300)) } else { (5, Duration::from_secs(1)) };
        Self { rounds, slice, quick, seed, chance: Chance::new(seed) }
    }

    /// The numbers below `count` in a new order.
    pub(crate) fn shuffled(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            let other = self.chance.bits() % (last as u64 + 1);
            order.swap(last, usize::try_from(other).unwrap_or(last));
        }
        order
    }

    pub(crate) fn run(&self) -> Run {
        let at = humantime::format_rfc3339_seconds(Calendar::default().now()).to_string();
        Run { at, seed: self.seed, rounds: self.rounds, quick: self.quick, machine: machine() }
    }
}

fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // Not those that this process may use, which is one by now.
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let os = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let os = os.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown").trim_matches('"');
    format!("{} × {}, Linux {}, {os}", cores, model.unwrap_or("unknown processor").trim(), kernel.trim())
}
