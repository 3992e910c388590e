//! Numbers that are counted on: bare atomics, eight bytes each.
//!
//! A handle of the crate `prometheus` carries its name, help and labels with it, half a kilobyte; an endpoint has a hundred of them,
//! and a daemon may have thousands of endpoints. What a reader would get wrong: all orders are relaxed, so numbers that are
//! read together may be a moment apart, as those of any client library may.

use std::sync::{
    OnceLock,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

/// What only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn inc(&self) {
        self.inc_by(1);
    }

    pub(super) fn inc_by(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A level, in whole numbers.
#[derive(Debug, Default)]
pub(super) struct Gauge(AtomicI64);

impl Gauge {
    pub(super) fn add(&self, delta: i64) {
        self.0.fetch_add(delta, Ordering::Relaxed);
    }

    pub(super) fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Seconds, with their fraction: a level, or a sum.
#[derive(Debug, Default)]
pub(super) struct Seconds(AtomicU64);

impl Seconds {
    pub(super) fn add(&self, seconds: f64) {
        let sum = |bits| Some((f64::from_bits(bits) + seconds).to_bits());
        // The closure always has a value, so this cannot fail.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
    }

    pub(super) fn set(&self, seconds: f64) {
        self.0.store(seconds.to_bits(), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// How observed values are spread over buckets. It takes no room before the first one.
#[derive(Debug)]
pub(super) struct Histogram {
    /// Upper ends of the buckets, each within it, rising.
    bounds: &'static [f64],
    observed: OnceLock<Box<Observed>>,
}

#[derive(Debug)]
struct Observed {
    /// One more than there are bounds: the last is for what lies above all.
    buckets: Box<[Counter]>,
    sum: Seconds,
}

impl Histogram {
    /// Nothing observed.
    pub(super) const fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, observed: OnceLock::new() }
    }

    pub(super) fn observe(&self, value: f64) {
        self.observe_all(value, 1);
    }

    /// The same value so often.
    pub(super) fn observe_all(&self, value: f64, count: u32) {
        let observed = self.observed.get_or_init(|| {
            let buckets = (0..=self.bounds.len()).map(|_| Counter::default()).collect();
            Box::new(Observed { buckets, sum: Seconds::default() })
        });
        observed.buckets[self.bounds.partition_point(|bound| *bound < value)].inc_by(count.into());
        observed.sum.add(value * f64::from(count));
    }

    /// Each bucket's upper end with how many values were at most that, the sum and the count; `None` before the first value.
    pub(super) fn read(&self) -> Option<(impl Iterator<Item = (f64, u64)>, f64, u64)> {
        let observed = self.observed.get()?;
        let mut below = 0;
        let up_to: Vec<u64> = observed
            .buckets
            .iter()
            .map(|bucket| {
                below += bucket.get();
                below
            })
            .collect();
        Some((self.bounds.iter().copied().zip(up_to), observed.sum.get(), below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_at_the_end_of_a_bucket_is_in_it() {
        let histogram = Histogram::new(&[0.1, 1.0]);
        for value in [0.1, 0.100_001, 1.0, 7.0] {
            histogram.observe(value);
        }
        let (buckets, sum, count) = histogram.read().unwrap();
        assert_eq!(buckets.collect::<Vec<_>>(), [(0.1, 1), (1.0, 3)]);
        assert_eq!(count, 4);
        assert!((sum - 8.200_001).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn a_histogram_without_a_value_has_nothing_to_read() {
        assert!(Histogram::new(&[1.0]).read().is_none());
    }
}
