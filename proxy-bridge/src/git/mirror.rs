//! A bare mirror of one repository: a cache, which may be thrown away at any time.

mod branches;
mod folder;
mod watch;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use self::folder::Folder;
use super::command::{Call, Ended};
use super::object_id::ObjectFormat;
use super::target::{RefTarget, check_name};
use super::{Git, GitError, ObjectId, Remote};

const REFS: &str = "refs/switchyard";
/// Where a ref is fetched to by its name, before it is known which commit it is.
const INCOMING: &str = "refs/switchyard-incoming/ref";
/// Bound of the list of refs that a server answers, in bytes: about 100,000 tags.
const MAX_REFS: u64 = 16 << 20;
/// Packs that are worth a collection.
const MANY_PACKS: usize = 50;
/// The end of git's message about a lock that another process holds.
const LOCKED: &str = ".lock': File exists";
/// Bound of collecting garbage.
const GC_TIMEOUT: Duration = Duration::from_secs(600);

/// Bounds of a mirror on its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MirrorLimits {
    /// Most bytes of all its objects.
    pub budget: u64,
    /// Bytes that stay free on its disk.
    pub free: u64,
}

/// A commit, and the name that led to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    pub commit: ObjectId,
    /// The full name of the ref; `None` for a target that is a commit.
    pub name: Option<String>,
}

/// The mirror of one URL. It is this process's alone while the value lives.
#[derive(Debug)]
pub struct Mirror {
    git: Git,
    remote: Remote,
    limits: MirrorLimits,
    folder: Folder,
    /// Held by all that writes to it. Readers need no lock: refs hold what they read.
    writing: Mutex<()>,
    /// True while git writes. Still true afterwards, a caller gave up and git was killed.
    interrupted: AtomicBool,
}

impl Mirror {
    /// Opens, or makes, the mirror of `remote` below `dir`. Removes what killed gits left in it.
    ///
    /// # Errors
    /// Another process has it, or the disk fails.
    pub async fn open(git: Git, dir: &Path, remote: Remote, limits: MirrorLimits) -> Result<Self, GitError> {
        let (dir, url) = (dir.to_owned(), remote.url.to_string());
        let user = git.user();
        let folder = blocking(move || Folder::open(&dir, &url, user)).await?;
        let mirror = Self {
            git,
            remote,
            limits,
            folder,
            writing: Mutex::new(()),
            interrupted: AtomicBool::new(false),
        };
        if !mirror.folder.is_made() {
            mirror.build(ObjectFormat::Sha1).await?;
        }
        Ok(mirror)
    }

    /// The repository on disk.
    pub fn path(&self) -> &Path {
        self.folder.repository()
    }

    /// The repository that it mirrors, and what opens it.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Runs git on the mirror to its end, whichever it is. Nothing else writes to the mirror while it
    /// does, so that temporary files of it stay.
    pub(super) async fn ended_alone(&self, call: Call<'_>) -> Result<Ended, GitError> {
        let _writing = self.writing.lock().await;
        self.begin().await?;
        let ended = self.git.ended(call).await;
        let failure = if ended.is_ok() { Ok(()) } else { self.folder.remove_leftovers().await };
        self.interrupted.store(false, Ordering::Relaxed);
        failure.and(ended)
    }

    /// The git that serves it.
    pub(super) fn git(&self) -> &Git {
        &self.git
    }

    /// Asks the server for the commit that `target` names now.
    ///
    /// # Errors
    /// Among others [`GitError::RefGone`].
    pub async fn resolve(&self, target: &RefTarget) -> Result<Resolved, GitError> {
        let Some(asked) = target.ref_name() else {
            let RefTarget::Commit(commit) = target else {
                return Err(GitError::Other("a target without a name".to_owned()));
            };
            return Ok(Resolved { commit: commit.clone(), name: None });
        };
        let literal = asked.strip_suffix('*').unwrap_or(&asked);
        check_name(literal.trim_end_matches(['.', '/']))
            .map_err(|error| GitError::Refused(error.to_string()))?;
        let peeled = format!("{asked}^{{}}");
        let args = ["ls-remote", "--quiet", "--", self.remote.url.as_str(), &asked, &peeled];
        let printed =
            self.ask(None, &args, MAX_REFS).await.map_err(|error| error.named(&target.to_string()))?;
        let refs = refs(&printed);
        let gone = || GitError::RefGone { name: target.to_string() };
        let name = match target {
            RefTarget::Tag(pattern) => {
                let names = refs.iter().filter_map(|(name, _)| name.strip_prefix("refs/tags/"));
                format!(
                    "refs/tags/{}",
                    pattern.newest(names.filter(|name| !name.ends_with("^{}"))).ok_or_else(gone)?
                )
            }
            _ => asked,
        };
        let of = |wanted: &str| refs.iter().find(|(name, _)| *name == wanted).map(|(_, id)| id.clone());
        // An annotated tag is an object of its own; what it leads to is told beside it.
        let commit = of(&format!("{name}^{{}}")).or_else(|| of(&name)).ok_or_else(gone)?;
        Ok(Resolved { commit, name: Some(name) })
    }

