//! Runs that start by the end of others.

use serde_json::json;

use super::StartRun;
use super::command::Done;
use super::control::Control;
use super::launch::Launch;
use switchyard_contract::run::{Run, RunState, RunTrigger};
use switchyard_contract::task::{ChainOutcome, TaskId, TaskTrigger};

impl Control {
    /// Starts the tasks that follow a run. A step of another run starts none.
    pub(super) fn start_chained(&mut self, run: &Run, launch: &Launch) {
        let current = self.incarnation(&run.task.project);
        let is_of_other = launch.incarnation.is_some() && current.is_some_and(|now| launch.is_of_other(now));
        if run.step.is_some() || is_of_other {
            return;
        }
        let Some(tasks) = self.shared.catalog.all().get(&run.task.project).cloned() else { return };
        let of_tasks = tasks.set.tasks.iter().map(|task| (&task.name, &task.triggers, task.enabled));
        let of_pipelines = tasks.set.pipelines.iter().map(|task| (&task.name, &task.triggers, task.enabled));
        let follows = |triggers: &[TaskTrigger]| {
            triggers.iter().any(|trigger| match trigger {
                TaskTrigger::Chain { after, on } => *after == run.task.name && is_met(*on, run.state),
                _ => false,
            })
        };
        let following: Vec<_> = of_tasks
            .chain(of_pipelines)
            .filter(|(_, triggers, enabled)| *enabled && follows(triggers))
            .map(|(name, ..)| TaskId::new(&tasks.project, name))
            .collect();
        for task in following {
            let key = format!("chain:{}", run.id);
            let input = json!({
                "run": run.id,
                "task": run.task.name,
                "state": run.state,
                "result": run.result,
                "error": run.error,
            });
            let start = StartRun {
                task: task.clone(),
                trigger: RunTrigger::Chain,
                by: None,
                key: Some(key),
                params: serde_json::Value::Null,
                input,
                version: None,
                consistency: None,
                parent: Some(run.id),
                force: false,
            };
            let (reply, answer) = tokio::sync::oneshot::channel();
            self.start(start, None, Some(reply));
            let from = run.task.clone();
            self.work.spawn(async move {
                if let Ok(Err(problem)) = answer.await {
                    tracing::warn!(task = %task, "{task} does not follow {from}: {}", problem.detail());
                }
                Done::Nothing
            });
        }
    }
}

/// Returns true if an end of this kind starts the next task.
fn is_met(on: ChainOutcome, state: RunState) -> bool {
    match on {
        ChainOutcome::Success => state == RunState::Succeeded,
        ChainOutcome::Failure => matches!(state, RunState::Failed | RunState::TimedOut | RunState::Lost),
        ChainOutcome::Always => state != RunState::Cancelled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_run_starts_nothing() {
        for on in [ChainOutcome::Success, ChainOutcome::Failure, ChainOutcome::Always] {
            assert!(!is_met(on, RunState::Cancelled));
        }
        assert!(
            is_met(ChainOutcome::Always, RunState::Failed)
                && is_met(ChainOutcome::Always, RunState::Succeeded)
        );
        assert!(
            is_met(ChainOutcome::Failure, RunState::Lost)
                && !is_met(ChainOutcome::Failure, RunState::Succeeded)
        );
    }
}
