//! What a router's admin listener takes and answers, as JSON.

use std::collections::HashSet;

use http::HeaderName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::{Death, Diagnostic, RouteConflict, Timings, Trigger};
use crate::incarnation::Incarnation;
use crate::project::ProjectName;
use crate::route::Claim;

/// The digest of the version that a checkout's tar is of.
pub const DIGEST: HeaderName = HeaderName::from_static("x-switchyard-digest");

/// The digest of the files that the tar has, when it is another one: it has the project's own files alone.
pub const OWN_DIGEST: HeaderName = HeaderName::from_static("x-switchyard-own-digest");

/// The version that answered, or that a checkout's tar is of.
pub const VERSION: HeaderName = HeaderName::from_static("x-switchyard-version");

/// `GET /projects`: every project. With `?since=REVISION&router=ID`, both from an earlier answer:
/// the projects whose status has changed since then, and those that were removed. The router
/// answers with every project all the same (and without `since`) when `ID` is another router's, or
/// when it has forgotten removals since then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Projects {
    /// The router's id: another one after each of its starts.
    pub router: String,
    /// It fetches packages that projects name and the volume lacks (`--allow-install`).
    #[serde(default)]
    pub installs: bool,
    /// The number of the last change of any project's status. Counts (`in_flight`, `waiting`) alone
    /// are no change.
    #[serde(default)]
    pub revision: u64,
    /// The revision that this answer tells the changes after. `None`: it has every project.
    #[serde(default)]
    pub since: Option<u64>,
    /// By name.
    pub projects: Vec<Status>,
    /// The names of the projects that were removed after `since`, each once. Empty without `since`.
    #[serde(default)]
    pub removed: Vec<String>,
}

/// One project, as in `GET /projects` and `GET /projects/{name}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// As the folder is called: not always a project name.
    pub name: String,
    pub state: State,
    /// The owner of `DATA_DIR`: the incarnation of the live version, or else of the one on disk.
    /// `first` while none is known.
    #[serde(default)]
    pub incarnation: Incarnation,
    pub on_disk: Option<VersionName>,
    /// What gets new requests.
    pub live: Option<VersionName>,
    pub last_good: Option<VersionName>,
    /// Why the newest version failed, while `live` serves all the same; or else why `live` is stopped.
    pub error: Option<Diagnostic>,
    /// The process of the live version, while it runs; the first one when it has several.
    pub pid: Option<u32>,
    /// All its processes: as many as its `cells`.
    #[serde(default)]
    pub pids: Vec<u32>,
    pub in_flight: usize,
    /// Requests that wait for a place among those in flight.
    #[serde(default)]
    pub waiting: usize,
    pub draining: Vec<Draining>,
    /// The newest first.
    pub reloads: Vec<Reload>,
    /// Hosts and path prefixes that the live version claims besides the project's name.
    #[serde(default)]
    pub routes: Vec<String>,
    /// The claims by which the project is looked up: its routes without those that the operator's
    /// policy refuses. Others may have a better right: see `conflicts`.
    #[serde(default)]
    pub claims: Vec<Claim>,
    /// The claims, its own or of others, that it keeps from others or others from it; at most 20 of them.
    #[serde(default)]
    pub conflicts: Vec<RouteConflict>,
    /// The id of the deploy that holds the project, see [`Hold`]. `None` while none does.
    #[serde(default)]
    pub held_by: Option<String>,
    /// The number of the last event that tells of it, 0 if none: what tells an answer that is newer
    /// than an event from one that is older.
    #[serde(default)]
    pub sequence: u64,
    /// What the live version (or, without one, the newest) may do. None until its files were read.
    #[serde(default)]
    pub grants: Option<Grants>,
    /// The last cells of the project that ended unexpectedly, the newest first.
    #[serde(default)]
    pub crashes: Vec<Died>,
    /// The entry of the live version (or, without one, of the newest). None until its files were read.
    #[serde(default)]
    pub entry: Option<ChosenEntry>,
    /// The cron expressions at which the live version's `scheduled` is to run, as its configuration has them.
    #[serde(default)]
    pub crons: Vec<String>,
}

