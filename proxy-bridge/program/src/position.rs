//! Positions in text files, as editors count them.

/// Returns the line and the column of the byte at `offset`, both from 1. Columns count characters.
pub fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_are_counted_from_one_in_characters() {
        assert_eq!(line_and_column("é = 1\nab", 0), (1, 1));
        assert_eq!(line_and_column("é = 1\nab", 2), (1, 2));
        assert_eq!(line_and_column("é = 1\nab", 8), (2, 2));
    }
}
