//! Packages that the project imports and does not name: they are there because another package
//! needs them. npm puts them where they are found; Deno's layout does not, so here they are found
//! in second place, and the log says so.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use switchyard_protocol::fetched;

use crate::roots::Roots;

/// Warnings of one process.
const WARNINGS: usize = 64;

#[derive(Debug)]
pub(crate) struct Phantoms {
    /// Where those that were fetched are.
    folder: Option<PathBuf>,
    warned: Mutex<HashSet<String>>,
}

impl Phantoms {
    /// Returns those that were fetched into `packages`: none for a project whose packages are not
    /// those, but the volume's.
    pub(crate) fn of(packages: Option<&Path>, roots: &Roots) -> Self {
        let folder = packages.map(|packages| packages.join(fetched::HOISTED));
        let is_open = |folder: &PathBuf| folder.is_dir() && roots.admit(folder).is_ok();
        Self { folder: folder.filter(is_open), warned: Mutex::default() }
    }

    /// Where `require` may look when it has found nothing elsewhere.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The folder of the package that is imported as `specifier`, and what of it.
    pub(crate) fn find<'a>(&self, specifier: &'a str) -> Option<(PathBuf, Option<&'a str>)> {
        let (name, within) = split(specifier)?;
        let real = self.folder.as_ref()?.join(name).canonicalize().ok()?;
        self.warn(name);
        Some((real, within))
    }

    /// Notes that `require` looks at a path.
    pub(crate) fn note(&self, path: &Path) {
        let within = self.folder.as_ref().and_then(|folder| path.strip_prefix(folder).ok()?.to_str());
        if let Some((name, _)) = within.and_then(split)
            && path.exists()
        {
            self.warn(name);
        }
    }

    fn warn(&self, name: &str) {
        let mut warned = self.warned.lock().expect("no panic while it is held");
        if warned.len() < WARNINGS && warned.insert(name.to_owned()) {
            log::warn!(
                "\"{name}\" is imported and is not among the dependencies in package.json: it is there because another \
                 package needs it. Add it (npm install {name})"
            );
        }
    }
}

/// Name and subpath: `@a/b/c` is `c` of `@a/b`. None for what names no package.
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
    fn packages_are_told_from_other_specifiers() {
        assert_eq!(split("a"), Some(("a", None)));
        assert_eq!(split("a/b/c"), Some(("a", Some("b/c"))));
        assert_eq!(split("@a/b/c"), Some(("@a/b", Some("c"))));
        for other in ["", "./a", "/a", "#a", "npm:a", "node:fs"] {
            assert_eq!(split(other), None, "{other}");
        }
    }
}
