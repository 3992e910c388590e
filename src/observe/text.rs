//! Prometheus text, format 0.0.4, of families whose series are counted in [`number`](super::number).
//!
//! A family is written whole, the series of one handle after those of another, and not at all where no handle has one. What a
//! reader would get wrong: labels stand in the order of their names, as the crate `prometheus` writes them, so some of a
//! series' own stand before those that its handle gives.

use std::fmt::{Display, Write as _};

use super::number::Histogram;

/// The first label of every handle: those whose names are less stand before it.
const FIRST: &str = "endpoint";

/// A family, as handles of type `T` have it.
pub(super) struct Family<T> {
    /// With the prefix.
    pub(super) name: &'static str,
    /// One sentence.
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    /// Writes the series that the handle has.
    pub(super) samples: fn(&T, &mut Samples<'_>),
}

/// What `# TYPE` says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl<T> Family<T> {
    /// Writes the family for all handles, each with the labels that [`labels`] made of it.
    pub(super) fn write<'a>(&self, handles: impl Iterator<Item = (&'a str, &'a T)>, text: &mut String)
    where
        T: 'a,
    {
        let start = text.len();
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let Self { name, help, .. } = self;
        put(text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        let header = text.len();
        for (base, handle) in handles {
            (self.samples)(handle, &mut Samples { name, base, text });
        }
        if text.len() == header {
            text.truncate(start);
        }
    }
}

/// The labels of a handle, ready to be put between braces.
pub(super) fn labels(endpoint: &str, link: Option<u32>) -> Box<str> {
    // As the format escapes a value.
    let mut text = format!("{FIRST}=\"{}\"", endpoint.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n"));
    if let Some(index) = link {
        put(&mut text, format_args!(",link=\"{index}\""));
    }
    text.into()
}

/// Where a handle writes its series of one family.
pub(super) struct Samples<'a> {
    name: &'static str,
    base: &'a str,
    text: &'a mut String,
}

impl Samples<'_> {
    /// One number, with labels besides the handle's own, in the order of their names. No value needs an escape: they are words of ours.
    pub(super) fn number(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, value);
    }

    /// All lines of a histogram; none before its first value.
    pub(super) fn histogram(&mut self, histogram: &Histogram) {
        let Some((buckets, sum, count)) = histogram.read() else { return };
        let mut bound = String::new();
        for (upper, up_to) in buckets {
            bound.clear();
            put(&mut bound, format_args!("{upper}"));
            self.line("_bucket", &[("le", &bound)], up_to);
        }
        self.line("_bucket", &[("le", "+Inf")], count);
        self.line("_sum", &[], sum);
        self.line("_count", &[], count);
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let behind = labels.partition_point(|(name, _)| *name < FIRST);
        let (before, after) = labels.split_at(behind);
        for part in [self.name, suffix, "{"] {
            self.text.push_str(part);
        }
        for (name, value) in before {
            for part in [name, "=\"", value, "\","] {
                self.text.push_str(part);
            }
        }
        self.text.push_str(self.base);
        for (name, value) in after {
            for part in [",", name, "=\"", value, "\""] {
                self.text.push_str(part);
            }
        }
        put(self.text, format_args!("}} {value}\n"));
    }
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = text.write_fmt(what);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::number::Counter;

    fn written<T>(family: &Family<T>, base: &str, handle: &T) -> String {
        let mut text = String::new();
        family.write([(base, handle)].into_iter(), &mut text);
        text
    }

    #[test]
    fn labels_stand_in_the_order_of_their_names() {
        let family = Family {
            name: "closes_total",
            help: "Ends.",
            kind: Kind::Counter,
            samples: |count: &Counter, to| to.number(&[("cause", "reset"), ("type", "text")], count.get()),
        };
        let text = written(&family, &labels("a", Some(3)), &Counter::default());
        let series = "closes_total{cause=\"reset\",endpoint=\"a\",link=\"3\",type=\"text\"} 0";
        assert_eq!(text, format!("# HELP closes_total Ends.\n# TYPE closes_total counter\n{series}\n"));
    }

    #[test]
    fn a_name_is_escaped() {
        assert_eq!(&*labels("a\"b\\c\nd", None), r#"endpoint="a\"b\\c\nd""#);
    }

    #[test]
    fn a_histogram_is_cumulative_and_absent_before_its_first_value() {
        let family = Family {
            name: "age",
            help: "Age.",
            kind: Kind::Histogram,
            samples: |histogram: &Histogram, to| to.histogram(histogram),
        };
        let histogram = Histogram::new(&[0.5, 1.0]);
        assert_eq!(written(&family, "endpoint=\"a\"", &histogram), "");
        histogram.observe(0.25);
        histogram.observe(2.0);
        assert_eq!(
            written(&family, "endpoint=\"a\"", &histogram).lines().skip(2).collect::<Vec<_>>(),
            [
                "age_bucket{endpoint=\"a\",le=\"0.5\"} 1",
                "age_bucket{endpoint=\"a\",le=\"1\"} 1",
                "age_bucket{endpoint=\"a\",le=\"+Inf\"} 2",
                "age_sum{endpoint=\"a\"} 2.25",
                "age_count{endpoint=\"a\"} 2",
            ]
        );
    }
}