/// The file that a version runs, and the reason for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChosenEntry {
    /// Relative to the project, with `/` between.
    pub path: String,
    /// The program's arguments, in which `$NAME` stands for a variable.
    #[serde(default)]
    pub args: Vec<String>,
    /// The place that chose it: `scripts.start in package.json`.
    pub reason: String,
    /// Sentences for the author: places that were passed over, and files that are missing.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What a project asks for in its own configuration, what the operator's policy lets it have, and what
/// it does not: side by side.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    pub asked: Rights,
    pub granted: Rights,
    pub refused: Rights,
    pub limits: Limits,
}

/// Each a list; `*` stands for all there is. Of the environment the names alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    pub read: Vec<String>,
    pub write: Vec<String>,
    pub net: Vec<String>,
    pub env: Vec<String>,
    pub sys: Vec<String>,
    pub run: Vec<String>,
    pub ffi: Vec<String>,
    pub import: Vec<String>,
}

/// The limits of a project: bytes, milliseconds and counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes, over all memory of a cell that is its own.
    pub memory: u64,
    /// Milliseconds that one turn of the event loop may take.
    pub event_loop_ms: u64,
    pub workers: u32,
    /// File descriptors.
    pub files: u64,
    /// Bytes in `DATA_DIR` and the temporary folder together.
    pub disk: u64,
    /// Files, folders and links in both, each by its name.
    #[serde(default)]
    pub disk_files: u64,
    /// Processes of one version.
    #[serde(default)]
    pub cells: usize,
    /// Milliseconds until the answer has to begin.
    pub request_ms: u64,
    /// Bytes of a request's body.
    pub body: u64,
    /// Requests in the project at once.
    pub in_flight: usize,
    /// Requests that wait for one of those to end.
    pub queue: usize,
    /// Milliseconds that they wait.
    pub patience_ms: u64,
    /// Files of the project on the volume, and whatever else lies in its folders and is no folder.
    #[serde(default)]
    pub project_files: u64,
    /// Folders of the project on the volume.
    #[serde(default)]
    pub project_folders: u64,
    /// Bytes of the project's files on the volume together.
    #[serde(default)]
    pub project_size: u64,
    /// Bytes of one of them.
    #[serde(default)]
    pub file_size: u64,
    /// Milliseconds that reading them may take.
    #[serde(default)]
    pub read_ms: u64,
}

/// A cell that ended by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Died {
    pub at: Timestamp,
    pub version: String,
    #[serde(flatten)]
    pub death: Death,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Building,
    /// Without a `pid`: its cell has died, and another one is about to follow.
    Live,
    /// The newest version failed; `live` tells whether an older one serves.
    Failed,
    /// The folder is no valid project.
    Invalid,
    /// Live, but stopped until its next request.
    Idle,
    /// Live, but its cells died again and again: it is not started until its code or its policy changes.
    Stopped,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionName {
    /// 64 hex digits.
    pub digest: String,
    /// `blog@3f9a1c2b7d4e`
    pub version: String,
}

/// A version that finishes its requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {
    pub version: String,
    pub in_flight: usize,
}

/// One reload that came to an end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reload {
    pub at: Timestamp,
    pub trigger: Trigger,
    pub outcome: Outcome,
    pub version: Option<String>,
    pub timings_ms: Timings,
}

/// What came of a look at a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Live,
    /// It would serve, and waits for its deploy to be published.
    Built,
    Failed,
    /// What is on disk is what was known already.
    Unchanged,
    Removed,
    /// There is no such project.
    Unknown,
}

/// `POST /_reload/{name}`, and one project of a deploy's answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub project: String,
    pub outcome: Outcome,
    pub digest: Option<String>,
    pub version: Option<String>,
    /// The digest of the project's own files. Absent unless `digest` covers included files too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_digest: Option<String>,
    pub error: Option<Diagnostic>,
    pub timings_ms: Timings,
}

impl Report {
    /// A report without a version.
    pub fn of(project: &str, outcome: Outcome) -> Self {
        Self {
            project: project.to_owned(),
            outcome,
            digest: None,
            version: None,
            own_digest: None,
            error: None,
            timings_ms: Timings::default(),
        }
    }
}

