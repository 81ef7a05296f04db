//! The task of one source: feeds its machine with commands, timers and ends of work, and carries out
//! the effects.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{sleep, sleep_until};

use super::command::{Answer, Command, Reply};
use super::deploy::{Deployed, Order, deploy};
use super::fetch::{Fetched, Known, fetch, known_tag, read, refetch};
use super::progress::Progress;
use super::prune::prune;
use super::store::Applied;
use super::{Context, lock, previews, report};
use crate::git::{ObjectId, Resolved};
use crate::sources::commit::{self, ReadCommit};
use crate::sources::machine::{
    Changes, CommitSet, DeployOutcome, Effect, Event, Fault, Machine, MachineSettings, Outcome, ProblemKind,
    RemovedProjects, RequestId, SourceEvent, Timer, WorkKind,
};
use crate::sources::settings::{OnRemoval, PublishMode, SourceSettings};
use crate::sources::windows::{Window, denied_until};
use switchyard_contract::project::ProjectName;
use switchyard_contract::source::{
    SourceProblem, SourceProject, SourceState, SourceStatus, SyncOutcome, SyncReport,
};

/// Commits of earlier deploys that stay in the mirror: a version whose files are gone is made again
/// from one.
const KEPT_COMMITS: usize = 20;

/// A step that came to its end.
enum Done {
    Fetched(Result<Fetched, Fault>),
    Read(Result<(Arc<ReadCommit>, Changes), Fault>, Option<Deployed>),
    Deployed(Result<Deployed, Fault>),
}

/// The task of one source.
pub(super) struct SourceTask {
    context: Arc<Context>,
    settings: Arc<SourceSettings>,
    windows: Vec<Window>,
    machine: Machine<ObjectId>,
    applied: Arc<Mutex<Applied>>,
    commands: mpsc::Receiver<Command>,
    status: watch::Sender<SourceStatus>,
    timers: HashMap<Timer, (tokio::time::Instant, Timestamp)>,
    window_ends: Option<Timestamp>,
    work: Option<Work>,
    pruning: Option<JoinHandle<()>>,
    must_prune: bool,
    must_repair: bool,
    progress: Progress,
    read: Option<Arc<ReadCommit>>,
    mirror_bytes: u64,
    /// The last commit that was fetched, and is in the mirror.
    held: Option<ObjectId>,
    /// The state as it was last written.
    written: Applied,
    requests: HashMap<RequestId, Reply>,
    next_request: u64,
}

/// The step under way. Dropped, it is ended.
struct Work {
    phase: &'static str,
    began: Instant,
    handle: JoinHandle<Done>,
    abort: AbortHandle,
}

impl Drop for Work {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl SourceTask {
    pub(super) fn new(
        context: Arc<Context>,
        settings: Arc<SourceSettings>,
        applied: Arc<Mutex<Applied>>,
        commands: mpsc::Receiver<Command>,
    ) -> (Self, watch::Receiver<SourceStatus>) {
        let (saved, synced_at) = {
            let applied = lock(&applied);
            (applied.saved.clone(), applied.synced_at)
        };
        let machine = Machine::new(machine_settings(&settings), saved);
        let previous = machine.applied().cloned();
        let mut task = Self {
            context,
            windows: windows(&settings),
            settings,
            machine,
            applied,
            commands,
            status: watch::Sender::new(SourceStatus { synced_at, ..SourceStatus::default() }),
            timers: HashMap::new(),
            window_ends: None,
            work: None,
            pruning: None,
            must_prune: false,
            must_repair: false,
            progress: Progress::begin(previous),
            read: None,
            mirror_bytes: 0,
            held: None,
            written: Applied::default(),
            requests: HashMap::new(),
            next_request: 0,
        };
        task.show();
        let status = task.status.subscribe();
        (task, status)
    }

