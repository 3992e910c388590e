//! Series taken from a family for one endpoint or link, and given back together.
//!
//! A handle remembers every series that it took, so dropping it removes them all: a removed endpoint leaves nothing behind
//! in `/metrics`. Only series taken here are removed; never resolve a label set beside it.

use std::fmt;

use prometheus::core::{Metric, MetricVec, MetricVecBuilder};

/// The series of one handle: the labels that they share, and how to remove each.
pub(super) struct Taken {
    base: Vec<String>,
    series: Vec<(Box<dyn Remove>, Vec<String>)>,
}

impl Taken {
    /// Nothing yet; `base` are the values of the labels that every series begins with.
    pub(super) fn new(base: Vec<String>) -> Self {
        Self { base, series: Vec::new() }
    }

    /// The series with these values behind the base ones; it starts to exist now, at zero.
    pub(super) fn take<T>(&mut self, family: &MetricVec<T>, values: &[&str]) -> T::M
    where
        T: MetricVecBuilder + Send + Sync + 'static,
        T::M: Metric,
    {
        let mut labels = self.base.clone();
        labels.extend(values.iter().map(|value| (*value).to_owned()));
        let metric = family.with_label_values(&labels);
        self.series.push((Box::new(family.clone()), labels));
        metric
    }

    /// Removes every series taken.
    pub(super) fn give_back(&mut self) {
        for (family, labels) in self.series.drain(..) {
            family.remove(&labels);
        }
    }
}

impl fmt::Debug for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} series of {:?}", self.series.len(), self.base)
    }
}

/// A family of any type, as far as removing goes.
trait Remove: Send + Sync {
    fn remove(&self, labels: &[String]);
}

impl<T: MetricVecBuilder + Send + Sync> Remove for MetricVec<T> {
    fn remove(&self, labels: &[String]) {
        // It fails only where the series is gone already, which is what is wanted.
        let _gone = self.remove_label_values(labels);
    }
}
