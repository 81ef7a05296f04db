//! The control of all sources: one task each, which carries out what its machine decides. The handle
//! answers requests from the sources' latest states and hands commands to their tasks.

mod command;
mod deploy;
mod drift;
mod fetch;
mod metrics;
mod mirrors;
mod overrides;
mod owners;
mod previews;
mod progress;
mod prune;
mod remake;
mod report;
mod store;
mod task;
mod versions;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::command::Command;
use self::metrics::SourceMetrics;
use self::mirrors::Mirrors;
use self::owners::Owners;
use self::previews::Keeper;
use self::store::{Applied, Store};
use self::task::SourceTask;
use super::commit;
use super::machine::SyncOptions;
use super::settings::{SourceSettings, SourcesFile};
use crate::deploys::Deploys;
use crate::git::{Git, ObjectId, RefTarget};
use crate::hooks::{HookTarget, Push};
use crate::routers::Routers;
use crate::upload_limits::UploadLimits;
use switchyard_contract::digest::Digest;
use switchyard_contract::project::ProjectName;
use switchyard_contract::settings_file::read_text;
use switchyard_contract::source::{Explanation, HookDelivery, SourceState, SourceStatus, SyncReport};
use switchyard_edge::problem::Problem;
use switchyard_edge::webhook::WebhookSecret;
use switchyard_program::settings::InvalidSetting;

/// Commands that wait for one task. Hints beyond it are dropped, because the task asks the server
/// anyway; requests beyond it are refused.
const MAX_COMMANDS: usize = 256;

/// The slug of the problem of a deploy that an override is in the way of.
const OVERRIDDEN: &str = "overridden";

/// Uses of git at once, by all sources together: each is a process.
const MAX_GITS: usize = 8;

/// The longest wait for the end of a sync. Each of its steps ends sooner.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// The parts that the control is built from.
pub struct SourceParts {
    /// The settings of all sources.
    pub file: SourcesFile,
    /// The git command.
    pub git: Git,
    /// The folder for mirrors and states.
    pub state: PathBuf,
    /// The deploys, into which syncs turn.
    pub deploys: Deploys,
    /// The routers, which report the files on the volume.
    pub routers: Routers,
    /// The bounds of one project.
    pub limits: UploadLimits,
}

/// All git sources. Cheap to clone.
#[derive(Clone)]
pub struct Sources(Arc<Shared>);

struct Shared {
    file: SourcesFile,
    context: Arc<Context>,
    sources: Mutex<BTreeMap<String, Running>>,
    /// The task that compares the volume with what is applied.
    drift: Mutex<Option<JoinHandle<()>>>,
}

/// The parts that all tasks share.
pub(super) struct Context {
    deploys: Deploys,
    routers: Routers,
    limits: UploadLimits,
    mirrors: Mirrors,
    store: Store,
    gits: Semaphore,
    /// Held while overrides are changed.
    overriding: tokio::sync::Mutex<()>,
    /// Held while a version is made again.
    remaking: tokio::sync::Mutex<()>,
    /// The folder for files of versions that are made again for runs. Emptied at the start.
    remakes: PathBuf,
    metrics: SourceMetrics,
    /// The source of each project.
    owners: Mutex<Owners>,
    /// The ways to the tasks of all sources.
    tasks: Mutex<BTreeMap<String, mpsc::WeakSender<Command>>>,
    /// The projects that each source has deployed.
    applied: Mutex<BTreeMap<String, Arc<Mutex<Applied>>>>,
}

