//! The bounds of one reading: the limits of the project's files, and the pace that may interrupt
//! it.

use switchyard_contract::event::Diagnostic;

use crate::policy::{ReadLimit, ReadLimits};
use crate::project::diagnostic;

/// The request to end a reading. The pace that returned it knows the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interruption;

/// The pace of a reading: called between names in a folder, files, and pieces of files, with the
/// number of bytes that were read since the last call. Once it has returned [`Interruption`], it
/// always does.
pub(crate) type Pace<'a> = &'a dyn Fn(u64) -> Result<(), Interruption>;

/// The bounds of one reading.
#[derive(Clone, Copy)]
pub(crate) struct ReadBounds<'a> {
    pub(crate) limits: ReadLimits,
    pub(crate) pace: Pace<'a>,
}

/// Average number of bytes of a path that the limit of files allows for. Real projects have fifty.
const PATH_BYTES: u64 = 256;

/// The counts of one project so far.
#[derive(Debug, Default)]
pub(super) struct ProjectCounts {
    files: u64,
    folders: u64,
    bytes: u64,
    paths: u64,
}

impl ProjectCounts {
    /// Counts an entry that is not a folder.
    ///
    /// # Errors
    /// The limit of files is exceeded.
    pub(super) fn add_entry(&mut self, limits: &ReadLimits) -> Result<(), Diagnostic> {
        self.files += 1;
        check(self.files, limits.files, ReadLimit::Files, |most| {
            format!("the project has more than {most} files")
        })
    }

    /// Counts a folder, each time that it is entered.
    ///
    /// # Errors
    /// The limit of folders is exceeded.
    pub(super) fn add_folder(&mut self, limits: &ReadLimits) -> Result<(), Diagnostic> {
        self.folders += 1;
        check(self.folders, limits.folders, ReadLimit::Folders, |most| {
            format!("the project has more than {most} folders, counting each by every symbolic link to it")
        })
    }

    /// Counts the bytes of a file of `size` bytes.
    ///
    /// # Errors
    /// The limit of one file's bytes, of all bytes, or of bytes in paths is exceeded.
    pub(super) fn add_file(&mut self, path: &str, size: u64, limits: &ReadLimits) -> Result<(), Diagnostic> {
        let in_file = |error| Diagnostic { file: Some(path.to_owned()), ..error };
        let message = |most| format!("{path} has {size} bytes, more than the {most} that a file may have");
        check(size, limits.file_bytes, ReadLimit::FileBytes, message).map_err(in_file)?;
        self.bytes = self.bytes.saturating_add(size);
        check(self.bytes, limits.bytes, ReadLimit::Bytes, |most| {
            format!("the project has more than {most} bytes in its files")
        })?;
        self.paths += path.len() as u64;
        let most = limits.files.saturating_mul(PATH_BYTES);
        check(self.paths, most, ReadLimit::Files, |most| {
            format!(
                "the project has more than {most} bytes in the paths of its files \
                 ({PATH_BYTES} for each file that it may have)"
            )
        })
    }
}

fn check(
    count: u64,
    most: u64,
    limit: ReadLimit,
    message: impl FnOnce(u64) -> String,
) -> Result<(), Diagnostic> {
    if count <= most {
        return Ok(());
    }
    Err(diagnostic(format!("{}: {}", message(most), limit.fix())))
}
