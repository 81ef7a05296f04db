//! Diagnostics of errors for the project's author: message, location and code frame.

use std::sync::PoisonError;

use deno_core::error::{CoreError, CoreErrorKind, JsError};
use deno_core::url::Url;
use switchyard_contract::bounds::DIAGNOSTIC_MESSAGE;
use switchyard_contract::event::Diagnostic;

use super::frame::frame;
use super::hints::hint;
use super::refusals;
use crate::modules::code::decode;
use crate::modules::failures::SourceLocation;
use crate::modules::names::PathNames;
use crate::modules::project::Project;
use crate::modules::source;

/// Returns the diagnostic of an error that the project's code or the loader raised.
pub(crate) fn diagnose(project: &Project, error: &CoreError) -> Diagnostic {
    match error.as_kind() {
        CoreErrorKind::Js(error) => {
            let message = message(error);
            let location = project
                .failures
                .location_of(&message)
                .or_else(|| location_in_required(project, &message))
                .or_else(|| location_on_stack(project, error));
            let stack = error.frames.iter().filter_map(|frame| frame.file_name.as_deref());
            let hint = hint(&message, stack).map(|hint| format!("\n{hint}")).unwrap_or_default();
            diagnostic(project, &refusals::explained(&format!("{message}{hint}")), location)
        }
        CoreErrorKind::CouldNotExecute { error, .. } => {
            diagnostic(project, &error.to_string(), project.failures.location_of(&error.to_string()))
        }
        other => {
            let message = other.to_string();
            diagnostic(project, &message, project.failures.location_of(&message))
        }
    }
}

/// Returns the diagnostic of an invalid deno.json or package.json. The parsers report the location
/// in their text only.
pub(crate) fn configuration_diagnostic(names: &PathNames, error: &anyhow::Error) -> Diagnostic {
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

/// Returns a diagnostic without a location.
pub(crate) fn plain(message: impl Into<String>) -> Diagnostic {
    Diagnostic { message: message.into(), ..Diagnostic::default() }
}

fn diagnostic(project: &Project, message: &str, location: Option<SourceLocation>) -> Diagnostic {
    let location = location.and_then(|location| Some((project.names.file(&location.file)?, location)));
    let mut diagnostic = plain(project.names.clean(message));
    if let Some((file, location)) = location {
        diagnostic.frame = code_frame(project, &location);
        diagnostic.file = Some(file);
        diagnostic.line = location.line;
        diagnostic.column = location.column;
    }
    diagnostic
}

fn code_frame(project: &Project, location: &SourceLocation) -> Option<String> {
    let url = Url::parse(&location.file).or_else(|_| Url::from_file_path(&location.file));
    let bytes = source::read(project, &url.ok()?).ok()?;
    frame(&decode(bytes), location.line?, location.column)
}

/// Returns the text of an error, of the errors that it aggregates and of its causes, up to the
/// length of a diagnostic.
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

/// Returns the location of a syntax error in a required script. V8 reports the script that requires
/// it.
fn location_in_required(project: &Project, message: &str) -> Option<SourceLocation> {
    let last = project.last_required.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
    let location = || source::location_of_syntax_error(project, &last);
    message.starts_with("SyntaxError").then(location).flatten()
}

/// Returns the first location on the stack in the project's own files, or else in its packages.
fn location_on_stack(project: &Project, error: &JsError) -> Option<SourceLocation> {
    let frames = error.frames.iter().filter_map(|frame| {
        let file = frame.file_name.clone()?;
        let shown = project.names.file(&file)?;
        let number = |n: Option<i64>| n.and_then(|n| u32::try_from(n).ok());
        let location =
            SourceLocation { file, line: number(frame.line_number), column: number(frame.column_number) };
        Some((shown.contains("node_modules/"), location))
    });
    frames.min_by_key(|(in_package, _)| *in_package).map(|(_, location)| location)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::roots::Roots;

    #[test]
    fn the_location_in_a_configuration_file_is_taken_from_the_text() {
        let names = PathNames::new(&Roots {
            checkout: "/c/blog".into(),
            root: "/c/blog".into(),
            node_modules: None,
            other_node_modules: Default::default(),
        });
        let error = anyhow::anyhow!("Unterminated object on line 3 column 14")
            .context("Failed deserializing config file 'file:///c/blog/deno.json'.");
        let diagnostic = configuration_diagnostic(&names, &error);
        assert_eq!(
            diagnostic.message,
            "Failed deserializing config file 'deno.json': Unterminated object on line 3 column 14"
        );
        assert_eq!(diagnostic.file.as_deref(), Some("deno.json"));
        assert_eq!((diagnostic.line, diagnostic.column), (Some(3), Some(14)));
    }
}
