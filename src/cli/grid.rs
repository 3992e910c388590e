//! Tables without lines, as the verbs print them.
//!
//! What a reader would get wrong: whether there are colours is the output's to say, not the table library's guess.

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};

use super::output::Output;

/// A table with a header and no rows.
pub(super) fn empty(titles: &[&str], output: &Output) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if output.colours() {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(titles.iter().map(|title| Cell::new(title).add_attribute(Attribute::Dim)));
    table
}

/// Its text, without spaces at the ends of lines.
pub(super) fn trimmed(table: &Table) -> String {
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// The name of a row.
pub(super) fn bold(text: impl ToString) -> Cell {
    Cell::new(text).add_attribute(Attribute::Bold)
}

/// A number.
pub(super) fn right(text: impl ToString) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}
