//! The directories that a version may load from: its part of the checkout, and its packages. What the loader reads, and what
//! the search for configuration files sees, is decided here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use switchyard_protocol::Start;
use sys_traits::impls::{RealFsDirEntry, RealFsMetadata, RealSys};
use sys_traits::{BaseFsMetadata, BaseFsRead, BaseFsReadDir};

use crate::pnpm;

/// All free of symbolic links.
#[derive(Debug, Clone)]
pub(crate) struct Roots {
    /// The project.
    pub(crate) checkout: PathBuf,
    /// The project and what lies beside it: what it includes. The project alone when it includes nothing.
    pub(crate) root: PathBuf,
    pub(crate) node_modules: Option<PathBuf>,
    /// Those of what it includes, by their paths relative to the project.
    pub(crate) packages_beside: BTreeMap<String, PathBuf>,
}

impl Roots {
    pub(crate) fn of(start: &Start) -> Self {
        Self {
            checkout: start.checkout.clone(),
            root: start.root.clone(),
            node_modules: start.node_modules.clone(),
            packages_beside: start.packages_beside.clone(),
        }
    }

    /// Where the project's packages are: its own, or those of the workspace that it is in.
    pub(crate) fn own_node_modules(&self) -> Option<&Path> {
        let workspace = || self.packages_beside.get("../node_modules");
        self.node_modules.as_ref().or_else(workspace).map(PathBuf::as_path)
    }

    /// Whether a path that is free of symbolic links lies inside.
    pub(crate) fn contain(&self, path: &Path) -> bool {
        let mut packages = self.node_modules.iter().chain(self.packages_beside.values());
        path.starts_with(&self.root) || packages.any(|packages| path.starts_with(packages))
    }

    /// Follows symbolic links and says where the path leads, if that is inside.
    pub(crate) fn admit(&self, path: &Path) -> io::Result<PathBuf> {
        let real = path.canonicalize()?;
        if self.contain(&real) {
            Ok(real)
        } else {
            Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the file is outside of the project and its node_modules",
            ))
        }
    }
}

/// The file system as the search for deno.json and package.json sees it: nothing exists above the root.
pub(crate) struct Inside<'a>(pub(crate) &'a Roots);

impl Inside<'_> {
    fn look(&self, path: &Path) -> io::Result<()> {
        if self.0.contain(path) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

impl BaseFsRead for Inside<'_> {
    fn base_fs_read(&self, path: &Path) -> io::Result<Cow<'static, [u8]>> {
        self.look(path)?;
        let beside = |path: &Path| self.look(path).and_then(|()| RealSys.base_fs_read(path)).ok();
        Ok(pnpm::with_workspace(path, RealSys.base_fs_read(path)?, beside))
    }
}

impl BaseFsMetadata for Inside<'_> {
    type Metadata = RealFsMetadata;

    fn base_fs_metadata(&self, path: &Path) -> io::Result<Self::Metadata> {
        self.look(path)?;
        RealSys.base_fs_metadata(path)
    }

    fn base_fs_symlink_metadata(&self, path: &Path) -> io::Result<Self::Metadata> {
        self.look(path)?;
        RealSys.base_fs_symlink_metadata(path)
    }
}

impl BaseFsReadDir for Inside<'_> {
    type ReadDirEntry = RealFsDirEntry;

    fn base_fs_read_dir(
        &self,
        path: &Path,
    ) -> io::Result<Box<dyn Iterator<Item = io::Result<Self::ReadDirEntry>>>> {
        self.look(path)?;
        RealSys.base_fs_read_dir(path)
    }
}
