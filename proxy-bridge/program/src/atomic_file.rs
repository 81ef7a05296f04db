//! Files that are replaced as a whole: written beside their target, made durable and renamed.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::Builder;

/// Prefix of the names of unfinished files. A crash may leave one, which is never read.
pub const UNFINISHED: &str = ".unfinished-";

/// The permission bits of a file that only its owner reads and writes.
pub const PRIVATE: u32 = 0o600;

/// The permission bits of a file that every user reads.
pub const READABLE: u32 = 0o644;

/// Replaces the file at `path` with `content`, and makes content and name durable.
///
/// A reader sees the old content or the new one and nothing in between, and so does the next start
/// after a crash or a power cut at any instant. `mode` holds the permission bits, to which no umask
/// applies.
///
/// # Errors
/// The folder is missing, or the file cannot be written, synced or renamed. The old content is then
/// still in place, unless only syncing the folder failed.
pub fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    replace(path, content, mode)?;
    sync_folder(folder_of(path))
}

/// Does the same as [`write`], but leaves the time at which the name becomes durable to the kernel:
/// after a power cut the next start may find the old content.
///
/// # Errors
/// The folder is missing, or the file cannot be written, synced or renamed. The old content is then
/// still in place.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = Builder::new().prefix(UNFINISHED).tempfile_in(folder_of(path))?;
    file.write_all(content)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Makes the names in `folder` durable: files that were created, renamed or removed there.
///
/// # Errors
/// The folder cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record.json");
        write(&path, b"old and longer", READABLE).unwrap();
        write(&path, b"new", PRIVATE).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, PRIVATE);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_write_that_fails_keeps_the_old_content_and_removes_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("name");
        fs::create_dir(&path).unwrap();
        assert!(write(&path, b"new", PRIVATE).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write(&dir.path().join("missing/name"), b"new", PRIVATE).is_err());
    }
}
