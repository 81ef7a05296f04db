//! The copy of one file from the volume into a checkout.

use std::fs::{File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::error::{CheckoutError, CopyFailure};
use crate::checkout::bounds::Pace;
use crate::checkout::snapshot::{FileHash, Snapshot, hash};

/// Bytes that are copied between two calls of the pace: some milliseconds. Where the file system
/// can, the kernel shares pieces of this size with the original.
const PIECE: u64 = 8 << 20;

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
    let mut left = size;
    while left > 0 {
        let piece =
            io::copy(&mut (&source).take(left.min(PIECE)), &mut &target).map_err(failed("copy to"))?;
        if piece == 0 {
            return Err(CheckoutError::Moved);
        }
        left -= piece;
        pace(piece)?;
    }
    let copied = File::open(to).map_err(failed("read"))?;
    if hash(path, &copied, size, pace)? != *expected {
        return Err(CheckoutError::Moved);
    }
    let read_only = Permissions::from_mode(0o444);
    Ok(target.set_permissions(read_only).map_err(failed("protect"))?)
}
