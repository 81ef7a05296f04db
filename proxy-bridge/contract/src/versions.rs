//! The bridge's JSON about differences between versions, locks of projects, and reloads.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::Report;
use crate::deploy::Removal;
use crate::project::ProjectName;

/// `GET /projects/{name}/diff` of the bridge: the difference between the files of two versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VersionDiff {
    /// The project's name.
    pub project: ProjectName,
    /// The version that is compared (`blog@3f9a1c2b7d4e`).
    pub from: String,
    /// The version that it is compared with.
    pub to: String,
    /// The terms of the removal. Absent unless the project is removed and can be brought back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<Removal>,
    /// The files that differ, by path.
    pub files: Vec<FileDiff>,
    /// `true`: there are more of them.
    #[serde(default)]
    pub truncated: bool,
}

/// One file that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileDiff {
    /// The path in the project.
    pub path: String,
    /// The kind of the difference.
    pub change: FileChange,
    /// The size in `from`, in bytes. `null` for an added file.
    pub before: Option<u64>,
    /// The size in `to`, in bytes. `null` for a removed file.
    pub after: Option<u64>,
    /// The lines that differ, as a unified diff. `null` for a file that is large or not text.
    pub diff: Option<String>,
}

/// The kind of a file's difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileChange {
    /// The file is in `to` alone.
    Added,
    /// The file is in `from` alone.
    Removed,
    /// The file has another content.
    Changed,
}

/// `PUT /projects/{name}/lock` of the bridge: nobody changes the project until the lock is taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProjectLock {
    /// The project's name.
    pub project: ProjectName,
    /// The name of the token that locked it. `null` where no tokens are configured.
    pub by: Option<String>,
    /// The time since which it is locked.
    pub at: Timestamp,
    /// The reason that was given. `null` without one.
    pub reason: Option<String>,
}

/// `GET /locks` of the bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProjectLocks {
    /// The locks of the projects that the caller may read, by name.
    pub locks: Vec<ProjectLock>,
}

/// `POST /projects/{name}/reload` of the bridge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProjectReload {
    /// The project's name.
    pub project: ProjectName,
    /// One entry for each router, in the order of the configuration.
    pub routers: Vec<RouterReload>,
}

/// The outcome of a reload at one router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouterReload {
    /// The router's admin URL.
    pub router: String,
    /// The outcome. `null` without an answer.
    pub report: Option<Report>,
    /// The reason why there is no answer. `null` with one.
    pub error: Option<String>,
}
