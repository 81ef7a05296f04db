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

/// Returns a line that is no wider than `width` characters. One that is cut ends with `…`.
pub(super) fn cut(line: &str, width: Option<usize>) -> String {
    match width {
        Some(width) if line.chars().count() > width => {
            line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_where_the_terminal_ends() {
        assert_eq!(cut("aéb", Some(3)), "aéb");
        assert_eq!(cut("aébc", Some(3)), "aé…");
        assert_eq!(cut("aébc", None), "aébc");
    }

    #[test]
    fn a_column_is_as_wide_as_its_longest_cell_in_characters() {
        let rows = [["a", "é", ""], ["bcd", "", "end"]].map(|row| row.map(str::to_owned));
        assert_eq!(aligned(&rows), "a    é\nbcd     end\n");
        assert_eq!(aligned::<2>(&[]), "");
    }
}
