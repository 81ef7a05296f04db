//! The places that git needs: its program, the folder for `HOME`, and folders of a user of its own.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use super::GitSettings;
use crate::git::GitError;

/// Finds the program, makes the folder for `HOME`, and checks that the user reaches both.
pub(super) fn settle(mut settings: GitSettings) -> Result<GitSettings, GitError> {
    if settings.user.is_some() && !rustix::process::geteuid().is_root() {
        let what = "only root can run git as another user: start the bridge as root, or give no user";
        return Err(GitError::Refused(what.to_owned()));
    }
    settings.program = program(&settings.program, &settings.search_path)?;
    let disk = |error: io::Error| GitError::disk("make the folder for HOME", &error);
    fs::create_dir_all(&settings.home).map_err(disk)?;
    settings.home = settings.home.canonicalize().map_err(disk)?;
    if let Some(user) = settings.user {
        check_reach(&settings.home, user)?;
    }
    Ok(settings)
}

/// Returns the path of a program, which is looked for in `search_path` if it is a plain name.
pub(super) fn program(name: &Path, search_path: &OsStr) -> Result<PathBuf, GitError> {
    let can_start = |path: &PathBuf| {
        let found = fs::metadata(path);
        path.is_absolute()
            && found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let found = if name.components().count() == 1 && !name.has_root() {
        std::env::split_paths(search_path).map(|folder| folder.join(name)).find(can_start)
    } else {
        std::path::absolute(name).ok().filter(can_start)
    };
    let missing = || GitError::Missing(format!("there is no program {} that can start", name.display()));
    found.ok_or_else(missing)
}

/// Checks that the repository at `path` is below one of `folders`, wherever links lead. Blocking.
pub(super) fn check_local(path: &Path, folders: &[PathBuf]) -> Result<(), GitError> {
    let found = path.canonicalize().map_err(|error| {
        GitError::Unreachable(format!("the repository {} cannot be found: {error}", path.display()))
    })?;
    let is_below = |folder: &PathBuf| folder.canonicalize().is_ok_and(|folder| found.starts_with(folder));
    if folders.iter().any(is_below) {
        return Ok(());
    }
    let (found, folder) = (found.display(), found.parent().unwrap_or(&found).display());
    Err(GitError::Refused(format!(
        "{found} is in no folder that sources may use: start the bridge with --allow-local {folder}"
    )))
}

/// Makes `folder` one of the user's, and of nobody else's.
pub(in crate::git) fn own(folder: &Path, user: Option<(u32, u32)>) -> io::Result<()> {
    let Some((user, group)) = user else { return Ok(()) };
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    chown(folder, Some(user), Some(group))
}

/// Checks that the user may enter `folder`, an absolute path, and all that lead to it.
pub(in crate::git) fn check_reach(folder: &Path, (user, group): (u32, u32)) -> Result<(), GitError> {
    for folder in folder.ancestors() {
        let found = fs::metadata(folder).map_err(|error| GitError::disk("look at a folder", &error))?;
        let needed = match found.uid() == user {
            true => 0o100,
            false if found.gid() == group => 0o010,
            false => 0o001,
        };
        if found.permissions().mode() & needed == 0 {
            let folder = folder.display();
            return Err(GitError::Refused(format!(
                "git's user {user} cannot enter {folder}: allow it with chmod o+x {folder}"
            )));
        }
    }
    Ok(())
}
