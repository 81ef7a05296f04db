//! Runs of daemons: tasks that run as long as a live version declares them. There is at most one run
//! of each, over all routers; new code ends it and starts another one.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::Value;

use super::accept::queued;
use super::control::Control;
use super::daemons::Daemon;
use super::launch::Launch;
use crate::ledger::StoredRun;
use crate::tasks::Declared;
use switchyard_contract::run::{Run, RunError, RunState, RunTrigger};
use switchyard_contract::task::{TaskId, TaskTrigger};

impl Control {
    /// Follows the daemons that are declared now.
    pub(super) fn update_daemons(&mut self) {
        let now = Instant::now();
        let catalog = self.shared.catalog.all();
        let mut known = BTreeSet::new();
        for tasks in catalog.values() {
            for task in tasks.set.tasks.iter().filter(|task| task.enabled) {
                let restart = task.triggers.iter().find_map(|trigger| match trigger {
                    TaskTrigger::Daemon { restart } => Some(*restart),
                    _ => None,
                });
                let Some(restart) = restart else { continue };
                let id = TaskId::new(&tasks.project, &task.name);
                known.insert(id.clone());
                let code = format!("{}/{}", tasks.digest, task.hash());
                let daemon = self.daemons.0.entry(id.clone()).or_default();
                daemon.restart = restart;
                if daemon.code != code {
                    let is_taken_over = daemon.code.is_empty() && self.active.runs_code(&id, &code);
                    daemon.code = code;
                    if is_taken_over {
                        daemon.began = Some(now);
                        continue;
                    }
                    daemon.failures = 0;
                    daemon.start_at = Some(now);
                    self.end_daemon(&id, "new-code", "another version of the project is live");
                }
            }
        }
        let gone: Vec<_> = self.daemons.0.keys().filter(|id| !known.contains(*id)).cloned().collect();
        for id in gone {
            self.daemons.0.remove(&id);
            self.end_daemon(&id, "removed", "no live version declares the daemon any more");
        }
        self.start_daemons();
    }

    /// Starts the daemons whose time has come and that do not run.
    pub(super) fn start_daemons(&mut self) {
        let now = Instant::now();
        let is_due = |daemon: &Daemon| daemon.start_at.is_some_and(|at| at <= now);
        let due: Vec<_> =
            self.daemons.0.iter().filter(|(_, daemon)| is_due(daemon)).map(|(id, _)| id.clone()).collect();
        for id in due {
            let is_there = !self.active.of_task(&id).is_empty();
            let Some(daemon) = self.daemons.0.get_mut(&id) else { continue };
            // One that is still there starts the next by its end.
            daemon.start_at = None;
            if !is_there {
                daemon.began = Some(now);
                self.start_daemon(&id);
            }
        }
    }

    fn start_daemon(&mut self, id: &TaskId) {
        let Some(Declared::Task(_, task)) = self.shared.catalog.find(id) else { return };
        let launch = Launch::of_task(&task, Value::Null, None);
        let run = queued(id.clone(), RunTrigger::Daemon, &launch, task.version);
        self.accept(StoredRun { run, input: launch.to_value(), boot: None }, launch, None);
    }

    /// Ends the run of a daemon, if there is one.
    fn end_daemon(&mut self, id: &TaskId, reason: &str, why: &str) {
        for run in self.active.of_task(id) {
            // The run may be ending already.
            let _ = self.cancel(run, RunError::new(reason, why));
        }
    }

    /// Takes the end of a daemon's run: another one follows, by its rule.
    pub(super) fn daemon_ended(&mut self, run: &Run, now: Instant) {
        let Some(daemon) = self.daemons.0.get_mut(&run.task) else { return };
        let by_us = run.error.as_ref().is_some_and(|error| error.reason == "new-code");
        if by_us {
            daemon.start_at = Some(now);
        } else if run.state == RunState::Cancelled {
            tracing::info!(task = %run.task, "the daemon {} was cancelled: it is started again by new code", run.task);
        } else {
            daemon.restart_after(run, now);
        }
        self.start_daemons();
    }
}
