//! Tables without borders, one header line in capitals.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement};

/// A table under construction.
pub struct Table(comfy_table::Table);

impl Table {
    /// An empty table with these headings.
    pub fn new<const COLUMNS: usize>(headings: [&str; COLUMNS]) -> Self {
        let mut table = comfy_table::Table::new();
        table
            .load_style(NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(headings);
        for column in table.column_iter_mut() {
            column.set_padding((0, 3));
        }
        Self(table)
    }

    /// Adds a row; an empty cell shows a dash.
    pub fn row<const COLUMNS: usize>(&mut self, cells: [String; COLUMNS]) {
        self.0.add_row(cells.map(|cell| {
            if cell.is_empty() {
                "-".to_owned()
            } else {
                cell
            }
        }));
    }

    /// Sets columns of numbers flush right.
    pub fn numbers(mut self, columns: impl IntoIterator<Item = usize>) -> Self {
        for column in columns {
            if let Some(column) = self.0.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        self
    }

    /// The table as text, without spaces at the ends of lines.
    pub fn text(&self) -> String {
        let lines: Vec<String> = self
            .0
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect();
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_without_borders() {
        let mut table = Table::new(["NAME", "PROBES"]).numbers([1]);
        table.row(["home1".to_owned(), "7".to_owned()]);
        table.row(["a-longer-name".to_owned(), String::new()]);
        assert_eq!(
            table.text(),
            "NAME            PROBES\nhome1                7\na-longer-name        -\n"
        );
    }
}
