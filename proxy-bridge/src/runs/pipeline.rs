//! Pipelines: their steps are runs, begun as soon as those that they need have ended well.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::accept::queued;
use super::active::Phase;
use super::command::Done;
use super::control::Control;
use super::launch::Launch;
use super::log::log_started;
use super::pipeline_graph::{needs, numbers, result, step_input};
use super::pipeline_state::{Loaded, NotLoaded, PipelineState, Registry};
use super::steps::steps_so_far;
use super::versions::{self, NoTasks};
use crate::ledger::StoredRun;
use crate::routers::Router;
use switchyard_contract::admin::RunWork;
use switchyard_contract::digest::Digest;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::{Run, RunError, RunId, RunState, RunTrigger, RunVersion, Step};
use switchyard_contract::task::{Consistency, ProjectTasks, StepSpec, TaskId, TaskName};

/// The pause before a pipeline whose version cannot be had yet is begun again.
const AGAIN: Duration = Duration::from_millis(500);

impl Control {
    /// Begins a pipeline whose turn it is: its definition is read anew.
    pub(super) fn begin_pipeline(&mut self, id: RunId) {
        let routers = self.routers_of(id);
        let maker = self.shared.maker.clone();
        self.active.set_phase(id, Phase::Orchestrating);
        self.trace(id);
        let Some(active) = self.active.get_mut(id) else { return };
        active.pipeline = Some(PipelineState::default());
        let (resumes, from_step) = (active.launch.resumes, active.launch.from_step.clone());
        let is_new = active.run().started_at.is_none();
        let (project, version) = (active.run().task.project.clone(), active.launch.version);
        let numbers = active.launch.pipeline.as_ref().map(numbers).unwrap_or_default();
        let ledger = self.shared.ledger.clone();
        self.work.spawn(async move {
            let load = async {
                let tasks = match (is_new, version) {
                    (true, Some(digest)) => {
                        let tasks = versions::tasks(&*maker, &project, digest, &routers).await;
                        Some(tasks.map_err(NotLoaded::Version)?)
                    }
                    (true, None) => live_tasks(&routers, &project).await,
                    (false, _) => None,
                };
                let steps = steps_so_far(&ledger, id, resumes, from_step.as_deref(), &numbers).await;
                Ok(Loaded { steps: steps.map_err(NotLoaded::History)?, tasks })
            };
            Done::PipelineLoaded(id, load.await)
        });
    }

