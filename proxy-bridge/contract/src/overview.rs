//! The bridge's JSON about projects and routers: what each router serves, versions, log lines.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::{
    LogLine, ProjectLoad, ProjectState, RequestInfo, RequestSample, Sandbox, Setting, Status, VersionName,
};
use crate::commit::CommitInfo;
use crate::deploy::{Action, DeployRecord, Removal};
use crate::event::{ChangedFiles, Diagnostic, Event, RouteConflict};
use crate::incarnation::Incarnation;
use crate::project::ProjectName;

/// `GET /projects` of the bridge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProjectOverviews {
    /// The projects that the caller may read, by name.
    pub projects: Vec<ProjectOverview>,
    /// All routers that the bridge is configured with.
    #[serde(default)]
    pub routers: Vec<RouterInfo>,
}

/// One project on all routers: `GET /projects/{name}` of the bridge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProjectOverview {
    /// The name of the folder: not always a project name.
    pub project: String,
    /// `true`: routers that can be reached serve different versions or incarnations of the project.
    #[serde(default)]
    pub skew: bool,
    /// The terms of the removal. Absent unless the project is removed and can be brought back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<Removal>,
    /// The project at each router, in the order of the configuration.
    #[serde(default)]
    pub routers: Vec<ProjectOnRouter>,
}

/// One project at one router, by the router's last report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProjectOnRouter {
    /// The router's admin URL.
    pub router: String,
    /// The project's state. `null` when the router has not reported the project.
    pub state: Option<ProjectState>,
    /// The version that gets new requests. `null` without one.
    pub live: Option<VersionName>,
    /// The version on the volume, as the router last read it. `null` until it was read.
    pub on_disk: Option<VersionName>,
    /// The reason why the newest version failed, or why the live one is stopped. `null` otherwise.
    pub error: Option<Diagnostic>,
    /// `true`: the router cannot be reached, and the rest is what it reported last. Absent otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub away: bool,
    /// `true`: the router gets no forwarded request of the project, because it serves an older
    /// version than was deployed.
    #[serde(default)]
    pub behind: bool,
    /// The routes that this project and others both claim. Absent without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<RouteConflict>,
}

/// `GET /projects/{name}/status` of the bridge: the project as each router describes it now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProjectStatuses {
    /// The project's name.
    pub project: ProjectName,
    /// One entry for each router, in the order of the configuration.
    pub routers: Vec<RouterStatus>,
}

/// One project as one router describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouterStatus {
    /// The router's admin URL.
    pub router: String,
    /// The router's answer. `null` without one, or when the router does not have the project.
    pub status: Option<Box<Status>>,
    /// The reason why there is no answer. `null` with one.
    pub error: Option<String>,
}

/// `GET /projects/{name}/settings` of the bridge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SettingsOverview {
    /// The project's name.
    pub project: ProjectName,
    /// The routers that have the project, in the order of the configuration.
    pub routers: Vec<RouterSettings>,
    /// The routers that did not answer.
    #[serde(default)]
    pub errors: Vec<LogError>,
}

/// The settings of a project at one router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouterSettings {
    /// The router's admin URL.
    pub router: String,
    /// The settings of the live version, or else of the newest.
    pub settings: Vec<Setting>,
}

/// `GET /events` of the bridge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecentEvents {
    /// The last events of all routers that the caller may read, the newest first: at most 1,000.
    pub events: Vec<Event>,
}

/// The data of a server-sent event `projects` of `GET /stream`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProjectChanges {
    /// The projects that have changed, whole.
    pub projects: Vec<ProjectOverview>,
    /// The names of those that no router has any more.
    pub gone: Vec<String>,
}

/// The data of a server-sent event `deploys` of `GET /stream`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeployChanges {
    /// The deploys that have changed, whole.
    pub deploys: Vec<DeployRecord>,
    /// The ids of those that are no longer kept.
    pub gone: Vec<String>,
}

/// The data of a server-sent event `requests` of `GET /stream`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RequestChanges {
    /// The topic, as in `requests:blog`.
    pub topic: String,
    /// The requests that have ended at one router, the oldest first.
    pub requests: Vec<RouterRequest>,
}

/// `GET /whoami` of the bridge: what the caller may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallerInfo {
    /// The name of the token. `null` where no tokens are configured, and everyone may do everything.
    pub token: Option<String>,
    /// Names of projects, or the beginning of names before `*`.
    pub projects: Vec<String>,
    /// The actions that are allowed on them.
    pub actions: Vec<Action>,
}

/// `GET /routers` of the bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouterInfos {
    /// All routers that the bridge is configured with.
    pub routers: Vec<RouterInfo>,
}

