//! The record that survives a restart: the last good version of each project with the routes that
//! it claims, and the time since which its folder is gone. Written by a thread of its own.

mod files;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use switchyard_contract::commit::CommitInfo;
use switchyard_contract::project::ProjectName;
use switchyard_contract::route::Route;
use tokio::task::spawn_blocking;

use self::files::{RecordFiles, read};
use crate::project::SupabaseFunction;
use crate::version::Version;

/// Time that a stopping router gives to unwritten changes: a slower disk is of no use.
const FINISH: Duration = Duration::from_secs(2);

/// Time that a reader waits for the unwritten change of a project. A slower disk hangs, and nothing
/// is concluded from it.
const WRITTEN: Duration = Duration::from_secs(30);

/// The files `<state>/last-good/<project>.json`, one a project. Changes wait in memory for the
/// thread that writes them, at most one for each project. Clones are the same record.
#[derive(Debug, Clone)]
pub(super) struct Record(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: RecordFiles,
    queue: Arc<WriteQueue>,
}

#[derive(Debug, Default)]
struct WriteQueue {
    changes: Mutex<PendingChanges>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct PendingChanges {
    waiting: BTreeMap<ProjectName, RecordChange>,
    /// The project whose change is being written.
    writing: Option<ProjectName>,
    is_closed: bool,
}

#[derive(Debug, Clone)]
enum RecordChange {
    /// The last good version, and the time since which the project's folder is gone.
    Put(LastGood, Option<Timestamp>),
    /// The project's folder is gone since this time, unless an earlier one is known.
    Gone(Timestamp),
    Remove,
}

/// The routes that a version claims, each with the time since which it is claimed.
pub(super) type ClaimTimes = BTreeMap<Route, Timestamp>;

/// A version that was live when it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LastGood {
    pub(super) version: Version,
    /// `None`: the record is older than the rule that the first claim counts.
    pub(super) claims: Option<ClaimTimes>,
    /// The configuration of the functions folder that it lay in.
    pub(super) function: Option<SupabaseFunction>,
    /// The commit that its files came from.
    pub(super) commit: Option<Arc<CommitInfo>>,
}

impl LastGood {
    pub(super) fn recorded_commit(&self) -> Option<RecordedCommit> {
        let (version, commit) = (self.version.clone(), self.commit.clone()?);
        Some(RecordedCommit { version, commit })
    }
}

/// The commit of the version that an earlier run has recorded.
#[derive(Debug)]
pub(super) struct RecordedCommit {
    pub(super) version: Version,
    pub(super) commit: Arc<CommitInfo>,
}

/// The last good version of a project whose folder is gone.
pub(super) struct GoneProject {
    pub(super) version: Version,
    pub(super) since: Timestamp,
}

impl Record {
    /// # Errors
    /// The folder cannot be made, or the thread not be started.
    pub(super) fn open(state: &Path) -> Result<Self> {
        let dir = state.join("last-good");
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        let inner = Inner { files: RecordFiles(dir), queue: Arc::default() };
        let (files, queue) = (inner.files.clone(), inner.queue.clone());
        let thread = std::thread::Builder::new().name("record".to_owned());
        thread.spawn(move || queue.write_all(&files)).context("start the thread that records versions")?;
        Ok(Self(Arc::new(inner)))
    }

    /// A function that reads the last good versions of the projects whose folders are not gone. It
    /// blocks. A file that does not parse is logged and passed over: the files on the volume are
    /// built anyway.
    pub(super) fn read(&self) -> impl FnOnce() -> Result<BTreeMap<ProjectName, LastGood>> + Send + use<> {
        let files = self.0.files.clone();
        move || files.all()
    }

    /// Records a version that became live, with its claims, its functions folder's configuration and
    /// its commit. At every instant the file is whole: either the one before or the new one.
    pub(super) fn put(
        &self,
        version: &Version,
        claims: &ClaimTimes,
        function: Option<SupabaseFunction>,
        commit: Option<Arc<CommitInfo>>,
    ) {
        let (version, claims) = (version.clone(), Some(claims.clone()));
        let last_good = LastGood { version, claims, function, commit };
        self.0.queue.change(&last_good.version.project.clone(), RecordChange::Put(last_good, None));
    }

