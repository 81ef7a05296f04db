//! The bounds of one reading: the limits of the project's files, and whoever is asked whether to go on.

use switchyard_contract::event::Diagnostic;

use crate::policy::{ReadLimit, ReadLimits};
use crate::project::diagnostic;

/// The reading is to end. Whoever was asked knows why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interrupted;

/// Asked between the names in a folder, files, and pieces of files, with the bytes that were read since the last time. Once
/// it has refused, it always does.
pub(crate) type Pace<'a> = &'a dyn Fn(u64) -> Result<(), Interrupted>;

/// The bounds of one reading.
#[derive(Clone, Copy)]
pub(crate) struct Bounds<'a> {
    pub(crate) limits: ReadLimits,
    pub(crate) pace: Pace<'a>,
}

/// Bytes of paths for each file that there may be, on average. Real projects have fifty.
const PATH_BYTES: u64 = 256;

/// The counts of one project so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    files: u64,
    folders: u64,
    bytes: u64,
    paths: u64,
}

impl Counts {
    /// Counts something that is no folder.
    pub(super) fn name(&mut self, limits: &ReadLimits) -> Result<(), Diagnostic> {
        self.files += 1;
        check(self.files, limits.files, ReadLimit::Files, |most| format!("has more than {most} files"))
    }

    pub(super) fn folder(&mut self, limits: &ReadLimits) -> Result<(), Diagnostic> {
        self.folders += 1;
        check(self.folders, limits.folders, ReadLimit::Folders, |most| {
            format!("has more than {most} folders, counting each by every symbolic link to it")
        })
    }

    /// Counts a file of so many bytes.
    pub(super) fn file(&mut self, path: &str, size: u64, limits: &ReadLimits) -> Result<(), Diagnostic> {
        let its = |error| Diagnostic { file: Some(path.to_owned()), ..error };
        let is_large = |most| format!("{path} has {size} bytes, and a file may have {most}");
        check(size, limits.file_bytes, ReadLimit::FileBytes, is_large).map_err(its)?;
        self.bytes = self.bytes.saturating_add(size);
        check(self.bytes, limits.bytes, ReadLimit::Bytes, |most| {
            format!("has more than {most} bytes in its files")
        })?;
        self.paths += path.len() as u64;
        let most = limits.files.saturating_mul(PATH_BYTES);
        check(self.paths, most, ReadLimit::Files, |most| {
            format!(
                "has more than {most} bytes in the paths of its files ({PATH_BYTES} for each that it may have)"
            )
        })
    }
}

fn check(
    count: u64,
    most: u64,
    limit: ReadLimit,
    what: impl FnOnce(u64) -> String,
) -> Result<(), Diagnostic> {
    if count <= most {
        return Ok(());
    }
    Err(diagnostic(format!("{}: {}", what(most), limit.fix())))
}
