//! What must survive a restart: the last good version of each project with the routes that it claims, and since when its
//! folder is gone. Written by a thread of its own.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use switchyard_contract::digest::Digest;
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::project::ProjectName;
use switchyard_contract::route::Route;
use tokio::task::spawn_blocking;

use crate::project::Function;
use crate::version::{Tenant, Version};

const EXTENSION: &str = "json";
const UNFINISHED: &str = "new";

/// How long the end of the router waits for what is still to be written: a disk that takes longer is of no use.
const FINISH: Duration = Duration::from_secs(2);

/// How long a reader waits for what is still to be written of a project. A disk that takes longer
/// hangs, and nothing is concluded from it.
const WRITTEN: Duration = Duration::from_secs(30);

/// `<state>/last-good/<project>.json`, one file a project. Changes wait in memory for the thread that writes them, at most one
/// for each project. Clones are the same record.
#[derive(Debug, Clone)]
pub(super) struct Record(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Files,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    changes: BTreeMap<ProjectName, Change>,
    /// The project whose change is being written.
    writing: Option<ProjectName>,
    is_closed: bool,
}

#[derive(Debug, Clone)]
enum Change {
    /// The last good version, and since when the project's folder is gone.
    Put(LastGood, Option<Timestamp>),
    /// The project's folder is gone since then, unless that was noted before.
    Gone(Timestamp),
    Remove,
}

#[derive(Debug, Clone)]
struct Files(PathBuf);

/// The routes that a version claims, each with the moment since which it is claimed.
pub(super) type Since = BTreeMap<Route, Timestamp>;

/// A version that was live when it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LastGood {
    pub(super) version: Version,
    /// `None` when the record is older than the rule that the first claim counts.
    pub(super) claims: Option<Since>,
    /// What the folder of functions that it lay in said of it.
    pub(super) function: Option<Function>,
}

#[derive(Serialize, Deserialize)]
struct Recorded {
    digest: Digest,
    #[serde(default)]
    incarnation: Incarnation,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claims: Option<BTreeMap<String, Timestamp>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gone: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    function: Option<Function>,
}

/// The last good version of a project whose folder is gone.
pub(super) struct Gone {
    pub(super) version: Version,
    pub(super) since: Timestamp,
}

impl Record {
    /// # Errors
    /// The folder cannot be made.
    pub(super) fn open(state: &Path) -> Result<Self> {
        let dir = state.join("last-good");
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        let inner = Inner { files: Files(dir), shared: Arc::default() };
        let (files, shared) = (inner.files.clone(), inner.shared.clone());
        let thread = std::thread::Builder::new().name("record".to_owned());
        thread.spawn(move || shared.write_all(&files)).context("start the thread that records versions")?;
        Ok(Self(Arc::new(inner)))
    }

    /// Reads the last good versions of the projects whose folders were there, which takes a while. A file that
    /// does not parse is logged and passed over: what is on the volume is built anyway.
    pub(super) fn read(&self) -> impl FnOnce() -> Result<BTreeMap<ProjectName, LastGood>> + Send + use<> {
        let files = self.0.files.clone();
        move || files.all()
    }

    /// Has a version remembered that became live, with its claims and what the folder of functions says of it. At every instant the file is whole,
    /// before or after.
    pub(super) fn put(&self, version: &Version, claims: &Since, function: Option<Function>) {
        let last_good = LastGood { version: version.clone(), claims: Some(claims.clone()), function };
        self.0.shared.change(&version.project, Change::Put(last_good, None));
    }

    /// Has it noted that the folder of `project` is gone, unless that was noted before.
    pub(super) fn set_gone(&self, project: &ProjectName) {
        self.0.shared.change(project, Change::Gone(Timestamp::now()));
    }

    pub(super) fn remove(&self, project: &ProjectName) {
        self.0.shared.change(project, Change::Remove);
    }

    /// Returns the last good version of `project`, when its folder was gone at the last look. Blocks until what
    /// was noted before is written.
    ///
    /// # Errors
    /// It is not written after [`WRITTEN`].
    pub(super) fn gone(&self, project: &ProjectName) -> Result<Option<Gone>> {
        self.0.shared.wait_for(project)?;
        let Ok((last_good, since)) = read(&self.0.files.path(project)) else { return Ok(None) };
        Ok(since.map(|since| Gone { version: last_good.version, since }))
    }

    /// The projects that are remembered, whether their folders are there or not.
    pub(super) fn projects(&self) -> Vec<ProjectName> {
        let names = crate::folder::names(&self.0.files.0).into_iter();
        names.filter_map(|name| ProjectName::parse(name.strip_suffix(".json")?).ok()).collect()
    }

    /// Waits until all is written, but not for long.
    pub(super) async fn finish(&self) {
        let shared = self.0.shared.clone();
        // A panic in it is logged.
        let _ = spawn_blocking(move || shared.finish()).await;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.queue().is_closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn change(&self, project: &ProjectName, change: Change) {
        match self.queue().changes.entry(project.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(change);
            }
            Entry::Occupied(mut entry) => {
                let waiting = entry.get_mut();
                match (&mut *waiting, change) {
                    (Change::Put(_, gone), Change::Gone(since)) => *gone = gone.or(Some(since)),
                    (Change::Gone(_) | Change::Remove, Change::Gone(_)) => {}
                    (_, change) => *waiting = change,
                }
            }
        }
        self.changed.notify_all();
    }

