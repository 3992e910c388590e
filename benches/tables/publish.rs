//! From samples to what people read: tables in the terminal and in `docs/performance.md`, a picture of each, and JSON.
//!
//! The document is written by hand but for what stands between its two marks. Each table says of itself when it was measured:
//! one may be newer than its neighbours, and none is compared with another.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use super::{
    TABLES, plot,
    results::{Column, Goal, Table, number},
};
use crate::support::{Result, workspace};

const BEGIN: &str = "<!-- Written by `benches/run --publish`: begin -->";
const END: &str = "<!-- Written by `benches/run --publish`: end -->";

/// Prints a table with its verdicts.
pub(crate) fn show(table: &Table) {
    println!("\n## {}\n\n{}", table.title, markdown(table));
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
    let mut written = format!("{BEGIN}\n{}", overview(&tables));
    for table in tables {
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
    written += END;
    let text = fs::read_to_string(&document)?;
    let (before, rest) = text.split_once(BEGIN).ok_or("docs/performance.md has lost its first mark")?;
    let (_, after) = rest.split_once(END).ok_or("docs/performance.md has lost its second mark")?;
    fs::write(&document, format!("{before}{written}{after}"))?;
    fs::copy(place(SAMPLES), place(PUBLISHED))?;
    println!("\nwritten: docs/performance.md, docs/performance/*.svg, benches/samples.json");
    Ok(())
}

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

/// Every goal, and whether it is met.
fn overview(tables: &[&Table]) -> String {
    let mut out = String::from("| | figure | goal | measured | |\n|---|---|---|--:|---|\n");
    for table in tables {
        for Goal { figure, asked, measured, is_met } in &table.goals {
            let _ = writeln!(
                out,
                "| {} | {figure} | {asked} | {} | {} |",
                table.title,
                number(*measured),
                verdict(*is_met)
            );
        }
    }
    out
}

/// Medians, and whether goals are met.
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
    if !table.goals.is_empty() {
        let _ = writeln!(out, "\n| figure | goal | measured | |\n|---|---|--:|---|");
        for Goal { figure, asked, measured, is_met } in &table.goals {
            let _ = writeln!(out, "| {figure} | {asked} | {} | {} |", number(*measured), verdict(*is_met));
        }
    }
    out
}

const fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "**missed**" }
}
