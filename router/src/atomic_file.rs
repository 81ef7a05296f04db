//! Files that are replaced in one step: a reader, or a router that was killed, finds the old
//! content or the new one.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::Builder;

/// The permission bits of a file that only its owner reads and writes.
pub(crate) const PRIVATE: u32 = 0o600;

/// Replaces the content of the file at `path`, which need not exist. Content and name are on disk
/// when this returns. `mode` holds the permission bits, to which no umask applies.
///
/// # Errors
/// A file cannot be made in the folder of `path`, or cannot be written, synced or renamed.
pub(crate) fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = Builder::new().prefix(".unfinished-").tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The new name is on disk once its folder is.
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_mode_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for content in ["1", "22"] {
            write(&path, content.as_bytes(), PRIVATE).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, PRIVATE);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write(&dir.path().join("gone/file"), b"", PRIVATE).is_err());
    }
}
