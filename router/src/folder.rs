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
