//! The bytes that a mirror takes, watched while it grows.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{MirrorLimits, blocking};
use crate::git::GitError;

/// Between two looks at the disk while git fetches.
const EVERY: Duration = Duration::from_millis(200);

/// Returns the bytes of all files in `folder`.
pub(super) async fn size(folder: &Path) -> Result<u64, GitError> {
    let folder = folder.to_owned();
    blocking(move || sum(folder).map_err(|error| GitError::disk("measure a mirror", &error))).await
}

/// Looks once.
///
/// # Errors
/// The objects outgrew the budget, or the disk is nearly full.
pub(super) async fn check(objects: &Path, limits: MirrorLimits) -> Result<(), GitError> {
    let bytes = size(objects).await?;
    if bytes > limits.budget {
        return Err(GitError::TooLarge { bytes, budget: limits.budget });
    }
    check_free(objects, limits).await
}

/// # Errors
/// The disk of `folder` is nearly full.
pub(super) async fn check_free(folder: &Path, limits: MirrorLimits) -> Result<(), GitError> {
    let of = folder.to_owned();
    let free = blocking(move || {
        let stat = rustix::fs::statvfs(&of);
        let stat = stat.map_err(|error| GitError::disk("ask for free space", &error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    });
    let free = free.await?;
    if free < limits.free {
        return Err(GitError::DiskFull(format!(
            "{free} bytes are free, and {} have to stay so",
            limits.free
        )));
    }
    Ok(())
}

/// Looks again and again, until a bound is exceeded or the look fails.
pub(super) async fn until_exceeded(objects: &Path, limits: MirrorLimits) -> GitError {
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = check(objects, limits).await {
            return error;
        }
    }
}

fn sum(folder: PathBuf) -> io::Result<u64> {
    let (mut bytes, mut folders) = (0_u64, vec![folder]);
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            // A file of git's may go while it is looked at.
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => bytes = bytes.saturating_add(metadata.len()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(bytes)
}
