//! A report on a project's declarations, without a server: `switchyard task lint`.

use std::path::Path;

use serde::Serialize;
use switchyard_contract::event::Diagnostic;
use switchyard_contract::task::TaskSet;

use crate::declared;

/// The tasks that would be registered, and the problems that stop it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LintReport {
    /// The tasks and pipelines that are well declared. Nothing of it is registered while there are
    /// problems.
    #[serde(flatten)]
    pub set: TaskSet,
    /// The problems that make the version invalid.
    pub problems: Vec<Diagnostic>,
    /// Remarks that stop nothing.
    pub warnings: Vec<Diagnostic>,
}

/// Reads the declarations of the project in `dir`.
pub fn lint(dir: &Path) -> LintReport {
    let (declared, problems) = declared::read_all(dir);
    LintReport { set: declared.set, problems, warnings: declared.warnings }
}
