//! Read your own deploy: the routers that still serve a project as it was before a deploy that is
//! over.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use self::files::MarkFiles;
use super::state::ServedVersion;

mod files;

/// Older versions that a mark remembers. A router that returns serves the version from before,
/// which is the first of them and is never dropped, or the one that it was building then: the
/// newest are kept.
const MAX_OLDER: usize = 32;

/// The number of projects with marks. Beyond it, marks of removed projects are forgotten: a router
/// that returns after that many deploys was restarted, and serves nothing before it has read the
/// volume.
const MAX_PROJECTS: usize = 10_000;

/// Between two attempts to write marks to a disk that refuses.
const SAVE_AGAIN: Duration = Duration::from_secs(5);

/// The marks of all routers, in memory and on disk. They are kept by the router's name, so that a
/// router that is away for a while, and returns, is still behind.
#[derive(Debug, Default)]
pub(super) struct BehindMarks {
    marks: RwLock<Marks>,
    /// `None`: the marks end with this process.
    files: Option<MarkFiles>,
    /// The projects with marks that differ from their files.
    unsaved: Mutex<BTreeSet<String>>,
    /// Notified when there is something to save.
    changed: Notify,
    /// Held while files are written, so that older marks do not replace newer ones.
    saving: Arc<tokio::sync::Mutex<()>>,
}

/// The marks by project.
type Marks = BTreeMap<String, ProjectMarks>;

/// The marks of one project by router.
type ProjectMarks = BTreeMap<String, Mark>;

/// A digest with its incarnation (see [`version_of`](super::state::version_of)), or `None`: the
/// project is not there.
type Version = Option<String>;

/// One project that one router is behind in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Mark {
    /// The version that the deploy published.
    published: Version,
    /// Versions that are older than that: one more for each deploy that the router has missed. The
    /// first is the one that it served itself, as far as that is known. At most [`MAX_OLDER`].
    older: Vec<Version>,
    /// `true`: the router has reported its version of the project.
    reported: bool,
}

impl BehindMarks {
    /// Reads the marks of earlier processes from `folder`, of the routers that are still `known`.
    ///
    /// # Errors
    /// The folder cannot be read or written.
    pub(super) fn open(folder: PathBuf, version_of: impl Fn(&str) -> bool) -> io::Result<Self> {
        let (files, marks) = MarkFiles::open(folder)?;
        let behind = Self { marks: RwLock::new(marks), files: Some(files), ..Self::default() };
        behind.keep(version_of);
        Ok(behind)
    }

    /// Marks `router`. `serves` is the version that it is known to serve, `others` are those of
    /// other routers, which this one may have been about to serve. A router that serves the
    /// published version is not marked.
    pub(super) fn mark(
        &self,
        router: &str,
        project: &str,
        published: Version,
        serves: ServedVersion,
        others: impl IntoIterator<Item = ServedVersion>,
    ) {
        let serves = version_of(serves);
        let mut all = self.write();
        let marks = all.entry(project.to_owned()).or_default();
        let earlier = marks.remove(router);
        if serves.as_ref() != Some(&published) {
            let mut mark = Mark { published, reported: serves.is_some(), older: Vec::new() };
            if let Some(earlier) = earlier {
                mark.reported |= earlier.reported;
                earlier.older.into_iter().chain([earlier.published]).for_each(|version| mark.add(version));
            }
            let others = others.into_iter().filter_map(version_of);
            serves.into_iter().chain(others).for_each(|version| mark.add(version));
            marks.insert(router.to_owned(), mark);
        }
        if marks.is_empty() {
            all.remove(project);
        }
        let too_many = all.len() > MAX_PROJECTS;
        drop(all);
        self.unsaved_one(project);
        if too_many {
            self.retain(|_, mark| mark.published.is_some());
        }
    }

    /// Removes the mark of `router` if it has caught up, given the version that it `serves` now and
    /// those that the routers that are not behind serve (`current`).
    pub(super) fn settle(
        &self,
        router: &str,
        project: &str,
        serves: ServedVersion,
        current: &[ServedVersion],
    ) {
        let is_current = current.contains(&serves);
        let Some(serves) = version_of(serves) else { return };
        let mut all = self.write();
        let Some(marks) = all.get_mut(project) else { return };
        let Some(mark) = marks.get_mut(router) else { return };
        let before = mark.clone();
        if mark.is_over(serves, is_current) {
            marks.remove(router);
            if marks.is_empty() {
                all.remove(project);
            }
        } else if *mark == before {
            return;
        }
        drop(all);
        self.unsaved_one(project);
    }

