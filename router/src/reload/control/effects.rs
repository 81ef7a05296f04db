//! The effects that the machine asks for, carried out: readings and builds begun.

use std::sync::Arc;
use std::time::Instant;

use switchyard_contract::event::Trigger;
use switchyard_contract::project::ProjectName;

use super::Control;
use super::public_effect::{DeferredPublish, Effect, ProjectEvent, PublicEffect};
use crate::build::{self, BuildError, ReadJob, ReadRequest, RecordedVersion};
use crate::reload::machine::Work;
use crate::reload::tasks::{ProjectTask, RestoreOutcome};
use crate::version::Version;

impl Control {
    /// Feeds `event` to the machine of a project and carries out the effects.
    pub(super) fn step(&mut self, name: &ProjectName, event: ProjectEvent) {
        let effects = self.projects.of(name).machine.on(event);
        self.projects.count_cells(name);
        let mut effects = effects.into_iter();
        while let Some(effect) = effects.next() {
            match (effect, &mut self.batch) {
                (Effect::Publish { version, previous, attempt }, Some(batch)) => {
                    let effect = PublicEffect::Publish { version, previous, attempt };
                    return batch.push(DeferredPublish {
                        name: name.clone(),
                        effect,
                        later: effects.collect(),
                    });
                }
                (effect, _) => self.apply(name, effect),
            }
        }
        self.show(name);
    }

    /// Shows the project on the status board. Forgets one of which nothing is left.
    pub(super) fn show(&mut self, name: &ProjectName) {
        self.projects.count_cells(name);
        let Some(project) = self.projects.get(name.as_str()) else { return };
        if project.machine.is_idle() {
            self.stop_waiting_for(name.as_str());
        }
        let project = self.projects.of(name);
        if project.is_over() {
            self.projects.remove(name);
            self.parts.metrics.forget(name);
            // A folder that was listed may hold nothing that could be read.
            if self.parts.live.load().get(name.as_str()).is_some() {
                self.remove_from_table(name);
            }
        } else if !project.machine.is_absent() {
            self.parts.board.put(project.status());
        }
    }

    pub(super) fn apply(&mut self, name: &ProjectName, effect: Effect) {
        match effect {
            Effect::Read(trigger) => self.read(name, trigger),
            Effect::Build(version) => self.build(name, version),
            Effect::Hurry => {
                if let Some(attempt) = self.projects.of(name).machine.attempt_mut() {
                    attempt.newer.notify_one();
                }
            }
            Effect::Publish { version, previous, attempt } => {
                self.publish_one(name, PublicEffect::Publish { version, previous, attempt });
            }
            Effect::ClearStale(attempt) => self.publish_one(name, PublicEffect::ClearStale(attempt)),
            Effect::Unchanged(attempt) => self.publish_one(name, PublicEffect::Unchanged(attempt)),
            Effect::Remove { previous, attempt } => {
                self.publish_one(name, PublicEffect::Remove { previous, attempt });
            }
            Effect::Fail(failed, attempt) => self.fail(name, failed, attempt),
            Effect::Superseded => tracing::debug!(project.name = %name, "superseded by a newer change"),
            Effect::Held => self.hold_began(name),
            Effect::Staged(prepared) => self.staged(name, prepared),
            Effect::StageFailed(failed, attempt) => self.stage_failed(name, failed, &attempt),
            Effect::Discard(built) => self.discard(name, built),
        }
    }

    fn read(&mut self, name: &ProjectName, trigger: Trigger) {
        let is_granted_now =
            self.projects.get(name.as_str()).is_some_and(|project| self.is_granted_now(project));
        let policy = self.parts.policy.clone();
        let project = self.projects.of(name);
        let failed = project.machine.failed().and_then(|failed| failed.failure.version.clone());
        let is_retry = project.retries.begin();
        let may_succeed_now = project.failed_with_other_grant(&policy) || is_granted_now;
        let is_wanted = is_retry || trigger == Trigger::Request || may_succeed_now;
        let live = project.live();
        let request = ReadRequest {
            project: name.clone(),
            root: self.settings.root.clone(),
            place: self.settings.root.place(name.as_str()),
            live: project.machine.live_version().cloned(),
            on_disk: project.files.on_disk.clone(),
            incarnation: project.files.incarnation,
            live_with: live.and_then(|live| live.plan.installed),
            live_function: match live {
                Some(live) => live.plan.function.clone(),
                None => project.files.recorded_function.clone(),
            },
            outdated: live.is_some_and(|live| live.plan.is_outdated(&policy)),
            policy,
            failed: failed.filter(|_| !is_wanted).map(|failed| (failed, project.files.packages)),
            trigger,
            is_deployed: project.machine.is_held(),
        };
        let (cache, reading) = (std::mem::take(&mut project.files.cache), project.files.reading.clone());
        let job = Box::new(ReadJob { store: self.parts.store.clone(), request, cache });
        let read = build::read(self.builder.readers.clone(), job, reading, self.builder.slow.clone());
        self.tasks.spawn(name, async move { ProjectTask::Read(read.await) });
    }

    pub(super) fn build(&mut self, name: &ProjectName, version: Version) {
        // This version is among the cells that are counted.
        let is_over_budget = self.scan.starts_lazily() || self.parts.cells.budget().is_exceeded();
        let project = self.projects.of(name);
        let is_restoring = matches!(project.machine.work(), Work::Restoring(..));
        let newer = match project.machine.attempt_mut() {
            // A notice that was meant for an earlier build is not for this one.
            Some(attempt) => {
                attempt.newer = Arc::default();
                attempt.newer.clone()
            }
            None => Arc::default(),
        };
        // The result of a deploy's build is not visible until it is published.
        if !is_restoring && project.machine.live().is_none() && !project.machine.is_held() {
            self.put_in_table(name);
        }
        let project = self.projects.of(name);
        let builder = self.builder.clone();
        if is_restoring {
            let recorded = RecordedVersion { version, function: project.files.recorded_function.clone() };
            let policy = self.parts.policy.clone();
            return self.tasks.spawn(name, async move {
                let began = Instant::now();
                let restored = match builder.find(recorded, policy).await {
                    None => RestoreOutcome::NoCheckout,
                    Some(plan) if is_over_budget => RestoreOutcome::Idle(plan),
                    Some(plan) => match Box::pin(builder.restart(&plan, plan.cells(), &newer)).await {
                        Ok(cells) => RestoreOutcome::Running(build::Built { plan, cells }),
                        Err(error) => RestoreOutcome::Failed(plan, error),
                    },
                };
                ProjectTask::Restored { restored, took: began.elapsed() }
            });
        }
        let candidate = project.machine.candidate().cloned();
        self.tasks.spawn(name, async move {
            let began = Instant::now();
            let result = match candidate {
                Some(Ok(plan)) => builder.build(plan, &newer).await,
                Some(Err(error)) => Err(BuildError::Failed(error)),
                None => Err(BuildError::Superseded),
            };
            ProjectTask::Built { result, took: began.elapsed() }
        });
    }
}
