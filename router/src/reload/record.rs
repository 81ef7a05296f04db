//! What must survive a restart: the last good version of each project. Written by a thread of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use switchyard_bridge::digest::Digest;
use switchyard_bridge::project::ProjectName;
use tokio::task::spawn_blocking;

use crate::version::Version;

const EXTENSION: &str = "json";
const UNFINISHED: &str = "new";

/// How long the end of the router waits for what is still to be written: a disk that takes longer is of no use.
const FINISH: Duration = Duration::from_secs(2);

/// `<state>/last-good/<project>.json`, one file a project. Changes wait in memory for the thread that writes them, at most one
/// for each project: only the last one counts.
#[derive(Debug)]
pub(super) struct Record {
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
    /// The digest to remember; `None`: the project is to be forgotten.
    changes: BTreeMap<ProjectName, Option<Digest>>,
    is_writing: bool,
    is_closed: bool,
}

#[derive(Debug, Clone)]
struct Files(PathBuf);

#[derive(Serialize, Deserialize)]
struct LastGood {
    digest: Digest,
}

impl Record {
    /// # Errors
    /// The folder or the thread cannot be made.
    pub(super) fn open(state: &Path) -> Result<Self> {
        let dir = state.join("last-good");
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        let record = Self { files: Files(dir), shared: Arc::default() };
        let (files, shared) = (record.files.clone(), record.shared.clone());
        let thread = std::thread::Builder::new().name("record".to_owned());
        thread.spawn(move || shared.write_all(&files)).context("start the thread that records versions")?;
        Ok(record)
    }

    /// Reads what is remembered, which takes a while. A file that does not parse is logged and passed over: what is on the
    /// volume is built anyway.
    pub(super) fn read(&self) -> impl FnOnce() -> Result<BTreeMap<ProjectName, Version>> + Send + use<> {
        let files = self.files.clone();
        move || files.all()
    }

    /// Has a version remembered that became live. At every instant the file is whole, before or after.
    pub(super) fn put(&self, version: &Version) {
        self.shared.change(&version.project, Some(version.digest));
    }

    pub(super) fn remove(&self, project: &ProjectName) {
        self.shared.change(project, None);
    }

    /// Waits until all is written, but not for long.
    pub(super) async fn finish(&self) {
        let shared = self.shared.clone();
        // A panic in it is logged.
        let _ = spawn_blocking(move || shared.finish()).await;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.shared.queue().is_closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn change(&self, project: &ProjectName, digest: Option<Digest>) {
        self.queue().changes.insert(project.clone(), digest);
        self.changed.notify_all();
    }

    fn finish(&self) {
        let is_busy = |queue: &mut Queue| queue.is_writing || !queue.changes.is_empty();
        drop(self.changed.wait_timeout_while(self.queue(), FINISH, is_busy));
    }

    /// Runs until the record is dropped and all is written.
    fn write_all(&self, files: &Files) {
        while let Some((project, digest)) = self.next() {
            match digest {
                Some(digest) => {
                    if let Err(error) = files.put(&project, digest) {
                        tracing::error!(
                            project.name = %project,
                            "it will not be remembered as the last good version: {error:#}"
                        );
                    }
                }
                None => files.remove(&project),
            }
        }
    }

    fn next(&self) -> Option<(ProjectName, Option<Digest>)> {
        let mut queue = self.queue();
        queue.is_writing = false;
        self.changed.notify_all();
        loop {
            if let Some(change) = queue.changes.pop_first() {
                queue.is_writing = true;
                return Some(change);
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
    fn all(&self) -> Result<BTreeMap<ProjectName, Version>> {
        let Self(dir) = self;
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
            let path = entry.context("read the last good versions")?.path();
            if path.extension().is_some_and(|extension| extension == UNFINISHED) {
                let _ = fs::remove_file(&path);
                continue;
            }
            match read(&path) {
                Ok(version) => {
                    all.insert(version.project.clone(), version);
                }
                Err(error) => tracing::warn!("{} is passed over: {error:#}", path.display()),
            }
        }
        Ok(all)
    }

    fn put(&self, project: &ProjectName, digest: Digest) -> Result<()> {
        let path = self.path(project);
        let text = serde_json::to_vec(&LastGood { digest }).context("write a digest")?;
        if fs::read(&path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        let unfinished = path.with_extension(UNFINISHED);
        let mut file =
            fs::File::create(&unfinished).with_context(|| format!("create {}", unfinished.display()))?;
        file.write_all(&text).with_context(|| format!("write {}", unfinished.display()))?;
        fs::rename(&unfinished, &path).with_context(|| format!("name {}", path.display()))
    }

    fn remove(&self, project: &ProjectName) {
        match fs::remove_file(self.path(project)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(project.name = %project, "its last good version cannot be forgotten: {error}");
            }
            _ => {}
        }
    }

    fn path(&self, project: &ProjectName) -> PathBuf {
        self.0.join(project.as_str()).with_extension(EXTENSION)
    }
}

fn read(path: &Path) -> Result<Version> {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let project = ProjectName::parse(name)?;
    let text = fs::read(path).context("read it")?;
    let last_good: LastGood = serde_json::from_slice(&text).context("parse it")?;
    Ok(Version::new(&project, last_good.digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(project: &str, byte: u8) -> Version {
        Version::new(&ProjectName::parse(project).unwrap(), Digest::of_files([("main.ts", [byte; 32])]))
    }

    #[tokio::test]
    async fn what_was_put_is_there_after_a_restart_and_damage_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let (first, last) = (version("a", 1), version("a", 2));
        let record = Record::open(dir.path()).unwrap();
        record.put(&first);
        record.put(&last);
        record.finish().await;
        fs::write(dir.path().join("last-good/b.json"), "{\"dig").unwrap();
        let record = Record::open(dir.path()).unwrap();
        assert_eq!(record.read()().unwrap().into_values().collect::<Vec<_>>(), std::slice::from_ref(&last));
        record.put(&first);
        record.remove(&first.project);
        record.finish().await;
        assert!(record.read()().unwrap().is_empty());
    }
}
