//! Leases of cells and of files for the duration of a request, and the blame for a missing
//! response.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use switchyard_contract::admin::{COMMIT, VERSION};
use switchyard_edge::upload::UploadError;
use switchyard_edge::upstream::BadAnswer;
use tokio::task::spawn_local;

use super::problem::RequestProblem;
use crate::drain::RequestGuard;
use crate::live::{LiveSite, ProjectEntry, RunningCell};
use crate::transport::Failure;

const STALE: HeaderName = HeaderName::from_static("x-switchyard-stale");

const OVERRIDE: HeaderName = HeaderName::from_static("x-switchyard-override");

/// The time within which a process that ends is gone after its connections broke, on a busy machine
/// too. A process that is still there has closed them itself.
const ENDS_WITHIN: Duration = Duration::from_millis(250);

/// A request in a cell. Dropped when the last byte of the response is out, or its tunnel is closed.
#[derive(Debug)]
pub(super) struct CellLease {
    pub(super) entry: Arc<ProjectEntry>,
    /// The version that the cell runs, as a header value.
    pub(super) version: HeaderValue,
    /// The commit of the version, as a header value.
    pub(super) commit: Option<HeaderValue>,
    pub(super) running: Arc<RunningCell>,
    pub(super) guard: RequestGuard,
}

/// A response with a file. Dropped when its last byte is out.
#[derive(Debug)]
pub(super) struct SiteLease {
    entry: Arc<ProjectEntry>,
    version: HeaderValue,
    commit: Option<HeaderValue>,
    pub(super) site: Arc<LiveSite>,
    _guard: RequestGuard,
}

impl SiteLease {
    /// Enters the files of the live version. Returns `None` if it has none, or takes no more
    /// requests.
    pub(super) fn enter(entry: &Arc<ProjectEntry>) -> Option<Self> {
        let live = entry.live.as_ref()?;
        let site = live.site.clone()?;
        let guard = site.in_flight.enter()?;
        let (version, commit) = (live.header.clone(), live.commit.clone());
        Some(Self { entry: entry.clone(), version, commit, site, _guard: guard })
    }

    /// Sets the headers that name the version of a response.
    pub(super) fn mark(&self, headers: &mut HeaderMap) {
        mark(&self.entry, &self.version, self.commit.as_ref(), headers);
    }

    /// Logs that a file of the checkout cannot be read, and returns the problem.
    pub(super) fn unreadable(&self, file: &str, error: &io::Error) -> RequestProblem {
        let version = self.version.to_str().unwrap_or_default();
        tracing::error!(
            project.name = %self.entry.project,
            project.version = version,
            file,
            "a file of {version} cannot be read: {error}"
        );
        RequestProblem::Unreadable
    }
}

/// Sets the headers that name the version of a response, and where it was read from. Those that the
/// project itself has set are removed.
fn mark(entry: &ProjectEntry, version: &HeaderValue, commit: Option<&HeaderValue>, headers: &mut HeaderMap) {
    headers.insert(VERSION, version.clone());
    match commit {
        Some(commit) => headers.insert(COMMIT, commit.clone()),
        None => headers.remove(COMMIT),
    };
    match &entry.failed {
        Some(failed) => headers.insert(STALE, failed.header.clone()),
        None => headers.remove(STALE),
    };
    match entry.is_overridden {
        true => headers.insert(OVERRIDE, HeaderValue::from_static("1")),
        false => headers.remove(OVERRIDE),
    };
}

impl CellLease {
    /// Sets the headers that name the version of a response.
    pub(super) fn mark(&self, headers: &mut HeaderMap) {
        mark(&self.entry, &self.version, self.commit.as_ref(), headers);
    }

    /// Returns the problem when a request ended in `failure` before the head of its response came.
    pub(super) async fn blame(self, failure: Failure) -> RequestProblem {
        match failure {
            Failure::Upload(UploadError::TooLarge) => RequestProblem::BodyTooLarge,
            Failure::Upload(UploadError::TooSlow) => RequestProblem::BodyTooSlow,
            Failure::Upload(UploadError::BrokenOff) => {
                RequestProblem::BadRequest("the body of the request broke off")
            }
            Failure::Invalid(bad) => self.report_invalid(bad),
            Failure::Ended => self.connection_ended().await,
        }
    }

    /// Reports an invalid response of the cell, and returns the problem.
    pub(super) fn report_invalid(&self, bad: BadAnswer) -> RequestProblem {
        report(&self.entry, &self.version, bad)
    }

    /// Blames the cell for a response body that ended in `failure`.
    pub(super) fn blame_for_body(self, failure: Failure) {
        match failure {
            // A failure of the client is not the cell's.
            Failure::Upload(_) => {}
            Failure::Invalid(bad) => drop(self.report_invalid(bad)),
            // This task ends after `ENDS_WITHIN`.
            Failure::Ended => drop(spawn_local(self.connection_ended())),
        }
    }

    /// Returns the problem when the connection to the cell ended.
    async fn connection_ended(self) -> RequestProblem {
        let Self { entry, version, running, guard, .. } = self;
        guard.mark_broken();
        if running.cell.ends_within(ENDS_WITHIN).await {
            return RequestProblem::CellDied;
        }
        report(&entry, &version, BadAnswer::ClosedEarly)
    }
}

/// Counts and logs an invalid response.
fn report(entry: &ProjectEntry, version: &HeaderValue, bad: BadAnswer) -> RequestProblem {
    let problem = RequestProblem::BadAnswer(bad);
    if let Some(count) = entry.requests.bad_answer() {
        let version = version.to_str().unwrap_or_default();
        tracing::warn!(
            project.name = %entry.project,
            project.version = version,
            count,
            "{version} sent an invalid response ({count} times): {}",
            problem.detail()
        );
    }
    problem
}