/// A source and its task.
struct Running {
    settings: Arc<SourceSettings>,
    webhook: Option<WebhookSecret>,
    last_hook: Option<HookDelivery>,
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<SourceStatus>,
    applied: Arc<Mutex<Applied>>,
    /// The projects whose files on the volume are others, with their digests. `None`: the project is not
    /// there any more.
    drift: BTreeMap<ProjectName, Option<Digest>>,
    task: JoinHandle<()>,
    /// The keeper of the source's previews, if it has or had some.
    keeper: Option<Keeper>,
    /// True for a preview whose projects are being removed.
    is_ending: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sources {
    /// Starts the tasks of all sources. Must be called in the context of the runtime.
    ///
    /// # Errors
    /// The state folder cannot be made, or a webhook's secret cannot be used.
    pub fn start(parts: SourceParts) -> anyhow::Result<Self> {
        let SourceParts { file, git, state, deploys, routers, limits } = parts;
        let remakes = state.join("remakes");
        // Leftovers of a bridge that was killed.
        let _ = std::fs::remove_dir_all(&remakes);
        std::fs::create_dir_all(&remakes)?;
        let context = Arc::new(Context {
            deploys,
            routers: routers.clone(),
            limits,
            mirrors: Mirrors::new(git, state.join("mirrors")),
            store: Store::open(state.join("sources"))?,
            gits: Semaphore::new(MAX_GITS),
            overriding: tokio::sync::Mutex::default(),
            remaking: tokio::sync::Mutex::default(),
            remakes,
            metrics: SourceMetrics::default(),
            owners: Mutex::default(),
            tasks: Mutex::default(),
            applied: Mutex::default(),
        });
        let shared =
            Shared { file: file.clone(), context, sources: Mutex::default(), drift: Mutex::default() };
        let sources = Self(Arc::new(shared));
        sources.apply(&file).map_err(|faults| anyhow::anyhow!("{}", join(&faults)))?;
        *lock(&sources.0.drift) = Some(tokio::spawn(drift::watch(sources.clone(), routers)));
        Ok(sources)
    }

    /// Reads the file again. Sources that are no longer in it are not followed any more; their
    /// projects stay. Returns the number of sources. Blocking.
    ///
    /// # Errors
    /// All that is wrong with the file. Everything stays as it was.
    pub fn reload(&self) -> Result<usize, Vec<InvalidSetting>> {
        let file = self.0.file.read_again()?;
        self.apply(&file)?;
        Ok(file.sources().len())
    }

    fn apply(&self, file: &SourcesFile) -> Result<(), Vec<InvalidSetting>> {
        let mut faults = Vec::new();
        let mut wanted = Vec::new();
        for settings in file.sources() {
            match webhook(settings) {
                Ok(webhook) => wanted.push((Arc::new(settings.clone()), webhook)),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        self.0.context.mirrors.set_limits(file.sources());
        let known = self.0.context.store.previews();
        let mut sources = self.sources();
        sources.retain(|_, running| file.get(running.settings.in_file()).is_some());
        for (settings, webhook) in wanted {
            let name = settings.name.to_string();
            match sources.get_mut(&name) {
                Some(running) => {
                    if *running.settings != *settings {
                        self.0.context.owners().expect(&name);
                    }
                    running.configure(settings.clone(), webhook);
                }
                None => {
                    sources.insert(name.clone(), self.run(settings.clone(), webhook));
                }
            }
            self.resume_previews(&mut sources, &settings, &known);
        }
        let names: Vec<_> = sources.keys().cloned().collect();
        drop(sources);
        let is_kept = |name: &str| names.iter().any(|kept| kept == name);
        lock(&self.0.context.applied).retain(|name, _| is_kept(name));
        lock(&self.0.context.tasks).retain(|name, _| is_kept(name));
        let woken = self.0.context.owners().retain(is_kept);
        self.0.context.wake(woken);
        Ok(())
    }

    fn run(&self, settings: Arc<SourceSettings>, webhook: Option<WebhookSecret>) -> Running {
        let context = self.0.context.clone();
        let state = context.store.read(settings.name.as_str());
        let applied = Arc::new(Mutex::new(Applied { preview: settings.preview.clone(), ..state }));
        context.own(settings.name.as_str(), &lock(&applied));
        lock(&context.applied).insert(settings.name.to_string(), applied.clone());
        if settings.preview.is_none() {
            context.owners().expect(settings.name.as_str());
        }
        let (commands, received) = mpsc::channel(MAX_COMMANDS);
        lock(&context.tasks).insert(settings.name.to_string(), commands.downgrade());
        let (task, status) = SourceTask::new(context, settings.clone(), applied.clone(), received);
        let task = tokio::spawn(task.run());
        Running {
            settings,
            webhook,
            last_hook: None,
            commands,
            status,
            applied,
            drift: BTreeMap::new(),
            task,
            keeper: None,
            is_ending: false,
        }
    }

    /// The names of all sources of the file. Previews are not among them.
    pub fn names(&self) -> Vec<String> {
        let sources = self.sources();
        let in_file = sources.iter().filter(|(_, running)| running.settings.preview.is_none());
        in_file.map(|(name, _)| name.clone()).collect()
    }

    /// The states of all sources, by name.
    pub fn statuses(&self) -> Vec<SourceStatus> {
        self.sources().values().map(|running| self.show(running)).collect()
    }

    /// The state of one source.
    pub fn status(&self, name: &str) -> Option<SourceStatus> {
        self.sources().get(name).map(|running| self.show(running))
    }

    fn show(&self, running: &Running) -> SourceStatus {
        let mut status = running.status();
        for project in &mut status.projects {
            project.overridden = self.0.context.overridden(&project.project);
        }
        status
    }

    /// The projects that a source has, or is bound to by its settings.
    pub fn projects_of(&self, name: &str) -> Vec<ProjectName> {
        let sources = self.sources();
        let Some(running) = sources.get(name) else { return Vec::new() };
        let applied = lock(&running.applied);
        let named = running.settings.named_projects();
        let mut projects: Vec<_> = applied.projects.keys().cloned().chain(named).collect();
        projects.sort();
        projects.dedup();
        projects
    }

    /// The source that a project is bound to.
    pub fn owner(&self, project: &ProjectName) -> Option<String> {
        if let Some(owner) = self.0.context.owners().get(project) {
            return Some(owner.clone());
        }
        let sources = self.sources();
        let claims = |running: &Running| running.settings.named_projects().any(|name| name == *project);
        sources.iter().find(|(_, running)| claims(running)).map(|(name, _)| name.clone())
    }

    /// Asks the server, deploys what is new, and returns when that is live, or is not.
    ///
    /// # Errors
    /// 404 for an unknown source, 503 when too many wait already.
    pub async fn sync(&self, name: &str, options: SyncOptions<ObjectId>) -> Result<SyncReport, Problem> {
        self.ask(name, |reply| Command::Sync { options, reply: Some(reply) }).await
    }

    /// Has a source sync, without waiting for it.
    ///
    /// # Errors
    /// 404 for an unknown source, 503 when too many wait already.
    pub fn request(&self, name: &str, options: SyncOptions<ObjectId>) -> Result<(), Problem> {
        self.send(name, Command::Sync { options, reply: None })
    }

    /// Publishes the commit that is ready, or the named one.
    ///
    /// # Errors
    /// 404 for an unknown source, 409 without a commit, 503 when too many wait already.
    pub async fn publish(&self, name: &str, commit: Option<ObjectId>) -> Result<SyncReport, Problem> {
        self.ask(name, |reply| Command::Publish { commit, reply }).await
    }

    /// Approves the removal that the source asks for.
    ///
    /// # Errors
    /// 404 for an unknown source, 409 without a question, 503 when too many wait already.
    pub async fn approve(&self, name: &str) -> Result<SyncReport, Problem> {
        self.ask(name, |reply| Command::Approve { reply }).await
    }

    /// Keeps a source from deploying anything, with a reason, or lets it go on (`None`). Returns the
    /// state from then on.
    ///
    /// # Errors
    /// 404 for an unknown source, 503 when too many commands wait already, 507 if that could not be
    /// written: it holds, and a restart forgets it.
    pub async fn freeze(&self, name: &str, reason: Option<String>) -> Result<SourceStatus, Problem> {
        let (reply, done) = oneshot::channel();
        self.send(name, Command::Freeze { reason, reply })?;
        done.await.map_err(|_| stopped(name))??;
        self.status(name).ok_or_else(|| unknown(name))
    }

    /// Has a source compare these projects again, because their files on the volume are not its own.
    pub fn restore(&self, name: &str, projects: Vec<ProjectName>) {
        // Without room the next comparison reports them again.
        let _ = self.send(name, Command::Restore { projects });
    }

    /// Returns why a commit changes projects, or does not. Without `commit`: the newest one that the
    /// server has shown.
    ///
    /// # Errors
    /// 404 for an unknown source or project, 409 before the first fetch, 422 for a commit that cannot
    /// be read.
    pub async fn explain(
        &self,
        name: &str,
        project: Option<&ProjectName>,
        commit: Option<ObjectId>,
    ) -> Result<Explanation, Problem> {
        let (settings, status, applied) = {
            let sources = self.sources();
            let running = sources.get(name).ok_or_else(|| unknown(name))?;
            let applied = lock(&running.applied).clone();
            (running.settings.clone(), running.status(), applied)
        };
        let context = &self.0.context;
        let commit = commit.or_else(|| status.seen.as_ref().and_then(|seen| seen.parse().ok()));
        let commit = commit.ok_or_else(|| {
            let detail = format!("{name} was not fetched yet: see switchyard source show {name}");
            Problem::new(StatusCode::CONFLICT, "not-fetched", detail)
        })?;
        let read = async {
            let _permit = context.gits.acquire().await;
            let mirror = context.mirrors.open(&settings).await?;
            commit::read(&mirror, &context.mirrors, &settings, &commit, &context.limits).await
        };
        let read = read.await.map_err(|error| {
            let detail = format!("commit {} cannot be read: {error}", commit.short());
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unreadable-commit", detail)
        })?;
        let mut projects = commit::explain(&applied.projects, &read);
        if let Some(project) = project {
            projects.retain(|explained| explained.project == *project);
            if projects.is_empty() {
                let detail =
                    format!("neither the commit nor what is live of source {name} has a project {project}");
                return Err(Problem::new(StatusCode::NOT_FOUND, "unknown-project", detail));
            }
        }
        let commit = commit.to_string();
        Ok(Explanation {
            source: name.to_owned(),
            notes: report::notes(&status, &commit, &read.plan.unmatched),
            commit,
            applied: status.applied,
            projects,
        })
    }

    /// The metrics of all sources.
    pub fn metrics(&self) -> Arc<dyn crate::metrics::MetricSource> {
        Arc::new(self.clone())
    }

    /// Ends all tasks. Deploys that were started go on.
    pub fn stop(&self) {
        if let Some(drift) = lock(&self.0.drift).take() {
            drift.abort();
        }
        self.sources().clear();
    }

    async fn ask(
        &self,
        name: &str,
        command: impl FnOnce(oneshot::Sender<Result<SyncReport, Problem>>) -> Command,
    ) -> Result<SyncReport, Problem> {
        let (reply, answer) = oneshot::channel();
        self.send(name, command(reply))?;
        match timeout(MAX_WAIT, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(stopped(name)),
            Err(_) => {
                let detail = format!("{name} still syncs: see switchyard source show {name}");
                Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", detail))
            }
        }
    }

    fn send(&self, name: &str, command: Command) -> Result<(), Problem> {
        let sources = self.sources();
        let running = sources.get(name).ok_or_else(|| unknown(name))?;
        running.commands.try_send(command).map_err(|_| {
            let detail = format!("too many commands wait for source {name}: try again soon");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
        })
    }

    fn sources(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        lock(&self.0.sources)
    }
}

impl HookTarget for Sources {
    fn webhook(&self, source: &str) -> Option<WebhookSecret> {
        self.sources().get(source)?.webhook.clone()
    }

    fn hint(&self, source: &str, push: Push) {
        let mut sources = self.sources();
        let Some(running) = sources.get_mut(source) else { return };
        let is_followed = running.settings.follows(push.ref_name.as_deref());
        let preview = running.keeper.as_ref().and_then(|keeper| keeper.hint(&running.settings, &push));
        let shown = push.ref_name.as_deref().unwrap_or("unknown refs");
        let rest = if is_followed || preview.is_some() { "" } else { ", which is not followed" };
        let detail = format!("push of {shown}{rest}");
        running.last_hook = Some(HookDelivery { at: Timestamp::now(), accepted: true, detail });
        if is_followed {
            // The id that a push of a tag names may be that of the tag.
            let names_commits = !matches!(running.settings.target, RefTarget::Tag(_));
            let after = push.after.filter(|_| names_commits).and_then(|after| after.parse().ok());
            // A full queue has commands in it that ask the server.
            let _ = running.commands.try_send(Command::Hint { after });
        }
        if let Some((name, Some(after))) = preview
            && let Some(preview) = sources.get(&name)
        {
            // At once; the keeper asks for all branches before.
            let _ = preview.commands.try_send(Command::Hint { after: Some(after) });
        }
    }

    fn refused(&self, source: &str, why: &str) {
        if let Some(running) = self.sources().get_mut(source) {
            let (at, detail) = (Timestamp::now(), format!("refused: {why}"));
            running.last_hook = Some(HookDelivery { at, accepted: false, detail });
        }
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("file", &self.0.file.path()).finish_non_exhaustive()
    }
}

impl Running {
    fn status(&self) -> SourceStatus {
        let mut status = SourceStatus { last_hook: self.last_hook.clone(), ..self.status.borrow().clone() };
        for project in &mut status.projects {
            let drift = self.drift.get(&project.project).copied();
            project.missing = drift == Some(None);
            project.drift = drift.flatten();
        }
        status
    }

    fn is_deploying(&self) -> bool {
        self.status.borrow().state == SourceState::Deploying
    }

    fn configure(&mut self, settings: Arc<SourceSettings>, webhook: Option<WebhookSecret>) {
        self.webhook = webhook;
        if *settings != *self.settings {
            self.settings = settings.clone();
            let commands = self.commands.clone();
            // Waits for room, which a full queue has soon: the settings must not be lost.
            tokio::spawn(async move {
                let _ = commands.send(Command::Configure(settings)).await;
            });
        }
    }
}

impl Context {
    fn owners(&self) -> MutexGuard<'_, Owners> {
        lock(&self.owners)
    }

    /// Binds the projects of `applied` to `source`, and no others.
    fn own(&self, source: &str, applied: &Applied) {
        self.owners().own(source, applied.projects.keys());
    }

    /// Passes projects over to the source that has deployed them. Their sources so far forget them.
    fn take<'p>(&self, source: &str, projects: impl Iterator<Item = &'p ProjectName>) {
        let taken = self.owners().take(source, projects);
        for (project, before) in &taken {
            let applied = lock(&self.applied).get(before).cloned();
            if let Some(applied) = applied {
                lock(&applied).projects.remove(project);
            }
            tracing::info!(
                event = "source.passed-on",
                source,
                project.name = project.as_str(),
                "source {source} has {project} now, which source {before} had"
            );
        }
        self.wake(taken.into_iter().map(|(_, before)| before).collect());
    }

    /// Has sources compare their commits again.
    fn wake(&self, sources: Vec<String>) {
        for source in sources {
            let commands = lock(&self.tasks).get(&source).and_then(mpsc::WeakSender::upgrade);
            let Some(commands) = commands else { continue };
            // Waits for room, which a full queue has soon.
            tokio::spawn(async move {
                let _ = commands.send(Command::Compare).await;
            });
        }
    }
}

impl SourceSettings {
    /// The name of the source in the file.
    fn in_file(&self) -> &str {
        self.preview.as_ref().map_or(self.name.as_str(), |preview| &preview.source)
    }

