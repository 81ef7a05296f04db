//! The results of readings and builds, turned into events of the project's machine.

use std::time::{Duration, Instant};

use switchyard_contract::event::Trigger;
use switchyard_contract::project::ProjectName;

use super::Control;
use crate::build::{BuildError, Built, FolderState, Plan, ReadResult, ServedBy};
use crate::reload::attempt::Look;
use crate::reload::machine::{BuildOutcome, Event};
use crate::reload::project::Project;
use crate::reload::tasks::RestoreOutcome;

impl Control {
    pub(super) fn was_read(&mut self, name: &ProjectName, mut read: Box<ReadResult>) {
        let now = Instant::now();
        if let FolderState::Candidate(_, Ok(plan)) = &mut read.state {
            plan.renew(&self.parts.policy);
        }
        let project = self.projects.of(name);
        project.update_files(&mut read);
        let trigger = project.machine.attempt_mut().map(|attempt| attempt.trigger);
        let retry = read.is_late || trigger == Some(Trigger::Request);
        if let FolderState::Candidate(_, Ok(plan)) = &read.state {
            log_plan(project, plan);
        }
        // The policy may have changed meanwhile.
        let again = project.failed_with_other_limits(&self.parts.policy);
        if let FolderState::Candidate(_, candidate) = &mut read.state
            && let Some(error) = self.check_claims(name, candidate)
        {
            *candidate = Err(error);
        }
        self.use_known_failure(name, &mut read);
        self.step(name, Event::Read { state: read.state, retry });
        if again {
            self.step(name, Event::Changed(Look::new(Trigger::Policy, now)));
        }
    }

    pub(super) fn was_built(
        &mut self,
        name: &ProjectName,
        result: Result<Built, BuildError>,
        took: Duration,
    ) {
        self.note_build(name, took);
        self.parts.metrics.build_seconds.0.observe(took.as_secs_f64());
        let result = match result {
            Ok(built) if built.plan.is_outdated(&self.parts.policy) => {
                // The change of the policy has yet to be applied.
                self.retire(name, built.cells);
                Err(BuildError::Superseded)
            }
            Ok(mut built) => {
                built.plan.renew(&self.parts.policy);
                let mut candidate = Ok(built.plan);
                // Another project may have claimed the same route while this one was built.
                let refused = self.check_claims(name, &candidate);
                if let Some(error) = refused {
                    candidate = Err(error);
                }
                match candidate {
                    Ok(plan) => Ok(Built { plan, cells: built.cells }),
                    Err(error) => {
                        self.retire(name, built.cells);
                        self.projects.of(name).reject_candidate(error.clone());
                        Err(BuildError::Failed(error))
                    }
                }
            }
            Err(error) => Err(error),
        };
        self.end_build(name, result);
    }

    pub(super) fn was_restored(&mut self, name: &ProjectName, restored: RestoreOutcome, took: Duration) {
        if let Some(plan) = restored.plan().filter(|plan| plan.is_outdated(&self.parts.policy)) {
            let version = plan.version().clone();
            if let RestoreOutcome::Running(built) = restored {
                self.retire(name, built.cells);
            }
            return self.build(name, version);
        }
        self.note_build(name, took);
        let result = match restored {
            RestoreOutcome::NoCheckout => Err(BuildError::Superseded),
            RestoreOutcome::Idle(plan) => Ok(Built { plan, cells: Vec::new() }),
            RestoreOutcome::Running(built) => Ok(built),
            RestoreOutcome::Failed(_, error) => Err(error),
        };
        self.end_build(name, result);
    }

    fn note_build(&mut self, name: &ProjectName, took: Duration) {
        if let Some(attempt) = self.projects.of(name).machine.attempt_mut() {
            attempt.build = Some(took);
        }
    }

    fn end_build(&mut self, name: &ProjectName, result: Result<Built, BuildError>) {
        let outcome = match result {
            Ok(built) => BuildOutcome::Good(built),
            Err(BuildError::Failed(error) | BuildError::NoProcess(error)) => BuildOutcome::Bad(error),
            Err(BuildError::Superseded) => BuildOutcome::Superseded,
        };
        self.step(name, Event::Built(outcome));
    }
}

/// Logs the entry and the tasks of the newest version, once for each change of them.
fn log_plan(project: &mut Project, plan: &Plan) {
    let (has_new_entry, has_new_tasks) = project.note_logged(plan);
    let name = &project.name;
    if has_new_entry {
        log_entry(name, plan);
    }
    if has_new_tasks {
        let (tasks, pipelines) = (plan.tasks.set.tasks.len(), plan.tasks.set.pipelines.len());
        tracing::info!(project.name = %name, tasks, pipelines, "{name} declares tasks or pipelines");
        for warning in &plan.tasks.warnings {
            let (file, line) = (warning.file.as_deref(), warning.line);
            tracing::warn!(project.name = %name, file, line, "{name}: {}", warning.message);
        }
    }
}

fn log_entry(name: &ProjectName, plan: &Plan) {
    let entry = &plan.launch.entry;
    let (path, reason) = (&entry.path, &entry.reason);
    match plan.served_by {
        ServedBy::Files => tracing::info!(
            project.name = %name,
            "{name} is a static site, served from the folder of {path} without a process; chosen by {reason}"
        ),
        ServedBy::Cells => {
            tracing::info!(project.name = %name, "the entry of {name} is {path}, chosen by {reason}");
        }
        ServedBy::Nothing => {
            tracing::info!(project.name = %name, "{name} has tasks, and nothing that answers requests");
        }
    }
    for warning in &entry.warnings {
        tracing::warn!(project.name = %name, "{name}: {warning}");
    }
}
