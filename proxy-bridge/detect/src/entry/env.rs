//! Variables that a start command sets, directly or from a file.

use std::collections::BTreeMap;
use std::path::Path;

use super::files;

/// Bytes of an environment file. Files with certificates have some thousands.
const MAX_FILE: u64 = 32 << 10;

/// Variables of one command.
const MAX_VARIABLES: usize = 500;

/// Variables that the router sets, and prefixes of those that Deno or the system's loader reads.
const OURS: [&str; 3] = ["PORT", "DATA_DIR", "TMPDIR"];
const OURS_BEGIN: [&str; 3] = ["SWITCHYARD_", "DENO_", "LD_"];

/// Returns `true` for a variable that a project's command may set.
pub(super) fn may_be_set(name: &str) -> bool {
    !OURS.contains(&name) && !OURS_BEGIN.iter().any(|begin| name.starts_with(begin))
}

/// Reads an environment file as `node --env-file` does. `None`: it does not exist or is invalid.
pub(super) fn read(dir: &Path, path: &str) -> Option<Vec<(String, String)>> {
    let path = files::inside(path)?;
    Some(parse(&files::read_text(&dir.join(path), MAX_FILE).ok()?))
}

fn parse(text: &str) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    while !rest.is_empty() && variables.len() < MAX_VARIABLES {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        rest = after;
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else { continue };
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        let (value, after) = value_of(value, rest);
        rest = after;
        variables.push((name.to_owned(), value));
    }
    variables
}

/// A value that begins on a line with `first`, and what follows it: one in quotes may go on over lines.
fn value_of<'a>(first: &str, rest: &'a str) -> (String, &'a str) {
    let quote = first.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'));
    let Some(quote) = quote else {
        let value = first.split_once(" #").map_or(first, |(value, _)| value);
        let value = if value.starts_with('#') { "" } else { value };
        return (value.trim().to_owned(), rest);
    };
    let unquote = |text: &str| if quote == '"' { text.replace("\\n", "\n") } else { text.to_owned() };
    let begun = &first[1..];
    if let Some((value, _)) = begun.split_once(quote) {
        return (unquote(value), rest);
    }
    match rest.split_once(quote) {
        Some((more, after)) => {
            let after = after.split_once('\n').map_or("", |(_, after)| after);
            (unquote(&format!("{begun}\n{more}")), after)
        }
        None => (first.to_owned(), rest),
    }
}

/// `text` with `$NAME`, `${NAME}` and `${NAME:-default}` replaced; `$` before anything else stays.
pub(super) fn expand(text: &str, env: &BTreeMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        match variable(after) {
            Some((name, default, left)) => {
                expanded.push_str(env.get(name).map_or(default, String::as_str));
                rest = left;
            }
            None => {
                expanded.push('$');
                rest = after;
            }
        }
    }
    expanded.push_str(rest);
    expanded
}

/// Splits off a variable at the beginning of `text`: its name, its default, and the rest.
fn variable(text: &str) -> Option<(&str, &str, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if let Some((inside, rest)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) {
        let (name, default) =
            inside.split_once(":-").or_else(|| inside.split_once('-')).unwrap_or((inside, ""));
        return (!name.is_empty() && name.chars().all(is_part)).then_some((name, default, rest));
    }
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let is_name = text.chars().next().is_some_and(|c| is_part(c) && !c.is_ascii_digit());
    is_name.then_some((&text[..end], "", &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_variables_is_read_as_node_reads_it() {
        let text = "# why\nA=1\n export B = two words # not this\nC=\"x # y\\nz\"\nD='a\nb'\nE=\nno line\n=x\n\
                    F=`q\"q` # x\nG=a=b\n1 2=3";
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "x # y\nz"),
            ("D", "a\nb"),
            ("E", ""),
            ("F", "q\"q"),
            ("G", "a=b"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse(text), expected);
        assert!(parse(&"A=1\n".repeat(10_000)).len() <= MAX_VARIABLES);
    }

    #[test]
    fn variables_in_arguments_are_replaced() {
        let env = BTreeMap::from([("PORT".to_owned(), "8000".to_owned())]);
        for (text, expected) in [
            ("$PORT", "8000"),
            ("--port=${PORT}", "--port=8000"),
            ("${PORT:-3000}", "8000"),
            ("${HOST:-0.0.0.0}:$PORT/$", "0.0.0.0:8000/$"),
            ("$GONE", ""),
            ("a$1 ${} ${a b} $$", "a$1 ${} ${a b} $$"),
            ("plain", "plain"),
        ] {
            assert_eq!(expand(text, &env), expected, "{text}");
        }
    }

    #[test]
    fn no_command_overrides_variables_of_the_router() {
        for name in ["PORT", "DATA_DIR", "TMPDIR", "SWITCHYARD_VERSION", "DENO_DIR", "LD_PRELOAD"] {
            assert!(!may_be_set(name), "{name}");
        }
        assert!(may_be_set("NODE_ENV"));
    }
}
