//! The crons of versions: what their code has registered with `Deno.cron`, kept while a version has
//! no process, and on disk, so that a router that restarts knows when an idle project is due.

mod expression;
mod files;
mod spec;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use switchyard_contract::project::ProjectName;
use switchyard_contract::task::TaskSpec;
use switchyard_protocol::CronRegistration;
use tokio::sync::{Notify, watch};

use self::files::CronFiles;
pub(crate) use self::spec::{cron_trigger, pauses};
use super::table::LiveTable;
use crate::cells::CronSink;
use crate::version::Version;

/// Versions of a project whose crons are known: the live one, those that drain, and candidates.
const MAX_VERSIONS: usize = 4;

/// The crons of all versions that have some.
#[derive(Debug)]
pub(crate) struct Crons {
    live: Arc<LiveTable>,
    /// Held while a file is written, so that the newest crons are written last.
    files: Mutex<CronFiles>,
    known: Mutex<BTreeMap<ProjectName, Vec<VersionCrons>>>,
    /// Projects whose crons have changed since [`Crons::next_changed`] named them.
    changed: Mutex<BTreeSet<ProjectName>>,
    wake: Notify,
    revision: watch::Sender<()>,
}

/// The crons of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
struct VersionCrons {
    version: Version,
    /// The cell that reports them: the first one of its cells. `None`: it has ended.
    cell: Option<u64>,
    crons: Arc<[CronRegistration]>,
}

/// A cron of a live version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiveCron {
    pub(crate) version: Version,
    pub(crate) cron: CronRegistration,
}

impl Crons {
    /// Reads what an earlier run has kept below `state`.
    ///
    /// # Errors
    /// The folder cannot be created or read.
    pub(crate) fn open(state: &Path, live: Arc<LiveTable>) -> Result<Self> {
        let (files, known) = CronFiles::open(&state.join("crons"))?;
        Ok(Self {
            live,
            files: Mutex::new(files),
            known: Mutex::new(known),
            changed: Mutex::default(),
            wake: Notify::new(),
            revision: watch::Sender::new(()),
        })
    }

    /// The crons that the code of a version has registered.
    pub(crate) fn of(&self, version: &Version) -> Arc<[CronRegistration]> {
        let known = self.known();
        let versions = known.get(&version.project).into_iter().flatten();
        versions
            .filter(|known| known.version == *version)
            .map(|known| known.crons.clone())
            .next()
            .unwrap_or_default()
    }

    /// The tasks that a version's crons are, sorted by name. `entry`: the path of its entry, relative
    /// to the project.
    pub(crate) fn specs(&self, version: &Version, entry: &str) -> Vec<TaskSpec> {
        spec::specs(&self.of(version), entry)
    }

    /// The crons of all live versions.
    pub(crate) fn all_live(&self) -> Vec<LiveCron> {
        let table = self.live.load();
        let known = self.known();
        let live = known.iter().flat_map(|(project, versions)| {
            let live = table.get(project.as_str()).and_then(|entry| entry.live.as_ref());
            let live = live.and_then(|live| versions.iter().find(|known| known.version == live.version));
            live.into_iter().flat_map(|known| {
                known.crons.iter().map(|cron| LiveCron { version: known.version.clone(), cron: cron.clone() })
            })
        });
        live.collect()
    }

    /// Waits for a project whose crons have changed. For the control flow, which shows the project
    /// again and [keeps](Crons::keep) them. Dropping the future loses nothing.
    pub(crate) async fn next_changed(&self) -> ProjectName {
        loop {
            if let Some(project) = self.changed().pop_first() {
                return project;
            }
            self.wake.notified().await;
        }
    }