/// `POST /_reload`, `POST /_deploys/{id}/build` and `…/publish`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reports {
    pub projects: Vec<Report>,
}

/// `POST /_deploys`: from the answer (204) on the router does not look at these projects by itself, until
/// they are built and published together, the deploy is let go (`DELETE /_deploys/{id}`), or nothing
/// was heard of it for as long as the lease.
///
/// Sent again with the same id it renews the lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Chosen by who asks: 1 to 64 letters, digits and `-`.
    pub id: String,
    pub projects: Vec<ProjectName>,
    /// In milliseconds, 100 to 600,000. Each call of the deploy begins it anew.
    pub lease_ms: u64,
}

/// Why a hold is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHold {
    #[error("\"id\" {0:?} is none: use 1 to 64 letters, digits and -")]
    Id(String),
    #[error("\"projects\" names none")]
    NoProjects,
    #[error("\"projects\" names {0} twice")]
    Twice(ProjectName),
    #[error("\"lease_ms\" is {0}: use 100 to 600000 milliseconds")]
    Lease(u64),
}

impl Hold {
    /// Shorter, and a busy network lets go of it.
    const MIN_LEASE_MS: u64 = 100;
    /// Longer, and a deployer that died keeps everybody else out.
    const MAX_LEASE_MS: u64 = 600_000;
    const MAX_ID: usize = 64;

    /// # Errors
    /// A field is not as it has to be; the error says which and how.
    pub fn check(&self) -> Result<(), InvalidHold> {
        let Self { id, projects, lease_ms } = self;
        let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
        if id.is_empty() || id.len() > Self::MAX_ID || !id.bytes().all(plain) {
            return Err(InvalidHold::Id(id.clone()));
        }
        if projects.is_empty() {
            return Err(InvalidHold::NoProjects);
        }
        let mut seen = HashSet::new();
        if let Some(twice) = projects.iter().find(|project| !seen.insert(*project)) {
            return Err(InvalidHold::Twice(twice.clone()));
        }
        if !(Self::MIN_LEASE_MS..=Self::MAX_LEASE_MS).contains(lease_ms) {
            return Err(InvalidHold::Lease(*lease_ms));
        }
        Ok(())
    }
}

/// `GET /projects/{name}/checkouts`, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkouts {
    pub checkouts: Vec<Checkout>,
}

/// A version whose files a router still has: `GET /projects/{name}/checkouts/{short}` answers them as
/// a tar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkout {
    /// `blog@3f9a1c2b7d4e`
    pub version: String,
    /// The digest's first 12 digits.
    pub short: String,
    /// When it was made.
    pub at: Timestamp,
    pub live: bool,
}

/// One line that a cell printed: the data of the events of `GET /projects/{name}/logs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub timestamp: Timestamp,
    pub project: String,
    pub version: String,
    /// The process that printed it.
    pub pid: u32,
    /// `stdout` or `stderr`
    pub stream: String,
    /// The `x-request-id` of the request that it is about, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The line was longer than 64 KiB: what follows of it is the next line of the same process and stream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continues: bool,
    pub line: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_says_which_field_is_wrong() {
        let name = |name| ProjectName::parse(name).unwrap();
        let good = Hold { id: "d-1".into(), projects: vec![name("a"), name("b")], lease_ms: 100 };
        assert_eq!(good.check(), Ok(()));
        for id in ["", "a b", "a/b", &"x".repeat(65)] {
            let wrong = Hold { id: id.into(), ..good.clone() };
            assert_eq!(wrong.check(), Err(InvalidHold::Id(id.into())));
        }
        let wrong = Hold { projects: vec![], ..good.clone() };
        assert_eq!(wrong.check(), Err(InvalidHold::NoProjects));
        let wrong = Hold { projects: vec![name("a"), name("a")], ..good.clone() };
        assert_eq!(wrong.check(), Err(InvalidHold::Twice(name("a"))));
        for lease_ms in [0, 99, 600_001] {
            assert_eq!(Hold { lease_ms, ..good.clone() }.check(), Err(InvalidHold::Lease(lease_ms)));
        }
    }
}
