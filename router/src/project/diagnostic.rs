//! Diagnostics about the files of a project.

use switchyard_contract::event::Diagnostic;

/// Returns a diagnostic without a file.
pub(crate) fn diagnostic(message: impl Into<String>) -> Diagnostic {
    Diagnostic { message: message.into(), ..Diagnostic::default() }
}

/// Returns a diagnostic about `file`, without a line.
pub(crate) fn in_file(file: &str, message: String) -> Diagnostic {
    Diagnostic { file: Some(file.to_owned()), ..diagnostic(message) }
}
