//! Steps of runs that are written with `ctx.step`: kept in the ledger before the run goes on, so that
//! a later attempt has their results; and tasks that they run.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::accept::queued;
use super::active::Phase;
use super::command::Done;
use super::control::Control;
use super::launch::Launch;
use super::params;
use crate::ledger::{Ledger, LedgerError, StoredRun};
use crate::tasks::Declared;
use switchyard_contract::admin::{StepAsk, StepReply, StepRequest};
use switchyard_contract::bounds::{MAX_STEP_DEPTH, MAX_STEPS};
use switchyard_contract::run::{Run, RunError, RunId, RunState, RunTrigger, Step};
use switchyard_contract::task::{Consistency, Retry, TaskCode, TaskId, TaskName, TaskSpec};

/// Questions of a run: a function asks before it begins, and when it has ended.
const MAX_QUESTIONS: u64 = 2 * MAX_STEPS as u64;

/// The number of each step in code. Each attempt numbers its questions anew, so all steps have the same
/// number, and are in the order in which they came first.
const AS_THEY_COME: u64 = 0;

impl Control {
    /// Answers a step of a run.
    pub(super) fn step(&mut self, id: RunId, request: StepRequest) {
        let StepRequest { number, name, ask } = request;
        if number >= MAX_QUESTIONS {
            let message = format!("a run may have {MAX_STEPS} steps, and this one has more");
            return self.reply(id, number, Err(RunError::new("steps", message)));
        }
        let now = Timestamp::now();
        let step = |state, result, error| Step {
            name: name.clone(),
            state,
            run: None,
            version: None,
            registry: None,
            started_at: Some(now),
            ended_at: Some(now).filter(|_| state != RunState::Running),
            result,
            error,
        };
        match ask {
            StepAsk::Begin => self.keep_step(id, number, step(RunState::Running, None, None)),
            StepAsk::Keep { result } => {
                self.keep_step(id, number, step(RunState::Succeeded, Some(result), None))
            }
            StepAsk::Failed { error } => {
                self.keep_step(id, number, step(RunState::Failed, None, Some(error)))
            }
            StepAsk::Task { task, input } => self.run_step(id, number, &name, &task, input),
        }
    }

    /// Keeps a step, and then lets the run go on.
    fn keep_step(&mut self, id: RunId, number: u64, step: Step) {
        let Some(active) = self.active.get(id) else { return };
        let Phase::Following { router, .. } = active.phase() else { return };
        let (router, attempt) = (router.clone(), active.run().attempt);
        let ledger = self.shared.ledger.clone();
        self.work.spawn(async move {
            let error = match ledger.put_step(id, AS_THEY_COME, step).await {
                Ok(()) => None,
                Err(error) => Some(RunError::new("history", format!("the step cannot be kept: {error}"))),
            };
            let reply = StepReply { attempt, number, result: Value::Null, error };
            // A router that does not answer is noticed by the run's follower, and asks again.
            let _ = router.reply_to_step(id, &reply).await;
            Done::Nothing
        });
    }

    /// Runs a task as a step. The step ends with it.
    fn run_step(&mut self, parent: RunId, number: u64, name: &str, task: &TaskName, input: Value) {
        // The same question is asked again after a restart of the bridge.
        if self.active.step(parent, name).is_some() {
            return;
        }
        let Some(active) = self.active.get(parent) else { return };
        let run = active.run();
        let id = TaskId::new(&run.task.project, task);
        let version = match run.consistency {
            Consistency::Step => None,
            Consistency::Run | Consistency::Commit => run.version.as_ref().map(|version| version.digest),
        };
        let (router, depth) = (active.launch.router.clone(), active.launch.depth + 1);
        if depth > MAX_STEP_DEPTH {
            let message =
                format!("steps of steps are at most {MAX_STEP_DEPTH} deep: run {task} as a task of its own");
            return self.reply(parent, number, Err(RunError::new("steps", message)));
        }
        let incarnation = active.launch.incarnation;
        let (consistency, by, attempt) = (run.consistency, run.by.clone(), run.attempt);
        let declared = match self.shared.catalog.find(&id) {
            // The router completes the parameters by the version's own declaration, here and below.
            Some(Declared::Task(tasks, spec)) if version.is_some_and(|version| version != tasks.digest) => {
                TaskSpec { params: Vec::new(), ..spec }
            }
            Some(Declared::Task(_, spec)) => spec,
            None if version.is_some() => undeclared(task),
            Some(Declared::Pipeline(..)) => {
                let message = format!("{id} is a pipeline: a step runs a task");
                return self.reply(parent, number, Err(RunError::new("unknown-task", message)));
            }
            None => {
                let message = format!("no live version declares the task {id}");
                return self.reply(parent, number, Err(RunError::new("unknown-task", message)));
            }
        };
        let params = match params::complete(&declared.params, params::named_in(&declared.params, &input)) {
            Ok(params) => params,
            Err(problems) => {
                return self.reply(parent, number, Err(RunError::new("invalid-params", problems.join("; "))));
            }
        };
        let mut launch = Launch::of_task(&declared, input, version);
        launch.step_number = Some(number);
        (launch.router, launch.depth, launch.incarnation) = (router, depth, incarnation);
        let child = Run {
            by,
            parent: Some(parent),
            step: Some(name.to_owned()),
            // A step of an attempt is accepted once, whoever asks again.
            key: Some(format!("step:{parent}:{attempt}:{name}")),
            params,
            ..queued(id, RunTrigger::Step, &launch, consistency)
        };
        self.accept(StoredRun { run: child, input: launch.to_value(), boot: None }, launch, None);
    }

