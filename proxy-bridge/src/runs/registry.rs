//! Registries: the modules that name the modules of pipelines' steps. A router evaluates one in a run of
//! its own, which has no record.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::time::timeout;

use super::command::Done;
use super::control::Control;
use super::pipeline_state::{Registry, RegistryRead};
use super::versions::{self, VersionMaker};
use crate::routers::{CallError, Router};
use switchyard_contract::admin::{CancelRequest, RunEvent, RunRequest, RunWork};
use switchyard_contract::digest::Digest;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::{RunError, RunId, RunTrigger};
use switchyard_contract::task::{Consistency, StepSpec};

/// The time in which a registry is read: a cell is started, and its module evaluated.
const LIMIT: Duration = Duration::from_secs(60);

impl Control {
    /// Begins a step: with its module's path from the registry, if there is one.
    pub(super) fn begin_step(&mut self, id: RunId, step: &StepSpec) {
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
        let (project, step) = (run.task.project.clone(), step.name.clone());
        let maker = self.shared.maker.clone();
        let Some(router) = self.routers_of(id).into_iter().next() else {
            let error = RunError::new("router", "no router is ready to read the registry");
            return self.step_failed(id, &step, &error);
        };
        let reader = RunId::new_now();
        // Known before the router can report it.
        self.readers.insert(reader);
        self.work.spawn(async move {
            let read = timeout(LIMIT, registry(&*maker, &router, reader, project, version)).await;
            let late = || Err(RunError::new("timeout", "the registry was not read within a minute"));
            let result = read.unwrap_or_else(|_| late());
            Done::RegistryRead(RegistryRead { reader, router, pipeline: id, step, result })
        });
    }

    /// Takes the registry for a step.
    pub(super) fn registry_read(&mut self, read: RegistryRead) {
        let RegistryRead { reader, router, pipeline: id, step, result } = read;
        self.reader_ended(reader, router, result.is_err());
        let Some(active) = self.active.get_mut(id).filter(|active| active.is_orchestrating()) else { return };
        if active.cancelled.is_some() {
            return;
        }
        let spec = active.launch.pipeline.as_ref();
        let spec = spec.and_then(|spec| spec.steps.iter().find(|other| other.name == step));
        let (Some(spec), Some(state)) = (spec.cloned(), active.pipeline.as_mut()) else { return };
        match result {
            Ok(registry) => {
                state.registry = Some(registry.clone());
                self.start_step(id, &spec, Some(registry));
            }
            Err(error) => self.step_failed(id, &step, &error),
        }
    }

    /// Has the router forget a run that has read a registry. One that failed may still be under way.
    fn reader_ended(&mut self, reader: RunId, router: Arc<Router>, may_run: bool) {
        self.readers.remove(&reader);
        self.work.spawn(async move {
            if may_run {
                let cancel = CancelRequest { reason: "cancelled".to_owned(), grace_ms: 0 };
                let _ = router.cancel_run(reader, &cancel).await;
            }
            // A router that does not answer forgets it by its age.
            let _ = router.forget_run(reader, 1).await;
            Done::Nothing
        });
    }
}

/// Has a router evaluate the registry of a version, which is made again there if it is gone.
async fn registry(
    maker: &dyn VersionMaker,
    router: &Arc<Router>,
    reader: RunId,
    project: ProjectName,
    version: Option<Digest>,
) -> Result<Registry, RunError> {
    let failed = |error: CallError| {
        RunError::new("router", format!("the registry cannot be read at {}: {error}", router.name()))
    };
    match (read_registry(router, reader, project.clone(), version).await, version) {
        (Ok(read), _) => read,
        (Err(error), Some(digest)) if versions::is_unknown_version(&error) => {
            versions::make(maker, &project, digest, router).await?;
            read_registry(router, reader, project, version).await.map_err(failed)?
        }
        (Err(error), _) => Err(failed(error)),
    }
}

async fn read_registry(
    router: &Router,
    reader: RunId,
    project: ProjectName,
    version: Option<Digest>,
) -> Result<Result<Registry, RunError>, CallError> {
    let request = RunRequest {
        run: reader,
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
    let mut events = router.run_events(reader, 0).await?;
    let mut end = None;
    while let Some(event) = events.next().await {
        if let (_, RunEvent::Ended(ended)) = event? {
            end = Some(ended);
        }
    }
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
