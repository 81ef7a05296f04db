//! The bridge's JSON about deploys: their records, and the server-sent events of one under way.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::admin::Report;
use crate::commit::CommitInfo;
use crate::digest::Digest;
use crate::incarnation::{DataFate, EndedIncarnation, Incarnation};
use crate::project::ProjectName;

/// An action that a token allows or refuses, and that a deploy carries out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Puts uploaded files on the volume.
    Deploy,
    /// Puts the files of an earlier version on the volume.
    Rollback,
    /// Removes a project.
    Delete,
    /// Has routers build the files of a commit, and puts the old ones back. No token allows it by itself.
    Prove,
    /// Reads records, statuses and logs. Never the action of a deploy.
    Read,
    /// Has git sources ask their servers and deploy what is new. Never the action of a deploy.
    Sync,
    /// Publishes commits, approves removals and freezes git sources. Never the action of a deploy.
    Publish,
    /// Starts, retries and resumes runs of tasks. Never the action of a deploy.
    Run,
    /// Cancels runs of tasks. Never the action of a deploy.
    Cancel,
    /// An action of a newer bridge.
    #[serde(other)]
    Unrecognized,
}

impl Action {
    /// All actions that a token can allow.
    pub const ALL: [Self; 8] = [
        Self::Deploy,
        Self::Rollback,
        Self::Delete,
        Self::Read,
        Self::Sync,
        Self::Publish,
        Self::Run,
        Self::Cancel,
    ];

    /// The name as in JSON, in the token file and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Rollback => "rollback",
            Self::Delete => "delete",
            Self::Prove => "prove",
            Self::Read => "read",
            Self::Sync => "sync",
            Self::Publish => "publish",
            Self::Run => "run",
            Self::Cancel => "cancel",
            Self::Unrecognized => "unrecognized",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The step that a deploy has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeployPhase {
    /// The upload is being received.
    Receive,
    /// The files are made durable on the volume.
    Store,
    /// The routers hold the projects: they no longer reload them on their own.
    Hold,
    /// The routers build the new files on the volume.
    Build,
    /// The routers publish the built versions.
    Publish,
    /// The deploy is over.
    Done,
    /// A phase of a newer bridge.
    #[serde(other)]
    Unrecognized,
}

impl DeployPhase {
    /// The name as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Store => "store",
            Self::Hold => "hold",
            Self::Build => "build",
            Self::Publish => "publish",
            Self::Done => "done",
            Self::Unrecognized => "unrecognized",
        }
    }
}

/// The result of a deploy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeployOutcome {
    /// The versions are live.
    Live,
    /// The projects are removed.
    Removed,
    /// The versions build. Nothing was published.
    Ready,
    /// A version does not build.
    Failed,
    /// The upload or the request was not accepted.
    Refused,
    /// Too few routers answered.
    Unreachable,
    /// The project was changed on the volume by another writer during the deploy.
    Superseded,
    /// An outcome of a newer bridge.
    #[serde(other)]
    Unrecognized,
}

impl DeployOutcome {
    /// The name as in JSON, in metrics and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Removed => "removed",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Superseded => "superseded",
            Self::Unrecognized => "unrecognized",
        }
    }
}

/// One deploy: `GET /deploys/{id}`, and the answer 200 or 202 to a request that began it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeployRecord {
    /// The deploy's id.
    pub deploy: String,
    /// The action that was requested.
    pub action: Action,
    /// The phase under way.
    pub phase: DeployPhase,
    /// The result. `null` until the deploy is over.
    pub outcome: Option<DeployOutcome>,
    /// The name of the token that requested it. `null` where no tokens are configured.
    pub by: Option<String>,
    /// The time of the request.
    pub at: Timestamp,
    /// The message that came with the upload. `null` without one.
    pub message: Option<String>,
    /// The commit that the files came from. Absent unless a git source deployed them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitInfo>,
    /// The projects that it changes, by name. Empty until the upload was received.
    pub projects: Vec<DeployedProject>,
    /// The last report of each router that was called. Empty before the first call.
    #[serde(default)]
    pub routers: Vec<RouterReport>,
    /// The admin URLs of the routers that did not serve the deploy yet when it was answered 200. They
    /// get no forwarded requests of its projects until they do.
    #[serde(default)]
    pub behind: Vec<String>,
    /// Milliseconds that each phase took, by its name, and `total`.
    #[serde(default)]
    pub timings_ms: BTreeMap<String, f64>,
    /// The HTTP status of the answer. `null` until the deploy is over.
    pub status: Option<u16>,
    /// The problem document of the answer. `null` unless the deploy failed.
    pub problem: Option<Value>,
    /// The idempotency key of the request. Stored with the record, never in an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

impl DeployRecord {
    /// A record of a deploy that has just been accepted, without projects.
    pub fn new(deploy: String, action: Action, phase: DeployPhase) -> Self {
        Self {
            deploy,
            action,
            phase,
            outcome: None,
            by: None,
            at: Timestamp::now(),
            message: None,
            commit: None,
            projects: Vec::new(),
            routers: Vec::new(),
            behind: Vec::new(),
            timings_ms: BTreeMap::new(),
            status: None,
            problem: None,
            idempotency_key: None,
        }
    }