    pub(super) fn has(&self, router: &str, project: &str) -> bool {
        self.read().get(project).is_some_and(|marks| marks.contains_key(router))
    }

    /// The projects that `router` is behind in.
    pub(super) fn of(&self, router: &str) -> Vec<String> {
        let all = self.read();
        all.iter().filter(|(_, marks)| marks.contains_key(router)).map(|(name, _)| name.clone()).collect()
    }

    /// Returns true if any router is behind in `project`.
    pub(super) fn is_any(&self, project: &str) -> bool {
        self.read().contains_key(project)
    }

    /// Every project that a router is behind in.
    pub(super) fn projects(&self) -> Vec<String> {
        self.read().keys().cloned().collect()
    }

    /// The routers that are behind in `project`.
    pub(super) fn routers(&self, project: &str) -> Vec<String> {
        self.read().get(project).map(|marks| marks.keys().cloned().collect()).unwrap_or_default()
    }

    /// Forgets routers that are not `known`.
    pub(super) fn keep(&self, version_of: impl Fn(&str) -> bool) {
        self.retain(|router, _| version_of(router));
    }

    fn retain(&self, wanted: impl Fn(&str, &Mark) -> bool) {
        let mut all = self.write();
        let mut changed = Vec::new();
        all.retain(|project, marks| {
            let before = marks.len();
            marks.retain(|router, mark| wanted(router, mark));
            if marks.len() != before {
                changed.push(project.clone());
            }
            !marks.is_empty()
        });
        drop(all);
        changed.iter().for_each(|project| self.unsaved_one(project));
    }

    /// Returns when all marks of this moment are on disk.
    ///
    /// # Errors
    /// They cannot be written. [`BehindMarks::keep_saved`] tries again.
    pub(super) async fn save(&self) -> io::Result<()> {
        let Some(files) = self.files.clone() else { return Ok(()) };
        // The guard moves into the thread that writes: this future may be dropped before the write
        // is done.
        let saving = self.saving.clone().lock_owned().await;
        let unsaved = mem::take(&mut *self.unsaved());
        if unsaved.is_empty() {
            return Ok(());
        }
        let marks: Vec<_> = {
            let all = self.read();
            unsaved.iter().map(|project| (project.clone(), all.get(project).cloned())).collect()
        };
        let saved = spawn_blocking(move || {
            let saved = files.save(&marks);
            drop(saving);
            saved
        });
        let saved = saved.await.unwrap_or_else(|panic| Err(panic.into()));
        if saved.is_err() {
            self.unsaved().extend(unsaved);
            self.changed.notify_one();
        }
        saved
    }

    /// Saves marks whenever they change. Never ends.
    pub(super) async fn keep_saved(&self) {
        loop {
            self.changed.notified().await;
            if let Err(error) = self.save().await {
                tracing::error!(
                    "the marks of routers that are behind are lost when this process ends: {error}"
                );
                sleep(SAVE_AGAIN).await;
            }
        }
    }

    fn unsaved_one(&self, project: &str) {
        if self.files.is_some() {
            self.unsaved().insert(project.to_owned());
            self.changed.notify_one();
        }
    }

    // Each of these is whole between any two calls on it.
    fn read(&self) -> RwLockReadGuard<'_, Marks> {
        self.marks.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Marks> {
        self.marks.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn unsaved(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mark {
    /// Notes an older version. The first one is kept, and of the rest the newest.
    fn add(&mut self, version: Version) {
        if version == self.published || self.older.contains(&version) {
            return;
        }
        if self.older.len() == MAX_OLDER {
            self.older.remove(1);
        }
        self.older.push(version);
    }

    /// Returns true if `serves` is newer than the version from before the deploy. `is_current`: a
    /// router that is not behind is known to serve it.
    fn is_over(&mut self, serves: Version, is_current: bool) -> bool {
        if serves == self.published {
            return true;
        }
        let has_reported = mem::replace(&mut self.reported, true);
        if self.older.contains(&serves) {
            return false;
        }
        // This is the first report of a router that had never reported anything: nothing else says
        // that it is newer. That others do not have the project either may be from before the deploy.
        if !has_reported && (!is_current || serves.is_none()) {
            self.older.insert(0, serves);
            self.older.truncate(MAX_OLDER);
            return false;
        }
        true
    }
}

fn version_of(serves: ServedVersion) -> Option<Version> {
    match serves {
        ServedVersion::Unknown => None,
        ServedVersion::Nothing => Some(None),
        ServedVersion::Version(version) => Some(Some(version)),
    }
}

#[cfg(test)]
mod tests;
