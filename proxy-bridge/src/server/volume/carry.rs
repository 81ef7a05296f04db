//! What an upload does not bring and no digest counts is carried over from the tree on the volume.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::digest::is_entered;

/// Links the top `.git` of `old` into `new`, and if `packages` `node_modules` (at any depth at which the new tree has
/// its parent folder), where that has none of its own.
pub(super) fn carry_over(old: &Path, new: &Path, packages: bool) -> io::Result<()> {
    carry(old, new, packages, true)
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
                link(&entry.path(), &to)?;
            }
        } else if is_folder && to.is_dir() {
            carry(&entry.path(), &to, packages, false)?;
        }
    }
    Ok(())
}

/// A copy in which files are hard links, so that it costs no space and the old tree stays as it is.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    let kind = from.symlink_metadata()?.file_type();
    if kind.is_dir() {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            link(&entry.path(), &to.join(entry.file_name()))?;
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
