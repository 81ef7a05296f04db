//! The view of projects that requests have, changed: versions published, projects removed, failures
//! over.

use std::time::Instant;

use switchyard_contract::admin::{ReloadOutcome, Report};
use switchyard_contract::event::EventType;
use switchyard_contract::project::ProjectName;

use super::Control;
use super::public_effect::{DeferredPublish, PublicEffect};
use crate::live::{EventDetails, TableChange};
use crate::metrics::OutcomeLabel;
use crate::reload::attempt::AttemptData;
use crate::reload::labels;
use crate::reload::live_state::DrainingVersion;
use crate::version::Version;

impl Control {
    /// Publishes what has been deferred. From then on, each publish is reported at once.
    pub(super) fn publish_batch(&mut self) {
        let batch = self.batch.take().unwrap_or_default();
        if batch.is_empty() {
            return;
        }
        let (mut effects, mut later) = (Vec::new(), Vec::new());
        for DeferredPublish { name, effect, later: more } in batch {
            later.push((name.clone(), more));
            effects.push((name, effect));
        }
        self.publish(effects);
        for (name, effects) in later {
            for effect in effects {
                self.apply(&name, effect);
            }
            self.show(&name);
        }
    }

    pub(super) fn publish_one(&mut self, name: &ProjectName, effect: PublicEffect) {
        self.publish(vec![(name.clone(), effect)]);
    }

    /// Applies the ends of attempts to the live table, in one swap for all of these projects.
    /// Returns one report per project.
    pub(super) fn publish(&mut self, effects: Vec<(ProjectName, PublicEffect)>) -> Vec<Report> {
        let began = Instant::now();
        let now = self.claim_time();
        let mut changes = Vec::new();
        let mut known = Vec::new();
        let mut replaced = Vec::new();
        for (name, effect) in &effects {
            known.push(self.parts.live.load().get(name.as_str()).is_some());
            replaced.push(effect.replaced());
            self.update_project(name, effect);
            self.claim(name, effect, now);
            let project = self.projects.of(name);
            match effect {
                PublicEffect::Publish { .. } | PublicEffect::ClearStale(_) | PublicEffect::Relabel(_) => {
                    changes.push((name.clone(), TableChange::put(project.entry())));
                }
                PublicEffect::Remove { .. } => changes.push((name.clone(), TableChange::Remove)),
                PublicEffect::Unchanged(_) => {}
            }
            self.projects.count_cells(name);
        }
        if !changes.is_empty() {
            self.change_table(changes);
        }
        replaced.iter().for_each(DrainingVersion::close);
        let ended = effects.into_iter().zip(known).zip(replaced);
        let reports = ended.map(|(((name, effect), was_known), replaced)| match effect {
            PublicEffect::Publish { version, previous, attempt } => {
                let previous = previous.map(|previous| previous.version);
                self.published(&name, &version, previous, replaced, attempt, began)
            }
            PublicEffect::ClearStale(attempt) => {
                self.confirm(&name, attempt, "the files are those of the live version again")
            }
            PublicEffect::Relabel(attempt) => {
                self.confirm(&name, attempt, "the files of the live version are those of another commit too")
            }
            PublicEffect::Unchanged(attempt) => self.unchanged(&name, attempt),
            PublicEffect::Remove { previous, attempt } => {
                let previous = previous.map(|previous| previous.version);
                self.removed(&name, previous, was_known, replaced, attempt)
            }
        });
        reports.collect()
    }

    fn update_project(&mut self, name: &ProjectName, effect: &PublicEffect) {
        let project = self.projects.of(name);
        match effect {
            PublicEffect::Publish { version, previous, .. } => {
                let previous = previous.as_ref();
                if previous.is_some_and(|previous| previous.version.incarnation != version.incarnation) {
                    project.history.clear();
                }
                project.keep_commit(version, previous);
                self.update_crons(name);
            }
            PublicEffect::Remove { .. } => {
                project.files.on_disk = None;
                project.files.recorded_commit = None;
            }
            PublicEffect::ClearStale(_) | PublicEffect::Relabel(_) | PublicEffect::Unchanged(_) => {}
        }
    }

