//! Errors as the project's author reads them in the log: the lines around the place in the project's own file, and paths
//! relative to the project.

use deno_core::url::Url;

use crate::frame::frame;
use crate::hints::{hint, without_flags};
use crate::project::Project;
use crate::refusals;
use crate::source;

/// What Deno writes before each line of a stack.
const AT: &str = "\n    at ";

/// An error's text (message and stack), with a code frame between the two and no path of the router.
pub(crate) fn explain(project: &Project, text: &str) -> String {
    let frame = place(project, text).and_then(|(file, line, column)| {
        let source = source::decode(source::read(project, &file).ok()?);
        frame(&source, line, Some(column))
    });
    let (message, stack) = text.split_at(text.find(AT).unwrap_or(text.len()));
    let indented = |text: String| format!("\n    {}", text.replace('\n', "\n    "));
    let frame = frame.map(indented).unwrap_or_default();
    let hint = hint(message, stack.split(AT)).map(indented).unwrap_or_default();
    let text = format!("{message}{hint}{frame}{stack}");
    project.names.clean(&refusals::explained(&without_flags(&without_glue(&text))))
}

/// Drops the lines of a stack that are the cell's own.
fn without_glue(text: &str) -> String {
    let is_glue = |line: &&str| line.trim_start().starts_with("at ") && line.contains("ext:switchyard/");
    text.split('\n').filter(|line| !is_glue(line)).collect::<Vec<_>>().join("\n")
}

/// The first place on the stack that is the project's own, or else one in its packages.
fn place(project: &Project, text: &str) -> Option<(Url, u32, u32)> {
    let places = text.split(AT).skip(1).filter_map(|line| {
        let (file, line, column) = location(line.split('\n').next()?)?;
        let shown = project.names.file(file)?;
        Some((shown.contains("node_modules/"), (Url::parse(file).ok()?, line, column)))
    });
    places.min_by_key(|(in_package, _)| *in_package).map(|(_, place)| place)
}

/// `async handler (file:///p/main.ts:3:9)` or `file:///p/main.ts:3:9`
fn location(line: &str) -> Option<(&str, u32, u32)> {
    let (_, place) = line.trim_end_matches(')').rsplit_once("file://")?;
    let mut parts = place.rsplitn(3, ':');
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
    fn a_line_of_a_stack_tells_its_place() {
        for line in ["file:///p/a b/main.ts:3:9", "async f (file:///p/a b/main.ts:3:9)"] {
            assert_eq!(location(line), Some(("file:///p/a b/main.ts", 3, 9)), "{line}");
        }
        for line in
            ["ext:core/01_core.js:1:2", "<anonymous>", "f (file:///p/main.ts)", "file:///p/main.ts:x:1"]
        {
            assert_eq!(location(line), None, "{line}");
        }
    }
}
