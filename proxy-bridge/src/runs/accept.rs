//! The acceptance of runs: a request becomes a run by the rules of its task, and is recorded before
//! anybody is answered.

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::active::{Active, Phase, StartReply};
use super::command::{Done, Earlier};
use super::control::Control;
use super::launch::Launch;
use super::{StartRun, Started, params};
use crate::ledger::{Accepted, LedgerError, StoredRun};
use crate::schedule::{Decision, on_due};
use crate::tasks::{Catalog, Declared};
use switchyard_contract::digest::Digest;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::{Run, RunError, RunId, RunState, RunTrigger};
use switchyard_contract::suggest::did_you_mean_task;
use switchyard_contract::task::{Consistency, Overlap, TaskId, TaskSet};
use switchyard_edge::problem::Problem;

impl Control {
    /// Accepts a run that was asked for, or refuses it.
    pub(super) fn start(&mut self, start: StartRun, earlier: Option<Earlier>, reply: Option<StartReply>) {
        match self.plan(start, earlier) {
            Ok((stored, launch, cancel)) => {
                cancel.into_iter().for_each(|id| self.replace(id, stored.run.id));
                self.accept(stored, launch, reply);
            }
            Err(problem) => {
                if let Some(reply) = reply {
                    let _ = reply.send(Err(problem));
                }
            }
        }
    }

    /// The run that is asked for, and those that it replaces.
    pub(super) fn plan(
        &self,
        start: StartRun,
        earlier: Option<Earlier>,
    ) -> Result<(StoredRun, Launch, Vec<RunId>), Problem> {
        let (task, project) = (&start.task, &start.task.project);
        // Senders of webhooks answer for the ids of their deliveries: a repeated one may differ in a header.
        let has_key = start.key.is_some() && start.trigger == RunTrigger::Manual;
        let request = has_key.then(|| fingerprint(&start));
        let declared = self.shared.catalog.find(task);
        let is_known =
            declared.is_some() || self.shared.routers.list().iter().any(|router| router.has(project));
        // The code of a named version has the specification of then, whatever the live one declares.
        let recorded = earlier.as_ref().filter(|_| start.version.is_some() && is_known);
        let (mut launch, given) = match (recorded, &declared) {
            (Some(earlier), _) => (earlier.launch.again(start.input, start.version), start.params),
            (None, Some(declared)) => {
                let given = params::complete(declared.params(), start.params).map_err(invalid_params)?;
                (Launch::of(declared, start.input, start.version), given)
            }
            (None, None) => return Err(unknown_task(task, &self.shared.catalog)),
        };
        launch.request = request;
        let most = self.limits(project).queue;
        if self.waiting_of(project) >= most as usize {
            return Err(queue_full(project, most));
        }
        // Nothing else starts a task that is not declared any more.
        let overlap = declared.as_ref().map_or(Overlap::Allow, |declared| overlap(declared, start.trigger));
        let overlap = if start.force { Overlap::Allow } else { overlap };
        let (cancel, alone) = match self.on_due(overlap, task) {
            Decision::Start => (Vec::new(), false),
            Decision::Queue => (Vec::new(), true),
            Decision::Skip { in_the_way } => return Err(in_the_way_of(task, in_the_way, overlap)),
            Decision::Replace { cancel } => (cancel, true),
        };
        launch.alone |= alone;
        if let Some(earlier) = earlier {
            // Its input may be a file there.
            launch.router = earlier.launch.router;
            launch.resumes = earlier.resumption.as_ref().map(|resumption| resumption.run);
            launch.from_step = earlier.resumption.and_then(|resumption| resumption.from_step);
        }
        let own = declared.map(|declared| declared.consistency()).unwrap_or_default();
        let consistency = start.consistency.unwrap_or(own);
        let run = Run {
            by: start.by,
            key: start.key,
            parent: start.parent,
            params: given,
            ..queued(start.task, start.trigger, &launch, consistency)
        };
        let stored = StoredRun { run, input: launch.to_value(), boot: None };
        Ok((stored, launch, cancel))
    }