    /// Goes on with a pipeline whose steps so far are known.
    pub(super) fn pipeline_loaded(&mut self, id: RunId, loaded: Result<Loaded, NotLoaded>) {
        // The run may have been cancelled meanwhile.
        let Some(active) = self.active.get_mut(id).filter(|active| active.is_orchestrating()) else { return };
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(error) => return self.pipeline_not_loaded(id, error),
        };
        if let Some(tasks) = &loaded.tasks {
            let begun =
                begin_with(active.stored.run.consistency, &mut active.stored.run, &mut active.launch, tasks);
            active.stored.input = active.launch.to_value();
            if let Err(error) = begun {
                return self.end(id, RunState::Failed, None, Some(*error));
            }
        }
        let run = active.run_mut();
        if run.started_at.is_none() {
            run.started_at = Some(Timestamp::now());
            log_started(run);
        }
        run.state = RunState::Running;
        if let Some(state) = &mut active.pipeline {
            let finished = loaded.steps.into_iter().filter(|step| step.state == RunState::Succeeded);
            for step in finished {
                state.begun.insert(step.name.clone());
                state.results.insert(step.name, step.result.unwrap_or_default());
            }
        }
        let stored = active.stored.clone();
        self.save(stored);
        let under_way = self.active.steps_of(id);
        let names: Vec<_> =
            under_way.into_iter().filter_map(|step| self.active.get(step)?.run().step.clone()).collect();
        if let Some(state) = self.active.get_mut(id).and_then(|active| active.pipeline.as_mut()) {
            state.begun.extend(names);
        }
        self.advance(id);
        self.apply_cancellation(id);
    }

    fn pipeline_not_loaded(&mut self, id: RunId, error: NotLoaded) {
        let error = match error {
            NotLoaded::History(error) => {
                RunError::new("history", format!("the steps of the run cannot be read: {error}"))
            }
            NotLoaded::Version(NoTasks::Gone(error)) => error,
            NotLoaded::Version(NoTasks::Later(why)) => {
                tracing::debug!(run = %id, "a pipeline does not begin yet: {why}");
                self.queue_again(id, Some(AGAIN));
                return self.apply_cancellation(id);
            }
        };
        self.end(id, RunState::Failed, None, Some(error));
    }

    /// Begins the steps whose needs are met, or ends the pipeline.
    fn advance(&mut self, id: RunId) {
        let Some(active) = self.active.get_mut(id) else { return };
        if active.cancelled.is_some() || !active.is_orchestrating() {
            return;
        }
        let (Some(spec), Some(state)) = (active.launch.pipeline.clone(), active.pipeline.as_mut()) else {
            return;
        };
        if spec.steps.iter().all(|step| state.results.contains_key(&step.name)) {
            let result = result(&spec, &state.results);
            return self.end(id, RunState::Succeeded, Some(result), None);
        }
        let is_ready = |step: &&StepSpec| {
            !state.begun.contains(&step.name)
                && needs(&spec, step).iter().all(|need| state.results.contains_key(need))
        };
        let ready: Vec<_> = spec.steps.iter().filter(is_ready).cloned().collect();
        for step in ready {
            if let Some(state) = self.active.get_mut(id).and_then(|active| active.pipeline.as_mut()) {
                state.begun.insert(step.name.clone());
            }
            self.begin_step(id, &step);
        }
    }

    /// Starts the run of a step.
    pub(super) fn start_step(&mut self, id: RunId, step: &StepSpec, registry: Option<Registry>) {
        let Some(active) = self.active.get_mut(id) else { return };
        let (Some(spec), Some(state)) = (active.launch.pipeline.clone(), active.pipeline.as_mut()) else {
            return;
        };
        let module = registry.as_ref().and_then(|registry| registry.modules.get(&step.task).cloned());
        if let (Some(registry), Some(_)) = (&registry, &module) {
            state.named_by.insert(step.name.clone(), registry.version.digest.to_string());
        }
        let (router, incarnation) = (active.launch.router.clone(), active.launch.incarnation);
        let input = step_input(&spec, step, &active.launch.input, &state.results);
        let context = json!({ "input": active.launch.input, "results": state.results });
        let run = active.run();
        let project = run.task.project.clone();
        let (consistency, by, params) = (run.consistency, run.by.clone(), run.params.clone());
        let version = active.launch.version.filter(|_| consistency != Consistency::Step);
        let name = TaskName::parse(&step.task);
        let is_known = module.is_some() || self.may_have(&project, version, &step.task);
        let (Ok(name), true) = (&name, is_known) else {
            let error = RunError::new(
                "unknown-task",
                format!(
                    "the step {} names {}, which neither the registry nor the tasks have",
                    step.name, step.task
                ),
            );
            return self.step_failed(id, &step.name, &error);
        };
        let work = match module {
            Some(path) => RunWork::Module { path, name: step.task.clone(), config: step.config.clone() },
            None => RunWork::Task { task: name.clone() },
        };
        let number = spec.steps.iter().position(|other| other.name == step.name).unwrap_or_default() as u64;
        let launch = Launch {
            incarnation,
            work: Some(work),
            input,
            context,
            config: step.config.clone(),
            version,
            retry: step.retry,
            time_ms: step.timeout_ms,
            step_number: Some(number),
            router,
            depth: 1,
            ..Launch::default()
        };
        let child = Run {
            by,
            parent: Some(id),
            step: Some(step.name.clone()),
            key: Some(format!("step:{id}:{}", step.name)),
            params,
            ..queued(TaskId::new(&project, name), RunTrigger::Step, &launch, consistency)
        };
        self.put_pipeline_step(id, &child, RunState::Running);
        self.accept(StoredRun { run: child, input: launch.to_value(), boot: None }, launch, None);
    }

    /// Returns false if the version does not have a task. Of one that is not live, the router says so.
    fn may_have(&self, project: &ProjectName, version: Option<Digest>, task: &str) -> bool {
        let Some(tasks) = self.shared.catalog.all().get(project).cloned() else { return version.is_some() };
        let is_live = version.is_none_or(|version| version == tasks.digest);
        !is_live || tasks.set.tasks.iter().any(|declared| declared.name.as_str() == task)
    }

    /// Takes the end of a step.
    pub(super) fn pipeline_step_ended(&mut self, id: RunId, step: &Run) {
        let Some(name) = step.step.clone() else { return };
        self.put_pipeline_step(id, step, step.state);
        let Some(active) = self.active.get_mut(id).filter(|active| active.is_orchestrating()) else { return };
        let Some(state) = active.pipeline.as_mut() else { return };
        match step.state {
            RunState::Succeeded => {
                state.results.insert(name, step.result.clone().unwrap_or_default());
                self.advance(id);
                // A step may end well although it was cancelled.
                self.apply_cancellation(id);
            }
            _ => {
                let error = step.error.clone().unwrap_or_default();
                self.step_failed(id, &name, &error);
            }
        }
    }

    /// Ends a pipeline because of a step.
    pub(super) fn step_failed(&mut self, id: RunId, step: &str, error: &RunError) {
        let Some(active) = self.active.get(id) else { return };
        if active.cancelled.is_some() {
            return self.apply_cancellation(id);
        }
        let why = RunError::new("cancelled", format!("the step {step} of the pipeline failed"));
        for other in self.active.steps_of(id) {
            let _ = self.cancel(other, why.clone());
        }
        let message = format!("the step {step} failed: {}", error.message);
        let error = RunError { message, ..error.clone() };
        self.end(id, RunState::Failed, None, Some(error));
    }

    /// Keeps the state of a step.
    fn put_pipeline_step(&mut self, id: RunId, step: &Run, state: RunState) {
        let Some(active) = self.active.get(id) else { return };
        let Some(name) = step.step.clone() else { return };
        let position = active
            .launch
            .pipeline
            .as_ref()
            .and_then(|spec| spec.steps.iter().position(|other| other.name == name));
        let registry = active.pipeline.as_ref().and_then(|state| state.named_by.get(&name).cloned());
        let kept = Step {
            name,
            state,
            run: Some(step.id),
            version: step.version.clone(),
            registry,
            started_at: step.started_at.or(Some(step.queued_at)),
            ended_at: step.ended_at,
            result: step.result.clone(),
            error: step.error.clone(),
        };
        let ledger = self.shared.ledger.clone();
        let number = position.unwrap_or_default() as u64;
        self.work.spawn(async move {
            if let Err(error) = ledger.put_step(id, number, kept).await {
                tracing::warn!(run = %id, "a step of a pipeline is not recorded: {error}");
            }
            Done::Nothing
        });
    }

    /// The routers that have what a run needs.
    pub(super) fn routers_of(&self, id: RunId) -> Vec<Arc<Router>> {
        let Some(active) = self.active.get(id) else { return Vec::new() };
        let list = self.shared.routers.list();
        list.iter().filter(|router| active.can_run_at(router)).cloned().collect()
    }
}

/// The tasks of the live version, from the first router that answers.
async fn live_tasks(routers: &[Arc<Router>], project: &ProjectName) -> Option<ProjectTasks> {
    for router in routers {
        if let Ok(tasks) = router.tasks(project.as_str()).await {
            return Some(tasks);
        }
    }
    None
}

/// Begins with the definition and the registry of the version that the pipeline uses.
///
/// # Errors
/// The version does not declare it.
fn begin_with(
    consistency: Consistency,
    run: &mut Run,
    launch: &mut Launch,
    tasks: &ProjectTasks,
) -> Result<(), Box<RunError>> {
    let Some(spec) = tasks.set.pipeline(&run.task.name) else {
        let message = format!("{} does not declare the pipeline {}", tasks.version, run.task.name);
        return Err(Box::new(RunError::new("unknown-task", message)));
    };
    launch.pipeline = Some(spec.clone());
    launch.registry.clone_from(&tasks.set.registry);
    if consistency != Consistency::Step {
        launch.version = Some(tasks.digest);
    }
    run.version = Some(RunVersion {
        name: tasks.version.clone(),
        digest: tasks.digest,
        spec: spec.hash(),
        commit: tasks.commit.clone(),
    });
    Ok(())
}
