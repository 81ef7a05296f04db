//! What the machine wants done, done: reading and building begun, versions published, failures and
//! removals told.

use std::sync::Arc;
use std::time::Instant;

use switchyard_bridge::admin::Outcome;
use switchyard_bridge::event::{EventType, Trigger};
use switchyard_bridge::project::ProjectName;

use super::{Control, What};
use crate::cells::Cell;
use crate::live::{Failure, Happened, Running};
use crate::metrics::{OutcomeLabel, ReloadLabels};
use crate::reload::attempt::Attempt;
use crate::reload::machine::{Effect, Event, Failed, Work};
use crate::reload::project::Project;
use crate::reload::work::{self, BuildError, Place};
use crate::version::Version;

impl Control {
    /// Lets `event` happen to a project and carries out what follows. `since` is the first sign of it.
    pub(super) fn step(&mut self, name: &str, event: Event, since: Instant) {
        if !self.projects.contains_key(name) {
            let Ok(parsed) = ProjectName::parse(name) else { return };
            self.projects.insert(name.to_owned(), Project::new(parsed));
        }
        let Some(project) = self.projects.get_mut(name) else { return };
        let changed = matches!(event, Event::Changed(_));
        if changed && project.machine.work != Work::Idle {
            project.next.get_or_insert((since, Instant::now()));
        }
        for effect in project.machine.on(event) {
            self.perform(name, effect, since);
        }
        self.show(name);
    }

    /// Shows the project on the board, and lets go of one that is over.
    pub(super) fn show(&mut self, name: &str) {
        let Some(project) = self.projects.get(name) else { return };
        if project.machine.work == Work::Idle {
            self.scanned(Some(name));
        }
        let Some(project) = self.projects.get(name) else { return };
        if project.is_over() {
            self.projects.remove(name);
        } else if !project.machine.is_absent() {
            self.parts.board.put(project.shown());
        }
    }

    fn perform(&mut self, name: &str, effect: Effect, since: Instant) {
        match effect {
            Effect::Read(trigger) => self.read(name, trigger, since),
            Effect::Build(version) => self.build(name, version),
            Effect::Hurry => {
                if let Some(project) = self.projects.get(name) {
                    project.newer.notify_one();
                }
            }
            Effect::Publish { version, previous } => self.publish(name, version, previous),
            Effect::Settle => self.settle(name),
            Effect::Fail(failed) => self.fail(name, failed),
            Effect::Unchanged => self.unchanged(name),
            Effect::Superseded => {
                if let Some(project) = self.projects.get_mut(name) {
                    project.plan = None;
                    let waiting = std::mem::take(&mut project.waiting);
                    project.waiting_next.extend(waiting);
                }
            }
            Effect::Remove { previous } => self.remove(name, previous),
        }
    }

    fn read(&mut self, name: &str, trigger: Trigger, since: Instant) {
        let Some(project) = self.projects.get_mut(name) else { return };
        let (since, quiet) = project.next.take().unwrap_or((since, Instant::now()));
        project.attempt = Attempt::begin(trigger, since, quiet);
        let next = std::mem::take(&mut project.waiting_next);
        project.waiting.extend(next);
        let failed = project.machine.failed.as_ref().and_then(|failed| failed.version.clone());
        let place = Place {
            project: project.name.clone(),
            path: self.settings.projects.join(name),
            live: project.machine.live.clone(),
            failed: failed.filter(|_| trigger != Trigger::Request).map(|failed| (failed, project.packages)),
        };
        let cache = std::mem::take(&mut project.cache);
        let read = work::read(self.parts.store.clone(), place, cache, self.readers.clone());
        self.spawn(name, async move { What::Read(read.await) });
    }

    fn build(&mut self, name: &str, version: Version) {
        // This version is one of those that are counted.
        let lazily = self.cell_count() > self.settings.max_cells;
        let Some(project) = self.projects.get_mut(name) else { return };
        // A notice for the build before this one is not for this one.
        project.newer = Arc::default();
        let newer = project.newer.clone();
        let builder = self.builder.clone();
        let restoring = matches!(project.machine.work, Work::Restoring { .. });
        if !restoring && project.machine.live.is_none() {
            self.parts.live.put(project.entry());
        }
        let plan = project.plan.clone();
        self.spawn(name, async move {
            let began = Instant::now();
            if restoring {
                let plan = builder.find(version).await;
                let result = match &plan {
                    Some(plan) if !lazily => Some(builder.build(&plan.order, &newer).await),
                    _ => None,
                };
                return What::Restored { plan, result, took: began.elapsed() };
            }
            let result = match plan {
                Some(Ok(plan)) => builder.build(&plan.order, &newer).await,
                Some(Err(error)) => Err(BuildError::Failed(error)),
                None => Err(BuildError::Superseded),
            };
            What::Built { result, took: began.elapsed() }
        });
    }