    /// Decides by a task's rule, and by its runs, what a trigger does now.
    pub(super) fn on_due(&self, overlap: Overlap, task: &TaskId) -> Decision {
        let under_way: Vec<_> = self.active.under_way(task).collect();
        on_due(overlap, &under_way, self.active.waiting(task).next())
    }

    /// Has the acceptance of a run recorded.
    pub(super) fn accept(&mut self, mut stored: StoredRun, mut launch: Launch, reply: Option<StartReply>) {
        let id = stored.run.id;
        self.assign(&mut stored, &mut launch);
        let incarnation = launch.incarnation;
        self.insert(stored.clone(), launch, Phase::Accepting(reply));
        let ledger = self.shared.ledger.clone();
        self.work.spawn(async move {
            let mut accepted = ledger.accept(stored.clone()).await;
            if let (Ok(Accepted::Known(known)), Some(now)) = (&accepted, incarnation)
                && known.run.id != id
                && Launch::read(&known.input).is_some_and(|known| known.is_of_other(now))
            {
                // The key of an earlier project of this name says nothing about this one.
                accepted = match ledger.release_key(known.run.id).await {
                    Ok(()) => ledger.accept(stored).await,
                    Err(error) => Err(error),
                };
            }
            Done::Accepted(id, accepted)
        });
    }

    /// Has a run belong to the project as it is now, unless it belongs to one already.
    pub(super) fn assign(&self, stored: &mut StoredRun, launch: &mut Launch) {
        if launch.incarnation.is_none() {
            launch.incarnation = self.incarnation(&stored.run.task.project);
            stored.input = launch.to_value();
        }
    }

    pub(super) fn insert(&mut self, stored: StoredRun, launch: Launch, phase: Phase) {
        self.shared.progress.begin(stored.run.id);
        self.active.insert(Active::new(stored, launch, phase));
    }

    /// Takes the result of the record: the run waits for its turn, unless there is none.
    pub(super) fn accepted(&mut self, id: RunId, result: Result<Accepted, LedgerError>) {
        let Some(active) = self.active.get_mut(id) else { return };
        if !matches!(active.phase(), Phase::Accepting(_)) {
            return;
        }
        let reply = active.take_reply();
        let answer = match result {
            Ok(Accepted::New) => {
                let run = active.run().clone();
                self.active.set_phase(id, Phase::Queued { not_before: None });
                Ok(Started { run, is_new: true })
            }
            Ok(Accepted::Known(known)) => {
                let launch = active.launch.clone();
                self.forget(id);
                let earlier = Launch::read(&known.input).and_then(|earlier| earlier.request);
                if earlier.is_some() && launch.request.is_some() && earlier != launch.request {
                    if let Some(reply) = reply {
                        let _ = reply.send(Err(key_reused(&known.run)));
                    }
                    return;
                }
                if known.run.state.is_end() {
                    self.step_ended(&known.run, &launch);
                }
                Ok(Started { run: known.run, is_new: false })
            }
            Err(error) => {
                // A run that waits for it as its step must not wait for ever.
                let (mut run, launch) = (active.run().clone(), active.launch.clone());
                run.state = RunState::Failed;
                run.error = Some(RunError::new("history", format!("the step cannot be recorded: {error}")));
                self.forget(id);
                self.step_ended(&run, &launch);
                Err(no_history(&error))
            }
        };
        if let Some(reply) = reply {
            let _ = reply.send(answer);
        }
        self.apply_cancellation(id);
    }

    /// Drops a run that was not accepted.
    pub(super) fn forget(&mut self, id: RunId) {
        self.active.remove(id);
        self.shared.progress.end(id);
    }
}

