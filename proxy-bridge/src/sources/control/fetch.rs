//! The steps of a sync that use git: to ask and fetch, and to read a commit.

use std::time::Instant;

use super::{Context, lock};
use crate::git::{GitError, Mirror, ObjectId, RefTarget, Resolved};
use crate::sources::commit::{self, ReadCommit, ReadError};
use crate::sources::machine::{Fault, ProblemKind};
use crate::sources::settings::SourceSettings;

/// Attempts at a ref that moves while it is fetched.
const ATTEMPTS: usize = 3;

/// A fetched commit.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) resolved: Resolved,
    /// Bytes of the mirror. `None`: the commit was there already.
    pub(super) bytes: Option<u64>,
}

/// The facts that a fetch needs besides the settings.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) tag: KnownTag,
    /// The last commit that was fetched, and is in the mirror.
    pub(super) held: Option<ObjectId>,
    /// The commits that must stay in the mirror where there is no room for others.
    pub(super) needed: Vec<ObjectId>,
}

/// The tag that a source follows, and the commit that it named first.
pub(super) type KnownTag = Option<(String, ObjectId)>;

/// Asks the server for the followed commit, or for the named one, and fetches it. `repair`: into a
/// new mirror.
pub(super) async fn fetch(
    context: &Context,
    settings: &SourceSettings,
    commit: Option<ObjectId>,
    known: &Known,
    repair: bool,
) -> Result<Fetched, Fault> {
    let _permit = context.gits.acquire().await;
    let began = Instant::now();
    let fetched = async {
        let mirror = context.mirrors.open(settings).await?;
        if repair {
            mirror.repair().await?;
        }
        fetch_into(&mirror, settings, commit, known).await
    };
    let fetched = fetched.await.map_err(|error| fault(&error, settings));
    if fetched.is_ok() {
        context.metrics.fetched(began.elapsed().as_secs_f64());
    }
    fetched
}

/// Fetches a commit into a new mirror, because the old one is damaged.
pub(super) async fn refetch(
    context: &Context,
    settings: &SourceSettings,
    resolved: &Resolved,
) -> Result<(), GitError> {
    let _permit = context.gits.acquire().await;
    let mirror = context.mirrors.open(settings).await?;
    mirror.repair().await?;
    mirror.fetch(settings.name.as_str(), resolved).await
}

async fn fetch_into(
    mirror: &Mirror,
    settings: &SourceSettings,
    commit: Option<ObjectId>,
    known: &Known,
) -> Result<Fetched, GitError> {
    let name = settings.name.as_str();
    check_format(commit.as_ref(), &known.needed)?;
    let mut attempt = 1;
    loop {
        let resolved = match &commit {
            Some(commit) => Resolved { commit: commit.clone(), name: None },
            None => mirror.resolve(&settings.target).await?,
        };
        check_tag(settings, &resolved, &known.tag)?;
        // Most polls find nothing new: they cost one question to the server.
        if known.held.as_ref() == Some(&resolved.commit) {
            return Ok(Fetched { resolved, bytes: None });
        }
        match mirror.fetch(name, &resolved).await {
            Err(GitError::Moved { .. }) if attempt < ATTEMPTS => attempt += 1,
            // Commits of earlier deploys may be what takes the room.
            Err(GitError::TooLarge { .. } | GitError::DiskFull(_)) if attempt == 1 => {
                attempt = ATTEMPTS;
                mirror.retain(name, &known.needed).await?;
                mirror.gc().await?;
            }
            fetched => {
                fetched?;
                return Ok(Fetched { resolved, bytes: Some(mirror.bytes().await?) });
            }
        }
    }
}

/// # Errors
/// The named commit cannot be one of this repository: to fetch it, the mirror would be made anew.
fn check_format(commit: Option<&ObjectId>, needed: &[ObjectId]) -> Result<(), GitError> {
    let (Some(commit), Some(known)) = (commit, needed.first()) else { return Ok(()) };
    if commit.format() == known.format() {
        return Ok(());
    }
    let (digits, wanted) = (commit.as_str().len(), known.as_str().len());
    Err(GitError::Refused(format!(
        "commit {} has {digits} digits, and those of this repository have {wanted}",
        commit.short()
    )))
}

/// # Errors
/// The tag is known with another commit, and moving tags are not followed.
fn check_tag(settings: &SourceSettings, resolved: &Resolved, tag: &KnownTag) -> Result<(), GitError> {
    let (Some((known, first)), Some(name)) = (tag, &resolved.name) else { return Ok(()) };
    if settings.moving_tags || known != name || *first == resolved.commit {
        return Ok(());
    }
    Err(GitError::Refused(format!(
        "{name} named commit {} and names {} now: moved tags are followed only with moving_tags = true",
        first.short(),
        resolved.commit.short()
    )))
}

/// The tag to remember for a fetched commit.
pub(super) fn known_tag(settings: &SourceSettings, resolved: &Resolved) -> KnownTag {
    match (&settings.target, &resolved.name) {
        (RefTarget::Tag(_), Some(name)) => Some((name.clone(), resolved.commit.clone())),
        _ => None,
    }
}

