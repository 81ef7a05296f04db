//! The parts of the tree on the volume that are carried over into a new one: folders that no digest
//! counts and no upload brings, and the times of unchanged files.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::SystemTime;

use switchyard_contract::digest::is_entered;

/// Bytes of each of two files that are compared at once.
const BUFFER: usize = 64 * 1024;

/// Levels of nested folders that are carried over: more than package managers and git make, and few
/// enough for a stack.
const MOST_LEVELS: usize = 128;

/// Links the top `.git` of `old` into `new`, and with `packages` also `node_modules` (at any depth
/// at which the new tree has its parent folder), where the new tree has none of its own.
///
/// A file that replaces a file gets its time only.
pub(super) fn carry_over(old: &Path, new: &Path, packages: bool) -> io::Result<()> {
    let is_folder = |path: &Path| path.symlink_metadata().is_ok_and(|there| there.is_dir());
    match (is_folder(old), is_folder(new)) {
        (true, true) => carry(old, new, packages, true),
        (false, false) if old.symlink_metadata().is_ok() => {
            keep_time(old, new);
            Ok(())
        }
        // One of them replaces the other whole.
        _ => Ok(()),
    }
}

fn carry(old: &Path, new: &Path, packages: bool, top: bool) -> io::Result<()> {
    for entry in fs::read_dir(old)? {
        let entry = entry?;
        let name = entry.file_name();
        let to = new.join(&name);
        let is_folder = entry.file_type()?.is_dir();
        if !is_entered(name.as_encoded_bytes()) {
            let wanted = if name == "node_modules" { packages } else { top };
            if wanted && to.symlink_metadata().is_err() {
                link(&entry.path(), &to, MOST_LEVELS)?;
            }
        } else if is_folder && to.is_dir() {
            carry(&entry.path(), &to, packages, false)?;
        } else if to.symlink_metadata().is_ok() {
            keep_time(&entry.path(), &to);
        }
    }
    Ok(())
}

/// Gives the file `new` the time of `old` if it has the same content: servers derive validators
/// from it, and browsers would load every file again after each deploy. A failure is harmless.
fn keep_time(old: &Path, new: &Path) {
    let kept = unchanged_since(old, new).and_then(|time| match time {
        Some(time) => File::open(new)?.set_modified(time),
        None => Ok(()),
    });
    if let Err(error) = kept {
        tracing::debug!("cannot keep the modification time of {}: {error}", old.display());
    }
}

/// Returns the time at which `old` was written, if `new` is a file with the same content.
fn unchanged_since(old: &Path, new: &Path) -> io::Result<Option<SystemTime>> {
    let (before, after) = (old.symlink_metadata()?, new.symlink_metadata()?);
    let may_be = before.is_file() && after.is_file() && before.len() == after.len();
    if may_be && is_same(old, new)? { before.modified().map(Some) } else { Ok(None) }
}

fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let mut one = BufReader::with_capacity(BUFFER, File::open(one)?);
    let mut other = BufReader::with_capacity(BUFFER, File::open(other)?);
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let length = left.len().min(right.len());
        if length == 0 {
            return Ok(left.is_empty() && right.is_empty());
        }
        if left[..length] != right[..length] {
            return Ok(false);
        }
        one.consume(length);
        other.consume(length);
    }
}

/// Copies a folder with hard links for its files, so that it costs no space and the old tree stays
/// unchanged. `levels`: the depth to which folders may be nested from here on.
fn link(from: &Path, to: &Path, levels: usize) -> io::Result<()> {
    let kind = from.symlink_metadata()?.file_type();
    if kind.is_dir() {
        let below = levels.checked_sub(1).ok_or_else(|| {
            io::Error::other(format!("folders in it are nested more than {MOST_LEVELS} deep"))
        })?;
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            link(&entry.path(), &to.join(entry.file_name()), below)?;
        }
        Ok(())
    } else if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)
    } else if kind.is_file() {
        // Some file systems have no hard links, or few for each file.
        fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop))
    } else {
        // A socket or a pipe is a process's, not a package's.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_are_nested_too_deep_are_an_error_and_no_recursion_without_end() {
        let root = tempfile::tempdir().unwrap();
        let of = |name: &str, levels: usize| {
            let top = root.path().join(name);
            fs::create_dir_all((0..levels).fold(top.join(".git"), |path, _| path.join("d"))).unwrap();
            let new = root.path().join(format!("{name}-new"));
            fs::create_dir(&new).unwrap();
            carry_over(&top, &new, true).map_err(|error| error.to_string())
        };
        assert_eq!(of("deep", MOST_LEVELS - 1), Ok(()));
        assert!(of("deeper", MOST_LEVELS).unwrap_err().contains("128 deep"));
    }
}
