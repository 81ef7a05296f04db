//! Folders of the router's own in its state folder.

use std::fs;
use std::io;
use std::path::Path;

/// Removes a folder with all that is in it, if it is there. One that cannot be removed is told in the log, and stays.
pub(crate) fn remove(path: &Path) {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("{} cannot be removed: {error}", path.display());
        }
        _ => {}
    }
}

/// The names in a folder; none when it cannot be read.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
