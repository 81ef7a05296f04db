//! Errors in the project's log: with the lines around their location in the project's own files,
//! and paths relative to the project.

use deno_core::url::Url;

use super::frame::frame;
use super::hints::{hint, without_flags};
use super::refusals;
use crate::modules::code::decode;
use crate::modules::project::Project;
use crate::modules::source;

/// Deno's text in front of each line of a stack.
const AT: &str = "\n    at ";

/// Returns an error's text (message and stack) with a code frame between the two and without paths
/// of the router.
pub(crate) fn explain(project: &Project, text: &str) -> String {
    let frame = location_on_stack(project, text).and_then(|(file, line, column)| {
        let source = decode(source::read(project, &file).ok()?);
        frame(&source, line, Some(column))
    });
    let (message, stack) = text.split_at(text.find(AT).unwrap_or(text.len()));
    let indented = |text: String| format!("\n    {}", text.replace('\n', "\n    "));
    let frame = frame.map(indented).unwrap_or_default();
    let hint = hint(message, stack.split(AT)).map(indented).unwrap_or_default();
    let text = format!("{message}{hint}{frame}{stack}");
    project.names.clean(&refusals::explained(&without_flags(&without_glue(&text))))
}

/// Removes the lines of a stack that belong to the cell's own code.
fn without_glue(text: &str) -> String {
    let is_glue = |line: &&str| line.trim_start().starts_with("at ") && line.contains("ext:switchyard/");
    text.split('\n').filter(|line| !is_glue(line)).collect::<Vec<_>>().join("\n")
}

/// Returns the first location on the stack in the project's own files, or else in its packages.
fn location_on_stack(project: &Project, text: &str) -> Option<(Url, u32, u32)> {
    let locations = text.split(AT).skip(1).filter_map(|line| {
        let (file, line, column) = parse_location(line.split('\n').next()?)?;
        let shown = project.names.file(file)?;
        Some((shown.contains("node_modules/"), (Url::parse(file).ok()?, line, column)))
    });
    locations.min_by_key(|(in_package, _)| *in_package).map(|(_, location)| location)
}

/// Parses the location in `async handler (file:///p/main.ts:3:9)` or `file:///p/main.ts:3:9`.
fn parse_location(line: &str) -> Option<(&str, u32, u32)> {
    let (_, location) = line.trim_end_matches(')').rsplit_once("file://")?;
    let mut parts = location.rsplitn(3, ':');
    let (column, number) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let length = "file://".len() + parts.next()?.len();
    let start = line.rfind("file://")?;
    Some((&line[start..start + length], number, column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cells_own_part_of_a_stack_is_not_shown() {
        let text = "Error: at ext:switchyard/x\n    at f (file:///p/main.ts:3:9)\n    at ext:switchyard/requests.js:59:28";
        assert_eq!(without_glue(text), "Error: at ext:switchyard/x\n    at f (file:///p/main.ts:3:9)");
    }

    #[test]
    fn a_line_of_a_stack_has_its_location() {
        for line in ["file:///p/a b/main.ts:3:9", "async f (file:///p/a b/main.ts:3:9)"] {
            assert_eq!(parse_location(line), Some(("file:///p/a b/main.ts", 3, 9)), "{line}");
        }
        for line in
            ["ext:core/01_core.js:1:2", "<anonymous>", "f (file:///p/main.ts)", "file:///p/main.ts:x:1"]
        {
            assert_eq!(parse_location(line), None, "{line}");
        }
    }
}
