//! The bridge's JSON about git sources: their state, and the results of their syncs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::deploy::DeployOutcome;
use crate::digest::Digest;
use crate::project::ProjectName;

/// The result of a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SyncOutcome {
    /// The commit is live on all routers that the deploy needed.
    Live,
    /// The commit, or the same files, were live already.
    Unchanged,
    /// The commit waits to be published.
    Ready,
    /// A project of the commit does not build, or the commit cannot be deployed as it is.
    Failed,
    /// The commit removes projects, and that was not allowed.
    Blocked,
    /// The repository or the routers cannot be reached.
    Unreachable,
    /// The source is frozen.
    Frozen,
    /// An outcome of a newer bridge.
    #[serde(other)]
    Unrecognized,
}

impl SyncOutcome {
    /// All outcomes that this version has.
    pub const ALL: [Self; 7] = [
        Self::Live,
        Self::Unchanged,
        Self::Ready,
        Self::Failed,
        Self::Blocked,
        Self::Unreachable,
        Self::Frozen,
    ];

    /// The name as in JSON, in metrics and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Unchanged => "unchanged",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Blocked => "blocked",
            Self::Unreachable => "unreachable",
            Self::Frozen => "frozen",
            Self::Unrecognized => "unrecognized",
        }
    }
}

/// The result of a sync of one source: `POST /sources/{source}/sync`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SyncReport {
    /// The source's name.
    pub source: String,
    /// The commit that the server showed. `null` when it could not be asked.
    pub commit: Option<String>,
    /// The ref that was followed. `null` for a fixed commit.
    #[serde(rename = "ref")]
    pub ref_name: Option<String>,
    /// The commit that was live before. `null` before the first sync.
    pub previous: Option<String>,
    /// The result.
    pub outcome: SyncOutcome,
    /// The projects that differed, by name. Empty when nothing did.
    #[serde(default)]
    pub projects: Vec<SyncedProject>,
    /// The deploy of the commit. `null` without one.
    pub deploy: Option<String>,
    /// The problem document. `null` unless the sync failed.
    pub problem: Option<Value>,
    /// Milliseconds of each phase, by its name, and `total`.
    #[serde(default)]
    pub timings_ms: BTreeMap<String, f64>,
    /// The paths and patterns of the source's settings for which the commit has nothing.
    #[serde(default)]
    pub unmatched: Vec<String>,
}

/// One project of a sync.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SyncedProject {
    /// The project's name.
    pub project: ProjectName,
    /// The folder in the repository. `null` for a project that the commit no longer has.
    pub path: Option<String>,
    /// The digest of its files. `null` for a project that was removed or not read.
    pub digest: Option<Digest>,
    /// The result for the project.
    pub outcome: SyncOutcome,
}

/// `POST /repo/sync`: the syncs of all sources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SyncReports {
    /// One report for each source, by name.
    pub sources: Vec<SyncReport>,
}

/// The work of a source at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// Nothing is under way.
    #[default]
    Idle,
    /// The server is asked, and the commit fetched.
    Fetching,
    /// The commit is compared with what is applied.
    Reading,
    /// The commit is deployed.
    Deploying,
    /// Nothing is under way, and a commit waits to be published.
    Ready,
    /// A state of a newer bridge.
    #[serde(other)]
    Unrecognized,
}

/// The state of one source: `GET /sources/{source}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SourceStatus {
    /// The source's name.
    pub source: String,
    /// The repository.
    pub url: String,
    /// The branch, tag pattern, commit or ref that is followed.
    pub follows: String,
    /// The source that this is a preview of, as one of its branches. `null` for a source of the file.
    #[serde(default)]
    pub preview_of: Option<String>,
    /// The work under way.
    pub state: SourceState,
    /// `follow`: a new commit goes live at once. `hold`: it waits to be published.
    pub publish: String,
    /// The commit that is live. `null` before the first successful sync.
    pub applied: Option<String>,
    /// The newest commit that the server has shown. `null` before the first.
    pub seen: Option<String>,
    /// The commit that waits to be published. `null` without one.
    #[serde(default)]
    pub ready: Option<String>,
    /// The commit that failed. `null` without one.
    pub failed: Option<String>,
    /// The reason why nothing is deployed: a freeze, or a window. `null` without one.
    #[serde(default)]
    pub frozen: Option<String>,
    /// The projects whose removal waits for approval, by name.
    #[serde(default)]
    pub asks: Vec<ProjectName>,
    /// The cause that keeps the source from following its ref. `null` without one.
    pub problem: Option<SourceProblem>,
    /// The time of the last sync that ended with the newest commit live.
    pub synced_at: Option<Timestamp>,
    /// The time of the next poll. `null` while a sync is under way.
    #[serde(default)]
    pub next_poll: Option<Timestamp>,
    /// The last delivery of the source's webhook. `null` without one since the bridge started.
    #[serde(default)]
    pub last_hook: Option<HookDelivery>,
    /// Bytes of the mirror of the source's repository.
    #[serde(default)]
    pub mirror_bytes: u64,
    /// The paths and patterns of the settings for which the commit that was read last has nothing, as
    /// after a misspelling. Empty before the first.
    #[serde(default)]
    pub unmatched: Vec<String>,
    /// The projects, by name.
    #[serde(default)]
    pub projects: Vec<SourceProject>,
}

