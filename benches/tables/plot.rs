//! A table as a picture: a bar for each contestant's median, and a dot for each round, so that the spread is seen too.
//!
//! Plain SVG of a few rectangles, which takes its colours from the reader's preference: readable on light and on dark.

use std::fmt::Write as _;

use super::results::{Row, Table, median, number};

const WIDTH: f64 = 760.0;
/// Names stand left of this, bars right of it.
const LEFT: f64 = 270.0;
/// Room for a bar's number.
const RIGHT: f64 = 70.0;
const LINE: f64 = 22.0;
const BAR: f64 = 14.0;
const HEAD: f64 = 34.0;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.head{font-weight:600}.end{text-anchor:end}\
    .ours{fill:#0969da}.other{fill:#afb8c1}.dot{fill:#1f2328;opacity:.55}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.ours{fill:#4493f8}.other{fill:#57606a}.dot{fill:#e6edf3}}";

/// The picture.
pub(crate) fn svg(table: &Table) -> String {
    let mut body = String::new();
    let mut top = 0.0;
    for column in 0..table.columns.len() {
        top = panel(&mut body, table, column, top);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top}\" role=\"img\" aria-label=\"{}\">\n\
         <style>{STYLE}</style>\n{body}</svg>\n",
        escaped(&table.title)
    )
}

/// One column of the table; answers with where it ends.
fn panel(out: &mut String, table: &Table, column: usize, top: f64) -> f64 {
    let rows: Vec<&Row> = table.rows.iter().filter(|row| !row.samples[column].is_empty()).collect();
    let largest = rows.iter().flat_map(|row| &row.samples[column]).fold(0.0, |most: f64, sample| most.max(*sample));
    let scale = (WIDTH - LEFT - RIGHT) / largest.max(f64::MIN_POSITIVE);
    let _ = writeln!(
        out,
        "<text class=\"head\" x=\"{LEFT}\" y=\"{}\">{}</text>",
        top + HEAD - 12.0,
        escaped(&table.columns[column].head())
    );
    let mut middle = top + HEAD + LINE / 2.0;
    for row in rows {
        let samples = &row.samples[column];
        let value = median(samples).unwrap_or_default();
        // A difference of two measurements can come out below nothing.
        let length = (value * scale).max(0.0);
        let class = if row.contestant.starts_with(super::relay::KEEPER) { "ours" } else { "other" };
        let _ = writeln!(
            out,
            "<text class=\"end\" x=\"{}\" y=\"{:.1}\">{}</text>\
             <rect class=\"{class}\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"{BAR}\"/>",
            LEFT - 8.0,
            middle + 4.5,
            escaped(&row.contestant),
            middle - BAR / 2.0,
        );
        let mut end = length;
        for sample in samples {
            let place = (sample * scale).max(0.0);
            end = end.max(place);
            let _ = write!(out, "<circle class=\"dot\" cx=\"{:.1}\" cy=\"{middle:.1}\" r=\"2\"/>", LEFT + place);
        }
        let _ = writeln!(out, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", LEFT + end + 8.0, middle + 4.5, number(value));
        middle += LINE;
    }
    middle
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