    /// Returns true if a push of this ref may change what the source follows. `None`: any ref may
    /// have changed.
    fn follows(&self, ref_name: Option<&str>) -> bool {
        let Some(pushed) = ref_name else { return true };
        match (&self.target, self.target.ref_name()) {
            (RefTarget::Commit(_), _) | (_, None) => false,
            (RefTarget::Ref(name), _) if name == "HEAD" => pushed.starts_with("refs/heads/"),
            (_, Some(followed)) => match followed.strip_suffix('*') {
                Some(beginning) => pushed.starts_with(beginning),
                None => pushed == followed,
            },
        }
    }
}

/// Reads the secret of a source's webhook.
fn webhook(settings: &SourceSettings) -> Result<Option<WebhookSecret>, InvalidSetting> {
    let Some(webhook) = &settings.webhook else { return Ok(None) };
    let file = webhook.secret.as_path();
    let wrong = |error: String| {
        InvalidSetting(format!("source {:?}: webhook: {}: {error}", settings.name.as_str(), file.display()))
    };
    let text = read_text(file).map_err(|error| wrong(error.to_string()))?;
    WebhookSecret::new(webhook.kind, [text]).map(Some).map_err(|error| wrong(error.to_string()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn join(faults: &[InvalidSetting]) -> String {
    faults.iter().map(|fault| fault.0.as_str()).collect::<Vec<_>>().join("; ")
}

/// The problem of a name that no source has.
pub fn unknown(name: &str) -> Problem {
    let detail = format!("there is no source {name:?}: switchyard source list shows all");
    Problem::new(StatusCode::NOT_FOUND, "unknown-source", detail)
}

fn stopped(name: &str) -> Problem {
    let detail = format!("source {name} is no longer followed, or the bridge is stopping");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
}

#[cfg(test)]
mod tests;
