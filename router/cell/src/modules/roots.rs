//! The directories that a version may load from: its part of the checkout, and its packages. They
//! bound the loader and the search for configuration files.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use deno_path_util::normalize_path;
use switchyard_protocol::Start;
use sys_traits::impls::{RealFsDirEntry, RealFsMetadata, RealSys};
use sys_traits::{BaseFsMetadata, BaseFsRead, BaseFsReadDir};

use super::pnpm;

/// The directories of one version, all free of symbolic links.
#[derive(Debug, Clone)]
pub(crate) struct Roots {
    /// The project's own directory.
    pub(crate) checkout: PathBuf,
    /// The directory with the project and the ones beside it that it includes; the project itself
    /// if it includes none.
    pub(crate) root: PathBuf,
    /// The project's `node_modules`.
    pub(crate) node_modules: Option<PathBuf>,
    /// Further `node_modules` in the project and in what it includes, by their paths relative to
    /// the project.
    pub(crate) other_node_modules: BTreeMap<String, PathBuf>,
}

impl Roots {
    /// Returns the directories of a version.
    pub(crate) fn new(start: &Start) -> Self {
        Self {
            checkout: start.checkout.clone(),
            root: start.root.clone(),
            node_modules: start.node_modules.clone(),
            other_node_modules: start.other_node_modules.clone(),
        }
    }

    /// Returns the `node_modules` of the project, or else that of its workspace.
    pub(crate) fn own_node_modules(&self) -> Option<&Path> {
        let workspace = || self.other_node_modules.get("../node_modules");
        self.node_modules.as_ref().or_else(workspace).map(PathBuf::as_path)
    }

    /// Returns `true` if a path that is free of symbolic links lies inside.
    pub(crate) fn contain(&self, path: &Path) -> bool {
        let mut packages = self.node_modules.iter().chain(self.other_node_modules.values());
        path.starts_with(&self.root) || packages.any(|packages| path.starts_with(packages))
    }

    /// Returns `true` if a path names a file inside, before symbolic links are followed.
    pub(crate) fn name(&self, path: &Path) -> bool {
        self.contain(&normalize_path(path.into()))
    }

    /// Resolves a path without symbolic links.
    ///
    /// # Errors
    /// No such file, or the path leads outside: then the error is the same if a file exists or not.
    pub(crate) fn admit(&self, path: &Path) -> io::Result<PathBuf> {
        match path.canonicalize() {
            Ok(real) if self.contain(&real) => Ok(real),
            Err(error) if self.name(path) => Err(error),
            Ok(_) | Err(_) => Err(self.outside(path)),
        }
    }

    /// Returns the error for a path that leads out of the project, usually through a symbolic link
    /// in one of its folders.
    fn outside(&self, path: &Path) -> io::Error {
        let mut way: Vec<_> = path.ancestors().filter(|at| self.contain(at) && at.is_symlink()).collect();
        way.reverse();
        let leads_out = |at: &&Path| at.canonicalize().is_ok_and(|real| !self.contain(&real));
        let text = match way.into_iter().find(leads_out).and_then(|link| Some((link, link.read_link().ok()?)))
        {
            Some((link, target)) => format!(
                "the symbolic link {} leads out of the project, to {}: replace it with its target, or include \
                 the target if it lies beside the project",
                link.display(),
                target.display(),
            ),
            None => "the file is outside of the project and its node_modules".to_owned(),
        };
        io::Error::new(io::ErrorKind::PermissionDenied, text)
    }

    /// Returns the version's copy of a file or folder of the project, given by its real path on the
    /// volume, where a link in a package leads to it.
    pub(crate) fn in_checkout(&self, real: &Path) -> Option<PathBuf> {
        let own = self.node_modules.iter().map(|volume| ("node_modules", volume));
        let others = self.other_node_modules.iter().map(|(path, volume)| (path.as_str(), volume));
        own.chain(others).find_map(|(path, volume)| {
            let below = real.strip_prefix(volume.parent()?).ok()?;
            let found = self.checkout.join(Path::new(path).parent()?).join(below).canonicalize().ok()?;
            found.starts_with(&self.root).then_some(found)
        })
    }
}

/// The file system for the search for deno.json and package.json: nothing exists outside of the
/// roots.
pub(crate) struct RootedFs<'a>(pub(crate) &'a Roots);

impl RootedFs<'_> {
    fn check(&self, path: &Path) -> io::Result<()> {
        if self.0.contain(path) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

impl BaseFsRead for RootedFs<'_> {
    fn base_fs_read(&self, path: &Path) -> io::Result<Cow<'static, [u8]>> {
        self.check(path)?;
        let beside = |path: &Path| self.check(path).and_then(|()| RealSys.base_fs_read(path)).ok();
        Ok(pnpm::with_workspace(path, RealSys.base_fs_read(path)?, beside))
    }
}

impl BaseFsMetadata for RootedFs<'_> {
    type Metadata = RealFsMetadata;

    fn base_fs_metadata(&self, path: &Path) -> io::Result<Self::Metadata> {
        self.check(path)?;
        RealSys.base_fs_metadata(path)
    }

    fn base_fs_symlink_metadata(&self, path: &Path) -> io::Result<Self::Metadata> {
        self.check(path)?;
        RealSys.base_fs_symlink_metadata(path)
    }
}

impl BaseFsReadDir for RootedFs<'_> {
    type ReadDirEntry = RealFsDirEntry;

    fn base_fs_read_dir(
        &self,
        path: &Path,
    ) -> io::Result<Box<dyn Iterator<Item = io::Result<Self::ReadDirEntry>>>> {
        self.check(path)?;
        RealSys.base_fs_read_dir(path)
    }
}
