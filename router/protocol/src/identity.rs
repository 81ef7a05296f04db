//! The user that a process of the cell's binary becomes, and its rights over files.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A user, its groups and its rights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user id: real, effective and saved.
    pub uid: u32,
    /// The group id: real, effective and saved.
    pub gid: u32,
    /// The supplementary groups; no others remain.
    pub groups: Vec<u32>,
    /// The rights over files that it keeps beyond its modes.
    pub rights: FileRights,
}

/// The capabilities over files that a process keeps when it takes an [`Identity`]. Landlock narrows
/// them to the paths that the process may use at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileRights {
    /// No capability: the modes of files decide.
    #[default]
    Own,
    /// `CAP_DAC_READ_SEARCH`: reads files and enters folders regardless of their modes.
    Read,
    /// `CAP_DAC_OVERRIDE` as well: writes files regardless of their modes.
    Write,
}

/// The answer of `switchyard-cell --probe UID FOLDER…`: one line of JSON, after which the process
/// waits to be ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// The reason why the process cannot become that user. `None`: it has become it.
    pub error: Option<String>,
    /// The first of the folders that the user cannot enter.
    pub closed_folder: Option<PathBuf>,
}
