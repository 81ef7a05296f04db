//! The status of projects, as a router reports it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Grants;
use crate::commit::CommitInfo;
use crate::event::{ChangedFiles, Death, Diagnostic, RouteConflict, Timings, Trigger};
use crate::incarnation::Incarnation;
use crate::route::Claim;

/// `GET /projects`: every project, or with `?since=REVISION&router=ID` (both from an earlier answer)
/// the projects whose status has changed since then, and those that were removed. The router answers
/// with every project, and without `since`, when `ID` is another router's or when it has forgotten
/// removals since then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Projects {
    /// The router's id: another one after each start.
    pub router: String,
    /// `true`: the router fetches packages that projects name and that are missing on the volume
    /// (`--allow-install`).
    #[serde(default)]
    pub installs: bool,
    /// The number of the last change of any project's status. Changes of the counts `in_flight` and
    /// `waiting` alone are not numbered.
    #[serde(default)]
    pub revision: u64,
    /// The revision after which this answer has the changes. `null` when it has every project.
    #[serde(default)]
    pub since: Option<u64>,
    /// By name.
    pub projects: Vec<Status>,
    /// The names of the projects that were removed after `since`, each once. Empty without `since`.
    #[serde(default)]
    pub removed: Vec<String>,
}

/// The status of one project, in `GET /projects` and `GET /projects/{name}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The name of the folder: not always a project name.
    pub name: String,
    /// The project's state.
    pub state: ProjectState,
    /// The owner of `DATA_DIR`: the incarnation of the live version, or else of the one on disk.
    /// `first` while neither is known.
    #[serde(default)]
    pub incarnation: Incarnation,
    /// The version on the volume, as it was last read. `null` until it was read.
    pub on_disk: Option<VersionName>,
    /// The version that gets new requests. `null` without one.
    pub live: Option<VersionName>,
    /// The newest version that became live. `null` without one.
    pub last_good: Option<VersionName>,
    /// The reason why the newest version failed while `live` still serves, or why `live` is stopped.
    /// `null` otherwise.
    pub error: Option<Diagnostic>,
    /// The process of the live version; the first one if it has several. `null` while none runs.
    pub pid: Option<u32>,
    /// All processes of the live version: as many as its `cells`.
    #[serde(default)]
    pub pids: Vec<u32>,
    /// Requests that the project is handling.
    pub in_flight: usize,
    /// Requests that wait for a slot, see [`ProjectLimits`](super::ProjectLimits).
    #[serde(default)]
    pub waiting: usize,
    /// Earlier versions that still finish requests.
    pub draining: Vec<Draining>,
    /// The last reloads, the newest first. At most
    /// [`KEPT_RELOADS`](crate::bounds::KEPT_RELOADS).
    pub reloads: Vec<Reload>,
    /// The hosts and path prefixes that the live version claims besides the project's name.
    #[serde(default)]
    pub routes: Vec<String>,
    /// The routes without those that the operator's policy refuses. Other projects may have a better
    /// right to them, see `conflicts`.
    #[serde(default)]
    pub claims: Vec<Claim>,
    /// Claims that this project and others both make. At most 20.
    #[serde(default)]
    pub conflicts: Vec<RouteConflict>,
    /// The id of the deploy that holds the project, see [`Hold`](super::Hold). `null` while none
    /// does.
    #[serde(default)]
    pub held_by: Option<String>,
    /// The folder that the project is read from instead of the volume
    /// (`PUT /projects/{name}/override`). `null`: it is read from the volume.
    #[serde(default)]
    pub overridden: Option<String>,
    /// The number of the last event about the project, 0 without one. It orders answers and events.
    #[serde(default)]
    pub sequence: u64,
    /// The permissions and limits of the live version, or else of the newest. `null` until its files
    /// were read.
    #[serde(default)]
    pub grants: Option<Box<Grants>>,
    /// The last unexpected ends of the project's cells, the newest first. At most
    /// [`KEPT_DEATHS`](crate::bounds::KEPT_DEATHS).
    #[serde(default)]
    pub crashes: Vec<CellCrash>,
    /// The entry of the live version, or else of the newest. `null` until its files were read.
    #[serde(default)]
    pub entry: Option<ChosenEntry>,
    /// The cron expressions of the live version's `scheduled` handler, as its configuration has them.
    #[serde(default)]
    pub crons: Vec<String>,
    /// The hash of the live version's tasks and pipelines, see
    /// [`ProjectTasks`](crate::task::ProjectTasks). `null` without any.
    #[serde(default)]
    pub tasks: Option<String>,
}

