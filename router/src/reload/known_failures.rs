//! The versions that had failed when the router stopped. The scan at the next start tries some of
//! them again. The failures of the others are shown at once, and they are tried later.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use switchyard_contract::event::Diagnostic;
use switchyard_contract::project::ProjectName;
use switchyard_program::atomic_file;

use crate::project::InstalledPackages;
use crate::version::Version;

/// The version of the router: another one may serve a version that this one cannot.
const ROUTER: &str = env!("CARGO_PKG_VERSION");

/// Number of known failures that the scan tries again: a change of settings may be the reason of the
/// restart, and a few take a quarter of a second. More would keep the router from being ready.
const TRIED: usize = 10;

/// The failures by project.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct KnownFailures {
    router: String,
    /// The number of those that were tried.
    #[serde(skip)]
    tried: usize,
    projects: BTreeMap<ProjectName, KnownFailure>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KnownFailure {
    /// The name of the version with its incarnation and its whole digest.
    version: String,
    /// The stamp of the packages that it failed with.
    packages: u64,
    error: Diagnostic,
}

impl KnownFailures {
    /// Adds a version that was started and has failed with these packages.
    pub(super) fn add(&mut self, version: &Version, packages: InstalledPackages, error: &Diagnostic) {
        let packages = packages.stamp();
        let failure = KnownFailure { version: id(version), packages, error: error.clone() };
        self.projects.insert(version.project.clone(), failure);
    }

    /// Removes the failure of the project of `version`. Returns it if that was its version, with
    /// these packages, and [`TRIED`] others were tried.
    pub(super) fn take(&mut self, version: &Version, packages: InstalledPackages) -> Option<Diagnostic> {
        let failure = self.projects.remove(&version.project)?;
        let is_same = failure.version == id(version) && failure.packages == packages.stamp();
        if is_same && self.tried < TRIED {
            self.tried += 1;
            return None;
        }
        is_same.then_some(failure.error)
    }

    /// Reads what an earlier run has written into the state folder, and removes it: it holds until
    /// the projects have been tried again. Blocks.
    ///
    /// # Errors
    /// The file cannot be read or removed.
    pub(super) fn read(state: &Path) -> Result<Self> {
        let path = path(state);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        let known: Self =
            serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))?;
        Ok(if known.router == ROUTER { known } else { Self::default() })
    }

    /// Writes them into the state folder. Blocks.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn write(&mut self, state: &Path) -> Result<()> {
        ROUTER.clone_into(&mut self.router);
        let text = serde_json::to_vec(&self).context("encode the failures")?;
        let path = path(state);
        atomic_file::replace(&path, &text, atomic_file::PRIVATE)
            .with_context(|| format!("write {}", path.display()))
    }
}

fn path(state: &Path) -> PathBuf {
    state.join("failures.json")
}

fn id(version: &Version) -> String {
    format!("{}@{}", version.tenant(), version.digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::diagnostic;
    use crate::version::Tenant;

    fn version(project: &str, byte: u8) -> Version {
        let project = ProjectName::parse(project).unwrap();
        Version::new(&Tenant::first(&project), [byte; 32].into())
    }

    /// A state folder with the failures of these projects.
    fn written(projects: usize) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let mut failures = KnownFailures::default();
        for n in 0..projects {
            failures.add(&version(&format!("p{n}"), 1), InstalledPackages::default(), &diagnostic("broken"));
        }
        failures.write(dir.path()).unwrap();
        dir
    }

    fn read(dir: &Path) -> KnownFailures {
        KnownFailures::read(dir).unwrap()
    }

    fn take(failures: &mut KnownFailures, project: usize, byte: u8) -> Option<Diagnostic> {
        failures.take(&version(&format!("p{project}"), byte), InstalledPackages::default())
    }

    #[test]
    fn some_failures_are_tried_again_and_the_others_are_known_once_and_for_their_versions_alone() {
        let dir = written(TRIED + 2);
        let mut failures = read(dir.path());
        assert!((0..TRIED).all(|project| take(&mut failures, project, 1).is_none()), "tried");
        assert_eq!(take(&mut failures, TRIED, 1), Some(diagnostic("broken")));
        assert_eq!(take(&mut failures, TRIED, 1), None, "once");
        assert_eq!(take(&mut failures, TRIED + 1, 2), None, "another version");
        assert!(read(dir.path()).projects.is_empty(), "the next run knows them no more");
    }

    #[test]
    fn the_failures_of_another_router_and_damaged_ones_are_not_used() {
        let dir = written(1);
        let text = fs::read_to_string(path(dir.path())).unwrap();
        fs::write(path(dir.path()), text.replace(ROUTER, "0.0.0")).unwrap();
        assert!(read(dir.path()).projects.is_empty());
        fs::write(path(dir.path()), "{").unwrap();
        assert!(KnownFailures::read(dir.path()).is_err());
        assert!(KnownFailures::read(dir.path()).is_ok(), "it was removed");
    }
}
