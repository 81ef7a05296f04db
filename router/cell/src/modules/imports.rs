//! Search for the import of a specifier in a source, for the location of an error. It searches the
//! text, so that it works in files that do not parse.

/// Returns line and column (1-based, in UTF-16 units) of the first string that satisfies `is_it`. A
/// string behind `from`, `import` or `require` is preferred to any other.
pub(crate) fn find(source: &str, is_it: impl Fn(&str) -> bool) -> Option<(u32, u32)> {
    let mut elsewhere = None;
    for (at, text) in strings(source) {
        if !is_it(text) {
            continue;
        }
        if ends_with_import(&source[..at]) {
            return Some(position(source, at));
        }
        elsewhere.get_or_insert(at);
    }
    elsewhere.map(|at| position(source, at))
}

/// Returns all text between two equal quotes on one line, with the offset of the first quote.
fn strings(source: &str) -> impl Iterator<Item = (usize, &str)> {
    source.match_indices(['"', '\'', '`']).filter_map(|(at, quote)| {
        let text = &source[at + 1..];
        let end = text.find([quote.chars().next()?, '\n'])?;
        text[end..].starts_with(quote).then(|| (at, &text[..end]))
    })
}

fn ends_with_import(before: &str) -> bool {
    let before = before.trim_end().trim_end_matches('(').trim_end();
    ["from", "import", "require"].iter().any(|word| before.ends_with(word))
}

fn position(source: &str, at: usize) -> (u32, u32) {
    let before = &source[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    let column = before[line_start..].encode_utf16().count() + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_import_is_found_rather_than_the_same_text_elsewhere() {
        let source = "const name = \"./a.ts\";\nimport { b } from './b.ts';\nimport { a } from \"./a.ts\";\n";
        assert_eq!(find(source, |text| text == "./a.ts"), Some((3, 19)));
        assert_eq!(find(source, |text| text == "./b.ts"), Some((2, 19)));
        assert_eq!(find(source, |text| text == "./c.ts"), None);
    }

    #[test]
    fn all_kinds_of_imports_are_known() {
        for source in ["import \"x\"", "await import( 'x')", "require(\"x\")", "export * from `x`"] {
            assert!(find(source, |text| text == "x").is_some(), "{source}");
        }
    }

    #[test]
    fn a_quote_in_prose_is_no_trouble() {
        let source = "// don't\nimport x from \"x\";";
        assert_eq!(find(source, |text| text == "x"), Some((2, 15)));
    }
}
