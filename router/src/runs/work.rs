//! The work of a run: the task of a version, with its limits, as the start of a cell. Pure.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;
use switchyard_contract::admin::{RunRequest, RunWork};
use switchyard_contract::run::{RunTrigger, RunVersion};
use switchyard_contract::suggest::did_you_mean;
use switchyard_contract::task::{CronTrigger, RunLimits, TaskCode, TaskName, TaskSpec, TaskTrigger};
use switchyard_detect::entry::Entry;
use switchyard_protocol::{Call, Handler, Job, RunContext};
use switchyard_tasks::schedule::Schedule;

use super::{InvalidParams, complete};
use crate::cells::LaunchSpec;
use crate::live::RunnableVersion;

/// Characters of a module's path.
const MAX_PATH: usize = 1024;

/// A run that is ready to be started.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) version: RunVersion,
    pub(super) code: Code,
    /// The time that it may take. `None`: it is a daemon.
    pub(super) time: Option<Duration>,
    pub(super) limits: RunLimits,
}

/// The code of a run.
#[derive(Debug)]
pub(super) enum Code {
    /// A cell of its own, with its job.
    Cell(Box<LaunchSpec>),
    /// A handler of this name in a cell that serves.
    Cron(String),
}

/// The reason why a version cannot run what is asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoWork {
    #[error("{version} has no task {name:?}{hint}")]
    UnknownTask { version: String, name: TaskName, hint: String },
    #[error("{0} names no registry: add \"registry\" to its deno.json, or tasks/index.js")]
    NoRegistry(String),
    #[error("invalid path {0:?} of a module: expected one relative to the project, with / between")]
    InvalidPath(String),
    #[error(transparent)]
    InvalidParams(#[from] InvalidParams),
}

/// Prepares what `request` asks for. `crons`: the tasks of the version's `Deno.cron` handlers.
///
/// # Errors
/// The version does not have it, or takes other parameters.
pub(super) fn prepare(
    request: &RunRequest,
    found: &RunnableVersion,
    crons: &[TaskSpec],
) -> Result<Work, NoWork> {
    let limits = found.launch.grant.runs;
    let set = &found.tasks.set;
    let version_name = found.launch.version.to_string();
    let mut launch = Box::new(LaunchSpec::clone(&found.launch));
    launch.port = None;
    let mut call = call(request, found, limits.result);
    let (code, spec, time_ms) = match &request.work {
        RunWork::Task { task } => {
            let declared = set.task(task).or_else(|| crons.iter().find(|cron| cron.name == *task));
            let spec = declared.ok_or_else(|| unknown_task(found, crons, task))?;
            call.params = complete(&spec.params, &params_for(spec, request))?;
            if let Some(permissions) = &spec.permissions {
                launch.grant = launch.grant.narrowed(permissions).into();
            }
            let code = match &spec.code {
                TaskCode::Module { path } => module(launch, path, &request.work, call),
                TaskCode::Scheduled => {
                    call.handler = scheduled(spec, request);
                    launch.job = Some(Job::Call(Box::new(call)));
                    Code::Cell(launch)
                }
                TaskCode::Cron { name } => Code::Cron(name.clone()),
            };
            let time = (!spec.is_daemon()).then(|| spec.timeout_ms.unwrap_or(limits.time_ms));
            (code, spec.hash(), time)
        }
        RunWork::Module { path, config, .. } => {
            check_path(path)?;
            call.params = complete(&[], &request.params)?;
            call.config = config.clone();
            (module(launch, path, &request.work, call), set.hash(), Some(limits.time_ms))
        }
        RunWork::Registry => {
            let path = set.registry.as_deref().ok_or(NoWork::NoRegistry(version_name))?;
            launch.entry = entry(path, "registry");
            launch.job = Some(Job::Registry { max_result: limits.result });
            (Code::Cell(launch), set.hash(), Some(limits.time_ms))
        }
    };
    // A daemon has no limit, whatever the request has.
    let time = time_ms.map(|own| request.time_ms.unwrap_or(own).min(limits.time_ms));
    let version = RunVersion {
        name: found.launch.version.to_string(),
        digest: found.launch.version.digest,
        spec,
        commit: found.commit.as_deref().cloned(),
    };
    Ok(Work { version, code, time: time.map(Duration::from_millis), limits })
}