    /// Fetches the commit's files, and keeps them for `source`.
    ///
    /// # Errors
    /// Among others [`GitError::TooLarge`], [`GitError::DiskFull`], and [`GitError::Moved`] where the
    /// server gives commits by a ref's name only and the ref moved.
    pub async fn fetch(&self, source: &str, resolved: &Resolved) -> Result<(), GitError> {
        let kept = kept_ref(source, &resolved.commit)?;
        let _writing = self.writing.lock().await;
        let format = resolved.commit.format();
        let holders = match self.refs(REFS).await {
            Ok(refs) if self.folder.format().await? == format => refs,
            Ok(_) => {
                self.build(format).await?;
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        // A ref is written after all that the commit needs; the commit alone would prove nothing.
        if holders.iter().any(|(_, id)| *id == resolved.commit) {
            return self.keep(&kept, &resolved.commit).await;
        }
        self.fetch_commit(&kept, resolved).await?;
        match self.commit_of(&kept).await? {
            Some(commit) if commit == resolved.commit => Ok(()),
            _ => Err(GitError::Refused(format!("{} is no commit", resolved.commit))),
        }
    }

    async fn fetch_commit(&self, kept: &str, resolved: &Resolved) -> Result<(), GitError> {
        let commit = &resolved.commit;
        let by_id = self.transfer(&format!("+{commit}:{kept}")).await;
        let (Err(GitError::RefGone { .. }), Some(name)) = (&by_id, &resolved.name) else {
            return by_id.map_err(|error| error.named(&format!("commit {commit}")));
        };
        check_name(name).map_err(|error| GitError::Refused(error.to_string()))?;
        self.transfer(&format!("+{name}:{INCOMING}")).await.map_err(|error| error.named(name))?;
        let came = self.commit_of(INCOMING).await?;
        if came.as_ref() == Some(commit) {
            self.keep(kept, commit).await?;
        }
        self.update(&format!("delete {INCOMING}\n")).await?;
        if came.as_ref() == Some(commit) { Ok(()) } else { Err(GitError::Moved { name: name.clone() }) }
    }

    /// Fetches one ref, and stops when the objects outgrow the budget.
    async fn transfer(&self, refspec: &str) -> Result<(), GitError> {
        let objects = self.path().join("objects");
        watch::check(&objects, self.limits).await?;
        self.begin().await?;
        let url = self.remote.url.as_str();
        let args = [
            "fetch",
            "--quiet",
            "--depth=1",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--no-recurse-submodules",
            "--",
            url,
            refspec,
        ];
        let fetch = async || {
            tokio::select! {
                result = self.ask(Some(self.path()), &args, 1 << 20) => result.map(drop),
                error = watch::until_exceeded(&objects, self.limits) => Err(error),
            }
        };
        let mut result = fetch().await;
        if result.as_ref().is_err_and(|error| error.to_string().contains(LOCKED)) {
            // The lock of a git that a killed process of the bridge had started, made after this one had
            // removed the leftovers.
            self.folder.remove_leftovers().await?;
            result = fetch().await;
        }
        let result = match result {
            Ok(()) => watch::check(&objects, self.limits).await,
            error => error,
        };
        self.finish(result).await
    }

    /// Lets go of all commits of `source` but `commits`. [`gc`](Self::gc) makes the room.
    ///
    /// # Errors
    /// The mirror is damaged, or the disk fails.
    pub async fn retain(&self, source: &str, commits: &[ObjectId]) -> Result<(), GitError> {
        check_source(source)?;
        let _writing = self.writing.lock().await;
        let refs = self.refs(&format!("{REFS}/{source}/")).await?;
        let gone = refs.iter().filter(|(_, id)| !commits.contains(id));
        let commands = gone.map(|(name, _)| format!("delete {name}\n")).collect::<String>();
        if commands.is_empty() { Ok(()) } else { self.update(&commands).await }
    }

    /// Removes all objects that no ref holds.
    ///
    /// # Errors
    /// The mirror is damaged, or the disk fails.
    pub async fn gc(&self) -> Result<(), GitError> {
        let _writing = self.writing.lock().await;
        self.begin().await?;
        let args = ["gc", "--quiet", "--prune=now"];
        let call = Call { writes: self.limits.budget, ..Call::local(self.path(), &args) };
        let result = self.git.output_within(call, GC_TIMEOUT).await;
        self.finish(result.map(drop)).await
    }

    /// Returns true when [`gc`](Self::gc) is due: each fetch adds a pack, and many make reading slow.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn needs_gc(&self) -> Result<bool, GitError> {
        self.folder.packs().await.map(|packs| packs >= MANY_PACKS)
    }

    /// Replaces a damaged mirror by an empty one. What is in use is to be fetched again.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn repair(&self) -> Result<(), GitError> {
        let _writing = self.writing.lock().await;
        self.build(ObjectFormat::Sha1).await
    }

