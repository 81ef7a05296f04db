//! Looks at projects: after changes on the volume, for callers, and at start. The volume may be
//! slow, so tasks read it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use futures_util::future::join_all;
use switchyard_contract::admin::{ReloadOutcome, Report};
use switchyard_contract::event::{Diagnostic, Trigger};
use switchyard_contract::project::{InvalidName, ProjectName, is_ignored};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::Control;
use crate::live::{ProjectStatus, TableChange};
use crate::project::diagnostic;
use crate::reload::attempt::{Caller, Look, millis};
use crate::reload::claims::ClaimSet;
use crate::reload::known_failures::KnownFailures;
use crate::reload::machine::Event;
use crate::reload::record::LastGood;
use crate::reload::scan::{Listing, Purpose, StartInventory, list};
use crate::reload::tasks::RouterTask;
use crate::watch::WatchEvent;

impl Control {
    /// Begins the scan at start: all projects of `start` are in the table when this returns, and are
    /// built and published later.
    pub(crate) fn begin_scan(&mut self, start: StartInventory) {
        let StartInventory { known, names, gone, failures } = start;
        self.known_failures = failures;
        for project in &gone {
            self.forget(project);
        }
        // Not all of them can run, and which ones are needed is not known: none keeps the router from
        // being ready.
        let starts_lazily = self.parts.cells.budget().is_exceeded_by(known.len());
        self.scan.begin(names.clone(), starts_lazily);
        self.take_names(&known, &names);
        for name in &names {
            match known.get_key_value(name.as_str()) {
                Some((name, last_good)) => self.step(name, Event::Recorded(last_good.version.clone())),
                None => self.look_at(name, true),
            }
        }
        self.end_scan();
    }

    /// Puts all projects into the table under their names and the routes that they claimed before,
    /// in one swap and before any of them serves. Otherwise another project could get their
    /// requests meanwhile.
    fn take_names(&mut self, known: &BTreeMap<ProjectName, LastGood>, names: &Listing) {
        let policy = self.parts.policy.clone();
        let recorded = known.values().filter_map(|last_good| last_good.claims.as_ref());
        self.claims.begin_after(recorded.flat_map(|claims| claims.values()));
        let mut names: Vec<_> = names.iter().filter_map(|name| ProjectName::parse(name).ok()).collect();
        // The first in the table has a host label that several projects share, so a project that was
        // live before comes first.
        names.sort_by_key(|name| !known.contains_key(name));
        let mut changes = Vec::new();
        for name in &names {
            let project = self.projects.of(name);
            if let Some(last_good) = known.get(name) {
                project.files.incarnation = Some(last_good.version.incarnation);
                project.files.recorded_function = last_good.function.clone();
                project.files.recorded_commit = last_good.recorded_commit();
                project.claims.claimed = ClaimSet::from_record(last_good);
                project.claims.claimed.apply(name, &policy);
            }
            changes.push((name.clone(), TableChange::put(project.entry())));
        }
        self.assign(&policy, changes);
        names.iter().for_each(|name| self.index_refusals(name));
    }

    /// Has the scan at start stop waiting for `name`.
    pub(super) fn stop_waiting_for(&mut self, name: &str) {
        self.scan.remove(name);
        self.end_scan();
    }

    /// Reports that the router is ready, if the scan at start waits for nothing more.
    fn end_scan(&mut self) {
        let Some(took) = self.scan.end() else { return };
        self.known_failures = KnownFailures::default();
        self.parts.board.set_ready();
        let live = self.projects.iter().filter(|project| project.machine.live().is_some()).count();
        let failed = self.projects.iter().filter(|project| project.machine.failed().is_some()).count();
        tracing::info!(
            live,
            failed,
            invalid = self.misnamed.len(),
            scan_ms = millis(took),
            "ready: all projects were read"
        );
    }

    pub(super) fn change(&mut self, change: WatchEvent) {
        match change {
            WatchEvent::ProjectChanged { name, since, trigger } => match ProjectName::parse(&name) {
                Ok(name) => self.step(&name, Event::Changed(Look::new(trigger, since))),
                Err(_) => self.probe(name, None),
            },
            WatchEvent::RootReplaced => self.list(Purpose::Look),
        }
    }