    /// Runs until it is aborted, or the source is no longer followed.
    pub(super) async fn run(mut self) {
        self.on(Event::Due(Timer::Poll)).await;
        loop {
            let next = self.timers.values().map(|(at, _)| *at).min();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(Command::End { done }) => return self.end(done).await,
                    Some(command) => self.command(command).await,
                    None => return,
                },
                done = end_of(&mut self.work) => self.done(done).await,
                () = until(next) => self.expired().await,
                () = until_window(self.window_ends) => self.check_windows().await,
            }
        }
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Sync { options, reply } => {
                let id = self.request(reply);
                self.on(Event::Requested { id, options }).await;
            }
            Command::Publish { commit, reply } => {
                let id = self.request(Some(reply));
                self.on(Event::Published { id, commit }).await;
            }
            Command::Approve { reply } => {
                let id = self.request(Some(reply));
                self.on(Event::Approved { id }).await;
            }
            Command::Freeze { reason, reply } => {
                let is_freeze = reason.is_some();
                self.on(reason.map_or(Event::Unfrozen, Event::Frozen)).await;
                let saved = self.save().await;
                let source = self.settings.name.as_str();
                // The client may be gone.
                let _ = reply.send(saved.map_err(|error| report::unsaved(source, is_freeze, &error)));
            }
            // The task ends with it.
            Command::End { .. } => {}
            Command::Hint { after } => self.on(Event::Hinted { after }).await,
            Command::Configure(settings) => {
                self.windows = windows(&settings);
                self.settings = settings;
                (self.read, self.held) = (None, None);
                self.on(Event::Configured(machine_settings(&self.settings))).await;
            }
            Command::Compare => self.on(Event::Contested).await,
            Command::Retry => self.on(Event::Due(Timer::Retry)).await,
            Command::Restore { projects } => {
                self.forget(&projects);
                self.on(Event::Drifted).await;
            }
        }
    }

    /// Has these projects compared as ones with other files.
    fn forget(&self, projects: &[ProjectName]) {
        let mut applied = lock(&self.applied);
        for project in projects {
            if let Some(applied) = applied.projects.get_mut(project) {
                applied.key.clear();
            }
        }
        // The difference may be in a file that they include.
        applied.forget_shared();
    }

    fn request(&mut self, reply: Option<Reply>) -> RequestId {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        if let Some(reply) = reply {
            self.requests.insert(id, reply);
        }
        id
    }

    async fn expired(&mut self) {
        let now = tokio::time::Instant::now();
        let due: Vec<_> =
            self.timers.iter().filter(|(_, (at, _))| *at <= now).map(|(timer, _)| *timer).collect();
        for timer in due {
            self.timers.remove(&timer);
            self.on(Event::Due(timer)).await;
        }
    }

    async fn done(&mut self, done: Done) {
        if let Some(work) = self.work.take() {
            self.progress.took(work.phase, work.began);
        }
        let event = match done {
            Done::Fetched(fetched) => Event::Fetched(self.fetched(fetched)),
            Done::Read(read, proof) => {
                if let Some(proof) = &proof {
                    self.progress.deployed(proof);
                }
                Event::Read(read.map(|(read, changes)| {
                    self.read = Some(read);
                    changes
                }))
            }
            Done::Deployed(Ok(deployed)) => {
                self.progress.deployed(&deployed);
                Event::Deployed(self.deployed(deployed))
            }
            Done::Deployed(Err(fault)) => Event::Deployed(DeployOutcome::Refused(fault.detail)),
        };
        self.on(event).await;
    }

    fn fetched(&mut self, fetched: Result<Fetched, Fault>) -> Result<ObjectId, Fault> {
        let Fetched { resolved, bytes } = fetched?;
        self.mirror_bytes = bytes.unwrap_or(self.mirror_bytes);
        self.held = Some(resolved.commit.clone());
        if let Some(tag) = known_tag(&self.settings, &resolved) {
            lock(&self.applied).tag = Some(tag);
        }
        self.progress.commit = Some(resolved.commit.clone());
        // What is applied keeps the ref that led to it.
        let is_applied = self.machine.applied() == Some(&resolved.commit);
        let before = || lock(&self.applied).ref_name.clone().filter(|_| is_applied);
        self.progress.ref_name = resolved.name.or_else(before);
        Ok(resolved.commit)
    }

    /// Records what is live now.
    fn deployed(&mut self, deployed: Deployed) -> DeployOutcome {
        if deployed.is_damaged {
            (self.must_repair, self.read) = (true, None);
        }
        self.context.take(self.settings.name.as_str(), deployed.live.projects.keys());
        let mut applied = lock(&self.applied);
        applied.projects.extend(deployed.live.projects);
        for project in &deployed.live.removed {
            applied.projects.remove(project);
        }
        if let Some(shared) = deployed.live.shared {
            applied.shared = shared;
        }
        if deployed.outcome == DeployOutcome::Live {
            applied.ref_name.clone_from(&self.progress.ref_name);
        }
        self.context.own(self.settings.name.as_str(), &applied);
        deployed.outcome
    }

    /// Has the machine take an event, and carries out the effects.
    async fn on(&mut self, event: Event<ObjectId>) {
        self.check_windows().await;
        self.take(event).await;
    }

    async fn take(&mut self, event: Event<ObjectId>) {
        let effects = self.machine.on(event, Timestamp::now(), jitter());
        self.count(&effects);
        if effects.iter().any(is_worth_saving) {
            // Before anyone is answered. A failure is logged.
            let _ = self.save().await;
        }
        let mut answers = Vec::new();
        for effect in effects {
            self.carry_out(effect, &mut answers);
        }
        if self.work.is_none() {
            let woken = self.context.owners().give_up(self.settings.name.as_str());
            self.context.wake(woken);
            if self.must_prune {
                self.start_pruning();
            }
        }
        self.show();
        // Whoever is answered finds the state that the answer is about.
        for (reply, answer) in answers {
            // The client may be gone.
            let _ = reply.send(answer);
        }
    }

    /// Counts the end of a sync, after which the next poll is due.
    fn count(&self, effects: &[Effect<ObjectId>]) {
        let has = |wanted: fn(&Effect<ObjectId>) -> bool| effects.iter().any(wanted);
        if !has(|effect| matches!(effect, Effect::Arm(Timer::Poll, _))) {
            return;
        }
        let outcome = if has(|effect| matches!(effect, Effect::Emit(SourceEvent::Synced { .. }))) {
            SyncOutcome::Live
        } else if self.machine.frozen().is_some() {
            SyncOutcome::Frozen
        } else {
            match self.machine.problem().map(|problem| problem.kind) {
                Some(ProblemKind::Blocked) => SyncOutcome::Blocked,
                Some(
                    ProblemKind::Failed
                    | ProblemKind::Invalid
                    | ProblemKind::TooLarge
                    | ProblemKind::Overridden,
                ) => SyncOutcome::Failed,
                Some(_) => SyncOutcome::Unreachable,
                None if self.machine.ready().is_some() => SyncOutcome::Ready,
                None => SyncOutcome::Unchanged,
            }
        };
        self.context.metrics.ended(self.settings.name.as_str(), outcome);
    }

    /// Tells the machine when a window closes or opens.
    async fn check_windows(&mut self) {
        let now = Timestamp::now();
        let until = denied_until(&self.windows, now);
        if until == self.window_ends {
            return;
        }
        self.window_ends = until;
        let event = until.map_or(Event::WindowOpened, |until| Event::WindowClosed { until });
        self.take(event).await;
    }

    /// Carries out an effect. The answers to requests are only added to `answers`.
    fn carry_out(&mut self, effect: Effect<ObjectId>, answers: &mut Vec<(Reply, Answer)>) {
        match effect {
            Effect::Fetch { commit } => self.start_fetch(commit),
            Effect::Read { commit, prove } => self.start_read(commit, prove),
            Effect::Deploy { commit, set } => self.start_deploy(commit, set),
            Effect::Emit(event) => self.emit(&event),
            Effect::Answer(requests, outcome) => answers.extend(self.answers(requests, &outcome)),
            Effect::Repair => self.must_repair = true,
            Effect::Prune => self.must_prune = true,
            Effect::Arm(timer, delay) => {
                let at = Timestamp::now().checked_add(delay).unwrap_or(Timestamp::MAX);
                self.timers.insert(timer, (tokio::time::Instant::now() + delay, at));
            }
        }
    }

    fn start_fetch(&mut self, commit: Option<ObjectId>) {
        self.progress = Progress::begin(self.machine.applied().cloned());
        let (context, settings) = (self.context.clone(), self.settings.clone());
        let tag = lock(&self.applied).tag.clone();
        let repair = std::mem::take(&mut self.must_repair);
        // What is there may be damaged, or that of other settings.
        let held = self.held.take().filter(|_| !repair);
        let ready = self.machine.ready().map(|ready| ready.commit.clone());
        let needed = self.machine.applied().cloned().into_iter().chain(ready).collect();
        let known = Known { tag, held, needed };
        let pruning = self.pruning.take();
        self.start("fetch", async move {
            if let Some(pruning) = pruning {
                // It fails only by a panic, which is logged.
                let _ = pruning.await;
            }
            Done::Fetched(fetch(&context, &settings, commit, &known, repair).await)
        });
    }

    fn start_read(&mut self, commit: ObjectId, prove: bool) {
        let (context, prepared) = (self.context.clone(), self.prepare());
        self.start("read", async move {
            let read = match prepared.read(&context, &commit).await {
                Ok(read) => read,
                Err(fault) => return Done::Read(Err(fault), None),
            };
            let mut changes = commit::compare(&prepared.applied.projects, &read);
            prepared.pass_on(&context, &mut changes.removed);
            let projects: Vec<_> = changes.added.iter().chain(&changes.changed).cloned().collect();
            if !prove || projects.is_empty() {
                return Done::Read(Ok((read, changes)), None);
            }
            let order = prepared.order(read.clone(), true);
            let proof = deploy(&context, &order, CommitSet { projects, removal: Vec::new() }).await;
            match fault_of(&proof.outcome) {
                None => Done::Read(Ok((read, changes)), Some(proof)),
                Some(fault) => Done::Read(Err(fault), Some(proof)),
            }
        });
    }

    fn start_deploy(&mut self, commit: ObjectId, set: CommitSet) {
        let (context, mut prepared) = (self.context.clone(), self.prepare());
        if self.machine.is_forced() {
            prepared.applied.forget_shared();
        }
        self.start("deploy", async move {
            let mut set = set;
            prepared.pass_on(&context, &mut set.removal);
            let mut deployed = prepared.deploy(&context, &commit, set.clone()).await;
            if deployed.as_ref().is_ok_and(|deployed| deployed.is_damaged) {
                let resolved = Resolved { commit: commit.clone(), name: prepared.ref_name.clone() };
                if refetch(&context, &prepared.settings, &resolved).await.is_ok() {
                    deployed = prepared.deploy(&context, &commit, set).await;
                }
            }
            Done::Deployed(deployed)
        });
    }

    fn prepare(&self) -> Prepared {
        Prepared {
            settings: self.settings.clone(),
            known: self.read.clone(),
            ref_name: self.progress.ref_name.clone(),
            applied: lock(&self.applied).clone(),
            restores: self.machine.is_restoring(),
        }
    }

    fn start(&mut self, phase: &'static str, step: impl Future<Output = Done> + Send + 'static) {
        let handle = tokio::spawn(step);
        let abort = handle.abort_handle();
        self.work = Some(Work { phase, began: Instant::now(), handle, abort });
    }

    /// Lets go of commits that nothing needs. Only while no fetch of the source is under way: the
    /// commit of one would not be among those in use yet.
    fn start_pruning(&mut self) {
        self.must_prune = false;
        let used = self.used();
        self.pruning = Some(tokio::spawn(prune(self.context.clone(), self.settings.clone(), used)));
    }

    /// The commits in use: live, seen, waiting, failed, and those of the last deploys.
    fn used(&self) -> Vec<ObjectId> {
        let machine = &self.machine;
        let states = [
            machine.applied().cloned(),
            machine.saved().seen.clone(),
            machine.saved().chosen.clone(),
            machine.ready().map(|ready| ready.commit.clone()),
            machine.failed().map(|failed| failed.commit.clone()),
            machine.asks().map(|asks| asks.commit.clone()),
            self.held.clone(),
        ];
        let name = self.settings.name.as_str();
        let records = self.context.deploys.records();
        let commits = records.iter().filter_map(|record| record.commit.as_ref());
        let own = commits.filter(|commit| commit.source == name);
        let kept = own.filter_map(|commit| commit.commit.parse().ok()).take(KEPT_COMMITS);
        let mut used: Vec<ObjectId> = states.into_iter().flatten().chain(kept).collect();
        used.sort();
        used.dedup();
        used
    }

    /// # Errors
    /// The disk fails. It is tried again by the next call.
    async fn save(&mut self) -> io::Result<()> {
        let changed = {
            let mut applied = lock(&self.applied);
            let saved = self.machine.saved();
            if applied.saved != *saved {
                applied.saved = saved.clone();
            }
            applied.clone()
        };
        let mut changed = changed;
        if changed != self.written {
            if self.is_synced() {
                changed.synced_at = Some(Timestamp::now());
                lock(&self.applied).synced_at = changed.synced_at;
            }
            self.context.store.write(self.settings.name.as_str(), &changed).await?;
            self.written = changed;
        }
        Ok(())
    }

    /// Removes all that the source has deployed and written, however long that takes.
    async fn end(mut self, done: oneshot::Sender<()>) {
        if self.work.as_ref().is_some_and(|work| work.phase == "deploy")
            && let Done::Deployed(Ok(deployed)) = end_of(&mut self.work).await
        {
            self.deployed(deployed);
        }
        self.work = None;
        if let Some(pruning) = self.pruning.take() {
            // It fails only by a panic, which is logged.
            let _ = pruning.await;
        }
        let projects = lock(&self.applied).projects.keys().cloned().collect();
        previews::remove(&self.context, &self.settings, projects).await;
        // The waiting client may be gone.
        let _ = done.send(());
    }

    fn answers(&mut self, requests: Vec<RequestId>, outcome: &Outcome<ObjectId>) -> Vec<(Reply, Answer)> {
        let asks = self.machine.asks().map_or(&[][..], |asks| &asks.projects);
        let answer = report::answer(self.settings.name.as_str(), outcome, &self.progress, asks);
        let answer = answer.map(|report| SyncReport { unmatched: self.unmatched(), ..report });
        let replies = requests.into_iter().filter_map(|id| self.requests.remove(&id));
        replies.map(|reply| (reply, answer.clone())).collect()
    }

    /// The paths and patterns of the settings for which the commit that was read last has nothing.
    fn unmatched(&self) -> Vec<String> {
        self.read.as_ref().map(|read| read.plan.unmatched.clone()).unwrap_or_default()
    }

    fn emit(&mut self, event: &SourceEvent<ObjectId>) {
        let source = self.settings.name.as_str();
        match event {
            SourceEvent::Synced { commit, previous } => tracing::info!(
                event = "source.synced",
                source,
                commit = %commit,
                previous = previous.as_ref().map(ObjectId::as_str),
                deploy = self.progress.deploy,
                "source {source}: commit {} is live",
                commit.short()
            ),
            SourceEvent::Ready { commit } => tracing::info!(
                event = "source.ready",
                source,
                commit = %commit,
                "source {source}: commit {} is built and waits: switchyard source publish {source}",
                commit.short()
            ),
            SourceEvent::Failed { commit, fault } => tracing::warn!(
                event = "source.failed",
                source,
                commit = %commit,
                "source {source}: commit {} is not live: {}",
                commit.short(),
                fault.detail
            ),
            SourceEvent::Trouble(fault) => tracing::warn!(
                event = trouble(fault.kind),
                source,
                "source {source} cannot be followed: {}",
                fault.detail
            ),
            SourceEvent::Recovered => {
                tracing::info!(event = "source.recovered", source, "source {source} can be followed again");
            }
            SourceEvent::Asks(question) => {
                tracing::warn!(event = "source.asks", source, "source {source}: {}", question.message);
            }
            SourceEvent::Frozen(reason) => {
                tracing::info!(event = "source.frozen", source, "source {source} is frozen: {reason}");
            }
            SourceEvent::Unfrozen => {
                tracing::info!(event = "source.unfrozen", source, "source {source} is no longer frozen");
            }
        }
    }

    /// Returns true if the newest commit, or the chosen one, is live, and the server was asked.
    fn is_synced(&self) -> bool {
        if self.held.is_none() {
            return false;
        }
        let machine = &self.machine;
        let newest = machine.saved().chosen.as_ref().or(machine.saved().seen.as_ref());
        machine.problem().is_none() && newest.is_some() && newest == machine.applied()
    }

    /// Shows the present state to others.
    fn show(&mut self) {
        let machine = &self.machine;
        let text = |commit: &ObjectId| commit.to_string();
        let applied = lock(&self.applied);
        let is_idle = !machine.is_busy();
        let synced_at =
            if self.is_synced() && is_idle { Some(Timestamp::now()) } else { self.status.borrow().synced_at };
        let poll = self.timers.get(&Timer::Poll).filter(|_| is_idle).map(|(_, at)| *at);
        let project =
            |(name, applied): (&ProjectName, &crate::sources::commit::AppliedProject)| SourceProject {
                project: name.clone(),
                path: applied.path.clone(),
                tree: applied.tree.to_string(),
                digest: applied.digest,
                drift: None,
                missing: false,
                overridden: None,
            };
        let problem = machine.problem().map(|problem| SourceProblem {
            kind: kind(problem.kind).to_owned(),
            detail: problem.detail.clone(),
            since: problem.since,
        });
        let status = SourceStatus {
            source: self.settings.name.to_string(),
            url: self.settings.url.to_string(),
            follows: self.settings.target.to_string(),
            preview_of: self.settings.preview.as_ref().map(|preview| preview.source.clone()),
            state: state(&machine.work()),
            publish: self.settings.publish.as_str().to_owned(),
            applied: machine.applied().map(text),
            seen: machine.saved().seen.as_ref().map(text),
            ready: machine.ready().map(|ready| text(&ready.commit)),
            failed: machine.failed().map(|failed| text(&failed.commit)),
            frozen: machine.frozen(),
            asks: machine.asks().map(|asks| asks.projects.clone()).unwrap_or_default(),
            problem,
            synced_at,
            next_poll: poll,
            last_hook: None,
            mirror_bytes: self.mirror_bytes,
            unmatched: self.unmatched(),
            projects: applied.projects.iter().map(project).collect(),
        };
        drop(applied);
        self.status.send_replace(status);
    }
}

