//! The limits of reading a project's files on the volume.

use std::time::Duration;

/// The limits of reading one project's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadLimits {
    /// Files, and all other entries of its folders that are not folders.
    pub(crate) files: u64,
    /// Folders, each counted by every symbolic link to it.
    pub(crate) folders: u64,
    /// Bytes of all files together.
    pub(crate) bytes: u64,
    /// Bytes of one file.
    pub(crate) file_bytes: u64,
    /// The time for one reading, excluding the wait for its turn.
    pub(crate) time: Duration,
}

/// One of [`ReadLimits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadLimit {
    Files,
    Folders,
    Bytes,
    FileBytes,
    Time,
}

impl ReadLimits {
    /// No limits: for the router's own files, which were within the limits when they were written.
    pub(crate) const NONE: Self = Self {
        files: u64::MAX,
        folders: u64::MAX,
        bytes: u64::MAX,
        file_bytes: u64::MAX,
        time: Duration::MAX,
    };

    /// Returns the larger of each limit.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            files: self.files.max(other.files),
            folders: self.folders.max(other.folders),
            bytes: self.bytes.max(other.bytes),
            file_bytes: self.file_bytes.max(other.file_bytes),
            time: self.time.max(other.time),
        }
    }
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            files: 50_000,
            folders: 20_000,
            bytes: 1 << 30,
            file_bytes: 256 << 20,
            time: Duration::from_secs(60),
        }
    }
}

impl ReadLimit {
    /// Returns how to get below the limit, or how to raise it.
    pub(crate) fn fix(self) -> &'static str {
        match self {
            Self::Files => {
                "keep data outside the project, or raise --max-project-files (limits.project_files in the policy)"
            }
            Self::Folders => {
                "keep data outside the project, or raise --max-project-folders (limits.project_folders in the \
                 policy)"
            }
            Self::Bytes => {
                "keep data outside the project, or raise --max-project-size (limits.project_size in the policy)"
            }
            Self::FileBytes => {
                "keep it outside the project, or raise --max-file-size (limits.file_size in the policy)"
            }
            Self::Time => {
                "keep data outside the project, or raise --read-timeout (limits.read_time in the policy)"
            }
        }
    }
}
