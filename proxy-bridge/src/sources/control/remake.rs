//! The files of an earlier version, made again from the commit that it was deployed from.

use std::path::Path;

use http::StatusCode;

use super::fetch::fault;
use super::{Sources, unknown};
use crate::git::{GitError, Mirror, ObjectId, Resolved};
use crate::sources::commit::{self, ReadError};
use crate::sources::settings::SourceSettings;
use crate::tree::Tree;
use switchyard_contract::project::ProjectName;
use switchyard_edge::problem::Problem;

/// The name under which a mirror keeps the commit meanwhile: no source can have it, so the end of a
/// sync does not let go of the commit.
const KEEPER: &str = "_remake";

impl Sources {
    /// Puts the files that `project` has in a commit of a source into `into/<project>`, with the
    /// source's settings as they are now. Fetches the commit if the mirror does not have it.
    ///
    /// Dropped before its end, a thread may write a few pieces more, and the mirror keeps the commit
    /// until the next one is made again.
    ///
    /// # Errors
    /// 404 for an unknown source, or a commit that the server no longer gives; 422 for a commit that
    /// cannot be deployed with these settings; 502 if git fails; otherwise the failure of the volume.
    pub async fn remake(
        &self,
        source: &str,
        commit: &ObjectId,
        project: &ProjectName,
        into: &Path,
    ) -> Result<Tree, Problem> {
        self.remake_with(source, commit, project, into, false).await
    }

    /// As [`Self::remake`]; also puts what the source has beside its projects into `into/<name>`, if
    /// `with_shared`.
    pub(super) async fn remake_with(
        &self,
        source: &str,
        commit: &ObjectId,
        project: &ProjectName,
        into: &Path,
        with_shared: bool,
    ) -> Result<Tree, Problem> {
        let settings = self.sources().get(source).map(|running| running.settings.clone());
        let settings = settings.ok_or_else(|| unknown(source))?;
        let context = &self.0.context;
        // One at a time: each ends by letting go of what the mirror keeps for it.
        let _one = context.remaking.lock().await;
        let _permit = context.gits.acquire().await;
        let opened = context.mirrors.open(&settings).await;
        let mirror = opened.map_err(|error| unavailable(&error, &settings))?;
        let resolved = Resolved { commit: commit.clone(), name: None };
        mirror.fetch(KEEPER, &resolved).await.map_err(|error| unavailable(&error, &settings))?;
        let made = async {
            let read = commit::read(&mirror, &context.mirrors, &settings, commit, &context.limits).await;
            let read = read.map_err(|error| unreadable(&error, &settings))?;
            let tree = read.receive(&mirror, project, into, &context.limits).await?;
            for name in read.shared().keys().filter(|_| with_shared) {
                read.receive_shared(&mirror, name, into, &context.limits).await?;
            }
            Ok(tree)
        };
        let made = made.await;
        release(&mirror, source).await;
        made
    }
}

async fn release(mirror: &Mirror, source: &str) {
    if let Err(error) = mirror.retain(KEEPER, &[]).await {
        tracing::warn!(source, "a commit stays in the mirror until the next one is made again: {error}");
    }
}

fn unavailable(error: &GitError, settings: &SourceSettings) -> Problem {
    let detail = fault(error, settings).detail;
    match error {
        GitError::RefGone { .. } => Problem::new(StatusCode::NOT_FOUND, "unknown-commit", detail),
        GitError::DiskFull(_) => Problem::new(StatusCode::INSUFFICIENT_STORAGE, "disk-full", detail),
        _ => Problem::new(StatusCode::BAD_GATEWAY, "unreadable-commit", detail),
    }
}

fn unreadable(error: &ReadError, settings: &SourceSettings) -> Problem {
    match error {
        ReadError::Git(GitError::Untrusted { .. } | GitError::Refused(_)) | ReadError::Invalid(_) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unreadable-commit", error.to_string())
        }
        ReadError::Submodule { .. } => {
            Problem::new(StatusCode::BAD_GATEWAY, "unreadable-commit", error.to_string())
        }
        ReadError::Git(error) => unavailable(error, settings),
    }
}