/// The parts of a source that a step needs.
struct Prepared {
    settings: Arc<SourceSettings>,
    known: Option<Arc<ReadCommit>>,
    ref_name: Option<String>,
    applied: Applied,
    /// The step is for the commit that is applied, whatever the newest one is.
    restores: bool,
}

impl Prepared {
    /// Takes the projects from a removal that another source takes over: they stay on the volume.
    fn pass_on(&self, context: &Context, removed: &mut Vec<ProjectName>) {
        let owners = context.owners();
        removed.retain(|project| !owners.is_wanted(self.settings.name.as_str(), project));
    }

    async fn read(&self, context: &Context, commit: &ObjectId) -> Result<Arc<ReadCommit>, Fault> {
        match self.known.as_ref().filter(|read| read.commit == *commit) {
            Some(read) => {
                if !self.restores {
                    context.check_owners(&self.settings, read)?;
                }
                Ok(read.clone())
            }
            None => read(context, &self.settings, commit, !self.restores).await.map(Arc::new),
        }
    }

    async fn deploy(
        &self,
        context: &Arc<Context>,
        commit: &ObjectId,
        set: CommitSet,
    ) -> Result<Deployed, Fault> {
        let read = self.read(context, commit).await?;
        Ok(deploy(context, &self.order(read, false), set).await)
    }

