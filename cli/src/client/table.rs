//! Tables of text: columns that are as wide as their longest cell.

/// Returns the rows, a line each, with two spaces between columns and none at the end.
pub(super) fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let lines = rows.iter().map(|row| {
        // A column without a text in any row is left out.
        let cells = row.iter().zip(widths).filter(|(_, width)| *width > 0);
        let cells = cells.map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_as_wide_as_its_longest_cell_in_characters() {
        let rows = [["a", "é", ""], ["bcd", "", "end"]].map(|row| row.map(str::to_owned));
        assert_eq!(aligned(&rows), "a    é\nbcd     end\n");
        assert_eq!(aligned::<2>(&[]), "");
    }
}
