//! The package.json files that the resolver reads. The resolver ignores a file that may not be
//! read, and the loader then refuses the modules of its package for that reason: Deno would report
//! an invalid configuration.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deno_package_json::{PackageJson, PackageJsonCache, PackageJsonCacheResult, PackageJsonRc};
use node_resolver::PackageJsonThreadLocalCache;
use sys_traits::FsRead as _;
use sys_traits::impls::RealSys;

use super::roots::Roots;

/// Folders that are remembered because their package.json may not be read: a project has one wrong
/// mode, or all modes are wrong.
const MAX_DENIED: usize = 100;

/// The package.json files of one version.
#[derive(Debug)]
pub(crate) struct PackageFiles {
    roots: Roots,
    /// The real paths of the folders whose package.json may not be read.
    denied: Mutex<Vec<PathBuf>>,
}

impl PackageFiles {
    /// Returns a reader for the files of a version.
    pub(crate) fn new(roots: Roots) -> Self {
        Self { roots, denied: Mutex::default() }
    }

    /// Returns the unreadable package.json of the package that the file `real` belongs to, if any.
    pub(crate) fn denied(&self, real: &Path) -> Option<PathBuf> {
        let denied = self.lock();
        denied.iter().find(|folder| real.starts_with(folder)).map(|folder| folder.join("package.json"))
    }

    fn read(&self, path: &Path) -> PackageJsonCacheResult {
        match RealSys.fs_read_to_string_lossy(path) {
            Ok(text) => parse(path, path, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => PackageJsonCacheResult::Hit(None),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => self.read_own(path),
            Err(_) => PackageJsonCacheResult::NotCached,
        }
    }

    /// Reads the version's own copy of a file that a link in a package leads to on the volume.
    fn read_own(&self, path: &Path) -> PackageJsonCacheResult {
        let own = path.canonicalize().ok().and_then(|real| self.roots.in_checkout(&real));
        let read = own.and_then(|own| Some((RealSys.fs_read_to_string_lossy(&own).ok()?, own)));
        match read {
            Some((text, own)) => parse(path, &own, &text),
            None => {
                self.note(path);
                PackageJsonCacheResult::Hit(None)
            }
        }
    }

    /// Remembers the folder of an unreadable file. Ignores folders outside of the version, from
    /// which nothing is loaded.
    fn note(&self, path: &Path) {
        let Some(folder) = path.parent().and_then(|folder| folder.canonicalize().ok()) else { return };
        let mut denied = self.lock();
        if self.roots.contain(&folder) && !denied.contains(&folder) && denied.len() < MAX_DENIED {
            denied.push(folder);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Parses a package.json. The caller reads an invalid one again and reports the error.
fn parse(requested: &Path, path: &Path, text: &str) -> PackageJsonCacheResult {
    let Ok(parsed) = PackageJson::load_from_string(path.to_owned(), text) else {
        return PackageJsonCacheResult::NotCached;
    };
    let parsed: PackageJsonRc = Arc::new(parsed);
    PackageJsonThreadLocalCache.set(requested.to_owned(), Some(parsed.clone()));
    PackageJsonCacheResult::Hit(Some(parsed))
}

impl PackageJsonCache for PackageFiles {
    fn get(&self, path: &Path) -> PackageJsonCacheResult {
        match PackageJsonThreadLocalCache.get(path) {
            PackageJsonCacheResult::NotCached => self.read(path),
            hit => hit,
        }
    }

    fn set(&self, path: PathBuf, package_json: Option<PackageJsonRc>) {
        PackageJsonThreadLocalCache.set(path, package_json);
    }
}