/// The state of a project.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProjectState {
    /// The first version is being built.
    #[default]
    Building,
    /// A version gets requests. Without a `pid` its cell has crashed and is about to be replaced.
    Live,
    /// The newest version failed. `live` names the older version that still serves, if any.
    Failed,
    /// The folder is not a valid project.
    Invalid,
    /// A version is live, but stopped until its next request.
    Idle,
    /// A version is live, but its cells crashed again and again: it is not started until its code or
    /// its policy changes.
    Stopped,
    /// A state of a newer router.
    #[serde(other)]
    Unrecognized,
}

impl ProjectState {
    /// Every state that this release knows.
    pub const ALL: [Self; 6] =
        [Self::Building, Self::Live, Self::Failed, Self::Invalid, Self::Idle, Self::Stopped];

    /// The name as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Live => "live",
            Self::Failed => "failed",
            Self::Invalid => "invalid",
            Self::Idle => "idle",
            Self::Stopped => "stopped",
            Self::Unrecognized => "unrecognized",
        }
    }
}

/// A version by both of its names, and the commit that it was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VersionName {
    /// 64 hex digits.
    pub digest: String,
    /// The project and the first 12 digits: `blog@3f9a1c2b7d4e`.
    pub version: String,
    /// The commit that the files came from. Absent unless a git source deployed them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitInfo>,
}

/// A version that still finishes requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Draining {
    /// The version's name.
    pub version: String,
    /// The requests that are left.
    pub in_flight: usize,
}

/// One reload that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reload {
    /// The time of its end.
    pub at: Timestamp,
    /// The reason for the reload.
    pub trigger: Trigger,
    /// The result.
    pub outcome: ReloadOutcome,
    /// The version's name. `null` when its files could not be read.
    pub version: Option<String>,
    /// The files that were found changed. Absent where there was nothing to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<ChangedFiles>,
    /// The time that each phase took.
    pub timings_ms: Timings,
}

/// The result of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReloadOutcome {
    /// A new version is live.
    Live,
    /// A new version is built, and waits for its deploy to be published.
    Built,
    /// The new version failed.
    Failed,
    /// The files on disk are those of the known version.
    Unchanged,
    /// The project is gone.
    Removed,
    /// The project does not exist.
    Unknown,
    /// An outcome of a newer router.
    #[serde(other)]
    Unrecognized,
}

/// The unexpected end of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CellCrash {
    /// The time of the end.
    pub at: Timestamp,
    /// The name of the version that the cell ran.
    pub version: String,
    /// The reason.
    #[serde(flatten)]
    pub death: Death,
}

/// The file that a version runs, and the reason for the choice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChosenEntry {
    /// Relative to the project, with `/` between.
    pub path: String,
    /// The program's arguments, in which `$NAME` stands for a variable.
    #[serde(default)]
    pub args: Vec<String>,
    /// The property or convention that chose it: `scripts.start in package.json`.
    pub reason: String,
    /// Sentences for the author about candidates that were passed over and files that are missing.
    #[serde(default)]
    pub warnings: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_one_name_and_a_newer_one_does_not_stop_a_reader() {
        for state in ProjectState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        let newer = serde_json::from_str::<ProjectState>("\"parked\"").unwrap();
        assert_eq!(newer, ProjectState::Unrecognized);
    }
}
