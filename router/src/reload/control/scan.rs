//! What there is to look at: the folders on the volume, and those that may have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use switchyard_bridge::event::{Diagnostic, Trigger};
use switchyard_bridge::project::{InvalidName, ProjectName, is_ignored};

use super::Control;
use crate::live::Shown;
use crate::project::diagnostic;
use crate::reload::attempt::millis;
use crate::reload::machine::Event;
use crate::watch::Change;

impl Control {
    pub(super) fn scan(&mut self) {
        let known = self.record.all().unwrap_or_else(|error| {
            tracing::error!("what was live before is not known: {error:#}");
            BTreeMap::new()
        });
        let mut names = self.names_on_volume();
        for project in
            known.keys().filter(|project| !names.contains(project.as_str())).cloned().collect::<Vec<_>>()
        {
            if self.settings.root.lacks(project.as_str()) {
                self.forget(&project);
            } else {
                names.insert(project.to_string());
            }
        }
        self.scanning = Some(names.clone());
        for name in &names {
            match known.get(name.as_str()) {
                Some(version) => {
                    self.project(&version.project).incarnation = Some(version.incarnation);
                    self.step(name, Event::Known(version.clone()), Instant::now());
                }
                None => self.look(name, Trigger::Scan, Instant::now()),
            }
        }
        self.scanned(None);
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

    /// The folders on the volume that are, or should be, projects.
    fn names_on_volume(&self) -> BTreeSet<String> {
        let root = self.settings.root.path();
        let entries = match std::fs::read_dir(root) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!("{} cannot be read: {error}", root.display());
                return BTreeSet::new();
            }
        };
        let directories = entries.flatten().filter(|entry| entry.path().is_dir());
        let names = directories.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| !is_ignored(name)).collect()
    }

    /// The folders on the volume, and whatever was there before.
    pub(super) fn all_names(&self) -> BTreeSet<String> {
        let mut names = self.names_on_volume();
        names.extend(self.projects.keys().cloned());
        names.extend(self.misnamed.iter().cloned());
        names
    }

    pub(super) fn change(&mut self, change: Change) {
        match change {
            Change::Project { name, since, trigger } => self.look(&name, trigger, since),
            Change::All => {
                for name in self.all_names() {
                    self.look(&name, Trigger::Scan, Instant::now());
                }
            }
        }
    }

    /// Has the project of this name read. `since` is the first sign of a change.
    pub(super) fn look(&mut self, name: &str, trigger: Trigger, since: Instant) {
        match ProjectName::parse(name) {
            Ok(_) => self.step(name, Event::Changed(trigger), since),
            Err(error) => self.misnamed(name, &error),
        }
    }

    fn misnamed(&mut self, name: &str, error: &InvalidName) {
        if self.settings.root.project(name).is_dir() {
            if self.misnamed.insert(name.to_owned()) {
                tracing::warn!(project.name = name, "{error}");
            }
            self.parts.board.put(Shown::invalid(name, misnamed(error)));
        } else {
            self.misnamed.remove(name);
            self.parts.board.remove(name);
        }
        self.scanned(Some(name));
    }
}

pub(super) fn misnamed(error: &InvalidName) -> Diagnostic {
    diagnostic(format!("{error}; rename the folder"))
}