    fn order(&self, read: Arc<ReadCommit>, prove: bool) -> Order {
        let (settings, applied) = (self.settings.clone(), self.applied.clone());
        Order { settings, read, ref_name: self.ref_name.clone(), applied, prove }
    }
}

/// Returns true for what must be on the disk before anybody hears of it: the end of a sync, and a freeze,
/// which outlasts this process.
fn is_worth_saving(effect: &Effect<ObjectId>) -> bool {
    matches!(
        effect,
        Effect::Answer(..) | Effect::Arm(..) | Effect::Emit(SourceEvent::Frozen(_) | SourceEvent::Unfrozen)
    )
}

/// The end of the step under way. Without one it never comes.
async fn end_of(work: &mut Option<Work>) -> Done {
    let Some(work) = work else { return std::future::pending().await };
    match (&mut work.handle).await {
        Ok(done) => done,
        Err(panic) => {
            let detail = format!("a step was interrupted: {panic}; see the log");
            let fault = Fault { kind: ProblemKind::Unreachable, detail };
            match work.phase {
                "fetch" => Done::Fetched(Err(fault)),
                "read" => Done::Read(Err(fault), None),
                _ => Done::Deployed(Err(fault)),
            }
        }
    }
}

async fn until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The end of a window, by the clock of the wall.
async fn until_window(end: Option<Timestamp>) {
    match end {
        Some(end) => {
            let left = Timestamp::now().duration_until(end);
            sleep(left.try_into().unwrap_or_default()).await;
        }
        None => std::future::pending().await,
    }
}

