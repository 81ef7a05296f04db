//! The folder that a project is read from instead of the volume.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of `PUT /projects/{name}/override`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectOverride {
    /// The folder: an absolute path on the router's machine, below a folder of `--allow-override`.
    pub path: String,
}
