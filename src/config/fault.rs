//! What is wrong with a configuration: all of it, each with its place and with what would be right.
//!
//! The order is by place, so that two runs over the same files say the same.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, as `FILE:LINE` for a syntax error and in TOML; or the environment variable.
    pub file: String,
    /// The key's full path (`endpoints.trades.heartbeat.idle`); empty where the whole file is meant.
    pub path: String,
    /// What is wrong.
    pub problem: String,
    /// What would be right; may be empty.
    pub hint: String,
}

impl Fault {
    /// For an order in which line 10 comes behind line 9.
    fn place(&self) -> (&str, u64, &str, &str, &str) {
        let line = self.file.rsplit_once(':').and_then(|(file, line)| Some((file, line.parse().ok()?)));
        let (file, line) = line.unwrap_or((&self.file, 0));
        (file, line, &self.path, &self.problem, &self.hint)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.problem)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

/// Everything that is wrong, at least one thing. `Display` writes one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Sorts and removes repeats; `None` when there is nothing wrong.
    pub(crate) fn new(mut faults: Vec<Fault>) -> Option<Self> {
        faults.sort_by(|a, b| a.place().cmp(&b.place()));
        faults.dedup();
        (!faults.is_empty()).then_some(Self(faults))
    }

    /// Each fault, in order of place.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    /// How many there are.
    #[allow(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(file: &str, path: &str) -> Fault {
        Fault { file: file.into(), path: path.into(), problem: "is wrong".into(), hint: "make it right".into() }
    }

    #[test]
    fn faults_are_one_line_each_in_order_of_place_without_repeats() {
        let faults = Faults::new(vec![fault("b", ""), fault("a", "x.y"), fault("a", "x.y")]).unwrap();
        assert_eq!(faults.to_string(), "a: x.y: is wrong; make it right\nb: is wrong; make it right");
        assert_eq!(faults.len(), 2);
        let faults = Faults::new(vec![fault("a:10", "x"), fault("a:9", "z"), fault("a:9", "y")]).unwrap();
        let places: Vec<_> = faults.iter().map(|fault| (fault.file.as_str(), fault.path.as_str())).collect();
        assert_eq!(places, [("a:9", "y"), ("a:9", "z"), ("a:10", "x")]);
    }

    #[test]
    fn no_fault_is_no_faults() {
        assert_eq!(Faults::new(Vec::new()), None);
    }
}
