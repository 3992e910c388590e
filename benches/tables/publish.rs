//! From samples to what people read: tables in the terminal and in `docs/performance.md`, a picture of each, our goals in
//! `benches/goals.md`, and JSON.
//!
//! The document is written by hand, except what stands between its two pairs of marks. Each table says of itself when it was measured:
//! one may be newer than its neighbours, and none is compared with another.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use super::{
    TABLES, plot,
    results::{Column, Goal, Table, number},
    short,
};
use crate::support::{Result, workspace};

/// What stands between the marks of this name is written here.
fn marks(name: &str) -> [String; 2] {
    ["begin", "end"].map(|end| format!("<!-- Written by `benches/run --publish`, {name}: {end} -->"))
}

/// Prints a table with its verdicts.
pub(crate) fn show(table: &Table) {
    println!("\n## {}\n\n{}\n{}", table.title, markdown(table), goals(&[table]));
}

/// Keeps the samples, in place of those of the last run.
pub(crate) fn keep(table: Table) -> Result<()> {
    let mut all = kept();
    all.insert(table.id.clone(), table);
    fs::create_dir_all(place("target/bench-results"))?;
    Ok(fs::write(place(SAMPLES), serde_json::to_string(&all)? + "\n")?)
}

/// Writes the document's tables and pictures anew from what is kept, and lays the samples beside this program.
pub(crate) fn publish() -> Result<()> {
    let all = kept();
    let tables: Vec<&Table> = TABLES.iter().filter_map(|id| all.get(*id)).collect();
    let (document, pictures) = (place("docs/performance.md"), place("docs/performance"));
    fs::create_dir_all(&pictures)?;
    let mut written = String::new();
    for table in &tables {
        if table.run.quick {
            println!("{}: measured with --quick, in short rounds", table.id);
        }
        fs::write(pictures.join(format!("{}.svg", table.id)), plot::svg(table))?;
        let Table { id, title, how, run, .. } = table;
        let _ = write!(
            written,
            "\n### {title}\n{how}\n\n{}\n![{title}](performance/{id}.svg)\n\nMedians of {} rounds, {}, seed {}, {}.\n",
            markdown(table),
            run.rounds,
            run.at,
            run.seed,
            run.machine,
        );
    }
    let text = fs::read_to_string(&document)?;
    let text = with(&text, "in short", &short::in_short(&all))?;
    fs::write(&document, with(&text, "tables", &written)?)?;
    fs::write(place("benches/goals.md"), format!("{GOALS}{}", goals(&tables)))?;
    fs::write(place(PUBLISHED), serde_json::to_string(&all)? + "\n")?;
    println!("\nwritten: docs/performance.md, docs/performance/*.svg, benches/goals.md, benches/samples.json");
    Ok(())
}

/// The text with something else between the marks of this name.
fn with(text: &str, name: &str, written: &str) -> Result<String> {
    let [begin, end] = marks(name);
    let lost = || format!("docs/performance.md has lost {begin:?} or {end:?}");
    let (before, rest) = text.split_once(&begin).ok_or_else(lost)?;
    let (_, after) = rest.split_once(&end).ok_or_else(lost)?;
    Ok(format!("{before}{begin}\n{written}{end}{after}"))
}

const GOALS: &str = "# Goals of the benches

What we want to reach, as ratios within one run, and what was measured. `benches/run --publish` writes this page;
[docs/performance.md](../docs/performance.md) has the tables and says what limits each figure.

";

const SAMPLES: &str = "target/bench-results/samples.json";
const PUBLISHED: &str = "benches/samples.json";

/// The samples of earlier runs here, or else those that are published. Samples of another form of this program are as good as
/// none.
fn kept() -> BTreeMap<String, Table> {
    let read = |path| serde_json::from_str(&fs::read_to_string(place(path)).ok()?).ok();
    [SAMPLES, PUBLISHED].into_iter().find_map(read).unwrap_or_default()
}

fn place(path: &str) -> PathBuf {
    workspace().join(path)
}

/// Every goal, and whether it is met; of tables without goals nothing.
fn goals(tables: &[&Table]) -> String {
    let mut out = String::from("| | figure | goal | measured | |\n|---|---|---|--:|---|\n");
    for table in tables {
        for Goal { figure, asked, measured, is_met } in &table.goals {
            let verdict = if *is_met { "met" } else { "**missed**" };
            let _ = writeln!(out, "| {} | {figure} | {asked} | {} | {verdict} |", table.title, number(*measured));
        }
    }
    out
}

/// Medians.
fn markdown(table: &Table) -> String {
    let mut out = String::new();
    let heads: Vec<_> = table.columns.iter().map(Column::head).collect();
    let _ = writeln!(out, "| | {} |\n|---|{}", heads.join(" | "), "--:|".repeat(heads.len()));
    for row in &table.rows {
        let cells = (0..table.columns.len()).map(|column| match table.median(&row.contestant, column) {
            Some(median) => number(median),
            None => "–".into(),
        });
        let _ = writeln!(out, "| {} | {} |", row.contestant, cells.collect::<Vec<_>>().join(" | "));
    }
    out
}