    /// Records that the folder of `project` is gone, unless that is recorded already.
    pub(super) fn set_gone(&self, project: &ProjectName) {
        self.0.queue.change(project, RecordChange::Gone(Timestamp::now()));
    }

    pub(super) fn remove(&self, project: &ProjectName) {
        self.0.queue.change(project, RecordChange::Remove);
    }

    /// The last good version of `project`, if its folder was gone at the last look. Blocks until
    /// earlier changes are written.
    ///
    /// # Errors
    /// They are not written after [`WRITTEN`].
    pub(super) fn gone(&self, project: &ProjectName) -> Result<Option<GoneProject>> {
        self.0.queue.wait_for(project)?;
        let Ok((last_good, since)) = read(&self.0.files.path(project)) else { return Ok(None) };
        Ok(since.map(|since| GoneProject { version: last_good.version, since }))
    }

    /// The recorded projects, including those whose folders are gone.
    pub(super) fn projects(&self) -> Vec<ProjectName> {
        let names = crate::folder::names(&self.0.files.0).into_iter();
        names.filter_map(|name| ProjectName::parse(name.strip_suffix(".json")?).ok()).collect()
    }

    /// Waits until everything is written, at most for [`FINISH`].
    pub(super) async fn finish(&self) {
        let queue = self.0.queue.clone();
        // A panic in it is logged.
        let _ = spawn_blocking(move || queue.finish()).await;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.changes().is_closed = true;
        self.queue.changed.notify_all();
    }
}

