//! The JSON of the bridge's answers, as far as it is shown. What is missing or new does no harm.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use switchyard_contract::admin::VersionName;
use switchyard_contract::event::{Diagnostic, RouteConflict};
use switchyard_contract::incarnation::Data;

/// The data of the event `done`.
#[derive(Debug, Deserialize)]
pub(super) struct Done {
    pub(super) status: u16,
    #[serde(default)]
    pub(super) body: Value,
}

/// The data of the events `phase`.
#[derive(Debug, Deserialize)]
pub(super) struct Step {
    pub(super) phase: String,
    /// The router that came to the end of the phase; `None` when the phase begins.
    pub(super) router: Option<String>,
    pub(super) outcome: Option<String>,
}

/// A deploy.
#[derive(Debug, Deserialize)]
pub(super) struct Record {
    pub(super) deploy: String,
    pub(super) outcome: Option<String>,
    pub(super) projects: Vec<Deployed>,
    #[serde(default)]
    pub(super) routers: Vec<RouterReport>,
    /// Routers that get no requests until they serve it.
    #[serde(default)]
    pub(super) behind: Vec<String>,
    #[serde(default)]
    pub(super) timings_ms: Timings,
}

#[derive(Debug, Deserialize)]
pub(super) struct Deployed {
    pub(super) project: String,
    pub(super) digest: Option<String>,
    /// The digest of the files that were deployed, when the version has included ones too.
    #[serde(default)]
    pub(super) own: Option<String>,
    pub(super) version: Option<String>,
    /// The rest that is kept, when it was removed.
    pub(super) removal: Option<Removal>,
}

/// The rest that is kept of a project that was removed.
#[derive(Debug, Deserialize)]
pub(super) struct Removal {
    pub(super) until: Timestamp,
    pub(super) version: Option<String>,
    pub(super) data: Data,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Timings {
    pub(super) total: Option<f64>,
}

/// The report of a router in a deploy.
#[derive(Debug, Deserialize)]
pub(super) struct RouterReport {
    pub(super) router: String,
    #[serde(default)]
    pub(super) reports: Vec<Report>,
    pub(super) error: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Report {
    pub(super) project: String,
    pub(super) outcome: String,
}

/// RFC 9457.
#[derive(Debug, Deserialize)]
pub(super) struct Problem {
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    pub(super) title: Option<String>,
    pub(super) detail: Option<String>,
    pub(super) part: Option<String>,
    pub(super) field: Option<String>,
    pub(super) project: Option<String>,
    pub(super) error: Option<Diagnostic>,
    #[serde(default)]
    pub(super) routers: Vec<RouterReport>,
}

/// `GET /projects`
#[derive(Debug, Deserialize)]
pub(super) struct Projects {
    pub(super) projects: Vec<Project>,
    #[serde(default)]
    pub(super) routers: Vec<Router>,
}

/// `GET /projects/{p}`
#[derive(Debug, Deserialize)]
pub(super) struct Project {
    pub(super) project: String,
    #[serde(default)]
    pub(super) skew: bool,
    /// Set while it is removed and can be brought back.
    pub(super) removed: Option<Removal>,
    #[serde(default)]
    pub(super) routers: Vec<Said>,
}

/// The state of a project on a router.
#[derive(Debug, Deserialize)]
pub(super) struct Said {
    pub(super) router: String,
    pub(super) state: Option<String>,
    pub(super) live: Option<VersionName>,
    pub(super) error: Option<Diagnostic>,
    /// `true`: it gets no request of the project until it serves the deployed version.
    #[serde(default)]
    pub(super) behind: bool,
    /// Hosts and path prefixes that it and others both claim.
    #[serde(default)]
    pub(super) conflicts: Vec<RouteConflict>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Router {
    pub(super) router: String,
    #[serde(default = "yes")]
    pub(super) reachable: bool,
    /// `true`: it fetches packages that the volume does not have.
    #[serde(default)]
    pub(super) installs: bool,
}

/// `GET /routers`
#[derive(Debug, Deserialize)]
pub(super) struct Routers {
    pub(super) routers: Vec<Router>,
}

fn yes() -> bool {
    true
}

/// The data of the events of `GET /projects/{p}/logs`.
#[derive(Debug, Deserialize)]
pub(super) struct Line {
    pub(super) router: Option<String>,
    pub(super) timestamp: String,
    pub(super) version: String,
    pub(super) stream: String,
    pub(super) line: String,
}

/// The data of an event `error` among them.
#[derive(Debug, Deserialize)]
pub(super) struct LineError {
    pub(super) router: Option<String>,
    pub(super) error: String,
}
