//! The user that a process of the cell's binary becomes, and what it keeps of root's rights over files.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A user, its groups and its rights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// The supplementary groups; no others remain.
    pub groups: Vec<u32>,
    pub rights: FileRights,
}

/// The capabilities over files that a process keeps when it takes an [`Identity`]. Landlock narrows them to the paths that
/// the process may touch at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileRights {
    /// None: the modes of files hold.
    #[default]
    Own,
    /// `CAP_DAC_READ_SEARCH`: reads files and passes folders whatever their modes are.
    Read,
    /// `CAP_DAC_OVERRIDE` as well: writes files whatever their modes are.
    Write,
}

/// The answer of `switchyard-cell --probe UID FOLDER…`, one line of JSON, after which it waits to be ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// Why the process cannot become that user. `None`: it has.
    pub error: Option<String>,
    /// The first of the folders that the user cannot enter.
    pub closed: Option<PathBuf>,
}
