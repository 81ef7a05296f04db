//! The judgment of routers' answers to `build`.

use http::StatusCode;

use crate::volume::Change;
use switchyard_contract::admin::{self, Report};
use switchyard_edge::problem::Problem;

/// The meaning of a router's answer to `build` for the deploy.
pub(super) enum BuildVerdict {
    Good(Vec<Report>),
    /// The router read other files than were deployed.
    Stale(Vec<Report>),
    Bad(Vec<Report>),
}

impl BuildVerdict {
    /// Judges `reports`, one for each project of `changes`.
    pub(super) fn of(changes: &[Change], reports: Vec<Report>) -> Self {
        let mut stale = false;
        for change in changes {
            let Some(project) = change.project() else { continue };
            let Some(report) = reports.iter().find(|report| report.project == project.as_str()) else {
                return Self::Stale(reports);
            };
            let as_deployed = match change.digest() {
                Some(deployed) => {
                    let read = report.own_digest.as_ref().or(report.digest.as_ref());
                    read.is_none_or(|digest| *digest == deployed.to_string())
                }
                None => change.keeps() || report.outcome == admin::ReloadOutcome::Removed,
            };
            match report.outcome {
                _ if !as_deployed => stale = true,
                admin::ReloadOutcome::Failed => return Self::Bad(reports),
                admin::ReloadOutcome::Removed if !change.removes() => stale = true,
                _ => {}
            }
        }
        if stale { Self::Stale(reports) } else { Self::Good(reports) }
    }
}

/// Returns the problem that a deployer needs to fix the build: the first project that failed, and
/// its error.
pub(super) fn build_failed(reports: &[Report]) -> Problem {
    let failed = reports.iter().find(|report| report.outcome == admin::ReloadOutcome::Failed);
    let project = failed.map(|report| report.project.as_str()).unwrap_or_default();
    let error = failed.and_then(|report| report.error.clone()).unwrap_or_default();
    let first = error.message.lines().next().unwrap_or("it does not build").to_owned();
    let location = match (&error.file, error.line, error.column) {
        (Some(file), Some(line), Some(column)) => format!(" ({file}:{line}:{column})"),
        (Some(file), Some(line), None) => format!(" ({file}:{line})"),
        (Some(file), ..) => format!(" ({file})"),
        _ => String::new(),
    };
    let detail = format!("{project} does not build: {first}{location}");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "build-failed", detail)
        .with("project", project)
        .with("version", failed.and_then(|report| report.version.clone()))
        .with("error", serde_json::to_value(error).unwrap_or_default())
}
