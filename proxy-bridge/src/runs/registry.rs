//! Registries: the modules that name the modules of pipelines' steps. A router evaluates one in a run of
//! its own, which has no record, and which waits for its turn like any other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::time::timeout;

use super::active::Active;
use super::command::Done;
use super::control::Control;
use super::pipeline_state::Registry;
use super::reads::{NotRead, Read, Source};
use super::start_call::{DispatchError, answered};
use super::versions::{self, VersionMaker};
use crate::routers::{CallError, Router};
use switchyard_contract::admin::{CancelRequest, RunEvent, RunRequest, RunWork};
use switchyard_contract::digest::Digest;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::{RunError, RunId, RunTrigger};
use switchyard_contract::task::{Consistency, StepSpec};

/// The time in which a registry is read: a cell is started, and its module evaluated.
const LIMIT: Duration = Duration::from_secs(60);

/// Reads at once, of all projects: each is a process at a router, and two connections.
const READS: usize = 4;

/// The pause before a router is asked again that was busy.
const BUSY: Duration = Duration::from_millis(500);

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
        let source = Source {
            project: run.task.project.clone(),
            version: launch.version.filter(|_| consistency != Consistency::Step),
            router: launch.router.clone(),
        };
        self.reads.add(source, (id, step.name.clone()));
    }

    /// Begins the reads whose turn it is, and ends those that nobody waits for.
    pub(super) fn begin_reads(&mut self) {
        let active = &self.active;
        let goes_on = |active: &Active| active.is_orchestrating() && active.cancelled.is_none();
        for (reader, router) in self.reads.retain(|id| active.get(id).is_some_and(goes_on)) {
            self.forget_reader(reader, router, true);
        }
        let now = Instant::now();
        for mut read in std::mem::take(&mut self.reads.waiting) {
            read.not_before = read.not_before.filter(|time| *time > now);
            let has_room = self.reads.under_way.len() < READS;
            let router = self.router_for(&read).filter(|_| has_room && read.not_before.is_none());
            match router {
                Some(router) => self.begin_read(read, router),
                None => self.reads.waiting.push_back(read),
            }
        }
    }

    /// The router for a read: another one after each that was busy.
    fn router_for(&self, read: &Read) -> Option<Arc<Router>> {
        let (pipeline, _) = read.steps.first()?;
        let routers = self.routers_of(*pipeline);
        let turn = read.refusals.checked_rem(routers.len())?;
        routers.into_iter().nth(turn)
    }

    fn begin_read(&mut self, read: Read, router: Arc<Router>) {
        let reader = RunId::new_now();
        let Source { project, version, .. } = read.source.clone();
        let (maker, at) = (self.shared.maker.clone(), router.clone());
        let task = self.work.spawn(async move {
            let read = timeout(LIMIT, registry(&*maker, &at, reader, project, version)).await;
            let late = RunError::new("timeout", "the registry was not read within a minute");
            Done::RegistryRead(reader, read.unwrap_or(Err(NotRead::Failed(late))))
        });
        // A router that reports it is compared by this task, later.
        self.reads.under_way.insert(reader, (read, router, task));
    }

    /// Takes the end of a read: the steps that waited for it begin, or fail.
    pub(super) fn registry_read(&mut self, reader: RunId, result: Result<Registry, NotRead>) {
        let Some((read, router, _)) = self.reads.under_way.remove(&reader) else { return };
        let result = match result {
            Ok(registry) => Ok(registry),
            Err(NotRead::Later(why)) => {
                tracing::debug!(router = router.name(), "a registry is not read yet: {why}");
                let not_before = Some(Instant::now() + BUSY);
                let refusals = read.refusals + 1;
                return self.reads.waiting.push_back(Read { refusals, not_before, ..read });
            }
            Err(NotRead::NoVersion(error) | NotRead::Failed(error)) => Err(error),
        };
        self.forget_reader(reader, router, result.is_err());
        for (id, step) in read.steps {
            self.registry_known(id, &step, result.clone());
        }
    }

    /// Takes the registry for a step.
    fn registry_known(&mut self, id: RunId, step: &str, result: Result<Registry, RunError>) {
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
            Err(error) => self.step_failed(id, step, &error),
        }
    }

    /// Has the router forget a run that has read a registry. One that failed may still be under way.
    fn forget_reader(&mut self, reader: RunId, router: Arc<Router>, may_run: bool) {
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
) -> Result<Registry, NotRead> {
    let read = read_registry(router, reader, project.clone(), version).await;
    let (Err(NotRead::NoVersion(_)), Some(digest)) = (&read, version) else { return read };
    versions::make(maker, &project, digest, router).await.map_err(NotRead::Failed)?;
    read_registry(router, reader, project, version).await
}

async fn read_registry(
    router: &Router,
    reader: RunId,
    project: ProjectName,
    version: Option<Digest>,
) -> Result<Registry, NotRead> {
    let request = RunRequest {
        run: reader,
        attempt: 1,
        project,
        incarnation: None,
        version,
        work: RunWork::Registry,
        params: Value::Null,
        input: Value::Null,
        config: Value::Null,
        parent: None,
        depth: 1,
        pipeline: Value::Null,
        trigger: RunTrigger::Step.as_str().to_owned(),
        scheduled_at: None,
        time_ms: None,
        journal: Vec::new(),
        traceparent: None,
    };
    let broken = |error: CallError| {
        let message = format!("the registry cannot be read at {}: {error}", router.name());
        NotRead::Failed(RunError::new("router", message))
    };
    let accepted = router.start_run(&request).await.map_err(|error| match error {
        CallError::Answered { status, problem } => not_begun(answered(&request, status, &problem)),
        CallError::NotConnected(why) => NotRead::Later(why),
        error => broken(error),
    })?;
    let mut events = router.run_events(reader, 0).await.map_err(broken)?;
    let mut end = None;
    while let Some(event) = events.next().await {
        if let (_, RunEvent::Ended(ended)) = event.map_err(broken)? {
            end = Some(ended);
        }
    }
    let failed = |reason: &str, message| NotRead::Failed(RunError::new(reason, message));
    let Some(end) = end else {
        return Err(failed("router", "the router ended the registry's events early".to_owned()));
    };
    if let Some(error) = end.error {
        return Err(NotRead::Failed(RunError {
            message: format!("the registry: {}", error.message),
            ..error
        }));
    }
    let modules = serde_json::from_value(end.result.unwrap_or_default()).map_err(|error| {
        let expected = "the registry's default export must be an object of names and paths";
        failed("result", format!("{expected}: {error}"))
    })?;
    Ok(Registry { modules, version: accepted.version })
}

/// The meaning of a router's refusal. One that is busy, stops, or does not have the project yet may
/// read it later.
fn not_begun(error: DispatchError) -> NotRead {
    match error {
        DispatchError::Busy(why) | DispatchError::NotStarted(why) | DispatchError::Lost(why) => {
            NotRead::Later(why)
        }
        DispatchError::NoVersion(error) => NotRead::NoVersion(error),
        DispatchError::Refused(error) => NotRead::Failed(error),
    }
}
