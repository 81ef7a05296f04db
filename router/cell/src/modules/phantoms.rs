//! Phantom dependencies: packages that the project imports and does not name, which another package
//! needs. npm's layout makes them visible, Deno's does not: so they are looked up second, with a
//! warning in the log.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use switchyard_protocol::fetched;

use super::roots::Roots;

/// Warnings that one process logs.
const MAX_WARNINGS: usize = 64;

/// The phantom dependencies of one version.
#[derive(Debug)]
pub(crate) struct Phantoms {
    /// The folder of fetched packages that other packages need.
    folder: Option<PathBuf>,
    warned: Mutex<HashSet<String>>,
}

impl Phantoms {
    /// Finds the phantom packages in the folder `packages`. A project with packages on the volume
    /// has none.
    pub(super) fn new(packages: Option<&Path>, roots: &Roots) -> Self {
        let folder = packages.map(|packages| packages.join(fetched::HOISTED));
        let is_open = |folder: &PathBuf| folder.is_dir() && roots.admit(folder).is_ok();
        Self { folder: folder.filter(is_open), warned: Mutex::default() }
    }

    /// Returns the last folder that `require` searches.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Returns the folder of the package that `specifier` names, and the subpath in it.
    pub(crate) fn find<'a>(&self, specifier: &'a str) -> Option<(PathBuf, Option<&'a str>)> {
        let (name, subpath) = split(specifier)?;
        let real = self.folder.as_ref()?.join(name).canonicalize().ok()?;
        self.warn(name);
        Some((real, subpath))
    }

    /// Warns if a path that `require` looks up is a phantom package.
    pub(crate) fn note_lookup(&self, path: &Path) {
        let within = self.folder.as_ref().and_then(|folder| path.strip_prefix(folder).ok()?.to_str());
        if let Some((name, _)) = within.and_then(split)
            && path.exists()
        {
            self.warn(name);
        }
    }

    fn warn(&self, name: &str) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.len() < MAX_WARNINGS && warned.insert(name.to_owned()) {
            log::warn!(
                "\"{name}\" is imported and is not among the dependencies in package.json: it is installed only because \
                 another package needs it. Add it (npm install {name})"
            );
        }
    }
}

/// Splits a specifier into name and subpath: `@a/b/c` is `c` of `@a/b`. Returns `None` if it does
/// not name a package.
fn split(specifier: &str) -> Option<(&str, Option<&str>)> {
    if specifier.is_empty() || specifier.starts_with(['.', '/', '#']) || specifier.contains(':') {
        return None;
    }
    let slash = if specifier.starts_with('@') { 1 } else { 0 };
    match specifier.match_indices('/').nth(slash) {
        Some((end, _)) => {
            Some((&specifier[..end], Some(&specifier[end + 1..]).filter(|rest| !rest.is_empty())))
        }
        None => Some((specifier, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_distinguished_from_other_specifiers() {
        assert_eq!(split("a"), Some(("a", None)));
        assert_eq!(split("a/b/c"), Some(("a", Some("b/c"))));
        assert_eq!(split("@a/b/c"), Some(("@a/b", Some("c"))));
        for other in ["", "./a", "/a", "#a", "npm:a", "node:fs"] {
            assert_eq!(split(other), None, "{other}");
        }
    }
}
