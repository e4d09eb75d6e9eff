//! Tables without borders, one header line in capitals.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement};

/// A table under construction.
pub struct Table {
    table: comfy_table::Table,
    /// Columns from this one on are for wide tables.
    usual: usize,
}

/// How much of a table is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// The columns for wide tables too.
    pub wide: bool,
    /// The line of headings.
    pub headings: bool,
}

impl Grid {
    /// The usual columns under their headings.
    pub const USUAL: Self = Self {
        wide: false,
        headings: true,
    };
}

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
        Self {
            table,
            usual: COLUMNS,
        }
    }

    /// The first so many columns are the usual ones; the others are for wide tables.
    pub fn usual(mut self, columns: usize) -> Self {
        self.usual = columns;
        self
    }

    /// Adds a row; an empty cell shows a dash.
    pub fn row<const COLUMNS: usize>(&mut self, cells: [String; COLUMNS]) {
        self.table.add_row(cells.map(|cell| {
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
            if let Some(column) = self.table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        self
    }

    /// The table as text, without spaces at the ends of lines.
    pub fn text(mut self, grid: Grid) -> String {
        let hidden = if grid.wide { usize::MAX } else { self.usual };
        for column in self.table.column_iter_mut().skip(hidden) {
            column.set_constraint(ColumnConstraint::Hidden);
        }
        let lines = self.table.lines().skip(usize::from(!grid.headings));
        lines
            .map(|line| line.trim_end().to_owned() + "\n")
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_without_borders() {
        let text = |wide, headings| {
            let mut table = Table::new(["NAME", "PROBES", "HOST"]).numbers([1]).usual(2);
            table.row(["home1".to_owned(), "7".to_owned(), "lb".to_owned()]);
            table.row(["a-longer-name".to_owned(), String::new(), String::new()]);
            table.text(Grid { wide, headings })
        };
        assert_eq!(
            text(false, true),
            "NAME            PROBES\nhome1                7\na-longer-name        -\n"
        );
        assert_eq!(
            text(true, false),
            "home1                7   lb\na-longer-name        -   -\n"
        );
    }
}
