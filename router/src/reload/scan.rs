//! The scan at start: the projects that the router waits for before it is ready.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use switchyard_contract::admin::Report;
use switchyard_contract::project::{ProjectName, is_ignored};
use tokio::sync::oneshot;

use super::known_failures::KnownFailures;
use super::record::LastGood;
use crate::root::Root;

/// The names of the folders on the volume that are, or should be, projects.
pub(super) type Listing = BTreeSet<String>;

/// The reason why the volume is listed.
pub(super) enum Purpose {
    /// Any project may have changed.
    Look,
    /// A caller waits for the reports of all projects.
    Reload(oneshot::Sender<Vec<Report>>),
}

/// The state of volume and records at start.
#[derive(Default)]
pub(crate) struct StartInventory {
    pub(super) known: BTreeMap<ProjectName, LastGood>,
    /// The folders on the volume, and the known projects that are missing and may come back.
    pub(super) names: Listing,
    pub(super) gone: Vec<ProjectName>,
    pub(super) failures: KnownFailures,
}

impl StartInventory {
    pub(super) fn new(
        mut known: BTreeMap<ProjectName, LastGood>,
        failures: KnownFailures,
        root: &Root,
    ) -> Self {
        let overrides = root.overrides();
        // Otherwise a folder that is not allowed any more would go on being served.
        let dropped = overrides.dropped();
        known.retain(|project, _| !dropped.contains(project));
        let mut names = list(root.path());
        names.extend(overrides.names().iter().map(ToString::to_string));
        let unseen = known.keys().filter(|project| !names.contains(project.as_str()));
        let (gone, missing): (Vec<_>, Vec<_>) =
            unseen.cloned().partition(|project| root.is_gone(project.as_str()));
        names.extend(missing.iter().map(ToString::to_string));
        Self { known, names, gone, failures }
    }
}

/// The progress of the scan at start.
#[derive(Debug)]
pub(super) struct StartScan {
    began: Instant,
    /// The names that the scan still waits for. `None`: it has not begun, or is done.
    waiting: Option<Listing>,
    /// `true`: the versions of an earlier run are started by their first requests.
    starts_lazily: bool,
}

impl StartScan {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), waiting: None, starts_lazily: false }
    }

    /// Begins to wait for `names`. `starts_lazily`: the versions of an earlier run are started by
    /// their first requests.
    pub(super) fn begin(&mut self, names: Listing, starts_lazily: bool) {
        self.waiting = Some(names);
        self.starts_lazily = starts_lazily;
    }

    /// Returns true if the versions of an earlier run are started by their first requests.
    pub(super) fn starts_lazily(&self) -> bool {
        self.is_running() && self.starts_lazily
    }

    pub(super) fn is_running(&self) -> bool {
        self.waiting.is_some()
    }

    /// Stops waiting for `name`.
    pub(super) fn remove(&mut self, name: &str) {
        if let Some(waiting) = &mut self.waiting {
            waiting.remove(name);
        }
    }

    /// Ends the scan if it waits for nothing more. Returns the time that it took.
    pub(super) fn end(&mut self) -> Option<Duration> {
        self.waiting.take_if(|waiting| waiting.is_empty()).map(|_| self.began.elapsed())
    }
}

/// Lists the folders that are, or should be, projects. Blocks.
pub(super) fn list(projects: &Path) -> Listing {
    let entries = match std::fs::read_dir(projects) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::error!("{} cannot be read: {error}", projects.display());
            return Listing::new();
        }
    };
    let directories = entries.flatten().filter(|entry| entry.path().is_dir());
    let names = directories.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| !is_ignored(name)).collect()
}
