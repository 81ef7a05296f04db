//! Questions about runs, and requests to retry and resume them: `/runs` of the bridge.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::{Run, RunId, RunLine, RunState, Step};
use crate::digest::Digest;
use crate::project::ProjectName;
use crate::task::TaskId;

/// The runs that are asked for: those that meet all conditions, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFilter {
    /// Runs of this task or pipeline.
    pub task: Option<TaskId>,
    /// Runs of this project's tasks and pipelines.
    pub project: Option<ProjectName>,
    /// Runs in one of these states. Empty: in any.
    pub states: Vec<RunState>,
    /// Runs that were accepted then or later.
    pub since: Option<Timestamp>,
    /// Runs that were accepted before then.
    pub until: Option<Timestamp>,
    /// Runs of versions from this commit: its first hex digits, at least 7.
    pub commit: Option<String>,
    /// Runs with this parent.
    pub parent: Option<RunId>,
    /// The most runs of a page: 1 to [`MAX_LIMIT`](Self::MAX_LIMIT).
    pub limit: u32,
    /// The [`next`](RunPage::next) of the page before this one.
    pub cursor: Option<String>,
}

impl RunFilter {
    /// The runs of a page, unless another number is asked for.
    pub const DEFAULT_LIMIT: u32 = 50;
    /// The most runs of a page.
    pub const MAX_LIMIT: u32 = 1000;
}

impl Default for RunFilter {
    /// All runs, 50 on a page.
    fn default() -> Self {
        Self {
            task: None,
            project: None,
            states: Vec::new(),
            since: None,
            until: None,
            commit: None,
            parent: None,
            limit: Self::DEFAULT_LIMIT,
            cursor: None,
        }
    }
}

/// A page of runs, the newest first: `GET /runs`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunPage {
    /// The runs, without their parameters and results, which `GET /runs/{id}` has. Those that the
    /// caller may not read are left out: a page can be empty and not be the last one.
    pub runs: Vec<Run>,
    /// The `cursor` of the page after this one. `null`: this is the last one.
    #[serde(default)]
    pub next: Option<String>,
}

/// One run with all that is known of it: `GET /runs/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunDetail {
    /// The run.
    #[serde(flatten)]
    pub run: Run,
    /// Its steps, in the order in which they began.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// The runs whose parent it is, the oldest first.
    #[serde(default)]
    pub children: Vec<RunId>,
    /// The reason why it waits, while it is queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
}

/// A run that was asked for: the answer to a start, a retry and a resumption.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StartedRun {
    /// The run, as it was when the answer was made.
    pub run: Run,
    /// `false`: an earlier request with the same idempotency key started it.
    pub is_new: bool,
}

/// Lines of a run's log: `GET /runs/{id}/logs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunLog {
    /// The lines, the oldest first.
    pub lines: Vec<RunLine>,
    /// The `from` of the lines after these.
    pub next: u64,
    /// `true`: the run has ended, and these are the last lines.
    pub is_end: bool,
}

/// `POST /runs/{id}/retry`: run it again, with the same parameters and input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryRun {
    /// The code of the new run: `same`, `latest`, or a version as in [`StartTask`]. `null`: by the
    /// task's own rule.
    ///
    /// [`StartTask`]: crate::task_overview::StartTask
    #[serde(default)]
    pub version: Option<String>,
}

/// `POST /runs/{id}/resume`: go on with a run that did not succeed. Finished steps are not run again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeRun {
    /// The first step that is run again. `null`: the first one that did not succeed.
    #[serde(default)]
    pub from_step: Option<String>,
    /// `true`: with the version that is live now.
    #[serde(default)]
    pub latest: bool,
}

/// The version for another run of a run's task: `same`, `latest`, or a digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RunVersionChoice {
    /// The version of the run before.
    Same,
    /// The version that is live when the new run begins.
    Latest,
    /// This version.
    Digest(Digest),
}

/// Text that names no version for a retry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid version {0:?}: expected \"same\", \"latest\", or the 64 hex digits of a version's digest")]
pub struct InvalidVersionChoice(pub String);

impl fmt::Display for RunVersionChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("same"),
            Self::Latest => f.write_str("latest"),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl FromStr for RunVersionChoice {
    type Err = InvalidVersionChoice;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "same" => Ok(Self::Same),
            "latest" => Ok(Self::Latest),
            digits => digits.parse().map(Self::Digest).map_err(|_| InvalidVersionChoice(text.to_owned())),
        }
    }
}

impl TryFrom<String> for RunVersionChoice {
    type Error = InvalidVersionChoice;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RunVersionChoice> for String {
    fn from(choice: RunVersionChoice) -> Self {
        choice.to_string()
    }
}

impl PartialSchema for RunVersionChoice {
    fn schema() -> RefOr<Schema> {
        String::schema()
    }
}

impl ToSchema for RunVersionChoice {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_choice_is_a_word_or_a_digest() {
        let digits = "a".repeat(64);
        for text in ["same", "latest", &digits] {
            assert_eq!(text.parse::<RunVersionChoice>().unwrap().to_string(), *text);
        }
        for bad in ["", "live", "abc"] {
            let error = bad.parse::<RunVersionChoice>().unwrap_err().to_string();
            assert!(error.contains("\"latest\""), "{error}");
        }
    }

    #[test]
    fn a_request_with_an_unknown_field_is_refused() {
        let read = |text: &str| serde_json::from_str::<ResumeRun>(text);
        assert!(read("{}").is_ok());
        assert!(read(r#"{"fromStep": "x"}"#).is_err());
    }
}