    /// Takes the end of a run that is a step of another one.
    pub(super) fn step_ended(&mut self, run: &Run, launch: &Launch) {
        let (Some(parent), Some(name)) = (run.parent, &run.step) else { return };
        let Some(active) = self.active.get(parent) else { return };
        if active.pipeline.is_some() {
            return self.pipeline_step_ended(parent, run);
        }
        let Some(number) = launch.step_number else { return };
        let step = Step {
            name: name.clone(),
            state: run.state,
            run: Some(run.id),
            version: run.version.clone(),
            registry: None,
            started_at: run.started_at,
            ended_at: run.ended_at,
            result: run.result.clone(),
            error: run.error.clone(),
        };
        let outcome = match run.state {
            RunState::Succeeded => Ok(run.result.clone().unwrap_or_default()),
            _ => Err(run.error.clone().unwrap_or_default()),
        };
        let Phase::Following { router, .. } = active.phase() else { return };
        let (router, attempt) = (router.clone(), active.run().attempt);
        let ledger = self.shared.ledger.clone();
        self.work.spawn(async move {
            let outcome = match ledger.put_step(parent, AS_THEY_COME, step).await {
                Ok(()) => outcome,
                Err(error) => Err(RunError::new("history", format!("the step cannot be kept: {error}"))),
            };
            let _ = router.reply_to_step(parent, &reply(attempt, number, outcome)).await;
            Done::Nothing
        });
    }

    /// Answers a step without keeping it.
    fn reply(&mut self, id: RunId, number: u64, outcome: Result<Value, RunError>) {
        let Some(active) = self.active.get(id) else { return };
        let Phase::Following { router, .. } = active.phase() else { return };
        let (router, reply) = (router.clone(), reply(active.run().attempt, number, outcome));
        self.work.spawn(async move {
            let _ = router.reply_to_step(id, &reply).await;
            Done::Nothing
        });
    }
}

/// The steps of a run, after those of the run that it goes on from, which become its own. `numbers`: of
/// a pipeline's steps, by name.
pub(super) async fn steps_so_far(
    ledger: &Ledger,
    id: RunId,
    resumes: Option<RunId>,
    from_step: Option<&str>,
    numbers: &BTreeMap<String, u64>,
) -> Result<Vec<Step>, LedgerError> {
    let own = ledger.steps(id).await?;
    let Some(earlier) = resumes.filter(|_| own.is_empty()) else { return Ok(own) };
    let earlier = ledger.steps(earlier).await?;
    let finished: Vec<_> = earlier
        .into_iter()
        .take_while(|step| from_step.is_none_or(|from| step.name != from))
        .filter(|step| step.state == RunState::Succeeded)
        .collect();
    for step in &finished {
        let number = numbers.get(&step.name).copied().unwrap_or(AS_THEY_COME);
        ledger.put_step(id, number, step.clone()).await?;
    }
    Ok(finished)
}

/// A task that the live version does not declare. The version of the run may: its router says so.
fn undeclared(task: &TaskName) -> TaskSpec {
    TaskSpec {
        name: task.clone(),
        description: None,
        declared_in: String::new(),
        code: TaskCode::Scheduled,
        triggers: Vec::new(),
        timeout_ms: None,
        overlap: Default::default(),
        retry: Retry::default(),
        params: Vec::new(),
        version: Consistency::default(),
        permissions: None,
        enabled: true,
        keep_inputs: false,
    }
}

fn reply(attempt: u32, number: u64, outcome: Result<Value, RunError>) -> StepReply {
    match outcome {
        Ok(result) => StepReply { attempt, number, result, error: None },
        Err(error) => StepReply { attempt, number, result: Value::Null, error: Some(error) },
    }
}