/// One router, as the bridge knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouterInfo {
    /// The admin URL.
    pub router: String,
    /// The public URL.
    #[serde(default)]
    pub public: String,
    /// `true`: the router takes requests.
    #[serde(default)]
    pub ready: bool,
    /// `true`: the admin listener answers. Taken for true when absent.
    #[serde(default = "yes")]
    pub reachable: bool,
    /// The projects in which the router serves an older version than was deployed, by name.
    #[serde(default)]
    pub behind: Vec<String>,
    /// `true`: the router fetches packages that are missing on the volume.
    #[serde(default)]
    pub installs: bool,
}

/// `GET /routers/sandbox` of the bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SandboxOverview {
    /// The routers that answered, in the order of the configuration.
    pub routers: Vec<RouterSandbox>,
    /// The routers that did not answer.
    #[serde(default)]
    pub errors: Vec<LogError>,
}

/// The sandbox at one router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouterSandbox {
    /// The router's admin URL.
    pub router: String,
    /// Its layers.
    #[serde(flatten)]
    pub sandbox: Sandbox,
}

fn yes() -> bool {
    true
}

/// `GET /projects/{name}/versions` of the bridge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProjectVersions {
    /// The project's name.
    pub project: ProjectName,
    /// The terms of the removal. `null` unless the project is removed and can be brought back.
    pub removed: Option<Removal>,
    /// The versions that are known, the newest first.
    pub versions: Vec<VersionInfo>,
}

/// One version of a project.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VersionInfo {
    /// The version's name (`blog@3f9a1c2b7d4e`).
    pub version: String,
    /// The owner of the version's data: a project that is removed and deployed again has another one.
    #[serde(default)]
    pub incarnation: Incarnation,
    /// 64 hex digits. `null` for a version that this bridge did not deploy and no router serves.
    pub digest: Option<String>,
    /// The name of the token of the newest deploy of the version. `null` without a deploy or tokens.
    pub by: Option<String>,
    /// The time of the deploy, or else the time at which a router made its checkout. `null` for neither.
    pub at: Option<Timestamp>,
    /// The number of files that count in the digest. `null` without a deploy.
    pub files: Option<u64>,
    /// The bytes of all files. `null` without a deploy.
    pub bytes: Option<u64>,
    /// The id of the deploy. `null` for a version that came another way.
    pub deploy: Option<String>,
    /// The message of the deploy. `null` without one.
    pub message: Option<String>,
    /// The rollback that left the version. Absent unless one did, and the version was not deployed again
    /// since: a rollback to no named version skips it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<LeftVersion>,
    /// The commit that the files came from. Absent unless a git source deployed them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitInfo>,
    /// The files that a router found changed when it read the version. Absent if none of the last reloads
    /// was of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<ChangedFiles>,
    /// The admin URLs of the routers that serve the version.
    #[serde(default)]
    pub live: Vec<String>,
    /// The admin URLs of the routers that keep the files, so that a rollback can bring it back.
    #[serde(default)]
    pub kept: Vec<String>,
}

/// The rollback that left a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeftVersion {
    /// The time of the rollback.
    pub at: Timestamp,
    /// The name of the token of the rollback. `null` without tokens.
    pub by: Option<String>,
    /// The message of the rollback. `null` without one.
    pub message: Option<String>,
}

/// The data of a server-sent event `line` of the bridge's `GET /projects/{name}/logs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouterLogLine {
    /// The admin URL of the router that sent the line. Absent in a router's own stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
    /// The line.
    #[serde(flatten)]
    pub line: LogLine,
}

/// `GET /projects/{name}/requests` of the bridge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouterRequests {
    /// The requests at all routers, the newest first.
    pub requests: Vec<RouterRequest>,
    /// The routers that did not answer.
    #[serde(default)]
    pub errors: Vec<LogError>,
}

/// A request that has ended, and the data of a server-sent event `request` of the bridge's
/// `GET /projects/{name}/requests?follow`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouterRequest {
    /// The admin URL of the router that had the request. Absent in a router's own answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
    /// The request.
    #[serde(flatten)]
    pub request: RequestInfo,
}

/// `GET /projects/{name}/metrics` of the bridge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProjectMetrics {
    /// The minutes of the last hour that had requests at any router, the oldest first.
    pub minutes: Vec<RequestSample>,
    /// The routers that did not answer.
    #[serde(default)]
    pub errors: Vec<LogError>,
}

/// `GET /metrics/projects` of the bridge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LoadsOverview {
    /// The projects that had requests in the last minute at any router, or have processes, by name.
    pub projects: Vec<ProjectLoad>,
    /// The routers that did not answer.
    #[serde(default)]
    pub errors: Vec<LogError>,
}

/// The data of a server-sent event `error` among log lines or requests: a router's lines cannot be
/// read on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogError {
    /// The router's admin URL. Absent in a router's own stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
    /// The reason.
    pub error: String,
}
