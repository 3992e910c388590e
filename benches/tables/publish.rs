//! From samples to what people read: a table in the terminal, and JSON for those who ask more.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use super::results::{Goal, Table};
use crate::support::Result;

/// Prints a table with its verdicts.
pub(crate) fn show(table: &Table) {
    println!("\n## {}\n\n{}", table.title, markdown(table));
}

/// Keeps the samples, in place of those of the last run.
pub(crate) fn keep(table: Table) -> Result<()> {
    let mut all = kept();
    all.insert(table.id.clone(), table);
    let path = path();
    fs::create_dir_all(path.parent().ok_or("no folder")?)?;
    Ok(fs::write(&path, serde_json::to_string(&all)? + "\n")?)
}

/// Samples of another form of this program are as good as none.
fn kept() -> BTreeMap<String, Table> {
    fs::read_to_string(path()).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

fn path() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench-results/samples.json").into()
}

/// Medians, and whether goals are met.
fn markdown(table: &Table) -> String {
    let mut out = String::new();
    let heads: Vec<_> = table.columns.iter().map(|column| format!("{} ({})", column.name, column.unit)).collect();
    let _ = writeln!(out, "| | {} |\n|---|{}", heads.join(" | "), "--:|".repeat(heads.len()));
    for row in &table.rows {
        let cells = (0..table.columns.len()).map(|column| match table.median(&row.contestant, column) {
            Some(median) => number(median),
            None => "–".into(),
        });
        let _ = writeln!(out, "| {} | {} |", row.contestant, cells.collect::<Vec<_>>().join(" | "));
    }
    if !table.goals.is_empty() {
        let _ = writeln!(out, "\n| figure | goal | measured | |\n|---|---|--:|---|");
        for Goal { figure, asked, measured, is_met } in &table.goals {
            let verdict = if *is_met { "met" } else { "**missed**" };
            let _ = writeln!(out, "| {figure} | {asked} | {} | {verdict} |", number(*measured));
        }
    }
    out
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
