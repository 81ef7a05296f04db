//! What there is to look at: the folders on the volume, and those that may have changed. The volume may be slow: it is asked by
//! tasks of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use futures_util::future::join_all;
use switchyard_contract::admin::{ReloadOutcome, Report};
use switchyard_contract::event::{Diagnostic, Trigger};
use switchyard_contract::project::{InvalidName, ProjectName, is_ignored};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::{Control, What};
use crate::live::Shown;
use crate::project::diagnostic;
use crate::reload::attempt::millis;
use crate::reload::claims::Claimed;
use crate::reload::machine::Event;
use crate::reload::record::LastGood;
use crate::watch::Change;

/// The folders on the volume that are, or should be, projects.
pub(super) type Listing = BTreeSet<String>;

/// Why the volume was listed.
pub(super) enum Purpose {
    /// Each project may have changed.
    Look,
    /// Somebody waits for what comes of a look at each.
    Reload(oneshot::Sender<Vec<Report>>),
}

/// What there is at start.
#[derive(Default)]
pub(crate) struct Start {
    known: BTreeMap<ProjectName, LastGood>,
    /// The folders on the volume, and the known projects that are missing and may come back.
    names: Listing,
    gone: Vec<ProjectName>,
}

impl Control {
    /// Reads what was live before, and what is on the volume.
    pub(crate) fn look_around(&self) -> impl Future<Output = Start> + Send + use<> {
        let (record, root) = (self.record.read(), self.settings.root.clone());
        async move {
            let read = spawn_blocking(move || {
                let known = record().unwrap_or_else(|error| {
                    tracing::error!("what was live before is not known: {error:#}");
                    BTreeMap::new()
                });
                let mut names = list(root.path());
                let unseen = known.keys().filter(|project| !names.contains(project.as_str()));
                let (gone, missing): (Vec<_>, Vec<_>) =
                    unseen.cloned().partition(|project| root.lacks(project.as_str()));
                names.extend(missing.iter().map(ToString::to_string));
                Start { known, names, gone }
            });
            // A panic is logged.
            read.await.unwrap_or_default()
        }
    }

    pub(super) fn scan(&mut self, start: Start) {
        let Start { known, names, gone } = start;
        for project in &gone {
            self.forget(project);
        }
        self.scanning = Some(names.clone());
        self.take_names(&known, &names);
        for name in &names {
            match known.get(name.as_str()) {
                Some(last_good) => {
                    self.step(name, Event::Known(last_good.version.clone()), Instant::now());
                }
                None => self.look_at(name, true, Trigger::Scan),
            }
        }
        self.scanned(None);
    }

    /// Has all projects looked up by their names and by what they claimed before, in one step and before any of them
    /// serves: what is one's would be another one's until then.
    fn take_names(&mut self, known: &BTreeMap<ProjectName, LastGood>, names: &Listing) {
        let policy = self.parts.policy.clone();
        let recorded = known.values().filter_map(|last_good| last_good.claims.as_ref());
        self.claim_after(recorded.flat_map(|claims| claims.values()));
        let mut names: Vec<_> = names.iter().filter_map(|name| ProjectName::parse(name).ok()).collect();
        // Of projects with the same host label the first one has it: that is who had it before.
        names.sort_by_key(|name| !known.contains_key(name));
        let mut changes = Vec::new();
        for name in &names {
            let project = self.project(name);
            if let Some(last_good) = known.get(name) {
                project.incarnation = Some(last_good.version.incarnation);
                project.claimed = Claimed::recorded(last_good);
                project.claimed.apply(name, &policy);
                project.recorded_function = last_good.function.clone();
            }
            changes.push((name.clone(), Some(project.entry())));
        }
        self.assign(&policy, changes);
        names.iter().for_each(|name| self.index_refusals(name));
    }

    /// Takes `name` off what the scan at start waits for.
    pub(super) fn scanned(&mut self, name: Option<&str>) {
        let Some(waiting) = &mut self.scanning else { return };
        if let Some(name) = name {
            waiting.remove(name);
        }
        if !waiting.is_empty() {
            return;
        }
        self.scanning = None;
        self.parts.board.set_ready();
        let live = self.projects.values().filter(|project| project.machine.live.is_some()).count();
        let failed = self.projects.values().filter(|project| project.machine.failed.is_some()).count();
        let scan_ms = millis(self.began.elapsed());
        tracing::info!(
            live,
            failed,
            misnamed = self.misnamed.len(),
            scan_ms,
            "ready: all projects were read"
        );
    }