impl WriteQueue {
    fn change(&self, project: &ProjectName, change: RecordChange) {
        match self.changes().waiting.entry(project.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(change);
            }
            Entry::Occupied(mut entry) => {
                let waiting = entry.get_mut();
                match (&mut *waiting, change) {
                    (RecordChange::Put(_, gone), RecordChange::Gone(since)) => *gone = gone.or(Some(since)),
                    (RecordChange::Gone(_) | RecordChange::Remove, RecordChange::Gone(_)) => {}
                    (_, change) => *waiting = change,
                }
            }
        }
        self.changed.notify_all();
    }

    fn wait_for(&self, project: &ProjectName) -> Result<()> {
        let is_unwritten = |changes: &mut PendingChanges| {
            changes.waiting.contains_key(project) || changes.writing.as_ref() == Some(project)
        };
        let waited = self.changed.wait_timeout_while(self.changes(), WRITTEN, is_unwritten);
        let (_changes, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            bail!(
                "the last good version is not written after {WRITTEN:?}: the disk of the state folder hangs"
            );
        }
        Ok(())
    }

    fn finish(&self) {
        let is_busy = |changes: &mut PendingChanges| changes.writing.is_some() || !changes.waiting.is_empty();
        drop(self.changed.wait_timeout_while(self.changes(), FINISH, is_busy));
    }

    /// Writes changes until the record is dropped and everything is written.
    fn write_all(&self, files: &RecordFiles) {
        while let Some((project, change)) = self.next() {
            let written = match change {
                RecordChange::Put(last_good, gone) => files.put(&last_good, gone),
                RecordChange::Gone(since) => files.set_gone(&project, since),
                RecordChange::Remove => files.remove(&project),
            };
            if let Err(error) = written {
                tracing::error!(
                    project.name = %project,
                    "the record of its last good version is out of date: {error:#}"
                );
            }
        }
    }

    fn next(&self) -> Option<(ProjectName, RecordChange)> {
        let mut changes = self.changes();
        changes.writing = None;
        self.changed.notify_all();
        loop {
            if let Some((project, change)) = changes.waiting.pop_first() {
                changes.writing = Some(project.clone());
                return Some((project, change));
            }
            if changes.is_closed {
                return None;
            }
            changes = self.changed.wait(changes).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn changes(&self) -> MutexGuard<'_, PendingChanges> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use switchyard_contract::digest::Digest;

    use super::*;
    use crate::version::Tenant;

    fn version(project: &str, byte: u8) -> Version {
        let tenant = Tenant::first(&ProjectName::parse(project).unwrap());
        Version::new(&tenant, Digest::of_files([("main.ts", [byte; 32])]))
    }

    fn all(record: &Record) -> Vec<Version> {
        record.read()().unwrap().into_values().map(|last_good| last_good.version).collect()
    }

    #[tokio::test]
    async fn what_was_put_is_there_after_a_restart_and_damage_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let (first, last) = (version("a", 1), version("a", 2));
        let record = Record::open(dir.path()).unwrap();
        record.put(&first, &ClaimTimes::new(), None, None);
        record.put(&last, &ClaimTimes::new(), None, None);
        record.finish().await;
        fs::write(dir.path().join("last-good/b.json"), "{\"dig").unwrap();
        let record = Record::open(dir.path()).unwrap();
        assert_eq!(all(&record), std::slice::from_ref(&last));
        record.put(&first, &ClaimTimes::new(), None, None);
        record.remove(&first.project);
        record.finish().await;
        assert!(all(&record).is_empty());
    }

    #[test]
    fn a_project_is_gone_since_the_first_look_and_until_it_is_live_again() {
        let dir = tempfile::tempdir().unwrap();
        let version = version("a", 1);
        let record = Record::open(dir.path()).unwrap();
        let gone = || record.clone().gone(&version.project).unwrap();
        record.put(&version, &ClaimTimes::new(), None, None);
        record.set_gone(&version.project);
        let since = gone().unwrap().since;
        assert!(all(&record).is_empty());
        record.set_gone(&version.project);
        assert_eq!(gone().unwrap().since, since);
        record.put(&version, &ClaimTimes::new(), None, None);
        assert!(gone().is_none());
        assert_eq!(all(&record), std::slice::from_ref(&version));
        record.remove(&version.project);
        record.set_gone(&version.project);
        assert!(gone().is_none());
    }

    #[tokio::test]
    async fn claims_are_there_after_a_restart_with_their_time_and_a_project_that_is_gone_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let version = version("a", 1);
        let since: ClaimTimes =
            [("/store".parse().unwrap(), "2026-03-01T12:00:00.123456789Z".parse().unwrap())].into();
        let record = Record::open(dir.path()).unwrap();
        let claims =
            |record: &Record| record.read()().unwrap().remove("a").and_then(|last_good| last_good.claims);
        record.put(&version, &since, None, None);
        record.finish().await;
        let record = Record::open(dir.path()).unwrap();
        assert_eq!(claims(&record), Some(since.clone()));
        record.set_gone(&version.project);
        record.finish().await;
        let text = fs::read_to_string(dir.path().join("last-good/a.json")).unwrap();
        assert!(!text.contains("/store"), "{text}");
        let older = format!("{{\"digest\": \"{}\"}}", version.digest);
        fs::write(dir.path().join("last-good/a.json"), older).unwrap();
        assert_eq!(claims(&record), None);
    }

    #[tokio::test]
    async fn a_commit_is_there_after_a_restart_and_one_with_an_invalid_id_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let version = version("a", 1);
        let record = Record::open(dir.path()).unwrap();
        let commit = |id: &str| {
            let ref_name = Some("refs/heads/main".to_owned());
            Some(Arc::new(CommitInfo { source: "shop".into(), commit: id.into(), ref_name }))
        };
        let read = |record: &Record| record.read()().unwrap().remove("a").unwrap().commit;
        let id = "ab".repeat(20);
        record.put(&version, &ClaimTimes::new(), None, commit(&id));
        record.finish().await;
        assert_eq!(read(&Record::open(dir.path()).unwrap()), commit(&id));
        let file = dir.path().join("last-good/a.json");
        let damaged = fs::read_to_string(&file).unwrap().replace(&id, "a\\r\\nb");
        fs::write(&file, damaged).unwrap();
        assert_eq!(read(&record), None);
        record.put(&version, &ClaimTimes::new(), None, None);
        record.finish().await;
        assert!(!fs::read_to_string(&file).unwrap().contains("commit"));
    }
}
