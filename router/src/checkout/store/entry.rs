//! A checkout in the store: its directory, its packages, and the pin that keeps it from being
//! pruned.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use switchyard_contract::digest::Digest;

use super::links;
use crate::checkout::hashes::FileHashes;
use crate::checkout::node_modules::{self, NodeModules};
use crate::checkout::snapshot::own_digest;
use crate::project::NODE_MODULES;
use crate::version::Version;

/// Name of the link to the fetched packages, beside the project's directory in a checkout.
const PACKAGES: &str = ".packages";

/// The `node_modules` of the workspace that a project belongs to, relative to the project.
const WORKSPACE: &str = "../node_modules";

/// The read-only copy of a version. It is not pruned while a clone of this handle exists.
#[derive(Debug, Clone)]
pub(crate) struct Checkout {
    /// The project's directory in the checkout: its cell imports from here.
    pub(crate) dir: PathBuf,
    pub(super) pin: Arc<Pin>,
}

/// The state that the handles of one checkout share.
#[derive(Debug, Default)]
pub(super) struct Pin {
    /// The packages on the volume with which the checkout was found to need nothing else.
    complete_with: Mutex<Option<NodeModules>>,
}

impl Pin {
    fn complete_with(&self) -> MutexGuard<'_, Option<NodeModules>> {
        self.complete_with.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Checkout {
    /// The folder of packages that were fetched for it, if that still exists.
    pub(crate) fn packages(&self) -> Option<PathBuf> {
        linked_packages(&self.dir).filter(|folder| folder.is_dir())
    }

    /// The project's `node_modules` folders on the volume.
    pub(crate) fn node_modules(&self) -> NodeModules {
        NodeModules::of(&self.dir)
    }

    /// The path of the fetched `node_modules` that the project uses in place of one of its own.
    pub(crate) fn fetched_node_modules(&self) -> Option<PathBuf> {
        let fetched = linked_packages(&self.dir)?.join(NODE_MODULES);
        let is_used = fs::read_link(self.dir.join(NODE_MODULES)).is_ok_and(|target| target == fetched);
        // A link that was put there since is not followed.
        (is_used && fetched.canonicalize().is_ok_and(|real| real == fetched)).then_some(fetched)
    }

    /// The path of the fetched `node_modules` to which the checkout has a folder of links, made by
    /// the router.
    pub(crate) fn linked_node_modules(&self) -> Option<PathBuf> {
        let is_folder = links::is_folder(&self.dir.join(NODE_MODULES));
        self.packages().filter(|_| is_folder).map(|packages| packages.join(NODE_MODULES))
    }

    /// Returns `true` if the checkout is known to need no packages besides those that exist.
    pub(crate) fn is_complete(&self) -> bool {
        // Packages may have gone since.
        self.pin.complete_with().as_ref().is_some_and(|packages| *packages == self.node_modules())
    }

    /// Notes that the checkout needs no packages besides those that exist.
    pub(crate) fn set_complete(&self) {
        *self.pin.complete_with() = Some(self.node_modules());
    }

    /// Links the fetched packages in `folder` into the checkout. A `node_modules` of the project's
    /// own wins.
    ///
    /// # Errors
    /// The links cannot be made.
    pub(crate) fn attach(&self, folder: &Path) -> io::Result<()> {
        let links = links::read(folder)?;
        let of_volume = self.node_modules();
        if self.uses_fetched(folder, &of_volume, !links.is_empty())? {
            let node_modules = self.dir.join(NODE_MODULES);
            if links.is_empty() {
                node_modules::clear(&node_modules)?;
                self.relink(&folder.join(NODE_MODULES), &node_modules)?;
            } else {
                links::create(&self.dir, folder, &links, &of_volume)?;
            }
        }
        self.relink(folder, &self.dir.with_file_name(PACKAGES))
    }

    /// Returns `true` if the project's `node_modules` is, or should be, made of the fetched
    /// packages in `folder`. `has_links`: these come with a list of links.
    fn uses_fetched(&self, folder: &Path, of_volume: &NodeModules, has_links: bool) -> io::Result<bool> {
        let node_modules = self.dir.join(NODE_MODULES);
        let earlier = linked_packages(&self.dir).map(|earlier| earlier.join(NODE_MODULES));
        // A folder of links may also stand for a `node_modules` of the volume.
        let has_folder_of_links = of_volume.own.is_none() && links::is_folder(&node_modules);
        let is_earlier =
            has_folder_of_links || fs::read_link(&node_modules).is_ok_and(|target| Some(target) == earlier);
        // A `node_modules` of the project would hide that of the workspace that it belongs to.
        let has_workspace = || of_volume.others.contains_key(WORKSPACE);
        let is_needed = !node_modules.is_dir()
            && !has_workspace()
            && (has_links || fs::read_dir(folder.join(NODE_MODULES))?.next().is_some());
        Ok(is_earlier || is_needed)
    }

    /// Removes the links to the fetched packages, as the volume has other packages now. The next
    /// build attaches the packages that it needs besides those.
    ///
    /// # Errors
    /// A link cannot be removed.
    pub(super) fn detach(&self, files: &FileHashes) -> io::Result<()> {
        node_modules::clear_fetched(&self.dir, files)?;
        node_modules::clear(&self.dir.with_file_name(PACKAGES))
    }

    /// Makes `link` lead to `target`, in one step.
    fn relink(&self, target: &Path, link: &Path) -> io::Result<()> {
        let beside = self.dir.with_file_name(".link");
        let _ = fs::remove_file(&beside);
        symlink(target, &beside)?;
        fs::rename(beside, link)
    }
}

/// Returns the folder of packages that was fetched for the project in `dir`, which is in a
/// checkout.
pub(super) fn linked_packages(dir: &Path) -> Option<PathBuf> {
    fs::read_link(dir.with_file_name(PACKAGES)).ok()
}

/// A version with an existing checkout, and its files.
#[derive(Debug, Clone)]
pub(crate) struct StoredVersion {
    pub(crate) version: Version,
    pub(crate) files: Arc<FileHashes>,
    pub(crate) checkout: Checkout,
}

impl StoredVersion {
    /// The digest of the project's own files, if the version has includes.
    pub(crate) fn own_digest(&self) -> Option<Digest> {
        own_digest(&self.files)
    }
}