    pub(super) fn change(&mut self, change: Change) {
        match change {
            Change::Project { name, since, trigger } => self.look(&name, trigger, since),
            Change::All => self.list(Purpose::Look),
        }
    }

    /// Has the volume listed.
    pub(super) fn list(&mut self, purpose: Purpose) {
        let root = self.settings.root.clone();
        self.spawn("", async move {
            // A panic is logged.
            let listing = spawn_blocking(move || list(root.path())).await.unwrap_or_default();
            What::Listed(listing, purpose)
        });
    }

    pub(super) fn listed(&mut self, listing: &Listing, purpose: Purpose) {
        // What was there before may be gone.
        let mut names = listing.clone();
        names.extend(self.projects.keys().cloned());
        names.extend(self.misnamed.iter().cloned());
        match purpose {
            Purpose::Look => {
                for name in names {
                    self.look_at(&name, listing.contains(&name), Trigger::Scan);
                }
            }
            Purpose::Reload(answer) => {
                let mut reports = Vec::new();
                for name in names {
                    let (sender, report) = oneshot::channel();
                    self.probed(&name, listing.contains(&name), Some(sender));
                    reports.push(report);
                }
                self.spawn("", async move {
                    // Whoever asked may have gone.
                    let _ = answer.send(join_all(reports).await.into_iter().flatten().collect());
                    What::Nothing
                });
            }
        }
    }

    /// Asks the volume whether there is a folder of this name, which is no known project's.
    pub(super) fn probe(&mut self, name: &str, answer: Option<oneshot::Sender<Report>>) {
        let folder = (!is_ignored(name)).then(|| self.settings.root.project(name));
        self.spawn(name, async move {
            let probe = spawn_blocking(move || folder.is_some_and(|folder: PathBuf| folder.is_dir()));
            // A panic is logged.
            What::Probed { is_there: probe.await.unwrap_or_default(), answer }
        });
    }

    pub(super) fn probed(&mut self, name: &str, is_there: bool, answer: Option<oneshot::Sender<Report>>) {
        let report = match ProjectName::parse(name) {
            Ok(project) if is_there || self.projects.contains_key(name) => {
                if let Some(answer) = answer {
                    self.project(&project).wait(answer);
                }
                return self.look(name, Trigger::Request, Instant::now());
            }
            Ok(_) => Report::of(name, ReloadOutcome::Unknown),
            Err(error) => {
                self.misnamed(name, &error, is_there);
                match is_there {
                    true => {
                        Report { error: Some(misnamed(&error)), ..Report::of(name, ReloadOutcome::Failed) }
                    }
                    false => Report::of(name, ReloadOutcome::Unknown),
                }
            }
        };
        if let Some(answer) = answer {
            // Whoever asked may have gone.
            let _ = answer.send(report);
        }
    }

    /// Has the project of this name read. `since` is the first sign of a change.
    pub(super) fn look(&mut self, name: &str, trigger: Trigger, since: Instant) {
        match ProjectName::parse(name) {
            Ok(_) => self.step(name, Event::Changed(trigger), since),
            Err(_) => self.probe(name, None),
        }
    }

    /// The same, for a name of which it is known whether there is a folder.
    fn look_at(&mut self, name: &str, is_there: bool, trigger: Trigger) {
        match ProjectName::parse(name) {
            Ok(_) => self.step(name, Event::Changed(trigger), Instant::now()),
            Err(error) => self.misnamed(name, &error, is_there),
        }
    }

    fn misnamed(&mut self, name: &str, error: &InvalidName, is_there: bool) {
        if is_there {
            if self.misnamed.insert(name.to_owned()) {
                tracing::warn!(project.name = name, "{error}");
            }
            self.parts.board.put(Shown::invalid(name, misnamed(error)));
        } else if self.misnamed.remove(name) {
            self.parts.board.remove(name);
        }
        self.scanned(Some(name));
    }
}

/// Lists the folders that are, or should be, projects.
fn list(projects: &Path) -> Listing {
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

pub(super) fn misnamed(error: &InvalidName) -> Diagnostic {
    diagnostic(format!("{error}; rename the folder"))
}
