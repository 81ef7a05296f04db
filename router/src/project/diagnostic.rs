//! Diagnostics about the files of a project.

use switchyard_contract::event::Diagnostic;

/// Returns a diagnostic without a file.
pub(crate) fn diagnostic(message: impl Into<String>) -> Diagnostic {
    Diagnostic { message: message.into(), ..Diagnostic::default() }
}