/// Reads a fetched commit. `is_wanted`: the commit is to become live, or is, and says which projects the
/// source has from now on.
pub(super) async fn read(
    context: &Context,
    settings: &SourceSettings,
    commit: &ObjectId,
    is_wanted: bool,
) -> Result<ReadCommit, Fault> {
    let _permit = context.gits.acquire().await;
    let mirror = context.mirrors.open(settings).await.map_err(|error| fault(&error, settings))?;
    let read = commit::read(&mirror, &context.mirrors, settings, commit, &context.limits).await;
    let read = read.map_err(|error| read_fault(&error, settings))?;
    if is_wanted {
        context.claim(settings, &read);
        context.check_owners(settings, &read)?;
        context.settle_owners(settings, &read);
    }
    context.check_borrowed(settings, &read)?;
    Ok(read)
}

impl Context {
    /// Notes the projects of a commit as those that the source has, or wants.
    fn claim(&self, settings: &SourceSettings, read: &ReadCommit) {
        let projects = read.plan.projects.iter().map(|project| project.name.clone());
        let woken = self.owners().read(settings.name.as_str(), projects.collect());
        self.wake(woken);
    }

    /// After a crash, two sources may have the same project in their states: one is free to go.
    fn settle_owners(&self, settings: &SourceSettings, read: &ReadCommit) {
        let name = settings.name.as_str();
        let Some(applied) = lock(&self.applied).get(name).cloned() else { return };
        let own: Vec<_> = lock(&applied).projects.keys().cloned().collect();
        self.take(name, own.iter().filter(|project| read.projects().contains_key(*project)));
    }

    /// # Errors
    /// Another source has a project of the commit, and its own commit has it too.
    pub(super) fn check_owners(&self, settings: &SourceSettings, read: &ReadCommit) -> Result<(), Fault> {
        let owners = self.owners();
        let name = settings.name.as_str();
        for project in &read.plan.projects {
            let Some(owner) = owners.rival(name, &project.name) else { continue };
            let detail = format!(
                "{} would be the project {}, which source {owner} has: give one of them another name by \
                 as = \"…\" in the file of sources, or remove it from {owner}, and {name} takes it over",
                project.path, project.name
            );
            return Err(Fault { kind: ProblemKind::Invalid, detail });
        }
        Ok(())
    }
}

/// The fault of a commit that cannot be read.
pub(super) fn read_fault(error: &ReadError, settings: &SourceSettings) -> Fault {
    match error {
        ReadError::Git(error) => fault(error, settings),
        ReadError::Submodule { error: inner, .. } => {
            let kind = match fault(inner, settings).kind {
                // Its mirror is new already: that of the source is another one. A commit that is not
                // there yet may be pushed.
                ProblemKind::Damaged | ProblemKind::BranchGone => ProblemKind::Unreachable,
                kind => kind,
            };
            Fault { kind, detail: error.to_string() }
        }
        ReadError::Invalid(detail) => Fault { kind: ProblemKind::Invalid, detail: detail.clone() },
    }
}

pub(super) fn fault(error: &GitError, settings: &SourceSettings) -> Fault {
    let (kind, fix) = match error {
        GitError::Unauthorized { .. } => (ProblemKind::Unauthorized, None),
        GitError::HostKey(_) => {
            let fix = "put the server's key, from who runs it, into the file known_hosts of the credential";
            (ProblemKind::HostKey, Some(fix.to_owned()))
        }
        GitError::RefGone { .. } => (ProblemKind::BranchGone, None),
        GitError::Damaged(_) => (ProblemKind::Damaged, None),
        GitError::TooLarge { .. } => {
            let fix = format!("raise max_size of source {:?} in the file of sources", settings.name.as_str());
            (ProblemKind::TooLarge, Some(fix))
        }
        GitError::DiskFull(_) => (ProblemKind::DiskFull, Some("make room".to_owned())),
        GitError::Refused(_) | GitError::Untrusted { .. } => (ProblemKind::Invalid, None),
        GitError::Missing(_)
        | GitError::Unreachable(_)
        | GitError::Moved { .. }
        | GitError::TimedOut { .. }
        | GitError::Other(_) => (ProblemKind::Unreachable, None),
    };
    let detail = fix.map_or_else(|| error.to_string(), |fix| format!("{error}; {fix}"));
    Fault { kind, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_commit_of_another_hash_function_is_refused_and_the_mirror_stays() {
        let id = |digits: usize| "ab".repeat(digits / 2).parse::<ObjectId>().unwrap();
        let check = |named, known: &[ObjectId]| check_format(Some(&id(named)), known).is_ok();
        assert!(check(40, &[id(40)]) && check(64, &[id(64)]));
        assert!(!check(64, &[id(40)]) && !check(40, &[id(64)]));
        assert!(check(64, &[]), "nothing is known of the repository yet");
    }
}
