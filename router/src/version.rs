//! A version: a project and the digest of its files.

use std::fmt;

use switchyard_bridge::digest::Digest;
use switchyard_bridge::project::ProjectName;

/// An immutable snapshot of a project, shown as `blog@3f9a1c2b7d4e`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Version {
    pub(crate) project: ProjectName,
    pub(crate) digest: Digest,
}

impl Version {
    pub(crate) fn new(project: &ProjectName, digest: Digest) -> Self {
        Self { project: project.clone(), digest }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.project, self.digest.short())
    }
}
