//! The submodules that the settings name: each is a commit of another repository, in a mirror of its own.

use std::sync::Arc;

use super::{OtherMirrors, ReadError};
use crate::git::{
    Credential, GitError, GitUrl, Mirror, ObjectId, Remote, Resolved, Scheme, Submodule, TreeEntry,
    TreeLimits,
};
use crate::sources::settings::SourceSettings;

/// A submodule of a commit, and where it comes from.
#[derive(Debug, Clone)]
pub struct NamedSubmodule {
    /// The folder in the repository.
    pub path: String,
    /// The commit of the other repository.
    pub commit: ObjectId,
    /// The other repository.
    pub remote: Remote,
}

/// A submodule that was read.
#[derive(Debug)]
pub(super) struct ReadSubmodule {
    named: NamedSubmodule,
    pub(super) mirror: Arc<Mirror>,
}

/// Returns the submodules of `commit` that the settings name, by path. Nothing is fetched.
///
/// # Errors
/// One of them may not be read, `.gitmodules` is malformed, or git failed.
pub async fn submodules(
    mirror: &Mirror,
    settings: &SourceSettings,
    commit: &ObjectId,
) -> Result<Vec<NamedSubmodule>, ReadError> {
    let paths = settings.submodules.iter().map(String::as_str).collect::<Vec<_>>();
    let gitlinks = mirror.gitlinks(commit, &paths).await?;
    if gitlinks.is_empty() {
        return Ok(Vec::new());
    }
    let listed = mirror.submodules(commit).await.map_err(|error| match error {
        GitError::Refused(what) => ReadError::Invalid(format!("commit {}: {what}", commit.short())),
        GitError::TooLarge { bytes, budget } => ReadError::Invalid(format!(
            "commit {}: .gitmodules has {bytes} bytes, and the limit is {budget}: remove entries from it",
            commit.short()
        )),
        other => ReadError::Git(other),
    })?;
    let named = gitlinks.into_iter().map(|(path, gitlink)| {
        let Some(submodule) = listed.iter().find(|submodule| submodule.path == path) else {
            let why = format!("{path:?} is a submodule, but .gitmodules does not have it: add it there");
            return Err(ReadError::Invalid(why));
        };
        let remote = remote(settings, &mirror.remote().url, submodule)?;
        Ok(NamedSubmodule { path, commit: gitlink, remote })
    });
    named.collect()
}

/// Returns the repository of a submodule, with what opens it.
///
/// # Errors
/// The URL is none, or the settings do not allow it, or the credential is for another server.
pub(super) fn remote(
    settings: &SourceSettings,
    parent: &GitUrl,
    submodule: &Submodule,
) -> Result<Remote, ReadError> {
    // The settings allow plain transports only where they say insecure.
    let url = submodule.git_url(parent, true).map_err(|error| ReadError::Invalid(error.to_string()))?;
    let path = &submodule.path;
    if !settings.allows(&url) {
        return Err(ReadError::Invalid(format!(
            "the submodule {path:?} is the repository {url}, which the source may not read: name it in the \
             source's settings, allow = [\"{url}\"], or take {path:?} out of submodules"
        )));
    }
    let credential = credential(settings, &url);
    if url.scheme() == Scheme::Ssh && credential.is_none() {
        return Err(ReadError::Invalid(format!(
            "the submodule {path:?} is the repository {url}, for which there is no ssh key: the source's \
             credential is for its own server. Give .gitmodules a relative URL, such as ../other.git, or an \
             https URL that everyone may read"
        )));
    }
    Ok(Remote { url, credential })
}

/// Returns the source's credential for a URL of the same server.
fn credential(settings: &SourceSettings, url: &GitUrl) -> Option<Credential> {
    let own = &settings.url;
    let is_same = match (own.host(), url.host()) {
        (Some(own), Some(host)) => own.eq_ignore_ascii_case(host),
        _ => false,
    };
    settings.credential.clone().filter(|_| is_same && own.scheme() == url.scheme())
}

/// Fetches a submodule's commit, and lists it: paths begin at the submodule. `all` are those of the
/// commit of the source, whose own mirror is `own`.
///
/// # Errors
/// [`ReadError::Submodule`].
pub(super) async fn read(
    own: &Mirror,
    others: &impl OtherMirrors,
    settings: &SourceSettings,
    submodule: &NamedSubmodule,
    all: &[NamedSubmodule],
    limits: TreeLimits,
) -> Result<(ReadSubmodule, Vec<TreeEntry>), ReadError> {
    let source = settings.name.as_str();
    let read = async {
        let mirror = others.open_other(settings, submodule.remote.clone()).await?;
        let mut read = fetch_and_list(&mirror, source, submodule, limits).await;
        match &read {
            Err(GitError::Damaged(_)) if !std::ptr::eq(own, &*mirror) => {
                mirror.repair().await?;
                read = fetch_and_list(&mirror, source, submodule, limits).await;
            }
            // Commits of earlier deploys may be what takes the room.
            Err(GitError::TooLarge { .. } | GitError::DiskFull(_)) if !std::ptr::eq(own, &*mirror) => {
                let needed = all.iter().map(|one| one.commit.clone()).collect::<Vec<_>>();
                mirror.retain(source, &needed).await?;
                mirror.gc().await?;
                read = fetch_and_list(&mirror, source, submodule, limits).await;
            }
            _ => {}
        }
        Ok((ReadSubmodule { named: submodule.clone(), mirror }, read?))
    };
    read.await.map_err(|error| {
        let (path, url) = (submodule.path.clone(), submodule.remote.url.to_string());
        ReadError::Submodule { path, url, error }
    })
}

async fn fetch_and_list(
    mirror: &Mirror,
    source: &str,
    submodule: &NamedSubmodule,
    limits: TreeLimits,
) -> Result<Vec<TreeEntry>, GitError> {
    let resolved = Resolved { commit: submodule.commit.clone(), name: None };
    mirror.fetch(source, &resolved).await?;
    mirror.tree(&submodule.commit, "", limits).await
}

impl ReadSubmodule {
    /// Fetches the commit into a new mirror in the place of a damaged one. `own`, that of the source,
    /// stays as it is: its task repairs it.
    ///
    /// # Errors
    /// Git failed.
    pub(super) async fn repair(&self, own: &Mirror, source: &str) -> Result<(), GitError> {
        if !std::ptr::eq(own, &*self.mirror) {
            self.mirror.repair().await?;
        }
        let resolved = Resolved { commit: self.named.commit.clone(), name: None };
        self.mirror.fetch(source, &resolved).await
    }
}