    /// The names of the projects that the deploy changes.
    pub fn names(&self) -> impl Iterator<Item = &ProjectName> {
        self.projects.iter().map(|deployed| &deployed.project)
    }

    /// Returns the record for an answer: without the idempotency key, which is its caller's secret.
    #[must_use]
    pub fn without_key(mut self) -> Self {
        self.idempotency_key = None;
        self
    }

    /// Returns true if the deploy made a version live.
    pub fn is_live(&self) -> bool {
        self.outcome == Some(DeployOutcome::Live)
    }
}

/// `GET /deploys`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeployRecords {
    /// The deploys that the bridge remembers and the caller may read, the newest first.
    pub deploys: Vec<DeployRecord>,
}

/// One project of a deploy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeployedProject {
    /// The project's name.
    pub project: ProjectName,
    /// The digest of the version. `null` when the project is removed.
    pub digest: Option<Digest>,
    /// The name of the version (`blog@3f9a1c2b7d4e`). `null` when the project is removed.
    pub version: Option<String>,
    /// The digest of the files that were deployed. Absent unless the version has included ones too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_digest: Option<Digest>,
    /// The version that was live before, at the first router that reports one. `null` if none did.
    pub previous: Option<String>,
    /// The incarnation that was deployed or removed.
    #[serde(default)]
    pub incarnation: Incarnation,
    /// The terms on which a removed project is kept. Absent unless the deploy removed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal: Option<Removal>,
    /// The number of files that count in the digest.
    #[serde(default)]
    pub files: u64,
    /// The bytes of all files.
    #[serde(default)]
    pub bytes: u64,
}

impl DeployedProject {
    /// The digest of the files that were deployed. `None` when the project is removed.
    pub fn files_digest(&self) -> Option<Digest> {
        self.own_digest.or(self.digest)
    }
}

/// The terms on which a removed project is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Removal {
    /// The time of the removal.
    pub at: Timestamp,
    /// The time until which a rollback brings the project back.
    pub until: Timestamp,
    /// The version that was live. `null` when no router served one.
    pub version: Option<String>,
    /// `keep`: a rollback brings the data back. `delete`: the routers delete the data.
    pub data: DataFate,
}

impl From<&EndedIncarnation> for Removal {
    fn from(ended: &EndedIncarnation) -> Self {
        Self { at: ended.at, until: ended.until, version: ended.version.clone(), data: ended.data }
    }
}

/// The last report of one router in a deploy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouterReport {
    /// The router's admin URL.
    pub router: String,
    /// The router's public URL. Absent in records of earlier bridges.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub public: String,
    /// One report per project. Empty until the router has built, and when it gave no answer.
    #[serde(default)]
    pub reports: Vec<Report>,
    /// The reason for a missing answer. `null` when there was one.
    pub error: Option<String>,
}

/// The data of a server-sent event `phase`: a phase began, or a router completed one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeployStep {
    /// The deploy's id.
    pub deploy: String,
    /// The phase under way.
    pub phase: DeployPhase,
    /// The admin URL of the router that completed the phase. `null` when the phase begins.
    pub router: Option<String>,
    /// The router's result: `held`, `built`, `live`, `failed` or `unreachable`. `null` when the phase
    /// begins.
    pub outcome: Option<String>,
    /// Milliseconds since the request.
    #[serde(default)]
    pub ms: f64,
}

/// The data of the server-sent event `done`: the answer that the request would have had without
/// events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeployAnswer {
    /// The HTTP status. `null` in no answer of a deploy that is over.
    pub status: Option<u16>,
    /// The record, or the problem document.
    #[serde(default)]
    pub body: Value,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_name_is_the_same_in_json_and_in_the_log() {
        for action in Action::ALL {
            assert_eq!(serde_json::to_value(action).unwrap(), action.as_str());
        }
        use DeployPhase::{Build, Done, Hold, Publish, Receive, Store};
        for phase in [Receive, Store, Hold, Build, Publish, Done] {
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.as_str());
        }
        use DeployOutcome::{Failed, Live, Ready, Refused, Removed, Superseded, Unreachable};
        for outcome in [Live, Removed, Ready, Failed, Refused, Unreachable, Superseded] {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
        }
    }

    #[test]
    fn words_and_fields_of_a_newer_bridge_do_not_stop_a_reader() {
        let record: DeployRecord = serde_json::from_value(json!({
            "deploy": "d1", "action": "migrate", "phase": "verify", "outcome": "parked",
            "at": "2026-03-01T12:00:00Z", "colour": "green",
            "projects": [{"project": "blog", "digest": null, "version": null, "previous": null}],
            "routers": [{"router": "r1", "reports": [
                {"project": "blog", "outcome": "parked", "digest": null, "version": null, "error": null}]}]
        }))
        .unwrap();
        assert_eq!((record.action, record.phase), (Action::Unrecognized, DeployPhase::Unrecognized));
        assert_eq!(record.outcome, Some(DeployOutcome::Unrecognized));
        assert_eq!(record.routers[0].reports[0].outcome, crate::admin::ReloadOutcome::Unrecognized);
    }
}
