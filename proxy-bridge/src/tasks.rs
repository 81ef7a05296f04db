//! The tasks and pipelines that live versions declare, as the routers report them.
//!
//! The last known ones are in the ledger, so schedules go on while no router is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use switchyard_contract::digest::Digest;
use switchyard_contract::project::ProjectName;
use switchyard_contract::task::{
    Consistency, Overlap, ParamSpec, PipelineSpec, ProjectTasks, TaskId, TaskSpec, TaskTrigger,
};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::ledger::{Ledger, LedgerError};
use crate::routers::{CallError, Router, Routers, TaskVersion};

/// Projects whose tasks are requested at once.
const REQUESTS: usize = 8;

/// The pause before a project is requested again whose tasks could not be had.
const RETRY: Duration = Duration::from_millis(500);

/// All known tasks, by project.
type Known = BTreeMap<ProjectName, Arc<ProjectTasks>>;

/// The tasks and pipelines of all projects. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    known: RwLock<Arc<Known>>,
    /// Counts the changes.
    changed: watch::Sender<u64>,
}

/// A task or pipeline, with the version that declares it.
#[derive(Debug, Clone)]
pub enum Declared {
    /// A task.
    Task(Arc<ProjectTasks>, TaskSpec),
    /// A pipeline.
    Pipeline(Arc<ProjectTasks>, PipelineSpec),
}

impl Catalog {
    /// Follows the routers. The caller owns the task, which ends when it is aborted.
    ///
    /// # Errors
    /// The last known tasks cannot be read.
    pub async fn start(routers: Routers, ledger: Ledger) -> Result<(Self, JoinHandle<()>), LedgerError> {
        let stored = match ledger.tasks().await {
            // The routers report them.
            Err(LedgerError::Full) => Vec::new(),
            stored => stored?,
        };
        let known = stored.into_iter().map(|tasks| (tasks.project.clone(), Arc::new(tasks))).collect();
        let catalog =
            Self(Arc::new(Shared { known: RwLock::new(Arc::new(known)), changed: watch::Sender::new(0) }));
        let follower = Follower { catalog: catalog.clone(), routers, ledger, requests: JoinSet::new() };
        Ok((catalog, tokio::spawn(follower.run())))
    }

    /// All known tasks at this moment.
    pub fn all(&self) -> Arc<Known> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The task or pipeline of this id, if a live version declares it.
    pub fn find(&self, id: &TaskId) -> Option<Declared> {
        let tasks = self.all().get(&id.project)?.clone();
        if let Some(task) = tasks.set.task(&id.name).cloned() {
            return Some(Declared::Task(tasks, task));
        }
        let pipeline = tasks.set.pipeline(&id.name).cloned()?;
        Some(Declared::Pipeline(tasks, pipeline))
    }

    /// Returns a counter that grows with each change.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Puts the tasks of a project in place of those known before. Returns those.
    pub(crate) fn put(&self, tasks: ProjectTasks) -> Option<Arc<ProjectTasks>> {
        let name = tasks.project.clone();
        self.change(|known| known.insert(name, Arc::new(tasks)))
    }

    fn remove(&self, project: &ProjectName) -> Option<Arc<ProjectTasks>> {
        self.change(|known| known.remove(project))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        let result = {
            let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
            change(Arc::make_mut(&mut known))
        };
        self.0.changed.send_modify(|count| *count += 1);
        result
    }
}

impl Declared {
    /// The version that declares it.
    pub fn tasks(&self) -> &Arc<ProjectTasks> {
        match self {
            Self::Task(tasks, _) | Self::Pipeline(tasks, _) => tasks,
        }
    }

    /// The triggers besides a person.
    pub fn triggers(&self) -> &[TaskTrigger] {
        match self {
            Self::Task(_, task) => &task.triggers,
            Self::Pipeline(_, pipeline) => &pipeline.triggers,
        }
    }

    /// The parameters that it takes.
    pub fn params(&self) -> &[ParamSpec] {
        match self {
            Self::Task(_, task) => &task.params,
            Self::Pipeline(_, pipeline) => &pipeline.params,
        }
    }

    /// The rule for triggers while a run of it is under way.
    pub fn overlap(&self) -> Overlap {
        match self {
            Self::Task(_, task) => task.overlap,
            Self::Pipeline(_, pipeline) => pipeline.overlap,
        }
    }

    /// The rule for the code of later steps, retries and resumed runs.
    pub fn consistency(&self) -> Consistency {
        match self {
            Self::Task(_, task) => task.version,
            Self::Pipeline(_, pipeline) => pipeline.version,
        }
    }
}

