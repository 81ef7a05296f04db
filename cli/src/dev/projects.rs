//! Projects that come and go in a folder of projects: they are read from it by overrides, which the
//! router gets as soon as a folder is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Method;
use http::header::CONTENT_TYPE;
use serde_json::json;
use switchyard_contract::project::ProjectName;
use tokio::task::spawn_blocking;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::folder::{DevFolder, Listing};
use crate::client::{Bridge, CallError};

/// Interval of looking at the folder: a person does not notice it, and it costs one look at one folder.
const EVERY: Duration = Duration::from_millis(300);

/// Looks at the folder, and compares.
#[derive(Debug)]
pub(super) struct ProjectWatch {
    folder: Arc<DevFolder>,
    known: BTreeMap<ProjectName, PathBuf>,
    misnamed: BTreeSet<String>,
    /// The time of the folder's last change, with `known` as it was then. `None`: some folders were
    /// empty, and may be filled without a change of the folder around them.
    looked_at: Option<SystemTime>,
    ticks: Interval,
}

/// What has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ProjectChanges {
    /// New projects, and those that lie elsewhere now.
    pub(super) added: BTreeMap<ProjectName, PathBuf>,
    pub(super) removed: Vec<ProjectName>,
    /// New folders whose names no project can have.
    pub(super) misnamed: Vec<String>,
}

impl ProjectWatch {
    /// Begins with these projects, which the router has already.
    pub(super) fn new(folder: Arc<DevFolder>, known: BTreeMap<ProjectName, PathBuf>) -> Self {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { folder, known, misnamed: BTreeSet::new(), looked_at: None, ticks }
    }

    /// Resolves with the next changes. Never, if the folder is one project.
    pub(super) async fn next(&mut self) -> ProjectChanges {
        loop {
            self.ticks.tick().await;
            if self.folder.one().is_some() {
                return std::future::pending().await;
            }
            let (folder, looked_at) = (self.folder.clone(), self.looked_at);
            let Ok(Some((listing, at))) = spawn_blocking(move || look(&folder, looked_at)).await else {
                continue;
            };
            self.looked_at = at;
            let changes = self.compare(listing);
            if changes != ProjectChanges::default() {
                return changes;
            }
        }
    }

    fn compare(&mut self, listing: Listing) -> ProjectChanges {
        let Listing { projects, misnamed } = listing;
        let added = projects.iter().filter(|(name, path)| self.known.get(*name) != Some(*path));
        let added = added.map(|(name, path)| (name.clone(), path.clone())).collect();
        let removed = self.known.keys().filter(|name| !projects.contains_key(*name)).cloned().collect();
        let new: Vec<_> = misnamed.iter().filter(|name| !self.misnamed.contains(*name)).cloned().collect();
        (self.known, self.misnamed) = (projects, misnamed.into_iter().collect());
        ProjectChanges { added, removed, misnamed: new }
    }
}

/// Lists the folder, unless it is as it was at `looked_at`. A folder that is missing for a moment has
/// the projects that it had.
fn look(folder: &DevFolder, looked_at: Option<SystemTime>) -> Option<(Listing, Option<SystemTime>)> {
    let changed = folder.path().metadata().and_then(|metadata| metadata.modified()).ok()?;
    if looked_at == Some(changed) {
        return None;
    }
    let listing = folder.list().ok()?;
    let has_all = folder.path().read_dir().ok()?.flatten().all(|entry| {
        let is_empty = || std::fs::read_dir(entry.path()).is_ok_and(|mut entries| entries.next().is_none());
        !is_empty()
    });
    // A change within the same tick of the clock as the look is found by the next look.
    let is_settled = changed.elapsed().is_ok_and(|age| age > 2 * EVERY);
    Some((listing, (has_all && is_settled).then_some(changed)))
}

/// Has the router read a project from a folder, or forget it.
///
/// # Errors
/// There is no answer.
pub(super) async fn set_override(
    admin: &Bridge,
    project: &ProjectName,
    folder: Option<PathBuf>,
) -> Result<(), CallError> {
    let path = ["projects", project.as_str(), "override"];
    let request = match folder {
        Some(folder) => {
            let body = json!({ "path": folder }).to_string();
            admin.request(Method::PUT, &path, &[]).header(CONTENT_TYPE, "application/json").body(body)
        }
        None => admin.request(Method::DELETE, &path, &[]),
    };
    // The outcome is an event.
    admin.call(request).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn folders_that_come_go_or_have_no_valid_name_are_reported_once() {
        let dir = tempfile::tempdir().unwrap();
        let folder = DevFolder::find(dir.path(), true, Some(std::path::Path::new("/nowhere"))).unwrap();
        let real = dir.path().canonicalize().unwrap();
        let mut watch = ProjectWatch::new(Arc::new(folder), BTreeMap::new());
        for name in ["a", "b c"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        assert!(tokio::time::timeout(3 * EVERY, watch.next()).await.is_err(), "both are empty");
        for name in ["a", "b c"] {
            std::fs::write(dir.path().join(name).join("main.ts"), "").unwrap();
        }
        let name = ProjectName::parse("a").unwrap();
        let changes = watch.next().await;
        assert_eq!(changes.added, BTreeMap::from([(name.clone(), real.join("a"))]));
        assert_eq!(changes.misnamed, ["b c"]);
        std::fs::remove_dir_all(dir.path().join("a")).unwrap();
        let expected = ProjectChanges { removed: vec![name], ..ProjectChanges::default() };
        assert_eq!(watch.next().await, expected);
    }
}
