//! A request's stay in a running cell, and whose fault it is when no answer comes of it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use switchyard_contract::admin::VERSION;
use switchyard_edge::upload::UploadError;
use switchyard_edge::upstream::BadAnswer;
use tokio::task::spawn_local;

use super::problem::Problem;
use crate::drain::Guard;
use crate::live::{LiveSite, ProjectEntry, RunningCell};

const STALE: HeaderName = HeaderName::from_static("x-switchyard-stale");

/// A process whose connections break because it ends is gone within this time, on a busy machine too. One that is
/// still there has closed them itself.
const ENDS_WITHIN: Duration = Duration::from_millis(250);

/// A request that is in a cell. Dropped when the last byte of the answer is out, or its tunnel is closed.
#[derive(Debug)]
pub(super) struct CellLease {
    pub(super) entry: Arc<ProjectEntry>,
    /// The version that the cell runs, as a header's value.
    pub(super) version: HeaderValue,
    pub(super) running: Arc<RunningCell>,
    pub(super) guard: Guard,
}

/// An answer with a file. Dropped when its last byte is out.
#[derive(Debug)]
pub(super) struct SiteLease {
    entry: Arc<ProjectEntry>,
    version: HeaderValue,
    pub(super) site: Arc<LiveSite>,
    _guard: Guard,
}

impl SiteLease {
    /// Counts an answer in. `None`: the live version has no files for requests, or takes no more.
    pub(super) fn enter(entry: &Arc<ProjectEntry>) -> Option<Self> {
        let live = entry.live.as_ref()?;
        let site = live.site.clone()?;
        let guard = site.in_flight.enter()?;
        Some(Self { entry: entry.clone(), version: live.header.clone(), site, _guard: guard })
    }

    /// Notes in an answer's headers which version gave it.
    pub(super) fn mark(&self, headers: &mut HeaderMap) {
        mark(&self.entry, &self.version, headers);
    }

    /// The problem when a file of the checkout cannot be read.
    pub(super) fn unreadable(&self, file: &str, error: &io::Error) -> Problem {
        let version = self.version.to_str().unwrap_or_default();
        tracing::error!(
            project.name = %self.entry.project,
            project.version = version,
            file,
            "a file of {version} cannot be read: {error}"
        );
        Problem::Unreadable
    }
}

/// Notes in an answer's headers which version of the project gave it.
fn mark(entry: &ProjectEntry, version: &HeaderValue, headers: &mut HeaderMap) {
    headers.insert(VERSION, version.clone());
    match &entry.failed {
        Some(failed) => headers.insert(STALE, failed.header.clone()),
        None => headers.remove(STALE),
    };
}

impl CellLease {
    /// Notes in an answer's headers which version gave it.
    pub(super) fn mark(&self, headers: &mut HeaderMap) {
        mark(&self.entry, &self.version, headers);
    }

    /// The problem when the exchange with the cell ended in `error` before the head of an answer came.
    pub(super) async fn blame(self, error: &hyper::Error) -> Problem {
        // What breaks off on the client's side says nothing of the cell.
        if let Some(error) = UploadError::behind(error) {
            return match error {
                UploadError::TooLarge => Problem::BodyTooLarge,
                UploadError::TooSlow => Problem::BodyTooSlow,
                UploadError::BrokenOff => Problem::BadRequest("the body of the request broke off"),
            };
        }
        match BadAnswer::of(error) {
            Some(bad) => self.answered_badly(bad),
            None => self.ended().await,
        }
    }

    /// The problem when the cell is there, and gave no answer.
    pub(super) fn answered_badly(&self, bad: BadAnswer) -> Problem {
        report(&self.entry, &self.version, bad)
    }

    /// The body of an answer that has begun ends in `error`.
    pub(super) fn broke_off(self, error: &hyper::Error) {
        match BadAnswer::of(error) {
            Some(bad) => drop(self.answered_badly(bad)),
            // It ends by itself, after `ENDS_WITHIN`.
            None => drop(spawn_local(self.ended())),
        }
    }

    /// The problem when the connection to the cell ended.
    async fn ended(self) -> Problem {
        let Self { entry, version, running, guard } = self;
        guard.broke();
        if running.cell.ends_within(ENDS_WITHIN).await {
            return Problem::CellDied;
        }
        report(&entry, &version, BadAnswer::ClosedEarly)
    }
}

/// Counts and logs that a cell answered wrongly.
fn report(entry: &ProjectEntry, version: &HeaderValue, bad: BadAnswer) -> Problem {
    let problem = Problem::BadAnswer(bad);
    if let Some(count) = entry.requests.bad_answer() {
        let version = version.to_str().unwrap_or_default();
        tracing::warn!(
            project.name = %entry.project,
            project.version = version,
            count,
            "{version} answered wrongly ({count} times): {}",
            problem.detail()
        );
    }
    problem
}