fn call(request: &RunRequest, found: &RunnableVersion, max_result: u64) -> Call {
    let task = match &request.work {
        RunWork::Task { task } => task.to_string(),
        RunWork::Module { name, .. } => name.clone(),
        RunWork::Registry => "registry".to_owned(),
    };
    let run = RunContext {
        id: request.run.to_string(),
        task,
        attempt: request.attempt,
        trigger: request.trigger.clone(),
        scheduled_at: request.scheduled_at.map(|at| at.to_string()),
        version: found.launch.version.to_string(),
        commit: found.commit.as_ref().map(|commit| commit.commit.clone()),
        parent: request.parent.map(|parent| parent.to_string()),
    };
    Call {
        handler: Handler::Task,
        run,
        params: Value::Null,
        input: request.input.clone(),
        config: request.config.clone(),
        pipeline: request.pipeline.clone(),
        journal: request.journal.clone(),
        max_result,
        traceparent: None,
    }
}

fn module(mut launch: Box<LaunchSpec>, path: &str, work: &RunWork, call: Call) -> Code {
    let reason = match work {
        RunWork::Task { task } => format!("task {task}"),
        RunWork::Module { name, .. } => format!("step {name}"),
        RunWork::Registry => "registry".to_owned(),
    };
    launch.entry = entry(path, &reason);
    launch.job = Some(Job::Call(Box::new(call)));
    Code::Cell(launch)
}

fn entry(path: &str, reason: &str) -> Entry {
    Entry { path: path.to_owned(), reason: reason.to_owned(), ..Entry::default() }
}

/// The parameters that a task gets. Those of a pipeline are for all of its steps: each gets its own.
fn params_for(spec: &TaskSpec, request: &RunRequest) -> Value {
    let is_own = |name: &String| spec.params.iter().any(|param| param.name == *name);
    match &request.params {
        Value::Object(given) if request.trigger == RunTrigger::Step.as_str() => {
            Value::Object(given.clone().into_iter().filter(|(name, _)| is_own(name)).collect())
        }
        params => params.clone(),
    }
}

/// The call of the handler `scheduled`, which learns which of its schedules was due.
fn scheduled(spec: &TaskSpec, request: &RunRequest) -> Handler {
    let trigger = spec.triggers.iter().find_map(|trigger| match trigger {
        TaskTrigger::Cron(cron) => Some(cron),
        _ => None,
    });
    let at = request.scheduled_at.unwrap_or_else(jiff::Timestamp::now);
    let was_due = |trigger: &CronTrigger, schedule: &String| {
        let own = CronTrigger { schedules: vec![schedule.clone()], ..trigger.clone() };
        let before = at.checked_sub(SignedDuration::from_millis(1)).unwrap_or(at);
        Schedule::parse(&own).is_ok_and(|schedule| schedule.next_after(before) == Some(at))
    };
    let schedules = trigger.map(|trigger| trigger.schedules.as_slice()).unwrap_or_default();
    let due = schedules.iter().find(|schedule| trigger.is_some_and(|trigger| was_due(trigger, schedule)));
    let cron = due.or(schedules.first()).cloned().unwrap_or_default();
    Handler::Scheduled { cron, at_ms: at.as_millisecond() }
}

/// Checks a path that a registry names. The cell reads nothing outside of the version in any case.
fn check_path(path: &str) -> Result<(), NoWork> {
    let is_plain = !path.is_empty() && path.len() <= MAX_PATH && !path.starts_with('/');
    if is_plain && !path.contains(['\\', '\0', ':']) {
        return Ok(());
    }
    Err(NoWork::InvalidPath(path.chars().take(MAX_PATH).collect()))
}

fn unknown_task(found: &RunnableVersion, crons: &[TaskSpec], name: &TaskName) -> NoWork {
    let known: Vec<_> = found.tasks.set.tasks.iter().chain(crons).map(|spec| spec.name.to_string()).collect();
    let known: Vec<_> = known.iter().map(String::as_str).collect();
    let hint = did_you_mean(&name.to_string(), &known);
    NoWork::UnknownTask { version: found.launch.version.to_string(), name: name.clone(), hint }
}

#[cfg(test)]
mod tests;