    fn publish(&mut self, name: &str, version: Version, previous: Option<Version>) {
        let began = Instant::now();
        let Some(project) = self.projects.get_mut(name) else { return };
        project.live_plan = project.plan.take().and_then(Result::ok);
        project.failure = None;
        project.wake_failure = None;
        let before = project.running.take();
        let built = project.built.take();
        let running = built.map(|cell| Arc::new(Running::new(cell)));
        project.running.clone_from(&running);
        project.started = Instant::now();
        self.parts.live.put(project.entry());
        if let Some(before) = &before {
            before.in_flight.close();
        }
        project.attempt.publish = Some(began.elapsed());
        let attempt = project.attempt;
        let timings_ms = attempt.timings();
        tracing::info!(
            project.name = %version.project,
            project.version = %version,
            trigger = ?attempt.trigger,
            debounce_ms = timings_ms.debounce,
            snapshot_ms = timings_ms.snapshot,
            build_ms = timings_ms.build,
            publish_ms = timings_ms.publish,
            total_ms = timings_ms.total,
            "{version} is live"
        );
        let happened = Happened {
            version: Some(version.clone()),
            previous: previous.clone(),
            trigger: Some(attempt.trigger),
            error: None,
            timings_ms,
        };
        self.parts.events.tell(EventType::ReloadLive, &version.project, happened);
        project.report(Outcome::Live, Some(&version));
        self.count(OutcomeLabel::live);
        if let Err(error) = self.record.put(&version) {
            tracing::error!(
                project.name = name,
                "it will not be remembered as the last good version: {error:#}"
            );
        }
        if let (Some(before), Some(previous)) = (before, previous) {
            self.drain(name, previous, before, true);
        }
        if let Some(running) = running {
            self.watch_over(name, running.cell.clone());
            self.evict(name);
        }
        self.prune(&version.project, self.settings.keep);
    }

    /// Has the end of a cell told.
    pub(super) fn watch_over(&mut self, name: &str, cell: Arc<Cell>) {
        let id = cell.id();
        // The cell ends with its last handle, which this task must not be.
        let exited = cell.exited();
        drop(cell);
        self.spawn(name, async move { What::Died { cell: id, exit: exited.await } });
    }

    fn settle(&mut self, name: &str) {
        let Some(project) = self.projects.get_mut(name) else { return };
        project.failure = None;
        self.parts.live.put(project.entry());
        let version = project.machine.live.clone();
        let happened = Happened {
            version: version.clone(),
            previous: version.clone(),
            trigger: Some(project.attempt.trigger),
            error: None,
            timings_ms: project.attempt.timings(),
        };
        tracing::info!(project.name = name, "the files are those of the live version again");
        self.parts.events.tell(EventType::ReloadLive, &project.name, happened);
        project.report(Outcome::Unchanged, version.as_ref());
        self.count(OutcomeLabel::unchanged);
    }

    fn fail(&mut self, name: &str, failed: Failed) {
        let Some(project) = self.projects.get_mut(name) else { return };
        project.plan = None;
        let failure = Failure::new(&project.name, failed.version.clone(), failed.error.clone());
        project.failure = Some(failure);
        self.parts.live.put(project.entry());
        let previous = project.machine.live.clone();
        let timings_ms = project.attempt.timings();
        tracing::warn!(
            project.name = name,
            project.version = failed.version.as_ref().map(tracing::field::display),
            file = failed.error.file,
            line = failed.error.line,
            column = failed.error.column,
            trigger = ?project.attempt.trigger,
            total_ms = timings_ms.total,
            still_live = previous.as_ref().map(tracing::field::display),
            "{name} failed: {}",
            failed.error.message
        );
        let happened = Happened {
            version: failed.version.clone(),
            previous,
            trigger: Some(project.attempt.trigger),
            error: Some(failed.error),
            timings_ms,
        };
        self.parts.events.tell(EventType::ReloadFailed, &project.name, happened);
        project.report(Outcome::Failed, failed.version.as_ref());
        let project = project.name.clone();
        self.count(OutcomeLabel::failed);
        self.prune(&project, self.settings.keep);
    }

    fn unchanged(&mut self, name: &str) {
        let Some(project) = self.projects.get_mut(name) else { return };
        let version = project.on_disk.clone();
        project.report(Outcome::Unchanged, version.as_ref());
        self.count(OutcomeLabel::unchanged);
    }

    fn remove(&mut self, name: &str, previous: Option<Version>) {
        let Some(project) = self.projects.get_mut(name) else { return };
        let known = self.parts.live.load().get(name).is_some();
        self.parts.live.remove(&project.name);
        self.parts.board.remove(name);
        project.on_disk = None;
        project.failure = None;
        project.wake_failure = None;
        project.live_plan = None;
        let before = project.running.take();
        if let Some(before) = &before {
            before.in_flight.close();
        }
        project.report(if known { Outcome::Removed } else { Outcome::Unknown }, None);
        let project = project.name.clone();
        if known {
            tracing::info!(project.name = name, "{name} is removed: its folder is gone");
            let happened = Happened { previous: previous.clone(), ..Happened::default() };
            self.parts.events.tell(EventType::ProjectRemoved, &project, happened);
            self.count(OutcomeLabel::removed);
        }
        if let (Some(before), Some(previous)) = (before, previous) {
            self.drain(name, previous, before, true);
        }
        self.forget(&project);
    }

    fn count(&self, outcome: OutcomeLabel) {
        self.parts.metrics.reloads.get_or_create(&ReloadLabels { outcome }).inc();
    }
}