/// A delivery of a source's webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HookDelivery {
    /// The time of its arrival.
    pub at: Timestamp,
    /// True if its signature was right.
    pub accepted: bool,
    /// The result in words, as in `push of refs/heads/main`.
    pub detail: String,
}

/// A cause that keeps a source from following its ref.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceProblem {
    /// `unreachable`, `unauthorized`, `host-key`, `branch-gone`, `damaged`, `too-large`, `disk-full`,
    /// `invalid`, `failed`, `overridden` or `blocked`.
    pub kind: String,
    /// The cause in words, with the way to fix it.
    pub detail: String,
    /// The time since which it holds.
    pub since: Timestamp,
}

/// One project of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SourceProject {
    /// The project's name.
    pub project: ProjectName,
    /// The folder in the repository.
    pub path: String,
    /// The id of the folder's tree that is live.
    pub tree: String,
    /// The digest of the files that the commit has put on the volume.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// The digest of the files on the volume, if they are not those of the commit. `null` without
    /// drift.
    #[serde(default)]
    pub drift: Option<Digest>,
    /// The project is not on the volume any more, though the commit has it: drift too.
    #[serde(default)]
    pub missing: bool,
    /// The folder from which the project is read for development, in place of the volume.
    #[serde(default)]
    pub overridden: Option<String>,
}

/// `GET /sources/{source}/explain`: the reasons why a commit changes projects, or does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The source's name.
    pub source: String,
    /// The commit that is explained.
    pub commit: String,
    /// The commit that is live. `null` before the first.
    pub applied: Option<String>,
    /// The facts about the whole source: a freeze, a window, a failed commit, an approval.
    #[serde(default)]
    pub notes: Vec<String>,
    /// One entry for each project of the commit and for each that is applied, by name.
    pub projects: Vec<ExplainedProject>,
}

/// One project of an [`Explanation`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedProject {
    /// The project's name.
    pub project: ProjectName,
    /// The folder in the repository. `null` for a project that the commit does not have.
    pub path: Option<String>,
    /// `added`, `changed`, `unchanged` or `removed`.
    pub change: String,
    /// The reason in words, with the ids of the trees that were compared.
    pub reason: String,
}

/// One commit that was deployed: `GET /sources/{source}/commits/{commit}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeployedCommit {
    /// The commit's id.
    pub commit: String,
    /// The deploy.
    pub deploy: String,
    /// The time of the deploy.
    pub at: Timestamp,
    /// The result of the deploy. `null` while it is under way.
    pub outcome: Option<DeployOutcome>,
    /// The projects that it changed, with their digests.
    pub projects: Vec<SyncedProject>,
}

/// `GET /sources/{source}/commits`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeployedCommits {
    /// The newest first.
    pub commits: Vec<DeployedCommit>,
}

/// The body of `PUT /sources/{source}/override`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OverrideRequest {
    /// The folder with the repository's files, absolute, below the router's `--allow-override`.
    pub local_path: String,
}

/// `PUT` and `DELETE /sources/{source}/override`: the folders from which projects are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Overrides {
    /// The folder of each project, by the project's name. Empty when all are read from the volume.
    pub projects: BTreeMap<ProjectName, String>,
}

/// `GET /sources`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SourceStatuses {
    /// The sources of which the caller may read all projects, by name.
    pub sources: Vec<SourceStatus>,
}
