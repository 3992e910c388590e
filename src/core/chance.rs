//! Chance without surprise: a seeded generator, so that one seed is one story.
//!
//! This is `SplitMix64` (Steele, Lea, Flood 2014). It spreads delays and makes ping payloads differ; it is no source of secrets.

use std::time::Duration;

/// A stream of pseudo-random numbers fixed by its seed.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// Starts the stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A delay drawn evenly from `low..=high`; `low` where the range is empty.
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span = u64::try_from(high.saturating_sub(low).as_nanos()).unwrap_or(u64::MAX - 1);
        let drawn = (u128::from(self.bits()) * (u128::from(span) + 1)) >> 64;
        low.saturating_add(Duration::from_nanos(u64::try_from(drawn).unwrap_or(span)))
    }

    /// `low`, or up to a tenth more: those who are told the same moment should not all come at it.
    pub fn above(&mut self, low: Duration) -> Duration {
        self.between(low, low.saturating_add(low / 10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_tells_the_same_story() {
        let (mut one, mut two) = (Chance::new(7), Chance::new(7));
        assert!((0..100).all(|_| one.bits() == two.bits()));
    }

    #[test]
    fn a_delay_lies_in_its_range_and_fills_it() {
        let mut chance = Chance::new(1);
        let (low, high) = (Duration::from_secs(5), Duration::from_secs(30));
        let drawn: Vec<_> = (0..1000).map(|_| chance.between(low, high)).collect();
        assert!(drawn.iter().all(|d| (low..=high).contains(d)));
        assert!(drawn.iter().any(|d| *d < Duration::from_secs(8)));
        assert!(drawn.iter().any(|d| *d > Duration::from_secs(27)));
        assert_eq!(chance.between(high, high), high);
    }
}
