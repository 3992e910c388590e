//! Tables without lines, as the verbs print them.
//!
//! What a reader would get wrong: whether there are colours is the output's to say, not the table library's guess.

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};

use super::output::Output;

/// A table with a header and no rows.
pub(super) fn empty(titles: &[&str], output: &Output) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if let Some(width) = output.screen().and_then(|screen| u16::try_from(screen.width).ok()) {
        // What is wider than the terminal is broken within its cell.
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    if output.colours() {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(titles.iter().map(|title| Cell::new(title).add_attribute(Attribute::Dim)));
    table
}

/// As [`empty`], for rows that were made to fit.
pub(super) fn rigid(titles: &[&str], output: &Output) -> Table {
    let mut table = empty(titles, output);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// Its lines, without spaces at their ends.
pub(super) fn lines(table: &Table) -> Vec<String> {
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Its text, without spaces at the ends of lines.
pub(super) fn trimmed(table: &Table) -> String {
    lines(table).join("\n")
}

/// The name of a row.
pub(super) fn bold(text: impl ToString) -> Cell {
    Cell::new(text).add_attribute(Attribute::Bold)
}

/// A number.
pub(super) fn right(text: impl ToString) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}
