//! Versions that runs name and routers do not have any more: made again at a router, or the run fails
//! with `version-gone`. It never uses other code.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::StatusCode;
use tokio::time::timeout;

use crate::routers::{CallError, Router};
use switchyard_contract::commit::CommitInfo;
use switchyard_contract::digest::Digest;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::RunError;
use switchyard_contract::task::ProjectTasks;

/// The longest time in which a version is made again: its commit may have to be fetched.
const MAKE: Duration = Duration::from_secs(300);

/// The slug of a router's problem when it does not have a version.
pub(super) const UNKNOWN_VERSION: &str = "unknown-version";

/// Makes versions again that no router has any more.
pub trait VersionMaker: Debug + Send + Sync {
    /// Puts the files of a version into the store of a router.
    fn make(
        &self,
        project: &ProjectName,
        digest: Digest,
        router: &Arc<Router>,
    ) -> BoxFuture<'static, Result<(), NotMade>>;

    /// Returns the commit that a version was deployed from, if it is known.
    fn commit(&self, project: &ProjectName, digest: Digest) -> Option<CommitInfo>;
}

/// The reason why a version was not made again.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct NotMade(pub String);

/// The maker for a bridge without git sources: there is nothing to make a version from.
#[derive(Debug)]
pub struct NoMaker;

impl VersionMaker for NoMaker {
    fn make(&self, _: &ProjectName, _: Digest, _: &Arc<Router>) -> BoxFuture<'static, Result<(), NotMade>> {
        let why = "it was not deployed from a git source, from whose commit it could be made again";
        Box::pin(async move { Err(NotMade(why.to_owned())) })
    }

    fn commit(&self, _: &ProjectName, _: Digest) -> Option<CommitInfo> {
        None
    }
}

/// Makes a version again at a router.
///
/// # Errors
/// `version-gone`.
pub(super) async fn make(
    maker: &dyn VersionMaker,
    project: &ProjectName,
    digest: Digest,
    router: &Arc<Router>,
) -> Result<(), RunError> {
    let made = timeout(MAKE, maker.make(project, digest, router)).await;
    let error = match made {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.0,
        Err(_) => format!("making it again took longer than {} s", MAKE.as_secs()),
    };
    Err(gone(project, digest, &error))
}

fn gone(project: &ProjectName, digest: Digest, why: &str) -> RunError {
    let version = digest.short();
    let message = format!("no router keeps {project}@{version}, and it cannot be made again: {why}");
    RunError::new("version-gone", message)
}

/// Returns true if a router has answered that it does not have the version.
pub(super) fn is_unknown_version(error: &CallError) -> bool {
    let CallError::Answered { status: StatusCode::NOT_FOUND, problem } = error else { return false };
    let kind = problem["type"].as_str().unwrap_or_default();
    kind.rsplit(':').next() == Some(UNKNOWN_VERSION)
}

/// The reason why the tasks of a version are not known.
#[derive(Debug)]
pub(super) enum NoTasks {
    /// No router answers: they may be known later.
    Later(String),
    /// Its files are gone.
    Gone(RunError),
}

/// Returns the tasks of a version, from the first of `routers` that has it; otherwise it is made again
/// at the first one.
///
/// # Errors
/// [`NoTasks`].
pub(super) async fn tasks(
    maker: &dyn VersionMaker,
    project: &ProjectName,
    digest: Digest,
    routers: &[Arc<Router>],
) -> Result<ProjectTasks, NoTasks> {
    let mut failure = None;
    for router in routers {
        match router.tasks_of(project.as_str(), digest).await {
            Ok(tasks) => return Ok(with_commit(maker, tasks)),
            Err(error) if is_unknown_version(&error) => {}
            Err(error) => failure = Some(format!("{}: {error}", router.name())),
        }
    }
    // One that does not answer may have it.
    if let Some(failure) = failure {
        return Err(NoTasks::Later(failure));
    }
    let Some(router) = routers.first() else {
        return Err(NoTasks::Later("no router is ready".to_owned()));
    };
    make(maker, project, digest, router).await.map_err(NoTasks::Gone)?;
    match router.tasks_of(project.as_str(), digest).await {
        Ok(tasks) => Ok(with_commit(maker, tasks)),
        Err(error) if is_unknown_version(&error) => {
            Err(NoTasks::Gone(gone(project, digest, "the router does not keep it")))
        }
        Err(error) => Err(NoTasks::Later(format!("{}: {error}", router.name()))),
    }
}

/// A router does not know the commit of a version that is not live.
fn with_commit(maker: &dyn VersionMaker, tasks: ProjectTasks) -> ProjectTasks {
    let commit = tasks.commit.clone().or_else(|| maker.commit(&tasks.project, tasks.digest));
    ProjectTasks { commit, ..tasks }
}
