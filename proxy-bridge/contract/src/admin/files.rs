//! Files that start tasks, between bridge and router: `/_files` of the admin listener.
//!
//! A router picks a file up and offers it (`GET /_files`), also again after a restart of either side,
//! until the bridge has named the outcome of its run (`DELETE /_files/{run}`).

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::project::ProjectName;
use crate::run::RunId;
use crate::task::TaskName;

/// A file that was picked up, as an event of `GET /_files`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileOffer {
    /// The run that the file starts. The router has made the id: it is the name of the file's folder.
    pub run: RunId,
    /// The project.
    pub project: ProjectName,
    /// The task or pipeline whose pattern matches.
    pub task: TaskName,
    /// The name of the file.
    pub file: String,
}

/// `GET /_files/{run}`: the input of the run that a file starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FileInput {
    /// The name of the file.
    pub file: String,
    /// The absolute path, at the router that offers it.
    pub path: String,
    /// The content, if it is JSON of at most [`FILE_CONTENT`](crate::bounds::FILE_CONTENT) bytes.
    #[serde(default)]
    pub content: Value,
}

/// The folder for files whose runs have not ended. The file of a run is in `current/RUN`.
pub const CURRENT_FILES: &str = "current";

/// The outcome of the run that a file has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FileOutcome {
    /// The file belongs into `complete/`.
    Succeeded,
    /// The file belongs into `rejected/`.
    Failed,
}

impl FileOutcome {
    /// The name as in the query of `DELETE /_files/{run}`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    /// The folder into which the folder of the run moves, beside [`CURRENT_FILES`].
    pub fn folder(self) -> &'static str {
        match self {
            Self::Succeeded => "complete",
            Self::Failed => "rejected",
        }
    }
}

/// Text that names no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected \"succeeded\" or \"failed\"")]
pub struct InvalidFileOutcome;

impl FromStr for FileOutcome {
    type Err = InvalidFileOutcome;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Succeeded, Self::Failed];
        all.into_iter().find(|outcome| outcome.as_str() == text).ok_or(InvalidFileOutcome)
    }
}
