//! Pipelines: their steps are runs, begun as soon as those that they need have ended well.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::active::Phase;
use super::command::Done;
use super::control::{Control, queued};
use super::launch::Launch;
use super::log::log_started;
use super::pipeline_state::{Loaded, NotLoaded, PipelineState, Registry};
use super::versions::{self, NoTasks, VersionMaker};
use crate::ledger::{Ledger, LedgerError, StoredRun};
use crate::routers::{CallError, Router};
use switchyard_contract::admin::{RunEvent, RunRequest, RunWork};
use switchyard_contract::digest::Digest;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::{Run, RunError, RunId, RunState, RunTrigger, RunVersion, Step};
use switchyard_contract::task::{Consistency, PipelineSpec, ProjectTasks, StepSpec, TaskId, TaskName};

/// The time in which a registry is read: a cell is started, and its module evaluated.
const REGISTRY: Duration = Duration::from_secs(60);

/// The pause before a pipeline whose version cannot be had yet is begun again.
const AGAIN: Duration = Duration::from_millis(500);

impl Control {
    /// Begins a pipeline whose turn it is: its definition is read anew.
    pub(super) fn begin_pipeline(&mut self, id: RunId) {
        let routers = self.routers_of(id);
        let maker = self.shared.maker.clone();
        let Some(active) = self.active.get_mut(id) else { return };
        active.phase = Phase::Orchestrating;
        active.pipeline = Some(PipelineState::default());
        let (resumes, from_step) = (active.launch.resumes, active.launch.from_step.clone());
        let is_new = active.run().started_at.is_none();
        let (project, version) = (active.run().task.project.clone(), active.launch.version);
        let places = active.launch.pipeline.as_ref().map(places).unwrap_or_default();
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
                let steps = steps_so_far(&ledger, id, resumes, from_step.as_deref(), &places).await;
                Ok(Loaded { steps: steps.map_err(NotLoaded::History)?, tasks })
            };
            Done::PipelineLoaded(id, load.await)
        });
    }

    /// Goes on with a pipeline whose steps so far are known.
    pub(super) fn pipeline_loaded(&mut self, id: RunId, loaded: Result<Loaded, NotLoaded>) {
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(error) => return self.pipeline_not_loaded(id, error),
        };
        let Some(active) = self.active.get_mut(id) else { return };
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
        if active.cancelled.is_some() || !matches!(active.phase, Phase::Orchestrating) {
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

    /// Begins a step: with its module's path from the registry, if there is one.
    fn begin_step(&mut self, id: RunId, step: &StepSpec) {
        let Some(active) = self.active.get(id) else { return };
        let (run, launch) = (active.run(), &active.launch);
        let consistency = run.consistency;
        let known = active.pipeline.as_ref().and_then(|state| state.registry.clone());
        if launch.registry.is_none() {
            return self.start_step(id, step, None);
        }
        if let Some(registry) = known.filter(|_| consistency != Consistency::Step) {
            return self.start_step(id, step, Some(registry));
        }
        let version = launch.version.filter(|_| consistency != Consistency::Step);
        let (project, name) = (run.task.project.clone(), step.name.clone());
        let maker = self.shared.maker.clone();
        let Some(router) = self.routers_of(id).into_iter().next() else {
            let error = RunError::new("router", "no router is ready to read the registry");
            return self.step_failed(id, &step.name, &error);
        };
        self.work.spawn(async move {
            let read = registry(&*maker, &router, project, version);
            let read = match timeout(REGISTRY, read).await {
                Ok(read) => read,
                Err(_) => Err(RunError::new("timeout", "the registry was not read within a minute")),
            };
            Done::RegistryRead(id, name, read)
        });
    }

    /// Takes the registry for a step.
    pub(super) fn registry_read(&mut self, id: RunId, step: &str, result: Result<Registry, RunError>) {
        let Some(active) = self.active.get_mut(id) else { return };
        let spec = active
            .launch
            .pipeline
            .as_ref()
            .and_then(|spec| spec.steps.iter().find(|other| other.name == step));
        let (Some(spec), Some(state)) = (spec.cloned(), active.pipeline.as_mut()) else { return };
        match result {
            Ok(registry) => {
                state.registry = Some(registry.clone());
                self.start_step(id, &spec, Some(registry));
            }
            Err(error) => self.step_failed(id, step, &error),
        }
    }

    /// Starts the run of a step.
    fn start_step(&mut self, id: RunId, step: &StepSpec, registry: Option<Registry>) {
        let Some(active) = self.active.get_mut(id) else { return };
        let (Some(spec), Some(state)) = (active.launch.pipeline.clone(), active.pipeline.as_mut()) else {
            return;
        };
        let module = registry.as_ref().and_then(|registry| registry.modules.get(&step.task).cloned());
        if let (Some(registry), Some(_)) = (&registry, &module) {
            state.named_by.insert(step.name.clone(), registry.version.digest.to_string());
        }
        let router = active.launch.router.clone();
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
            work: Some(work),
            input,
            context,
            config: step.config.clone(),
            version,
            retry: step.retry,
            time_ms: step.timeout_ms,
            step_number: Some(number),
            router,
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
        let Some(tasks) = self.shared.catalog.all().get(project).cloned() else { return false };
        let is_live = version.is_none_or(|version| version == tasks.digest);
        !is_live || tasks.set.tasks.iter().any(|declared| declared.name.as_str() == task)
    }

    /// Takes the end of a step.
    pub(super) fn pipeline_step_ended(&mut self, id: RunId, step: &Run) {
        let Some(name) = step.step.clone() else { return };
        self.put_pipeline_step(id, step, step.state);
        let Some(state) = self.active.get_mut(id).and_then(|active| active.pipeline.as_mut()) else { return };
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
    fn step_failed(&mut self, id: RunId, step: &str, error: &RunError) {
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

    /// The routers that have the tasks of a run's project.
    fn routers_of(&self, id: RunId) -> Vec<Arc<Router>> {
        let Some(active) = self.active.get(id) else { return Vec::new() };
        let project = active.run().task.project.clone();
        let list = self.shared.routers.list();
        let has = |router: &&Arc<Router>| {
            router.is_ready()
                && active.launch.may_run_at(router.name())
                && router.has_tasks(project.as_str())
                && !router.is_behind(project.as_str())
        };
        list.iter().filter(has).cloned().collect()
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

/// The places of a pipeline's steps, by name.
fn places(spec: &PipelineSpec) -> BTreeMap<String, u64> {
    (0..).zip(&spec.steps).map(|(place, step)| (step.name.clone(), place)).collect()
}

/// The steps of a run, after those of the run that it goes on from, which become its own. `places`: of
/// a pipeline's steps.
pub(super) async fn steps_so_far(
    ledger: &Ledger,
    id: RunId,
    resumes: Option<RunId>,
    from_step: Option<&str>,
    places: &BTreeMap<String, u64>,
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
        let place = places.get(&step.name).copied().unwrap_or_default();
        ledger.put_step(id, place, step.clone()).await?;
    }
    Ok(finished)
}

/// The steps that a step needs: those that it names, or the one before it.
fn needs(spec: &PipelineSpec, step: &StepSpec) -> Vec<String> {
    if let Some(needs) = &step.needs {
        return needs.clone();
    }
    let position = spec.steps.iter().position(|other| other.name == step.name).unwrap_or_default();
    let before = position.checked_sub(1).and_then(|before| spec.steps.get(before));
    before.map(|before| before.name.clone()).into_iter().collect()
}

/// The input of a step: the result of the step that it needs, an object of results by name if it needs
/// several, or the pipeline's own input if it needs none.
fn step_input(
    spec: &PipelineSpec,
    step: &StepSpec,
    input: &Value,
    results: &BTreeMap<String, Value>,
) -> Value {
    let result = |name: &String| results.get(name).cloned().unwrap_or_default();
    match needs(spec, step).as_slice() {
        [] => input.clone(),
        [only] => result(only),
        several => Value::Object(several.iter().map(|name| (name.clone(), result(name))).collect()),
    }
}

/// The result of a pipeline: that of the step that no other needs, or an object of theirs.
fn result(spec: &PipelineSpec, results: &BTreeMap<String, Value>) -> Value {
    let needed: BTreeSet<_> = spec.steps.iter().flat_map(|step| needs(spec, step)).collect();
    let last: Vec<_> = spec.steps.iter().filter(|step| !needed.contains(&step.name)).collect();
    let result = |step: &StepSpec| results.get(&step.name).cloned().unwrap_or_default();
    match last.as_slice() {
        [only] => result(only),
        several => {
            Value::Object(several.iter().map(|step| (step.name.clone(), result(step))).collect::<Map<_, _>>())
        }
    }
}

/// Has a router evaluate the registry of a version, which is made again there if it is gone.
async fn registry(
    maker: &dyn VersionMaker,
    router: &Arc<Router>,
    project: ProjectName,
    version: Option<Digest>,
) -> Result<Registry, RunError> {
    let failed = |error: CallError| {
        RunError::new("router", format!("the registry cannot be read at {}: {error}", router.name()))
    };
    match (read_registry(router, project.clone(), version).await, version) {
        (Ok(read), _) => read,
        (Err(error), Some(digest)) if versions::is_unknown_version(&error) => {
            versions::make(maker, &project, digest, router).await?;
            read_registry(router, project, version).await.map_err(failed)?
        }
        (Err(error), _) => Err(failed(error)),
    }
}

async fn read_registry(
    router: &Router,
    project: ProjectName,
    version: Option<Digest>,
) -> Result<Result<Registry, RunError>, CallError> {
    let request = RunRequest {
        run: RunId::new_now(),
        attempt: 1,
        project,
        version,
        work: RunWork::Registry,
        params: Value::Null,
        input: Value::Null,
        config: Value::Null,
        parent: None,
        pipeline: Value::Null,
        trigger: RunTrigger::Step.as_str().to_owned(),
        scheduled_at: None,
        time_ms: None,
        journal: Vec::new(),
    };
    let accepted = router.start_run(&request).await?;
    let mut events = router.run_events(request.run, 0).await?;
    let mut end = None;
    while let Some(event) = events.next().await {
        if let (_, RunEvent::Ended(ended)) = event? {
            end = Some(ended);
        }
    }
    // A router that does not answer forgets it by its age.
    let _ = router.forget_run(request.run, request.attempt).await;
    let Some(end) = end else {
        return Ok(Err(RunError::new("router", "the router ended the registry's events early")));
    };
    if let Some(error) = end.error {
        return Ok(Err(RunError { message: format!("the registry: {}", error.message), ..error }));
    }
    let modules = serde_json::from_value(end.result.unwrap_or_default()).map_err(|error| {
        RunError::new(
            "result",
            format!("the registry's default export must be an object of names and paths: {error}"),
        )
    });
    Ok(modules.map(|modules| Registry { modules, version: accepted.version }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, needs: Option<&[&str]>) -> StepSpec {
        let needs = needs.map(|needs| needs.iter().map(|need| (*need).to_owned()).collect());
        let (config, timeout_ms, retry) = Default::default();
        StepSpec { name: name.to_owned(), task: name.to_owned(), needs, config, timeout_ms, retry }
    }

    fn pipeline(steps: Vec<StepSpec>) -> PipelineSpec {
        PipelineSpec {
            name: TaskName::parse("p").unwrap(),
            description: None,
            declared_in: "deno.json".to_owned(),
            steps,
            triggers: Vec::new(),
            overlap: Default::default(),
            params: Vec::new(),
            version: Consistency::Run,
            enabled: true,
        }
    }

    #[test]
    fn steps_of_a_list_follow_each_other() {
        let spec = pipeline(vec![step("a", None), step("b", None), step("c", None)]);
        assert!(needs(&spec, &spec.steps[0]).is_empty());
        assert_eq!(needs(&spec, &spec.steps[2]), ["b"]);
        let results = BTreeMap::from([("a".to_owned(), json!(1)), ("b".to_owned(), json!(2))]);
        assert_eq!(step_input(&spec, &spec.steps[0], &json!("seed"), &results), json!("seed"));
        assert_eq!(step_input(&spec, &spec.steps[2], &json!("seed"), &results), json!(2));
    }

    #[test]
    fn a_step_with_several_needs_gets_their_results_by_name() {
        let spec = pipeline(vec![
            step("a", Some(&[])),
            step("b", Some(&[])),
            step("c", Some(&["a", "b"])),
            step("d", Some(&["a"])),
        ]);
        let results = BTreeMap::from([("a".to_owned(), json!(1)), ("b".to_owned(), json!(2))]);
        assert_eq!(step_input(&spec, &spec.steps[2], &Value::Null, &results), json!({"a": 1, "b": 2}));
        let results = BTreeMap::from([("c".to_owned(), json!(3)), ("d".to_owned(), json!(4))]);
        assert_eq!(result(&spec, &results), json!({"c": 3, "d": 4}));
    }
}
