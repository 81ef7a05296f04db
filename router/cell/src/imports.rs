//! Finds the import statement of a specifier in a source, for the place of an error: a search in the text, which needs
//! no parser and works in files that no parser accepts.

/// Line and column (1-based, UTF-16) of the first import whose specifier satisfies `is_it`. One after `from`, `import`
/// or `require` is preferred to any other string.
pub(crate) fn find(source: &str, is_it: impl Fn(&str) -> bool) -> Option<(u32, u32)> {
    let mut elsewhere = None;
    for (at, text) in strings(source) {
        if !is_it(text) {
            continue;
        }
        if imports(&source[..at]) {
            return Some(position(source, at));
        }
        elsewhere.get_or_insert(at);
    }
    elsewhere.map(|at| position(source, at))
}

/// All that stands between two like quotes on one line, with where it starts (the quote).
fn strings(source: &str) -> impl Iterator<Item = (usize, &str)> {
    source.match_indices(['"', '\'', '`']).filter_map(|(at, quote)| {
        let text = &source[at + 1..];
        let end = text.find([quote.chars().next()?, '\n'])?;
        text[end..].starts_with(quote).then(|| (at, &text[..end]))
    })
}

fn imports(before: &str) -> bool {
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