    fn published(
        &mut self,
        name: &ProjectName,
        version: &Version,
        previous: Option<Version>,
        replaced: DrainingVersion,
        mut attempt: AttemptData,
        began: Instant,
    ) -> Report {
        attempt.publish = Some(began.elapsed());
        let timings_ms = attempt.timings();
        let commit = self.projects.of(name).live_commit(version);
        tracing::info!(
            project.name = %name,
            project.version = %version,
            commit = labels::id(commit.as_ref()),
            trigger = %attempt.trigger,
            debounce_ms = timings_ms.debounce,
            snapshot_ms = timings_ms.snapshot,
            build_ms = timings_ms.build,
            publish_ms = timings_ms.publish,
            total_ms = timings_ms.total,
            "{version} is live"
        );
        let details = EventDetails {
            version: Some(version.clone()),
            commit,
            previous: previous.clone(),
            trigger: Some(attempt.trigger),
            changed: attempt.changed.clone(),
            timings_ms,
            ..EventDetails::default()
        };
        let project = self.projects.of(name);
        project.sequence = self.parts.events.emit(EventType::ReloadLive, name, details);
        let report = project.report(attempt, ReloadOutcome::Live, Some(version));
        let running = project.live().map(|live| live.running.clone()).unwrap_or_default();
        self.record_live(name);
        let ended = previous.as_ref().map(|previous| previous.incarnation);
        if let Some(ended) = ended.filter(|ended| *ended != version.incarnation) {
            self.parts.logs.end(ended, &version.tenant());
            self.projects.of(name).shared.ended.clear();
        }
        self.parts.metrics.reload_ended(name, OutcomeLabel::live);
        if let Some(previous) = previous {
            self.drain(name, previous, replaced, true);
        }
        for running in running {
            self.await_exit(name, running.cell.clone());
        }
        self.evict(name);
        self.prune(name);
        report
    }

    /// Records the live version as the last good one.
    fn record_live(&mut self, name: &ProjectName) {
        let project = self.projects.of(name);
        let Some(live) = project.machine.live() else { return };
        let (function, commit) = (live.data.plan.function.clone(), live.data.commit.clone());
        self.record.put(&live.version, project.claims.claimed.since(), function, commit);
    }

    /// Reports that the live version stays, although the project was stale or has another commit.
    fn confirm(&mut self, name: &ProjectName, attempt: AttemptData, message: &str) -> Report {
        let trigger = attempt.trigger;
        self.record_live(name);
        let project = self.projects.of(name);
        let version = project.machine.live_version().cloned();
        let commit = project.live().and_then(|live| live.commit.clone());
        tracing::info!(
            project.name = name.as_str(),
            project.version = version.as_ref().map(tracing::field::display),
            commit = labels::id(commit.as_ref()),
            "{message}"
        );
        let details = EventDetails {
            version: version.clone(),
            commit,
            previous: version.clone(),
            trigger: Some(trigger),
            changed: attempt.changed.clone(),
            timings_ms: attempt.timings(),
            ..EventDetails::default()
        };
        project.sequence = self.parts.events.emit(EventType::ReloadLive, name, details);
        let report = project.report(attempt, ReloadOutcome::Unchanged, version.as_ref());
        self.revive(name, trigger);
        self.parts.metrics.reload_ended(name, OutcomeLabel::unchanged);
        report
    }

    fn unchanged(&mut self, name: &ProjectName, attempt: AttemptData) -> Report {
        let trigger = attempt.trigger;
        let project = self.projects.of(name);
        let version = project.files.on_disk.clone();
        let report = project.report(attempt, ReloadOutcome::Unchanged, version.as_ref());
        self.revive(name, trigger);
        self.parts.metrics.reload_ended(name, OutcomeLabel::unchanged);
        report
    }

    fn removed(
        &mut self,
        name: &ProjectName,
        previous: Option<Version>,
        was_known: bool,
        replaced: DrainingVersion,
        attempt: AttemptData,
    ) -> Report {
        self.parts.board.remove(name.as_str());
        let project = self.projects.of(name);
        let outcome = if was_known { ReloadOutcome::Removed } else { ReloadOutcome::Unknown };
        let report = project.report(attempt, outcome, None);
        // The project may keep draining, and come back before that is over.
        project.history.clear();
        if was_known {
            tracing::info!(
                project.name = name.as_str(),
                "{name} is removed: its folder is gone, or is left out"
            );
            let details = EventDetails { previous: previous.clone(), ..EventDetails::default() };
            self.parts.events.emit(EventType::ProjectRemoved, name, details);
        }
        if let Some(previous) = previous {
            self.drain(name, previous, replaced, true);
        }
        self.parts.crons.forget(name);
        self.forget(name);
        report
    }
}