    /// The bytes of all its objects.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn bytes(&self) -> Result<u64, GitError> {
        watch::size(&self.path().join("objects")).await
    }

    /// Removes what a git left whose caller gave up, before another one writes.
    async fn begin(&self) -> Result<(), GitError> {
        if self.interrupted.swap(true, Ordering::Relaxed) {
            self.folder.remove_leftovers().await?;
        }
        Ok(())
    }

    /// Removes what a git left that failed.
    async fn finish(&self, result: Result<(), GitError>) -> Result<(), GitError> {
        if result.is_err() {
            self.folder.remove_leftovers().await?;
        }
        self.interrupted.store(false, Ordering::Relaxed);
        result
    }

    /// Makes an empty repository beside the present one, if there is one, and puts it in its place.
    async fn build(&self, format: ObjectFormat) -> Result<(), GitError> {
        let new = self.folder.prepare().await?;
        watch::check_free(&new, self.limits).await?;
        let format = format!("--object-format={}", format.as_str());
        let args = ["init", "--quiet", "--bare", "--template=", &format];
        self.git.output(Call::local(&new, &args)).await?;
        self.folder.replace().await
    }

    async fn ask(&self, repository: Option<&Path>, args: &[&str], most: u64) -> Result<Vec<u8>, GitError> {
        let args = args.iter().map(std::ffi::OsString::from).collect();
        let writes = self.limits.budget;
        let call = Call { repository, remote: Some(&self.remote), args, input: Vec::new(), most, writes };
        self.git.output(call).await
    }

    async fn keep(&self, name: &str, commit: &ObjectId) -> Result<(), GitError> {
        self.update(&format!("update {name} {commit}\n")).await
    }

    async fn update(&self, commands: &str) -> Result<(), GitError> {
        let mut call = Call::local(self.path(), &["update-ref", "--no-deref", "--stdin"]);
        call.input = commands.as_bytes().to_owned();
        self.git.output(call).await.map(drop)
    }

    /// The refs below `prefix`.
    async fn refs(&self, prefix: &str) -> Result<Vec<(String, ObjectId)>, GitError> {
        let args = ["for-each-ref", "--format=%(objectname)%09%(refname)", prefix];
        let call = Call { most: MAX_REFS, ..Call::local(self.path(), &args) };
        let printed = self.git.output(call).await?;
        Ok(refs(&printed).into_iter().map(|(name, id)| (name.to_owned(), id)).collect())
    }

    /// The commit of a ref of the mirror, if the ref is one of a commit.
    async fn commit_of(&self, name: &str) -> Result<Option<ObjectId>, GitError> {
        let mut call = Call::local(self.path(), &["cat-file", "--batch-check"]);
        call.input = format!("{name}^{{commit}}\n").into_bytes();
        let printed = self.git.output(call).await?;
        let printed = String::from_utf8_lossy(&printed);
        let mut words = printed.split_whitespace();
        let id = words.next().and_then(|id| id.parse().ok());
        Ok(id.filter(|_| words.next() == Some("commit")))
    }
}

/// Reads lines of an id, a tab and the name of a ref.
fn refs(printed: &[u8]) -> Vec<(&str, ObjectId)> {
    printed
        .split(|c| *c == b'\n')
        .filter_map(|line| {
            let (id, name) = std::str::from_utf8(line).ok()?.split_once('\t')?;
            Some((name, id.parse().ok()?))
        })
        .collect()
}

/// The ref that holds a commit for a source.
fn kept_ref(source: &str, commit: &ObjectId) -> Result<String, GitError> {
    check_source(source)?;
    Ok(format!("{REFS}/{source}/{commit}"))
}

fn check_source(source: &str) -> Result<(), GitError> {
    let plain = source.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'));
    if !plain || source.is_empty() || source.starts_with('-') || source.len() > 100 {
        return Err(GitError::Refused(format!("{source:?} is no name of a source")));
    }
    Ok(())
}

/// Runs `work`, which waits for the disk, on a thread that may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, GitError> + Send + 'static,
) -> Result<T, GitError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| GitError::Other(error.to_string()))?
}
