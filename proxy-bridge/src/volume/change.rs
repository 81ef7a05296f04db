//! The changes of a deploy to the entries of the projects root: projects, and the folders and files
//! that projects share.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::tree::Tree;
use switchyard_contract::digest::{Digest, check_path, is_counted};
use switchyard_contract::incarnation::{DataFate, Incarnation};
use switchyard_contract::project::ProjectName;

/// The longest file name of the common file systems, in bytes.
const MAX_NAME: usize = 255;

/// The change of one entry by a deploy.
#[derive(Debug, Clone)]
pub enum Change {
    Put(Tree),
    /// Files of an incarnation that a removal had ended, and that this brings back.
    BringBack(Tree, Incarnation),
    Remove(ProjectName, DataFate),
    /// A project whose own files stay. It is held, built and published with the others, because it
    /// includes shared entries that change.
    Keep(ProjectName),
    PutShared(SharedTree),
    RemoveShared(SharedName),
}

/// A folder or a file in the staging folder that is to lie beside the projects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedTree {
    /// The name in the projects root.
    pub name: SharedName,
    /// The folder or file: [`incoming`](super::Staging::incoming) with the name.
    pub path: PathBuf,
    /// True for a folder.
    pub is_folder: bool,
    /// The digest of the files.
    pub digest: Digest,
}

/// The name of a folder or file beside the projects that they can include. It is one part of a path
/// and no project's name; a folder's begins with `_`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SharedName(String);

/// Shown in quotes, as in messages.
impl fmt::Debug for SharedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A text that is not the name of a shared entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid name of a shared entry {0:?}: expected a folder that begins with _ (_shared) or a file that \
     is not hidden and has no project's name (deno.json)"
)]
pub struct InvalidSharedName(String);

/// The name of an entry of the projects root that a deploy changes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum EntryName {
    Project(ProjectName),
    Shared(SharedName),
}

impl Change {
    /// The project of the change. `None` for a shared entry.
    pub fn project(&self) -> Option<&ProjectName> {
        match self {
            Self::Put(tree) | Self::BringBack(tree, _) => Some(&tree.project),
            Self::Remove(project, _) | Self::Keep(project) => Some(project),
            Self::PutShared(_) | Self::RemoveShared(_) => None,
        }
    }

    /// Returns the entry that the deploy has for itself.
    pub fn entry(&self) -> EntryName {
        match self {
            Self::Put(tree) | Self::BringBack(tree, _) => EntryName::Project(tree.project.clone()),
            Self::Remove(project, _) | Self::Keep(project) => EntryName::Project(project.clone()),
            Self::PutShared(tree) => EntryName::Shared(tree.name.clone()),
            Self::RemoveShared(name) => EntryName::Shared(name.clone()),
        }
    }

    /// The project's tree that is put on the volume. `None` if there is none.
    pub fn tree(&self) -> Option<&Tree> {
        match self {
            Self::Put(tree) | Self::BringBack(tree, _) => Some(tree),
            _ => None,
        }
    }

    /// The digest of the project's new tree. `None` if there is none.
    pub fn digest(&self) -> Option<&Digest> {
        self.tree().map(|tree| &tree.digest)
    }

    /// Returns true if the entry is not on the volume afterwards.
    pub fn removes(&self) -> bool {
        matches!(self, Self::Remove(..) | Self::RemoveShared(_))
    }

    /// Returns true if the entry on the volume stays as it is.
    pub fn keeps(&self) -> bool {
        matches!(self, Self::Keep(_))
    }
}

impl SharedName {
    /// Parses a name.
    ///
    /// # Errors
    /// A project could have the name, or none could include it.
    pub fn parse(name: &str) -> Result<Self, InvalidSharedName> {
        let is_valid = !name.is_empty()
            && name.len() <= MAX_NAME
            && !name.starts_with('.')
            && !name.contains('/')
            && check_path(name).is_ok()
            && is_counted(name)
            && ProjectName::parse(name).is_err();
        if is_valid { Ok(Self(name.to_owned())) } else { Err(InvalidSharedName(name.to_owned())) }
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if a folder may have the name. A router takes any other for a project's.
    pub fn may_be_folder(&self) -> bool {
        self.0.starts_with('_')
    }
}

impl EntryName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Project(project) => project.as_str(),
            Self::Shared(name) => name.as_str(),
        }
    }

    /// The project. `None` for a shared entry.
    pub fn project(&self) -> Option<&ProjectName> {
        match self {
            Self::Project(project) => Some(project),
            Self::Shared(_) => None,
        }
    }
}

impl fmt::Display for SharedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for SharedName {
    type Error = InvalidSharedName;

    fn try_from(name: String) -> Result<Self, InvalidSharedName> {
        Self::parse(&name)
    }
}

impl From<SharedName> for String {
    fn from(name: SharedName) -> Self {
        name.0
    }
}

impl TryFrom<String> for EntryName {
    type Error = InvalidSharedName;

    fn try_from(name: String) -> Result<Self, InvalidSharedName> {
        match ProjectName::parse(&name) {
            Ok(project) => Ok(Self::Project(project)),
            Err(_) => SharedName::parse(&name).map(Self::Shared),
        }
    }
}

impl From<EntryName> for String {
    fn from(name: EntryName) -> Self {
        name.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_entry_has_a_name_that_projects_can_include_and_none_can_have() {
        for name in ["_shared", "_a.b", "deno.json", "import map.json", "mod.ts"] {
            assert!(SharedName::parse(name).is_ok(), "{name}");
        }
        let long = format!("_{}", "a".repeat(MAX_NAME));
        for name in [
            "",
            ".",
            "..",
            "api",
            "a-b",
            ".env",
            ".switchyard-bridge",
            "_a/b",
            "node_modules",
            "_a\nb",
            &long,
        ] {
            assert_eq!(SharedName::parse(name), Err(InvalidSharedName(name.to_owned())));
        }
        let folders = ["_shared", "deno.json"].map(|name| SharedName::parse(name).unwrap().may_be_folder());
        assert_eq!(folders, [true, false]);
    }
}