fn machine_settings(settings: &SourceSettings) -> MachineSettings {
    MachineSettings {
        name: settings.name.to_string(),
        poll: settings.poll.0,
        hold: settings.publish == PublishMode::Hold,
        removed: match settings.removed {
            _ if settings.preview.is_some() => RemovedProjects::RemoveAll,
            OnRemoval::Ask => RemovedProjects::Ask,
            OnRemoval::Remove => RemovedProjects::Remove,
            OnRemoval::Keep => RemovedProjects::Keep,
        },
    }
}

/// The windows of a source. The reader of the file has refused those that cannot be used.
fn windows(settings: &SourceSettings) -> Vec<Window> {
    let windows = settings.windows.iter();
    windows.filter_map(|window| Window::parse(&window.deny, &window.zone).ok()).collect()
}

/// A random number in 0..1.
fn jitter() -> f64 {
    let random = RandomState::new().build_hasher().finish() >> 11;
    random as f64 / (1_u64 << 53) as f64
}

fn fault_of(outcome: &DeployOutcome) -> Option<Fault> {
    let (kind, detail) = match outcome {
        DeployOutcome::Live => return None,
        DeployOutcome::Failed(detail) => (ProblemKind::Failed, detail),
        DeployOutcome::Overridden(detail) => (ProblemKind::Overridden, detail),
        DeployOutcome::Superseded(detail)
        | DeployOutcome::Unreachable(detail)
        | DeployOutcome::Refused(detail) => (ProblemKind::Unreachable, detail),
    };
    Some(Fault { kind, detail: detail.clone() })
}