    /// Reads a project for a caller that waits for the report.
    pub(super) fn reload(&mut self, name: &str, caller: Caller) {
        match self.projects.get(name).map(|project| project.name.clone()) {
            Some(name) => self.step(&name, Event::Changed(Look::for_caller(Some(caller)))),
            None => self.probe(name.to_owned(), Some(caller)),
        }
    }

    /// Lists the volume, in a task.
    pub(super) fn list(&mut self, purpose: Purpose) {
        let root = self.settings.root.clone();
        self.tasks.spawn_for_router(async move {
            // A panic is logged.
            let listing = spawn_blocking(move || list(root.path())).await.unwrap_or_default();
            RouterTask::Listed(listing, purpose)
        });
    }

    pub(super) fn handle_listing(&mut self, listing: &Listing, purpose: Purpose) {
        // Projects that were there before may be gone.
        let mut names = listing.clone();
        names.extend(self.projects.names().map(ToString::to_string));
        names.extend(self.misnamed.iter().cloned());
        match purpose {
            Purpose::Look => {
                for name in names {
                    self.look_at(&name, listing.contains(&name));
                }
            }
            Purpose::Reload(reply) => {
                let mut reports = Vec::new();
                for name in names {
                    let (sender, report) = oneshot::channel();
                    self.probed(&name, listing.contains(&name), Some(sender));
                    reports.push(report);
                }
                self.tasks.spawn_for_router(async move {
                    // The caller may be gone.
                    let _ = reply.send(join_all(reports).await.into_iter().flatten().collect());
                    RouterTask::Done
                });
            }
        }
    }

    /// Looks, in a task, for a folder of this name, which belongs to no known project.
    fn probe(&mut self, name: String, caller: Option<Caller>) {
        let folder = (!is_ignored(&name)).then(|| self.settings.root.place(&name).dir);
        self.tasks.spawn_for_router(async move {
            let probe = spawn_blocking(move || folder.is_some_and(|folder: PathBuf| folder.is_dir()));
            // A panic is logged.
            RouterTask::Probed { name, is_there: probe.await.unwrap_or_default(), caller }
        });
    }

    /// Reads the project whose folder was looked for. Answers the caller if there is no such
    /// project.
    pub(super) fn probed(&mut self, name: &str, is_there: bool, caller: Option<Caller>) {
        let report = match ProjectName::parse(name) {
            Ok(project) if is_there || self.projects.contains(name) => {
                return self.step(&project, Event::Changed(Look::for_caller(caller)));
            }
            Ok(_) => Report::of(name, ReloadOutcome::Unknown),
            Err(error) => {
                self.show_misnamed(name, &error, is_there);
                match is_there {
                    true => Report {
                        error: Some(misnamed_diagnostic(&error)),
                        ..Report::of(name, ReloadOutcome::Failed)
                    },
                    false => Report::of(name, ReloadOutcome::Unknown),
                }
            }
        };
        if let Some(caller) = caller {
            // The caller may be gone.
            let _ = caller.send(report);
        }
    }

    /// Looks at the project or the misnamed folder `name`.
    fn look_at(&mut self, name: &str, is_there: bool) {
        match ProjectName::parse(name) {
            Ok(name) => self.step(&name, Event::Changed(Look::new(Trigger::Scan, Instant::now()))),
            Err(error) => self.show_misnamed(name, &error, is_there),
        }
    }

    /// Shows a folder whose name is not a valid project name, for as long as it exists.
    fn show_misnamed(&mut self, name: &str, error: &InvalidName, is_there: bool) {
        if is_there {
            if self.misnamed.insert(name.to_owned()) {
                tracing::warn!(project.name = name, "{error}");
            }
            self.parts.board.put(ProjectStatus::invalid(name, misnamed_diagnostic(error)));
        } else if self.misnamed.remove(name) {
            self.parts.board.remove(name);
        }
        self.stop_waiting_for(name);
    }
}

fn misnamed_diagnostic(error: &InvalidName) -> Diagnostic {
    diagnostic(format!("{error}; rename the folder"))
}
