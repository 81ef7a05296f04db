//! Rollbacks: a version is fetched from a router that keeps it, or made again from its commit.

use std::path::Path;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use utoipa::IntoParams;

use super::deploy::respond;
use super::{Api, Shared};
use crate::deploys::{DeployNotes, Submission};
use crate::git::ObjectId;
use crate::tokens::Caller;
use crate::tree::Tree;
use crate::versions::{self, Found, RollbackTarget, Wanted};
use crate::volume::{Change, VolumeError};
use switchyard_contract::commit::CommitInfo;
use switchyard_contract::deploy::{Action, DeployRecord};
use switchyard_contract::incarnation::DataFate;
use switchyard_contract::project::ProjectName;
use switchyard_edge::api::path::ProjectPath;
use switchyard_edge::api::query::{FromQuery, Query, QueryPairs};
use switchyard_edge::problem::Problem;

/// The parameters of a rollback.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RollbackQuery {
    /// If not set, the answer is 202 as soon as the files were fetched.
    #[param(required = false, default = true)]
    wait: bool,
    /// The version, its digest or at least the digest's first 12 digits, or the commit that it was
    /// deployed from or at least the commit's first 7 digits. Default: the version before the live one
    /// that was never rolled back from.
    to: Option<String>,
    /// The text for the record of the deploy.
    message: Option<String>,
}

impl FromQuery for RollbackQuery {
    const KEYS: &'static [&'static str] = &["wait", "to", "message"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        let text = |key| pairs.get(key).map(str::to_owned);
        Ok(Self { wait: pairs.switch("wait")?.unwrap_or(true), to: text("to"), message: text("message") })
    }
}

/// Makes an earlier version live, or brings a removed project back
#[utoipa::path(post, path = "/projects/{project}/rollback", tag = "deploys",
    params(
        ("project" = String, Path, description = "The project"),
        ("idempotency-key" = Option<String>, Header, description = "Repeats are answered alike"),
        RollbackQuery,
    ),
    responses(
        (status = 200, description = "The version is live", body = DeployRecord),
        (status = 202, description = "The deploy goes on", body = DeployRecord),
        (status = 404, description = "unknown-version or unknown-project"),
        (status = 409, description = "other-files: the version is gone, and its commit has other files now"),
    ),
)]
pub(super) async fn rollback(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    ProjectPath(project): ProjectPath,
    Query(query): Query<RollbackQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.check(Action::Rollback, &project)?;
    let ticket = match api.submit(Action::Rollback, &caller, Some(project.clone()), &headers)? {
        Submission::New(ticket) => ticket,
        Submission::Known(job) => return Ok(respond(&headers, job, query.wait).await),
    };
    let wanted = query.to.map(|wanted| Wanted::parse(&project, &wanted)).transpose()?;
    // Before the register is read: this may find that the projects root is another folder.
    let staging = api.stage(&ticket).await?;
    let ready = api.clone();
    // In a task of its own: when the client goes away this future is dropped, and the staging folder
    // may only be removed after the thread that writes to it has ended.
    let fetching = tokio::spawn(async move {
        let change = ready.rollback_change(&project, wanted, staging.incoming()).await;
        change.map(|(change, notes)| (staging, change, notes))
    });
    let (staging, change, notes) =
        fetching.await.map_err(|panic| VolumeError::io("fetch the version", panic.into()))??;
    let notes = DeployNotes { message: query.message, ..notes };
    let job = ticket.start(staging, vec![change], notes)?;
    Ok(respond(&headers, job, query.wait).await)
}

impl Api {
    /// Fetches the files that a rollback goes to into the folder `into`. The notes have the commit that
    /// they came from.
    async fn rollback_change(
        &self,
        project: &ProjectName,
        wanted: Option<Wanted>,
        into: &Path,
    ) -> Result<(Change, DeployNotes), Problem> {
        let (routers, records) = (self.routers.all(), self.deploys.records());
        let target = self.rollback_target(project, wanted).await?;
        let incarnations = self.deploys.volume().register().of(project)?;
        let fetched = versions::fetch(project, &target, &routers, into, &self.limits).await;
        let (tree, commit) = match fetched {
            Err(problem) if versions::is_gone(&problem) => {
                self.made_again(project, &target, &records, into, problem).await?
            }
            fetched => (fetched?, target.commit),
        };
        let end = incarnations.end_of(target.incarnation);
        let is_kept = end.is_some_and(|ended| ended.data == DataFate::Keep);
        let change = if is_kept { Change::BringBack(tree, target.incarnation) } else { Change::Put(tree) };
        Ok((change, DeployNotes { commit, ..DeployNotes::default() }))
    }

    /// Returns the version that a rollback goes to: `wanted`, or the one before. That of a removed
    /// project may be of an earlier incarnation.
    ///
    /// # Errors
    /// 404 without such a version.
    pub(super) async fn rollback_target(
        &self,
        project: &ProjectName,
        wanted: Option<Wanted>,
    ) -> Result<RollbackTarget, Problem> {
        let (routers, records) = (self.routers.all(), self.deploys.records());
        let incarnations = self.deploys.volume().register().of(project)?;
        let current = incarnations.current;
        match wanted {
            wanted if self.removal(project).is_some() => {
                let now = Timestamp::now();
                let ended: Vec<_> = incarnations.ended.iter().filter(|ended| ended.until > now).collect();
                let is_source = |name: &str| self.has_source(name);
                let found = Found { records: &records, routers: &routers, is_source: &is_source };
                versions::removed_target(project, wanted.as_ref(), &ended, found).await
            }
            Some(wanted) => versions::wanted_target(project, &wanted, current, &records, &routers).await,
            None => versions::rollback_target(project, current, &records, &routers),
        }
    }

    /// Makes the files of a version again that no router has, from the newest of its commits whose
    /// source there still is. Returns them with that commit.
    ///
    /// # Errors
    /// `gone` without such a commit; 409 if the commit has other files now; otherwise the failure to
    /// read it.
    async fn made_again(
        &self,
        project: &ProjectName,
        target: &RollbackTarget,
        records: &[DeployRecord],
        into: &Path,
        gone: Problem,
    ) -> Result<(Tree, Option<CommitInfo>), Problem> {
        let mut origins = versions::origins(project, target.incarnation, &target.digits, records);
        let origin = origins.find(|(commit, _)| self.has_source(&commit.source));
        let (Some(sources), Some((commit, digest))) = (&self.sources, origin) else { return Err(gone) };
        let Ok(id) = commit.commit.parse::<ObjectId>() else { return Err(gone) };
        let from = format!("commit {} of source {}", commit.commit, commit.source);
        let made = sources.remake(&commit.source, &id, project, into).await.map_err(|problem| {
            let detail =
                format!("{}; it cannot be made again from {from}: {}", gone.detail(), problem.detail());
            Problem::new(problem.status, problem.slug(), detail)
        });
        let tree = made?;
        if tree.digest != digest {
            let detail = format!(
                "{}; {from} has other files of {project} now (digest {}) than were deployed ({digest}): if \
                 the settings of the source have changed since, change them back, or deploy the files",
                gone.detail(),
                tree.digest
            );
            return Err(Problem::new(StatusCode::CONFLICT, "other-files", detail));
        }
        tracing::info!(
            project.name = project.as_str(),
            source = commit.source,
            commit = commit.commit,
            "{project}@{} is made again from {from}: no router keeps it",
            digest.short()
        );
        Ok((tree, Some(commit.clone())))
    }

    fn has_source(&self, name: &str) -> bool {
        self.sources.as_ref().is_some_and(|sources| sources.status(name).is_some())
    }
}
