//! What requests see of projects, changed: versions published, removals and recoveries told.

use std::sync::Arc;
use std::time::Instant;

use switchyard_contract::admin::{ReloadOutcome, Report};
use switchyard_contract::event::EventType;

use super::Control;
use super::lifecycle::Replaced;
use crate::live::{Entry, Happened, Running};
use crate::metrics::OutcomeLabel;
use crate::reload::machine::Effect;
use crate::reload::project::Project;
use crate::reload::restarts::Restarts;
use crate::version::Version;

/// What was there before a change.
struct Before {
    was_known: bool,
    replaced: Replaced,
}

impl Control {
    /// Carries out what the ends of attempts change for requests, with one swap of the table for all of
    /// these projects. Other effects are none of this, and ignored. Returns what is to be said of each.
    pub(super) fn publish(&mut self, effects: Vec<(String, Effect)>) -> Vec<Report> {
        let began = Instant::now();
        let now = self.claimed_at();
        let mut changes = Vec::new();
        let mut before = Vec::new();
        for (name, effect) in &effects {
            let was_known = self.parts.live.load().get(name.as_str()).is_some();
            let mut replaced = Replaced::default();
            if let Some(project) = self.projects.get_mut(name) {
                replaced = change(project, effect);
            }
            self.claim(name, effect, now);
            if let Some(project) = self.projects.get(name) {
                changes.extend(entry(project, effect).map(|entry| (project.name.clone(), entry)));
            }
            self.count_cells(name);
            before.push(Before { was_known, replaced });
        }
        if !changes.is_empty() {
            self.change_table(changes);
        }
        before.iter().for_each(|before| before.replaced.close());
        let told = effects.into_iter().zip(before).filter_map(|((name, effect), before)| match effect {
            Effect::Publish { version, previous } => {
                self.published(&name, &version, previous, before.replaced, began)
            }
            Effect::Settle => self.settled(&name),
            Effect::Unchanged => self.unchanged(&name),
            Effect::Remove { previous } => self.removed(&name, previous, before),
            _ => None,
        });
        told.collect()
    }

    fn published(
        &mut self,
        name: &str,
        version: &Version,
        previous: Option<Version>,
        before: Replaced,
        began: Instant,
    ) -> Option<Report> {
        let project = self.projects.get_mut(name)?;
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
            ..Happened::default()
        };
        project.sequence = self.parts.events.tell(EventType::ReloadLive, &version.project, happened);
        let report = project.report(ReloadOutcome::Live, Some(version));
        let running = project.running.clone();
        let ended = previous.as_ref().map(|previous| previous.incarnation);
        if let Some(ended) = ended.filter(|ended| *ended != version.incarnation) {
            self.parts.lines.end(ended, &version.tenant());
        }
        self.count(OutcomeLabel::live);
        if let Some(project) = self.projects.get(name) {
            let function = project.live_plan.as_ref().and_then(|plan| plan.function.clone());
            self.record.put(version, project.claimed.since(), function);
        }
        if let Some(previous) = previous {
            self.drain(name, previous, before, true);
        }
        for running in running {
            self.watch_over(name, running.cell.clone());
        }
        self.evict(name);
        self.prune(&version.project);
        Some(report)
    }

    fn settled(&mut self, name: &str) -> Option<Report> {
        let project = self.projects.get_mut(name)?;
        let version = project.machine.live.clone();
        let happened = Happened {
            version: version.clone(),
            previous: version.clone(),
            trigger: Some(project.attempt.trigger),
            error: None,
            timings_ms: project.attempt.timings(),
            ..Happened::default()
        };
        tracing::info!(project.name = name, "the files are those of the live version again");
        project.sequence = self.parts.events.tell(EventType::ReloadLive, &project.name, happened);
        let report = project.report(ReloadOutcome::Unchanged, version.as_ref());
        self.revive(name);
        self.count(OutcomeLabel::unchanged);
        Some(report)
    }

    fn unchanged(&mut self, name: &str) -> Option<Report> {
        let project = self.projects.get_mut(name)?;
        let version = project.on_disk.clone();
        let report = project.report(ReloadOutcome::Unchanged, version.as_ref());
        self.revive(name);
        self.count(OutcomeLabel::unchanged);
        Some(report)
    }

    fn removed(&mut self, name: &str, previous: Option<Version>, before: Before) -> Option<Report> {
        self.parts.board.remove(name);
        let project = self.projects.get_mut(name)?;
        let outcome = if before.was_known { ReloadOutcome::Removed } else { ReloadOutcome::Unknown };
        let report = project.report(outcome, None);
        // It may go on draining, and come back before that is over.
        project.forget_history();
        let project = project.name.clone();
        if before.was_known {
            tracing::info!(project.name = name, "{name} is removed: its folder is gone, or is left out");
            let happened = Happened { previous: previous.clone(), ..Happened::default() };
            self.parts.events.tell(EventType::ProjectRemoved, &project, happened);
            self.count(OutcomeLabel::removed);
        }
        if let Some(previous) = previous {
            self.drain(name, previous, before.replaced, true);
        }
        self.forget(&project);
        Some(report)
    }
}

/// Makes the project what it is after `effect`, and gives what answered its requests until then.
fn change(project: &mut Project, effect: &Effect) -> Replaced {
    match effect {
        Effect::Publish { version, previous } => {
            if previous.as_ref().is_some_and(|previous| previous.incarnation != version.incarnation) {
                project.forget_history();
            }
            let site = project.site().cloned();
            project.live_plan = project.plan.take().and_then(Result::ok);
            project.failed_with = None;
            project.failure = None;
            project.restarts = Restarts::default();
            let built = project.built.drain(..).map(|cell| Arc::new(Running::new(cell))).collect();
            Replaced { running: std::mem::replace(&mut project.running, built), site }
        }
        Effect::Settle => {
            project.failure = None;
            project.failed_with = None;
            Replaced::default()
        }
        Effect::Remove { .. } => {
            project.on_disk = None;
            project.failure = None;
            project.restarts = Restarts::default();
            let site = project.site().cloned();
            project.live_plan = None;
            project.failed_with = None;
            Replaced { running: std::mem::take(&mut project.running), site }
        }
        _ => Replaced::default(),
    }
}

/// How the table shows the project after `effect`: an entry, none any more, or (outer `None`) as before.
fn entry(project: &Project, effect: &Effect) -> Option<Option<Entry>> {
    match effect {
        Effect::Publish { .. } | Effect::Settle => Some(Some(project.entry())),
        Effect::Remove { .. } => Some(None),
        _ => None,
    }
}
