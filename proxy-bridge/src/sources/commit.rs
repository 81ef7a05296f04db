//! A commit as a source's settings see it: its projects and shared entries, an id for each by which it
//! is compared with what is live, and their files. There is never a work tree.

mod compare;
mod ids;
mod includes;
mod lfs;
mod listing;
mod preview;
mod receive;
mod store;
mod submodules;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::StatusCode;

use self::listing::Listing;
use crate::git::{GitError, Mirror, ObjectId, Remote};
use crate::sources::plan::{Plan, PlanFault, PlanRules};
use crate::sources::settings::SourceSettings;
use crate::tree::Tree;
use crate::upload::UploadError;
use crate::upload_limits::UploadLimits;
use switchyard_contract::digest::Digest;
use switchyard_contract::project::ProjectName;
use switchyard_edge::problem::Problem;

pub use self::compare::{AppliedProject, compare, explain};
pub use self::ids::{ProjectIds, SharedIds};
pub use self::preview::Borrowed;
pub use self::submodules::{NamedSubmodule, submodules};

/// The mirrors of the other repositories that a commit leads to.
pub trait OtherMirrors: Sync {
    /// Opens the mirror of `remote` for a source with these settings, or joins those who have it open.
    ///
    /// # Errors
    /// Another process has it, or the disk fails.
    fn open_other(
        &self,
        settings: &SourceSettings,
        remote: Remote,
    ) -> impl Future<Output = Result<Arc<Mirror>, GitError>> + Send;
}

/// A commit that was read: its plan, and an id for each project and shared entry.
#[derive(Debug)]
pub struct ReadCommit {
    /// The commit.
    pub commit: ObjectId,
    /// The folders that are projects, and what lies beside them.
    pub plan: Plan,
    settings: SourceSettings,
    listing: Listing,
    projects: BTreeMap<ProjectName, ProjectIds>,
    shared: BTreeMap<String, SharedIds>,
    borrowed: BTreeMap<String, Borrowed>,
}

/// A commit that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The commit cannot be deployed as it is. The text says why, and how to fix it.
    #[error("{0}")]
    Invalid(String),
    /// A submodule that may be read cannot be.
    #[error("the submodule {path:?}, which is the repository {url}: {error}")]
    Submodule { path: String, url: String, error: GitError },
    /// Git failed.
    #[error(transparent)]
    Git(#[from] GitError),
}

/// Files of a commit that cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The commit cannot be deployed as it is. The text begins with the path in the commit, and says
    /// how to fix it.
    #[error("{0}")]
    Invalid(String),
    /// Git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The volume failed.
    #[error("{}", .0.detail)]
    Volume(UploadError),
}

/// The slug of the problem of a damaged mirror, which is to be built anew.
pub const DAMAGED: &str = "damaged-mirror";

impl From<ReceiveError> for Problem {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Invalid(detail) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-commit", detail)
            }
            ReceiveError::Git(error @ GitError::Damaged(_)) => {
                Self::new(StatusCode::BAD_GATEWAY, DAMAGED, error.to_string())
            }
            ReceiveError::Git(error) => {
                Self::new(StatusCode::BAD_GATEWAY, "unreadable-commit", error.to_string())
            }
            ReceiveError::Volume(error) => error.into(),
        }
    }
}

/// Reads a commit that the mirror holds: verifies its signature if the settings ask for it, lists it
/// with the submodules that the settings name, which are fetched, plans it, and checks the size of each
/// project. Of the files only configurations are read.
///
/// # Errors
/// The commit cannot be deployed with these settings, or git failed.
pub async fn read(
    mirror: &Mirror,
    others: &impl OtherMirrors,
    settings: &SourceSettings,
    commit: &ObjectId,
    limits: &UploadLimits,
) -> Result<ReadCommit, ReadError> {
    if let Some(signers) = &settings.verify {
        verify(mirror, commit, signers).await?;
    }
    let mut listing = Listing::read(mirror, others, settings, commit).await?;
    let rules = PlanRules { projects: &settings.projects, shared: &settings.shared };
    let plan = Plan::new(rules, listing.entries()).map_err(|faults| invalid(&faults))?;
    listing.keep(&plan);
    listing.check(&plan, settings, limits)?;
    let includes = includes::read(mirror, &listing, &plan).await?;
    let (projects, shared) = ids::find(mirror, commit, &listing, &plan, &includes).await?;
    let (commit, settings, borrowed) = (commit.clone(), settings.clone(), BTreeMap::new());
    let preview = settings.preview.clone();
    let read = ReadCommit { commit, plan, settings, listing, projects, shared, borrowed };
    match preview {
        None => Ok(read),
        Some(preview) => read.preview(&preview.branch),
    }
}

fn invalid(faults: &[PlanFault]) -> ReadError {
    let faults = faults.iter().map(ToString::to_string).collect::<Vec<_>>();
    ReadError::Invalid(faults.join("; "))
}

/// Verifies that one of `signers` signed the commit.
async fn verify(mirror: &Mirror, commit: &ObjectId, signers: &Path) -> Result<(), ReadError> {
    match mirror.verify(commit, signers).await {
        Ok(signer) => {
            tracing::debug!(commit = %commit, signer = signer.principal, key = signer.key, "verified");
            Ok(())
        }
        Err(error @ GitError::Untrusted { .. }) => Err(ReadError::Invalid(format!(
            "{error}. The source's settings have verify, with the signers in {}",
            signers.display()
        ))),
        Err(error) => Err(error.into()),
    }
}

impl ReadCommit {
    /// Returns the ids of the projects, by name.
    pub fn projects(&self) -> &BTreeMap<ProjectName, ProjectIds> {
        &self.projects
    }

    /// Returns the ids of the shared entries, by their names beside the projects.
    pub fn shared(&self) -> &BTreeMap<String, SharedIds> {
        &self.shared
    }

    /// Puts the files of one project into `into/<project>`, by the rules of an upload: as they are in
    /// the commit, but without modes. Symbolic links are followed where they stay in the project.
    /// Several entries can be received into one folder at a time.
    ///
    /// Dropped before its end, nothing is placed; a thread may write a few pieces more.
    ///
    /// # Errors
    /// A file cannot be deployed, git failed, or the volume. `into` is removed by the caller then.
    pub async fn receive(
        &self,
        mirror: &Arc<Mirror>,
        project: &ProjectName,
        into: &Path,
        limits: &UploadLimits,
    ) -> Result<Tree, ReceiveError> {
        let Some(ids) = self.projects.get(project) else {
            return Err(ReceiveError::Invalid(format!("the commit has no project {project}")));
        };
        let target = receive::Target { path: &ids.path, name: project.as_str(), is_file: false };
        let received = receive::receive(self, mirror, target, into, limits).await?;
        Ok(Tree { project: project.clone(), ..received })
    }

    /// Puts the shared entry `name` to `into/<name>`, as [`receive`](Self::receive) does. Returns the
    /// place, and the digest of its files; that of a single file counts the file by its name.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub async fn receive_shared(
        &self,
        mirror: &Arc<Mirror>,
        name: &str,
        into: &Path,
        limits: &UploadLimits,
    ) -> Result<(PathBuf, Digest), ReceiveError> {
        let Some(ids) = self.shared.get(name) else {
            return Err(ReceiveError::Invalid(format!("the commit has no shared entry {name:?}")));
        };
        let target = receive::Target { path: &ids.path, name, is_file: !ids.is_folder };
        let received = receive::receive(self, mirror, target, into, limits).await?;
        Ok((received.dir, received.digest))
    }
}