/// The rule for runs at the same time. Messages of others are never refused for it: where runs are
/// not allowed side by side, they wait.
fn overlap(declared: &Declared, trigger: RunTrigger) -> Overlap {
    match trigger {
        RunTrigger::Webhook | RunTrigger::Chain | RunTrigger::File | RunTrigger::Step => Overlap::Allow,
        _ => declared.overlap(),
    }
}

/// The run that a due time starts.
pub(super) fn scheduled(
    declared: &Declared,
    task: &TaskId,
    due: Timestamp,
    alone: bool,
) -> (StoredRun, Launch) {
    let mut launch = Launch::of(declared, Value::Null, None);
    launch.alone |= alone;
    // Required parameters without defaults fail the run, not the schedule.
    let params = params::complete(declared.params(), Value::Null).unwrap_or_default();
    let run = Run {
        scheduled_at: Some(due),
        params,
        ..queued(task.clone(), RunTrigger::Cron, &launch, declared.consistency())
    };
    (StoredRun { run, input: launch.to_value(), boot: None }, launch)
}

/// A run that is to be accepted.
pub(super) fn queued(task: TaskId, trigger: RunTrigger, launch: &Launch, consistency: Consistency) -> Run {
    Run {
        id: RunId::new_now(),
        task,
        is_pipeline: launch.pipeline.is_some(),
        state: RunState::Queued,
        trigger,
        by: None,
        key: None,
        scheduled_at: None,
        queued_at: Timestamp::now(),
        started_at: None,
        ended_at: None,
        version: None,
        consistency,
        attempt: 1,
        attempts: launch.retry.attempts.max(1),
        next_attempt_at: None,
        parent: None,
        step: None,
        params: Value::Object(serde_json::Map::new()),
        result: None,
        error: None,
        router: None,
        log_lines: 0,
    }
}

pub(super) fn unknown_task(task: &TaskId, catalog: &Catalog) -> Problem {
    let known = catalog.all();
    let set = known.get(&task.project).map(|tasks| &tasks.set);
    let names = set.map(TaskSet::names).unwrap_or_default();
    let near = did_you_mean_task(task.name.as_str(), &names);
    let detail = format!("no live version declares the task {task}: `switchyard task list` shows all{near}");
    Problem::new(StatusCode::NOT_FOUND, "unknown-task", detail)
}

fn invalid_params(problems: Vec<String>) -> Problem {
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-params", problems.join("; "));
    problem.with("problems", problems.into_iter().map(Value::from).collect::<Vec<_>>())
}

/// The hash of everything that makes a request another one. The order of fields does not.
fn fingerprint(start: &StartRun) -> String {
    let mut asked = json!([start.params, start.input, start.version, start.consistency]);
    asked.sort_all_objects();
    let hash: [u8; 32] = Sha256::digest(asked.to_string()).into();
    Digest::from(hash).to_string()
}

fn key_reused(earlier: &Run) -> Problem {
    let detail = format!(
        "this idempotency-key came with other parameters or another input before, for the run {}: send a new key \
         with each run",
        earlier.id
    );
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", detail)
        .with("run", earlier.id.to_string())
}

fn queue_full(project: &ProjectName, most: u32) -> Problem {
    let detail = format!(
        "{most} runs of {project} wait already, which is the limit (run_queue in the policy): try again when some \
         have ended"
    );
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "queue-full", detail).retry_after(5)
}

fn in_the_way_of(task: &TaskId, run: RunId, overlap: Overlap) -> Problem {
    let why = match overlap {
        Overlap::Queue => "waits already, and the task lets one wait",
        _ => "has not ended, and the task allows one at a time",
    };
    let detail = format!(
        "a run of {task} {why} (its \"overlap\"): wait for {run}, cancel it, or force another one (--force; \
         ?force=1 of the API)"
    );
    Problem::new(StatusCode::CONFLICT, "overlap", detail).with("run", run.to_string())
}

pub(super) fn no_history(error: &LedgerError) -> Problem {
    let detail = format!("the run cannot be recorded, so it is not accepted: {error}");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "history", detail).retry_after(10)
}
