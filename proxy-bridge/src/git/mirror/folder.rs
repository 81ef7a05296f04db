//! A mirror's folder: its name, its lock, and what killed gits left in it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::blocking;
use crate::git::command::{check_reach, own};
use crate::git::{GitError, ObjectFormat};

/// The folder of one mirror. The lock is held while the value lives.
#[derive(Debug)]
pub(super) struct Folder {
    repository: PathBuf,
    /// The user and the group of the repository; the folder around it stays this process's.
    user: Option<(u32, u32)>,
    lock: File,
}

impl Folder {
    /// Locks the folder for `url` below `dir`, and removes leftovers. Blocking.
    pub(super) fn open(dir: &Path, url: &str, user: Option<(u32, u32)>) -> Result<Self, GitError> {
        let disk = |step: &str| {
            let step = format!("{step} in {}", dir.display());
            move |error: io::Error| GitError::disk(&step, &error)
        };
        fs::create_dir_all(dir).map_err(disk("make the folder of a mirror"))?;
        let dir = dir.canonicalize().map_err(disk("find the folder of a mirror"))?;
        if let Some(user) = user {
            check_reach(&dir, user)?;
        }
        let digest = Sha256::digest(url);
        let name = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>();
        let lock = dir.join(format!("{name}.lock"));
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(lock);
        let lock = lock.map_err(disk("open the lock of a mirror"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let at = dir.display();
                return Err(GitError::Other(format!("another process uses the mirror of {url} in {at}")));
            }
            Err(TryLockError::Error(error)) => return Err(disk("lock a mirror")(error)),
        }
        let folder = Self { repository: dir.join(format!("{name}.git")), user, lock };
        for beside in [folder.beside("new"), folder.beside("old")] {
            remove_folder(&beside).map_err(disk("remove a leftover"))?;
        }
        remove_leftovers(&folder.repository).map_err(disk("remove a leftover"))?;
        Ok(folder)
    }

    pub(super) fn repository(&self) -> &Path {
        &self.repository
    }

    /// True once a repository was put there that belongs to the user: another one's is made anew.
    pub(super) fn is_made(&self) -> bool {
        let wanted = self.user.map_or_else(|| rustix::process::geteuid().as_raw(), |(user, _)| user);
        fs::symlink_metadata(&self.repository).is_ok_and(|found| found.is_dir() && found.uid() == wanted)
    }

    /// The hash function of its objects.
    pub(super) async fn format(&self) -> Result<ObjectFormat, GitError> {
        let config = self.repository.join("config");
        blocking(move || {
            let text = fs::read_to_string(config);
            let text = text.map_err(|error| GitError::Damaged(format!("its config: {error}")))?;
            Ok(if text.contains("objectformat = sha256") { ObjectFormat::Sha256 } else { ObjectFormat::Sha1 })
        })
        .await
    }

    /// The number of packs.
    pub(super) async fn packs(&self) -> Result<usize, GitError> {
        let folder = self.repository.join("objects/pack");
        blocking(move || {
            let entries = fs::read_dir(folder).map_err(|error| GitError::disk("count packs", &error))?;
            let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
            Ok(names.filter(|name| name.as_encoded_bytes().ends_with(b".pack")).count())
        })
        .await
    }

    /// The place for a new repository, where nothing is.
    pub(super) async fn prepare(&self) -> Result<PathBuf, GitError> {
        let (new, user) = (self.beside("new"), self.user);
        blocking(move || {
            remove_folder(&new).map_err(|error| GitError::disk("remove a leftover", &error))?;
            let made = fs::create_dir(&new).and_then(|()| own(&new, user));
            made.map_err(|error| GitError::disk("make a mirror", &error))?;
            Ok(new)
        })
        .await
    }

    /// Puts the new repository in the place of the present one.
    pub(super) async fn replace(&self) -> Result<(), GitError> {
        let (new, old, repository) = (self.beside("new"), self.beside("old"), self.repository.clone());
        blocking(move || {
            let replace = || {
                remove_folder(&old)?;
                match fs::rename(&repository, &old) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                fs::rename(&new, &repository)?;
                remove_folder(&old)
            };
            replace().map_err(|error| GitError::disk("put a new mirror in place", &error))
        })
        .await
    }

    /// Removes what a git that was killed left. None may run.
    pub(super) async fn remove_leftovers(&self) -> Result<(), GitError> {
        let repository = self.repository.clone();
        blocking(move || {
            remove_leftovers(&repository).map_err(|error| GitError::disk("remove a leftover", &error))
        })
        .await
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.repository.with_extension(format!("git.{suffix}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A child of this process has a copy of the descriptor until it runs its program. Closing this
        // one alone would leave the mirror locked until then.
        let _ = self.lock.unlock();
    }
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn remove_leftovers(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let is_folder = entry.file_type()?.is_dir();
        let left = is_leftover(&entry.file_name().to_string_lossy());
        match (is_folder, left) {
            (true, true) => remove_folder(&entry.path())?,
            (true, false) => remove_leftovers(&entry.path())?,
            (false, true) => fs::remove_file(entry.path())?,
            (false, false) => {}
        }
    }
    Ok(())
}

/// True for locks, half-written packs and objects, and marks that keep a pack while it is fetched.
fn is_leftover(name: &str) -> bool {
    let half = ["tmp_", ".tmp-", "tmp-", ".git_vtag_tmp"].iter().any(|beginning| name.starts_with(beginning));
    half || name == "gc.pid"
        || name.ends_with(".lock")
        || (name.starts_with("pack-") && name.ends_with(".keep"))
}