fn state(work: &WorkKind<ObjectId>) -> SourceState {
    match work {
        WorkKind::Idle => SourceState::Idle,
        WorkKind::Fetching => SourceState::Fetching,
        WorkKind::Reading(_) => SourceState::Reading,
        WorkKind::Deploying(_) => SourceState::Deploying,
        WorkKind::Ready(_) => SourceState::Ready,
    }
}

fn kind(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::Unreachable => "unreachable",
        ProblemKind::Unauthorized => "unauthorized",
        ProblemKind::HostKey => "host-key",
        ProblemKind::BranchGone => "branch-gone",
        ProblemKind::Damaged => "damaged",
        ProblemKind::TooLarge => "too-large",
        ProblemKind::DiskFull => "disk-full",
        ProblemKind::Invalid => "invalid",
        ProblemKind::Failed => "failed",
        ProblemKind::Overridden => "overridden",
        ProblemKind::Blocked => "blocked",
    }
}

fn trouble(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::BranchGone => "source.branch-gone",
        _ => "source.unreachable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freeze_is_saved_before_it_is_answered_and_so_is_its_end() {
        let mut machine: Machine<ObjectId> = Machine::new(machine_settings_for_tests(), Default::default());
        for event in [Event::Frozen("release".to_owned()), Event::Unfrozen] {
            let effects = machine.on(event, Timestamp::now(), 0.5);
            assert!(effects.iter().any(is_worth_saving), "{effects:?}");
        }
    }

    fn machine_settings_for_tests() -> MachineSettings {
        MachineSettings {
            name: "shop".to_owned(),
            poll: std::time::Duration::from_secs(30),
            hold: false,
            removed: RemovedProjects::Ask,
        }
    }
}
