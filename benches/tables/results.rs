//! What was measured: raw samples of each round, and what follows from them.
//!
//! A ratio is the median of the rounds' own ratios, because the two of a round share the machine's mood; it is never the
//! ratio of two runs.

use serde::{Deserialize, Serialize};

/// One table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) id: String,
    pub(crate) title: String,
    /// What was done, so that numbers can be read without the source.
    pub(crate) how: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
    pub(crate) goals: Vec<Goal>,
    pub(crate) run: Run,
}

/// When, by what chance and on what a table was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) at: String,
    pub(crate) seed: u64,
    pub(crate) rounds: usize,
    pub(crate) quick: bool,
    pub(crate) machine: String,
}

/// What is measured of each contestant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) unit: String,
}

impl Column {
    /// Its head.
    pub(crate) fn head(&self) -> String {
        if self.unit.is_empty() { self.name.clone() } else { format!("{} ({})", self.name, self.unit) }
    }
}

/// A contestant's samples: by column, then by round. An empty column was not measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) contestant: String,
    pub(crate) samples: Vec<Vec<f64>>,
}

/// What wskeeper must reach, and what it has.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Goal {
    pub(crate) figure: String,
    /// In words, as in `≤ 1.2 × HAProxy`.
    pub(crate) asked: String,
    pub(crate) measured: f64,
    pub(crate) is_met: bool,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(id: &str, title: &str, how: &str, run: &Run, columns: &[(&str, &str)]) -> Self {
        let columns =
            columns.iter().map(|(name, unit)| Column { name: (*name).into(), unit: (*unit).into() }).collect();
        let (id, title, how, run) = (id.into(), title.into(), how.into(), run.clone());
        Self { id, title, how, columns, rows: Vec::new(), goals: Vec::new(), run }
    }

    /// Notes a sample.
    pub(crate) fn note(&mut self, contestant: &str, column: usize, sample: f64) {
        let index = self.rows.iter().position(|row| row.contestant == contestant).unwrap_or_else(|| {
            let samples = vec![Vec::new(); self.columns.len()];
            self.rows.push(Row { contestant: contestant.into(), samples });
            self.rows.len() - 1
        });
        // More digits say nothing.
        self.rows[index].samples[column].push((sample * 1e4).round() / 1e4);
    }

    /// Rows in this order; those that are not named come last.
    pub(crate) fn order(&mut self, names: &[&str]) {
        let place = |row: &Row| names.iter().position(|name| *name == row.contestant).unwrap_or(names.len());
        self.rows.sort_by_key(place);
    }

    fn samples(&self, contestant: &str, column: usize) -> &[f64] {
        let row = self.rows.iter().find(|row| row.contestant == contestant);
        row.map_or(&[], |row| &row.samples[column])
    }

    /// The median of a contestant.
    pub(crate) fn median(&self, contestant: &str, column: usize) -> Option<f64> {
        median(self.samples(contestant, column))
    }

    /// The median over the rounds of one contestant's sample by another's.
    pub(crate) fn ratio(&self, column: usize, one: &str, other: &str) -> Option<f64> {
        let pairs = self.samples(one, column).iter().zip(self.samples(other, column));
        median(&pairs.map(|(one, other)| one / other).collect::<Vec<_>>())
    }

    /// Judges `one` to be at most so many times `other`. Where one of them is missing there is nothing to judge.
    pub(crate) fn at_most(&mut self, column: usize, one: &str, limit: f64, other: &str) {
        if let Some(ratio) = self.ratio(column, one, other) {
            let figure = format!("{}, {one}", self.columns[column].name);
            self.judge(&figure, &format!("≤ {limit} × {other}"), ratio, ratio <= limit);
        }
    }

    /// Judges `one` to be at least so many times `other`.
    pub(crate) fn at_least(&mut self, column: usize, one: &str, limit: f64, other: &str) {
        if let Some(ratio) = self.ratio(column, one, other) {
            let figure = format!("{}, {one}", self.columns[column].name);
            self.judge(&figure, &format!("≥ {limit} × {other}"), ratio, ratio >= limit);
        }
    }

    /// Enters a verdict.
    pub(crate) fn judge(&mut self, figure: &str, asked: &str, measured: f64, is_met: bool) {
        self.goals.push(Goal { figure: figure.into(), asked: asked.into(), measured, is_met });
    }
}

/// The middle one, the mean of the two in the middle where there are two.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

/// Three digits that count.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
