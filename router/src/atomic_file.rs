//! Files that are replaced in one step: a reader, or a router that was killed, finds the old
//! content or the new one.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::Builder;

/// The guarantee after a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The content is on disk when the call returns.
    Synced,
    /// The content may be lost: the caller can do without it, or notices a damaged file.
    Cached,
}

/// Replaces the content of the file at `path`, which need not exist. The file gets the mode `mode`,
/// less the umask.
///
/// # Errors
/// A file cannot be made in the folder of `path`, or cannot be written or renamed.
pub(crate) fn write(path: &Path, content: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file =
        Builder::new().prefix(".new-").permissions(Permissions::from_mode(mode)).tempfile_in(folder)?;
    file.write_all(content)?;
    if durability == Durability::Synced {
        file.as_file().sync_all()?;
    }
    file.persist(path).map_err(|error| error.error)?;
    if durability == Durability::Synced {
        // The new name is on disk once its folder is.
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_mode_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for (content, durability) in [("1", Durability::Synced), ("22", Durability::Cached)] {
            write(&path, content.as_bytes(), 0o600, durability).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write(&dir.path().join("gone/file"), b"", 0o600, Durability::Cached).is_err());
    }
}
