//! Checks and copies that archives of every kind share.

use std::io::{self, Read};

use super::UploadError;
use super::sink::Sink;

/// Bytes that are read from an archive at once.
const BUFFER: usize = 64 * 1024;

/// The bits of a Unix mode that a file in a project never has: set-user-ID, set-group-ID, sticky.
const SPECIAL_BITS: u32 = 0o7000;

/// Refuses the bits of a mode that a file in a project never has.
///
/// # Errors
/// One of them is set.
pub(super) fn check_special_bits(mode: u32) -> Result<(), UploadError> {
    if mode & SPECIAL_BITS == 0 {
        return Ok(());
    }
    Err(UploadError::bad(
        "mode",
        "it has the set-user-ID, set-group-ID or sticky bit: take it off (chmod a-st) and pack again",
    ))
}

/// Writes one file of an archive.
///
/// # Errors
/// The archive is damaged, or the file exceeds a limit.
pub(super) fn copy(name: &str, content: &mut impl Read, sink: &mut Sink) -> Result<(), UploadError> {
    sink.open(name)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => sink.write(&buffer[..length]).map_err(|refused| refused.part(name))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(damaged(&error).part(name)),
        }
    }
    sink.close();
    Ok(())
}

/// Returns the error for an archive that cannot be read.
pub(super) fn damaged(error: &dyn std::fmt::Display) -> UploadError {
    UploadError::bad(
        "body",
        format!("the archive is damaged or not of the kind that its name says: {error}; pack it again"),
    )
}
