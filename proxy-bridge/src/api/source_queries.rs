//! Parameters of requests about git sources.

use utoipa::IntoParams;

use crate::git::ObjectId;
use crate::sources::machine::SyncOptions;
use switchyard_contract::project::ProjectName;
use switchyard_edge::api::query::{FromQuery, QueryPairs, invalid};
use switchyard_edge::problem::Problem;

/// The longest reason of a freeze, in characters.
const MAX_REASON: usize = 500;

/// The parameters of a sync.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SyncQuery {
    /// If not set, the answer is 202 at once.
    #[param(required = false, default = true)]
    pub(super) wait: bool,
    /// The commit to deploy in place of the ref's: all its hex digits.
    #[param(required = false, value_type = String)]
    pub(super) commit: Option<ObjectId>,
    /// If set, the commit may remove any number of projects.
    #[param(required = false, default = false)]
    pub(super) allow_empty: bool,
    /// If set, projects that have not changed are deployed too.
    #[param(required = false, default = false)]
    force: bool,
}

impl FromQuery for SyncQuery {
    const KEYS: &'static [&'static str] = &["wait", "commit", "allow_empty", "force"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        Ok(Self {
            wait: pairs.switch("wait")?.unwrap_or(true),
            commit: commit(pairs)?,
            allow_empty: pairs.switch("allow_empty")?.unwrap_or(false),
            force: pairs.switch("force")?.unwrap_or(false),
        })
    }
}

impl SyncQuery {
    pub(super) fn options(&self) -> SyncOptions<ObjectId> {
        SyncOptions { commit: self.commit.clone(), allow_empty: self.allow_empty, force: self.force }
    }
}

/// The parameters of a publish.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PublishQuery {
    /// The commit: all its hex digits. Default: the one that is ready.
    #[param(required = false, value_type = String)]
    pub(super) commit: Option<ObjectId>,
}

impl FromQuery for PublishQuery {
    const KEYS: &'static [&'static str] = &["commit"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        Ok(Self { commit: commit(pairs)? })
    }
}

/// The parameters of a freeze.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct FreezeQuery {
    /// The reason, at most 500 characters.
    #[param(required = false)]
    pub(super) reason: String,
}

impl FromQuery for FreezeQuery {
    const KEYS: &'static [&'static str] = &["reason"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        let reason = pairs.get("reason").map(str::trim).filter(|reason| !reason.is_empty());
        let reason = reason.unwrap_or("an operator has frozen it");
        if reason.chars().count() > MAX_REASON || reason.chars().any(char::is_control) {
            return Err(invalid("reason", reason, "at most 500 characters, without line breaks"));
        }
        Ok(Self { reason: reason.to_owned() })
    }
}

/// The parameters of an explanation.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ExplainQuery {
    /// The project. Default: all.
    #[param(required = false, value_type = String)]
    pub(super) project: Option<ProjectName>,
    /// The commit: all its hex digits. Default: the newest one that the server has shown.
    #[param(required = false, value_type = String)]
    pub(super) commit: Option<ObjectId>,
}

impl FromQuery for ExplainQuery {
    const KEYS: &'static [&'static str] = &["project", "commit"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        let project = pairs
            .get("project")
            .map(|name| ProjectName::parse(name).map_err(|error| Problem::bad_request(error.to_string())));
        Ok(Self { project: project.transpose()?, commit: commit(pairs)? })
    }
}

fn commit(pairs: &QueryPairs) -> Result<Option<ObjectId>, Problem> {
    pairs.value("commit", "all 40 or 64 hex digits of a commit")
}