    fn wait_for(&self, project: &ProjectName) -> Result<()> {
        let is_waiting = |queue: &mut Queue| {
            queue.changes.contains_key(project) || queue.writing.as_ref() == Some(project)
        };
        let waited = self.changed.wait_timeout_while(self.queue(), WRITTEN, is_waiting);
        let (_queue, timeout) = waited.expect("no holder of this lock panics");
        if timeout.timed_out() {
            bail!(
                "the last good version is not written after {WRITTEN:?}: the disk of the state folder hangs"
            );
        }
        Ok(())
    }

    fn finish(&self) {
        let is_busy = |queue: &mut Queue| queue.writing.is_some() || !queue.changes.is_empty();
        drop(self.changed.wait_timeout_while(self.queue(), FINISH, is_busy));
    }

    /// Runs until the record is dropped and all is written.
    fn write_all(&self, files: &Files) {
        while let Some((project, change)) = self.next() {
            let written = match change {
                Change::Put(last_good, gone) => files.put(&last_good, gone),
                Change::Gone(since) => files.set_gone(&project, since),
                Change::Remove => files.remove(&project),
            };
            if let Err(error) = written {
                tracing::error!(
                    project.name = %project,
                    "the record of its last good version is out of date: {error:#}"
                );
            }
        }
    }

    fn next(&self) -> Option<(ProjectName, Change)> {
        let mut queue = self.queue();
        queue.writing = None;
        self.changed.notify_all();
        loop {
            if let Some((project, change)) = queue.changes.pop_first() {
                queue.writing = Some(project.clone());
                return Some((project, change));
            }
            if queue.is_closed {
                return None;
            }
            queue = self.changed.wait(queue).expect("no holder of this lock panics");
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no holder of this lock panics")
    }
}

impl Files {
    fn all(&self) -> Result<BTreeMap<ProjectName, LastGood>> {
        let Self(dir) = self;
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
            let path = entry.context("read the last good versions")?.path();
            if path.extension().is_some_and(|extension| extension == UNFINISHED) {
                let _ = fs::remove_file(&path);
                continue;
            }
            match read(&path) {
                Ok((_, Some(_))) => {}
                Ok((last_good, None)) => {
                    all.insert(last_good.version.project.clone(), last_good);
                }
                Err(error) => tracing::warn!("{} is passed over: {error:#}", path.display()),
            }
        }
        Ok(all)
    }

    fn put(&self, last_good: &LastGood, gone: Option<Timestamp>) -> Result<()> {
        let LastGood { version, claims, function } = last_good;
        let path = self.path(&version.project);
        // A project that is gone gives its claims back.
        let claims = claims.as_ref().filter(|_| gone.is_none());
        let claims = claims.map(|all| all.iter().map(|(route, since)| (route.to_string(), *since)).collect());
        let function = function.clone();
        let recorded =
            Recorded { digest: version.digest, incarnation: version.incarnation, claims, gone, function };
        let text = serde_json::to_vec(&recorded).context("write a digest")?;
        if fs::read(&path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        let unfinished = path.with_extension(UNFINISHED);
        let mut file =
            fs::File::create(&unfinished).with_context(|| format!("create {}", unfinished.display()))?;
        file.write_all(&text).with_context(|| format!("write {}", unfinished.display()))?;
        fs::rename(&unfinished, &path).with_context(|| format!("name {}", path.display()))
    }

    fn set_gone(&self, project: &ProjectName, since: Timestamp) -> Result<()> {
        match read(&self.path(project)) {
            Ok((last_good, None)) => self.put(&last_good, Some(since)),
            _ => Ok(()),
        }
    }

    fn remove(&self, project: &ProjectName) -> Result<()> {
        match fs::remove_file(self.path(project)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn path(&self, project: &ProjectName) -> PathBuf {
        self.0.join(project.as_str()).with_extension(EXTENSION)
    }
}

fn read(path: &Path) -> Result<(LastGood, Option<Timestamp>)> {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let project = ProjectName::parse(name)?;
    let text = fs::read(path).context("read it")?;
    let recorded: Recorded = serde_json::from_slice(&text).context("parse it")?;
    let version = Version::new(&Tenant::new(&project, recorded.incarnation), recorded.digest);
    // What is no route any more is no claim.
    let claim = |(route, since): (String, Timestamp)| Some((route.parse().ok()?, since));
    let claims = recorded.claims.map(|claims| claims.into_iter().filter_map(claim).collect());
    Ok((LastGood { version, claims, function: recorded.function }, recorded.gone))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        record.put(&first, &Since::new(), None);
        record.put(&last, &Since::new(), None);
        record.finish().await;
        fs::write(dir.path().join("last-good/b.json"), "{\"dig").unwrap();
        let record = Record::open(dir.path()).unwrap();
        assert_eq!(all(&record), std::slice::from_ref(&last));
        record.put(&first, &Since::new(), None);
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
        record.put(&version, &Since::new(), None);
        record.set_gone(&version.project);
        let since = gone().unwrap().since;
        assert!(all(&record).is_empty());
        record.set_gone(&version.project);
        assert_eq!(gone().unwrap().since, since);
        record.put(&version, &Since::new(), None);
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
        let since: Since =
            [("/store".parse().unwrap(), "2026-03-01T12:00:00.123456789Z".parse().unwrap())].into();
        let record = Record::open(dir.path()).unwrap();
        let claims =
            |record: &Record| record.read()().unwrap().remove("a").and_then(|last_good| last_good.claims);
        record.put(&version, &since, None);
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
}
