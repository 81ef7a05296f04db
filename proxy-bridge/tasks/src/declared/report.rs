//! Problems and remarks of one reading, all at once.

use switchyard_contract::event::Diagnostic;

use super::Place;

/// The most that are kept of either kind: a person fixes the first ones first.
const MAX_KEPT: usize = 200;

/// The problems and remarks that were found so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) problems: Vec<Diagnostic>,
    pub(super) warnings: Vec<Diagnostic>,
}

impl Report {
    /// Refuses a field: `"{field}" in {file} {fix}`.
    pub(super) fn wrong(&mut self, place: &Place, field: &str, fix: impl AsRef<str>) {
        let found = about(place, field, fix.as_ref());
        self.refuse(found);
    }

    /// Remarks on a field.
    pub(super) fn remark(&mut self, place: &Place, field: &str, fix: impl AsRef<str>) {
        let found = about(place, field, fix.as_ref());
        if self.warnings.len() < MAX_KEPT && !self.warnings.contains(&found) {
            self.warnings.push(found.bounded());
        }
    }

    /// Adds a problem.
    pub(super) fn refuse(&mut self, problem: Diagnostic) {
        // A set's defaults are read with each of its tasks.
        if self.problems.len() < MAX_KEPT && !self.problems.contains(&problem) {
            self.problems.push(problem.bounded());
        }
    }
}

fn about(place: &Place, field: &str, fix: &str) -> Diagnostic {
    let known = |number: u32| (number > 0).then_some(number);
    Diagnostic {
        message: format!("\"{field}\" in {} {fix}", place.file),
        file: Some(place.file.to_string()),
        line: known(place.line),
        column: known(place.column),
        frame: None,
    }
}
