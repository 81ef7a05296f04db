//! Makes of an error what the project's author can act on: message, place and code frame.

use deno_core::error::{CoreError, CoreErrorKind, JsError};
use deno_core::url::Url;
use switchyard_contract::bounds::DIAGNOSTIC_MESSAGE;
use switchyard_contract::event::Diagnostic;

use crate::failures::Place;
use crate::frame::frame;
use crate::hints::hint;
use crate::paths::Names;
use crate::project::Project;
use crate::refusals;
use crate::source;

pub(crate) fn diagnose(project: &Project, error: &CoreError) -> Diagnostic {
    match error.as_kind() {
        CoreErrorKind::Js(error) => {
            let message = message(error);
            let place = project
                .failures
                .place_of(&message)
                .or_else(|| place_in_required(project, &message))
                .or_else(|| place(project, error));
            let stack = error.frames.iter().filter_map(|frame| frame.file_name.as_deref());
            let hint = hint(&message, stack).map(|hint| format!("\n{hint}")).unwrap_or_default();
            diagnostic(project, &refusals::explained(&format!("{message}{hint}")), place)
        }
        CoreErrorKind::CouldNotExecute { error, .. } => {
            diagnostic(project, &error.to_string(), project.failures.place_of(&error.to_string()))
        }
        other => {
            let message = other.to_string();
            diagnostic(project, &message, project.failures.place_of(&message))
        }
    }
}

/// A deno.json or package.json that is none. The parsers say where, but only in their text.
pub(crate) fn misconfigured(names: &Names, error: &anyhow::Error) -> Diagnostic {
    let message = names.clean(&format!("{error:#}")).replace(".: ", ": ");
    let after = |word: &str| {
        let (_, rest) = message.rsplit_once(word)?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    Diagnostic {
        file: message.split('\'').nth(1).filter(|name| name.contains(".json")).map(str::to_owned),
        line: after(" line "),
        column: after(" column "),
        frame: None,
        message: message.clone(),
    }
}

/// For what no error was thrown.
pub(crate) fn plain(message: impl Into<String>) -> Diagnostic {
    Diagnostic { message: message.into(), ..Diagnostic::default() }
}

fn diagnostic(project: &Project, message: &str, place: Option<Place>) -> Diagnostic {
    let place = place.and_then(|place| Some((project.names.file(&place.file)?, place)));
    let mut diagnostic = plain(project.names.clean(message));
    if let Some((file, place)) = place {
        diagnostic.frame = code_frame(project, &place);
        diagnostic.file = Some(file);
        diagnostic.line = place.line;
        diagnostic.column = place.column;
    }
    diagnostic
}

fn code_frame(project: &Project, place: &Place) -> Option<String> {
    let url = Url::parse(&place.file).or_else(|_| Url::from_file_path(&place.file));
    let bytes = source::read(project, &url.ok()?).ok()?;
    frame(&source::decode(bytes), place.line?, place.column)
}

/// The text of what was thrown, of the errors that it gathers and of its causes: as much of them as
/// a diagnostic has room for, however many there are.
fn message(error: &JsError) -> String {
    let mut message = String::new();
    let mut left = vec![("", error)];
    while let Some((before, error)) = left.pop()
        && message.len() <= DIAGNOSTIC_MESSAGE
    {
        let thrown = error.exception_message.as_str();
        let thrown = thrown.strip_prefix("Uncaught ").unwrap_or(thrown);
        message.push_str(before);
        message.push_str(thrown.strip_prefix("(in promise) ").unwrap_or(thrown));
        left.extend(error.cause.as_deref().map(|cause| ("\nCaused by: ", cause)));
        let gathered = error.aggregated.as_deref().unwrap_or_default();
        let gathered = &gathered[..gathered.len().min(DIAGNOSTIC_MESSAGE)];
        left.extend(gathered.iter().rev().map(|gathered| ("\n  ", gathered)));
    }
    message
}

/// Of a script that it cannot compile V8 names the one that requires it.
fn place_in_required(project: &Project, message: &str) -> Option<Place> {
    let last = project.last_required.lock().expect("no panic while it is held").clone()?;
    let place = || source::place_of_syntax_error(project, &last);
    message.starts_with("SyntaxError").then(place).flatten()
}

/// The first place on the stack that is the project's own, or else one in its packages.
fn place(project: &Project, error: &JsError) -> Option<Place> {
    let frames = error.frames.iter().filter_map(|frame| {
        let file = frame.file_name.clone()?;
        let shown = project.names.file(&file)?;
        let number = |n: Option<i64>| n.and_then(|n| u32::try_from(n).ok());
        let place = Place { file, line: number(frame.line_number), column: number(frame.column_number) };
        Some((shown.contains("node_modules/"), place))
    });
    frames.min_by_key(|(in_package, _)| *in_package).map(|(_, place)| place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roots::Roots;

    #[test]
    fn the_place_in_a_configuration_file_is_taken_from_the_text() {
        let names = Names::new(&Roots {
            checkout: "/c/blog".into(),
            root: "/c/blog".into(),
            node_modules: None,
            other_node_modules: Default::default(),
        });
        let error = anyhow::anyhow!("Unterminated object on line 3 column 14")
            .context("Failed deserializing config file 'file:///c/blog/deno.json'.");
        let diagnostic = misconfigured(&names, &error);
        assert_eq!(
            diagnostic.message,
            "Failed deserializing config file 'deno.json': Unterminated object on line 3 column 14"
        );
        assert_eq!(diagnostic.file.as_deref(), Some("deno.json"));
        assert_eq!((diagnostic.line, diagnostic.column), (Some(3), Some(14)));
    }
}
