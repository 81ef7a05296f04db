//! The code frame of an error: the lines of a source around a location, numbered, with a caret
//! under the column.

/// Lines that are shown before and after the location.
const AROUND: usize = 2;

/// Characters of a line that are shown. Longer lines (minified code) are cut.
const WIDTH: usize = 160;

/// Returns the code frame of a location. Lines and columns count from 1, columns in UTF-16 units.
/// `None` if the source has no such line.
pub(crate) fn frame(source: &str, line: u32, column: Option<u32>) -> Option<String> {
    let lines: Vec<&str> = source.split('\n').map(|line| line.trim_end_matches('\r')).collect();
    let index = usize::try_from(line).ok()?.checked_sub(1)?;
    let text = *lines.get(index)?;
    let first = index.saturating_sub(AROUND);
    let last = (index + AROUND).min(lines.len() - 1);
    let digits = (last + 1).to_string().len();
    let mut frame = String::new();
    for (number, line) in lines.iter().enumerate().take(last + 1).skip(first) {
        let mark = if number == index { '>' } else { ' ' };
        frame.push_str(format!("{mark} {:>digits$} | {}", number + 1, cut(line)).trim_end());
        frame.push('\n');
        if let (true, Some(padding)) = (number == index, padding(text, column)) {
            frame.push_str(&format!("  {:>digits$} | {padding}^\n", ""));
        }
    }
    frame.pop();
    Some(frame)
}

fn cut(line: &str) -> &str {
    line.char_indices().nth(WIDTH).map_or(line, |(end, _)| &line[..end])
}

/// Returns the text before the caret: as wide as the line before the column, with its tabs.
fn padding(text: &str, column: Option<u32>) -> Option<String> {
    let before = usize::try_from(column?).ok()?.checked_sub(1)?;
    let mut units = 0;
    let mut padding = String::new();
    for c in text.chars().take_while(|c| {
        let within = units < before;
        units += c.len_utf16();
        within
    }) {
        padding.push(if c == '\t' { '\t' } else { ' ' });
    }
    (padding.len() <= WIDTH).then_some(padding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lines_around_the_location_are_shown() {
        let source = "a\nb\nc\n\td(x)\ne\nf\ng\n";
        assert_eq!(
            frame(source, 4, Some(4)).unwrap(),
            "  2 | b\n  3 | c\n> 4 | \td(x)\n    | \t  ^\n  5 | e\n  6 | f"
        );
    }

    #[test]
    fn the_ends_of_the_file_are_no_trouble() {
        assert_eq!(frame("x", 1, Some(1)).unwrap(), "> 1 | x\n    | ^");
        assert_eq!(frame("x", 1, None).unwrap(), "> 1 | x");
        assert_eq!(frame("x", 2, Some(1)), None);
        assert_eq!(frame("x", 0, Some(1)), None);
        assert!(frame("x", 1, Some(99)).unwrap().ends_with("|  ^"));
    }

    #[test]
    fn numbers_are_aligned_and_columns_count_utf_16_units() {
        let source = "1\n2\n3\n4\n5\n6\n7\n8\n9 😀 x\n10\n11";
        let frame = frame(source, 9, Some(6)).unwrap();
        assert!(frame.contains(">  9 | 9 😀 x\n     |     ^\n  10 | 10"), "{frame}");
    }

    #[test]
    fn minified_code_is_cut() {
        let source = "x".repeat(5000);
        let frame = frame(&source, 1, Some(4000)).unwrap();
        assert!(frame.len() < 200, "{frame}");
        assert!(!frame.contains('^'));
    }
}
