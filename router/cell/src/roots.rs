//! The directories that a version may load from: its checkout and its `node_modules`. What the loader reads, and what
//! the search for configuration files sees, is decided here.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use switchyard_protocol::Start;
use sys_traits::impls::{RealFsDirEntry, RealFsMetadata, RealSys};
use sys_traits::{BaseFsMetadata, BaseFsRead, BaseFsReadDir};

/// Both free of symbolic links.
#[derive(Debug, Clone)]
pub(crate) struct Roots {
    pub(crate) checkout: PathBuf,
    pub(crate) node_modules: Option<PathBuf>,
}

impl Roots {
    pub(crate) fn of(start: &Start) -> Self {
        Self { checkout: start.checkout.clone(), node_modules: start.node_modules.clone() }
    }

    /// Whether a path that is free of symbolic links lies inside.
    pub(crate) fn contain(&self, path: &Path) -> bool {
        path.starts_with(&self.checkout)
            || self.node_modules.as_ref().is_some_and(|modules| path.starts_with(modules))
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

/// The file system as the search for deno.json and package.json sees it: nothing exists above the checkout.
pub(crate) struct Inside<'a>(pub(crate) &'a Roots);

impl Inside<'_> {
    fn look(&self, path: &Path) -> io::Result<()> {
        if self.0.contain(path) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

impl BaseFsRead for Inside<'_> {
    fn base_fs_read(&self, path: &Path) -> io::Result<Cow<'static, [u8]>> {
        self.look(path)?;
        RealSys.base_fs_read(path)
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
