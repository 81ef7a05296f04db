//! The permissions and limits of a version, as a router reports them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::task::RunLimits;

/// The permissions that a project requests in its configuration, those that the operator's policy
/// grants, and those that it refuses, side by side.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Grants {
    /// The permissions in the project's own configuration.
    pub requested: Rights,
    /// The permissions that the version has.
    pub granted: Rights,
    /// The requested permissions that the version does not have.
    pub refused: Rights,
    /// The version's limits.
    pub limits: ProjectLimits,
}

/// Permissions by kind, as Deno names them. `*` stands for everything of a kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rights {
    /// Paths that may be read.
    pub read: Vec<String>,
    /// Paths that may be written.
    pub write: Vec<String>,
    /// Hosts that may be connected to, with or without a port.
    pub net: Vec<String>,
    /// Names of environment variables; never their values.
    pub env: Vec<String>,
    /// Kinds of information about the machine.
    pub sys: Vec<String>,
    /// Programs that may be started.
    pub run: Vec<String>,
    /// Native libraries that may be loaded.
    pub ffi: Vec<String>,
    /// Hosts that modules may be imported from.
    pub import: Vec<String>,
}

/// The limits of a project: bytes, milliseconds and counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProjectLimits {
    /// Bytes of memory that belong to one cell alone.
    pub memory: u64,
    /// Milliseconds that one turn of the event loop may take.
    pub event_loop_ms: u64,
    /// Web workers of one cell at once.
    pub workers: u32,
    /// File descriptors of one cell.
    pub files: u64,
    /// Bytes in `DATA_DIR` and the temporary folder together.
    pub disk: u64,
    /// Names of files, folders and links in both.
    #[serde(default)]
    pub disk_files: u64,
    /// Processes of one version.
    #[serde(default)]
    pub cells: usize,
    /// Milliseconds from a request until its answer must begin.
    pub request_ms: u64,
    /// Bytes of a request body.
    pub body: u64,
    /// Requests that the project handles at once.
    pub max_in_flight: usize,
    /// Requests that wait for a slot.
    pub max_queued: usize,
    /// Milliseconds that a request waits for a slot.
    pub queue_timeout_ms: u64,
    /// Files of the project on the volume, links and special files included.
    #[serde(default)]
    pub project_files: u64,
    /// Folders of the project on the volume.
    #[serde(default)]
    pub project_folders: u64,
    /// Total bytes of the project's files on the volume.
    #[serde(default)]
    pub project_size: u64,
    /// Bytes of one file on the volume.
    #[serde(default)]
    pub file_size: u64,
    /// Milliseconds that reading the files may take.
    #[serde(default)]
    pub read_ms: u64,
    /// The limits of its tasks' runs.
    #[serde(default)]
    pub runs: RunLimits,
}