    /// A receiver that is notified of every change from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.revision.subscribe()
    }

    /// Forgets a project that is gone.
    pub(crate) fn forget(&self, project: &ProjectName) {
        if self.known().remove(project).is_some() {
            self.note_change(project);
        }
    }

    /// Writes what is known of a project to the disk. Blocks.
    pub(crate) fn keep(&self, project: &ProjectName) {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let versions = self.known().get(project).cloned().unwrap_or_default();
        if let Err(error) = files.keep(project, &versions) {
            tracing::warn!(
                project.name = project.as_str(),
                "its crons are not known after a restart, until its first request: {error}"
            );
        }
    }

    fn note_change(&self, project: &ProjectName) {
        self.changed().insert(project.clone());
        self.wake.notify_one();
        self.revision.send_replace(());
    }

    fn is_live(&self, version: &Version) -> bool {
        let table = self.live.load();
        let live = table.get(version.project.as_str()).and_then(|entry| entry.live.as_ref());
        live.is_some_and(|live| live.version == *version)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<ProjectName, Vec<VersionCrons>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) -> MutexGuard<'_, BTreeSet<ProjectName>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CronSink for Crons {
    fn registered(&self, version: &Version, cell: u64, crons: Vec<CronRegistration>) {
        for cron in &crons {
            if let Err(error) = spec::check(cron) {
                tracing::warn!(
                    project.name = %version.project,
                    project.version = %version,
                    "the cron {:?} never runs by its schedule {:?}: {error}",
                    cron.name,
                    cron.schedule
                );
            }
        }
        let mut known = self.known();
        let versions = known.entry(version.project.clone()).or_default();
        match versions.iter_mut().find(|known| known.version == *version) {
            Some(known) if known.cell.is_some_and(|reporting| reporting != cell) => return,
            Some(known) => {
                known.cell = Some(cell);
                if *known.crons == *crons {
                    return;
                }
                known.crons = crons.into();
            }
            None => {
                if versions.len() >= MAX_VERSIONS {
                    let oldest = versions.iter().position(|known| !self.is_live(&known.version));
                    versions.remove(oldest.unwrap_or_default());
                }
                versions.push(VersionCrons {
                    version: version.clone(),
                    cell: Some(cell),
                    crons: crons.into(),
                });
            }
        }
        drop(known);
        self.note_change(&version.project);
    }

    fn ended(&self, version: &Version, cell: u64) {
        let mut known = self.known();
        let versions = known.get_mut(&version.project).into_iter().flatten();
        for known in versions.filter(|known| known.version == *version && known.cell == Some(cell)) {
            known.cell = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use switchyard_contract::digest::Digest;

    use super::*;
    use crate::version::Tenant;

    fn version(n: u8) -> Version {
        let digest = Digest::of_files([(format!("{n}"), [n; 32])]);
        Version::new(&Tenant::first(&ProjectName::parse("a").unwrap()), digest)
    }

    fn crons(names: &[&str]) -> Vec<CronRegistration> {
        let cron = |name: &&str| CronRegistration {
            name: (*name).to_owned(),
            schedule: "0 3 * * *".to_owned(),
            backoff_ms: None,
        };
        names.iter().map(cron).collect()
    }

    fn open(state: &Path) -> Crons {
        Crons::open(state, Arc::new(LiveTable::new())).unwrap()
    }

    #[tokio::test]
    async fn the_first_cell_of_a_version_says_which_crons_it_has() {
        let state = tempfile::tempdir().unwrap();
        let known = open(state.path());
        known.registered(&version(1), 1, crons(&["a"]));
        known.registered(&version(1), 2, crons(&["b"]));
        assert_eq!(*known.of(&version(1)), crons(&["a"]));
        known.ended(&version(1), 1);
        known.registered(&version(1), 2, crons(&["b"]));
        assert_eq!(*known.of(&version(1)), crons(&["b"]));
        assert!(known.of(&version(2)).is_empty());
        assert_eq!(known.next_changed().await.as_str(), "a");
        assert!(known.changed().is_empty());
    }

    #[test]
    fn crons_of_an_idle_version_are_known_after_a_restart() {
        let state = tempfile::tempdir().unwrap();
        let project = version(1).project;
        let known = open(state.path());
        known.registered(&version(1), 1, crons(&["a", "b"]));
        known.keep(&project);
        let again = open(state.path());
        assert_eq!(*again.of(&version(1)), crons(&["a", "b"]));
        again.registered(&version(1), 1, crons(&["a"]));
        assert_eq!(*again.of(&version(1)), crons(&["a"]), "another run's cell");
        again.forget(&project);
        again.keep(&project);
        assert!(open(state.path()).of(&version(1)).is_empty());
    }

    #[test]
    fn few_versions_of_a_project_are_known() {
        let state = tempfile::tempdir().unwrap();
        let known = open(state.path());
        for n in 0..9 {
            known.registered(&version(n), u64::from(n), crons(&["a"]));
        }
        assert!(known.of(&version(4)).is_empty());
        assert!((5..9).all(|n| !known.of(&version(n)).is_empty()));
    }
}
