//! The limits of uploads. Each has a flag of its own.

use std::time::Duration;

/// The limits of one upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadLimits {
    /// Bytes on the wire.
    pub body: u64,
    /// Bytes in files.
    pub size: u64,
    /// Files and folders.
    pub files: usize,
    /// Levels of nested folders.
    pub depth: usize,
    /// Bytes in a name.
    pub name: usize,
    /// Bytes in the headers of a part.
    pub part_headers: usize,
    /// Bytes in the boundary between parts.
    pub boundary: usize,
    /// Time from the first byte of the body to the last.
    pub time: Duration,
}

impl Default for UploadLimits {
    fn default() -> Self {
        Self {
            body: 100 << 20,
            size: 500 << 20,
            files: 20_000,
            depth: 32,
            name: 255,
            part_headers: 8192,
            boundary: 70,
            time: Duration::from_secs(300),
        }
    }
}