/// The task that keeps the catalog up to date.
struct Follower {
    catalog: Catalog,
    routers: Routers,
    ledger: Ledger,
    requests: JoinSet<(ProjectName, Result<ProjectTasks, CallError>)>,
}

impl Follower {
    async fn run(mut self) {
        let mut changed = self.routers.changed();
        let mut requested = BTreeSet::new();
        let mut is_retry_due = false;
        loop {
            let wanted = self.wanted();
            for (project, router) in wanted {
                if self.requests.len() < REQUESTS && requested.insert(project.clone()) {
                    self.requests.spawn(async move {
                        let tasks = router.tasks(project.as_str()).await;
                        (project, tasks)
                    });
                }
            }
            let retry = async {
                match std::mem::take(&mut is_retry_due) {
                    true => sleep(RETRY).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = changed.changed() => if changed.is_err() { return },
                Some(answer) = self.requests.join_next() => {
                    let Ok((project, answer)) = answer else { continue };
                    requested.remove(&project);
                    match answer {
                        Ok(tasks) => self.received(tasks).await,
                        Err(error) => {
                            tracing::debug!(project.name = %project, "the tasks of {project} are not known: {error}");
                            is_retry_due = true;
                        }
                    }
                }
                () = retry => {}
            }
        }
    }

    /// The projects whose tasks differ from those known, each with a router to ask. Forgets projects
    /// that no router has any more.
    fn wanted(&mut self) -> Vec<(ProjectName, Arc<Router>)> {
        let known = self.catalog.all();
        let mut reported: BTreeMap<String, (TaskVersion, Arc<Router>)> = BTreeMap::new();
        let mut has_any = false;
        for router in self.routers.list().iter().filter(|router| router.is_ready()) {
            has_any = true;
            for version in router.task_versions() {
                if !router.is_behind(&version.project) {
                    reported.entry(version.project.clone()).or_insert((version, router.clone()));
                }
            }
        }
        if has_any {
            let gone: Vec<_> =
                known.keys().filter(|project| !reported.contains_key(project.as_str())).cloned().collect();
            gone.iter().for_each(|project| self.gone(project));
        }
        let differs = |name: &ProjectName, reported: &TaskVersion| {
            known.get(name).is_none_or(|known| {
                known.hash != reported.hash
                    || known.digest.to_string() != reported.digest
                    || reported.limits.is_some_and(|limits| limits != known.limits)
            })
        };
        let named = reported
            .into_iter()
            .filter_map(|(name, reported)| Some((ProjectName::parse(&name).ok()?, reported)));
        named
            .filter(|(name, (reported, _))| differs(name, reported))
            .map(|(name, (_, router))| (name, router))
            .collect()
    }

    async fn received(&mut self, tasks: ProjectTasks) {
        let before = self.catalog.put(tasks.clone());
        log_changes(before.as_deref(), Some(&tasks));
        if let Err(error) = self.ledger.put_tasks(tasks).await {
            tracing::warn!("the tasks of a project are not kept in the ledger: {error}");
        }
    }

    fn gone(&mut self, project: &ProjectName) {
        let before = self.catalog.remove(project);
        log_changes(before.as_deref(), None);
        let (ledger, project) = (self.ledger.clone(), project.clone());
        tokio::spawn(async move {
            if let Err(error) = ledger.drop_tasks(project).await {
                tracing::warn!("the tasks of a removed project stay in the ledger: {error}");
            }
        });
    }
}

/// Logs the events `task.registered`, `task.updated` and `task.removed`.
fn log_changes(before: Option<&ProjectTasks>, after: Option<&ProjectTasks>) {
    let hashes = |tasks: Option<&ProjectTasks>| -> BTreeMap<TaskId, (String, Digest)> {
        let Some(tasks) = tasks else { return BTreeMap::new() };
        let id = |name| TaskId::new(&tasks.project, name);
        let of_tasks = tasks.set.tasks.iter().map(|task| (id(&task.name), (task.hash(), tasks.digest)));
        let pipelines = tasks.set.pipelines.iter().map(|task| (id(&task.name), (task.hash(), tasks.digest)));
        of_tasks.chain(pipelines).collect()
    };
    let (before, after) = (hashes(before), hashes(after));
    for (task, state) in &after {
        let (spec, digest) = state;
        match before.get(task) {
            None => {
                tracing::info!(event = "task.registered", task = %task, spec, digest = %digest, "{task} is registered")
            }
            Some(known) if known != state => {
                tracing::info!(event = "task.updated", task = %task, spec, digest = %digest, "{task} is updated");
            }
            Some(_) => {}
        }
    }
    for task in before.keys().filter(|task| !after.contains_key(*task)) {
        tracing::info!(event = "task.removed", task = %task, "{task} is removed");
    }
}
