//! Folders that the command line names.

use std::path::{Path, PathBuf};

use super::failure::{Failure, USAGE};

/// Returns the absolute path of a folder, without symbolic links. Reads the file system.
///
/// # Errors
/// It does not exist, cannot be read, or is not a folder.
pub(super) fn canonical(folder: &Path) -> Result<PathBuf, Failure> {
    let root = folder.canonicalize();
    let root =
        root.map_err(|error| Failure::new(USAGE, format!("cannot read {}: {error}", folder.display())))?;
    if !root.is_dir() {
        return Err(Failure::new(USAGE, format!("{} is not a folder", folder.display())));
    }
    Ok(root)
}
