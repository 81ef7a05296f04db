//! The copy of one file from the volume into a checkout.

use std::fs::{File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::error::{CheckoutError, CopyFailure};
use crate::checkout::bounds::Pace;
use crate::checkout::hashes::{FileHash, FileReadError, hash};
use crate::checkout::snapshot::Snapshot;

/// Bytes that are copied between two calls of the pace: some milliseconds. Where the file system
/// can, the kernel shares pieces of this size with the original.
const PIECE: u64 = 8 << 20;

/// Maximum size of a file that is copied through memory, which takes half the system calls. The
/// kernel has little to share of such a file.
const SMALL: u64 = 64 * 1024;

/// Copies a file of the snapshot to `to`, read-only, and checks that the copy has the expected
/// hash.
///
/// # Errors
/// The file on the volume has changed or cannot be read, the copy cannot be written, or `pace` has
/// interrupted the copying.
pub(super) fn copy(
    snapshot: &Snapshot,
    path: &str,
    to: &Path,
    expected: &FileHash,
    pace: Pace<'_>,
) -> Result<(), CheckoutError> {
    let failed = |operation: &'static str| move |error| CopyFailure { operation, path: to, error };
    let (source, size) = snapshot.open(path)?;
    let target = File::create_new(to).map_err(failed("create"))?;
    let copied = if size <= SMALL {
        let content = read_small(path, &source, size)?;
        (&target).write_all(&content).map_err(failed("write"))?;
        pace(size)?;
        Sha256::digest(&content).into()
    } else {
        copy_pieces(&source, &target, size, to, pace)?;
        let copied = File::open(to).map_err(failed("read"))?;
        hash(path, &copied, size, pace)?
    };
    if copied != *expected {
        return Err(CheckoutError::Moved);
    }
    let read_only = Permissions::from_mode(0o444);
    Ok(target.set_permissions(read_only).map_err(failed("protect"))?)
}

/// Reads a file that had `size` bytes when it was listed. A file that has grown since is read no
/// further than that shows.
fn read_small(path: &str, source: &File, size: u64) -> Result<Vec<u8>, CheckoutError> {
    let mut content = Vec::with_capacity(usize::try_from(size + 1).unwrap_or_default());
    let read = source.take(size + 1).read_to_end(&mut content);
    read.map_err(|error| FileReadError::of(path, &error))?;
    if content.len() as u64 == size { Ok(content) } else { Err(CheckoutError::Moved) }
}

fn copy_pieces(
    source: &File,
    target: &File,
    size: u64,
    to: &Path,
    pace: Pace<'_>,
) -> Result<(), CheckoutError> {
    let mut left = size;
    while left > 0 {
        let piece = io::copy(&mut source.take(left.min(PIECE)), &mut &*target);
        let piece = piece.map_err(|error| CopyFailure { operation: "copy to", path: to, error })?;
        if piece == 0 {
            return Err(CheckoutError::Moved);
        }
        left -= piece;
        pace(piece)?;
    }
    Ok(())
}
