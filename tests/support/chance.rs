//! Chance that a seed fixes: a run that failed is run again with the seed that it printed.
//!
//! The seed fixes what the tests draw, not what the scheduler does with it.

use std::{
    env,
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

/// A generator (splitmix64) that tasks may share.
#[derive(Debug)]
pub struct Chance(AtomicU64);

impl Chance {
    /// By `WSKEEPER_SEED`, or any. Says which.
    pub fn new(test: &str) -> Self {
        let given = env::var("WSKEEPER_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(test));
        eprintln!("{test}: WSKEEPER_SEED={seed}");
        Self(AtomicU64::new(seed))
    }

    /// Another one, by this one's chance.
    pub fn split(&self) -> Self {
        Self(AtomicU64::new(self.below(u64::MAX)))
    }

    /// From 0 to below `end`.
    pub fn below(&self, end: u64) -> u64 {
        let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    /// Once in so many times.
    pub fn once_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }
}
