//! Runs of tasks: each is an attempt in a cell of its own, whose events are kept until a bridge has
//! acknowledged its end. Knows neither requests nor the states of projects.

mod calls;
mod crons;
mod ends;
mod event_log;
mod execution;
mod outcome;
mod params;
mod recording;
mod refusal;
mod registry;
mod span;
mod work;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use switchyard_contract::admin::{CancelRequest, RunAccepted, RunEnd, RunEvent, RunRequest};
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::RunId;
use switchyard_telemetry::Tracing;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use self::calls::order;
use self::crons::OUTPUT_PATIENCE;
pub(crate) use self::crons::{CronEnd, CronStarter, MarkedLines};
use self::ends::{EndFiles, EndHeader};
pub(crate) use self::event_log::UnknownStep;
use self::event_log::{Answer, EventLog, StepRefused};
use self::execution::{Execution, Orders, ToRun};
use self::outcome::{Outcome, ROUTER};
pub(crate) use self::params::InvalidParams;
use self::params::complete;
use self::recording::Recording;
pub(crate) use self::recording::RunFollower;
pub(crate) use self::refusal::RunRefusal;
pub(crate) use self::registry::NotAdmitted;
use self::registry::{Admitted, Candidate, Handle, Phase, Registry};
use self::span::AttemptSpan;
pub(crate) use self::work::NoWork;
use self::work::{Code, Work, prepare};
use crate::cells::Cells;
use crate::live::{Command, Commands, NotRunnable, RunnableVersion};

/// Orders that wait for a run: it takes each within moments.
const ORDERS: usize = 64;

/// Results that may wait to be kept at once, as a multiple of the largest result.
const WAITING_RESULTS: u64 = 4;

/// Time after the grace of a stopping router in which the last runs end: their cells are killed.
const LAST_ENDS: Duration = Duration::from_secs(5);

/// An event of a run with its number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct NumberedEvent {
    /// The number in the run, from 1.
    pub(crate) number: u64,
    pub(crate) event: RunEvent,
}

/// The settings of runs.
#[derive(Debug)]
pub(crate) struct RunSettings {
    /// The folder for ends.
    pub(crate) dir: PathBuf,
    /// Runs at once.
    pub(crate) most: u32,
    /// The time that a module may take to load.
    pub(crate) load_time: Duration,
    /// The router's id.
    pub(crate) router: String,
    /// The export of spans, if there is one.
    pub(crate) tracing: Option<Tracing>,
}

/// All runs of this router. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Runs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: RunSettings,
    cells: Arc<Cells>,
    commands: Commands,
    ends: EndFiles,
    marked: Arc<MarkedLines>,
    crons: OnceLock<Arc<dyn CronStarter>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    registry: Registry<Arc<ActiveRun>>,
    tasks: JoinSet<()>,
    is_stopping: bool,
}

/// The handle to a run under way.
#[derive(Debug)]
struct ActiveRun {
    recording: Arc<Recording>,
    orders: mpsc::Sender<ToRun>,
}

impl Handle for Arc<ActiveRun> {
    fn waits_for_run(&self) -> bool {
        self.recording.waits_for_run()
    }
}

impl Runs {
    /// Reads which ends an earlier process has left. Blocking.
    ///
    /// # Errors
    /// The folder for ends cannot be made or read.
    pub(crate) fn open(
        settings: RunSettings,
        cells: Arc<Cells>,
        commands: Commands,
        marked: Arc<MarkedLines>,
    ) -> io::Result<Self> {
        let (ends, found) = EndFiles::open(settings.dir.clone())?;
        let mut registry = Registry::new(settings.most);
        for (EndHeader { accepted, project, at }, bytes) in found {
            let accepted = RunAccepted { router: settings.router.clone(), ..accepted };
            let run = accepted.run;
            if let Some(dropped) = registry.restore(accepted, project, at, bytes) {
                ends.remove(run, dropped);
            }
        }
        registry.prune(Timestamp::now()).into_iter().for_each(|(run, attempt)| ends.remove(run, attempt));
        let state = Mutex::new(State { registry, tasks: JoinSet::new(), is_stopping: false });
        let crons = OnceLock::new();
        Ok(Self(Arc::new(Shared { settings, cells, commands, ends, marked, crons, state })))
    }

    /// Sets who starts handlers of `Deno.cron`. Until then there are none.
    #[allow(dead_code, reason = "the crons of cells that serve come with their own part")]
    pub(crate) fn start_crons_with(&self, crons: Arc<dyn CronStarter>) {
        let _ = self.0.crons.set(crons);
    }

    /// Starts a run. Must be called on a thread that lives as long as the router, as its cell does.
    ///
    /// # Errors
    /// There is nothing to run, or a limit is reached.
    pub(crate) async fn start(&self, request: RunRequest) -> Result<RunAccepted, RunRefusal> {
        if let Some(known) = self.state().registry.known(request.run, request.attempt)? {
            return Ok(known);
        }
        let found = self.find(&request).await?;
        let incarnation = found.launch.version.incarnation;
        if request.incarnation.is_some_and(|own| own != incarnation) {
            return Err(RunRefusal::OtherProject(request.project));
        }
        let crons = self.0.crons.get().filter(|_| request.version.is_none());
        let crons = crons.map(|crons| crons.tasks(&request.project)).unwrap_or_default();
        let mut work = prepare(&request, &found, &crons)?;
        let accepted = RunAccepted {
            run: request.run,
            attempt: request.attempt,
            version: work.version.clone(),
            router: self.0.settings.router.clone(),
        };
        let (orders, received) = mpsc::channel(ORDERS);
        let limits = work.limits;
        let log = EventLog::new(limits.log, limits.result.saturating_mul(WAITING_RESULTS));
        let make = || {
            let recording = Arc::new(Recording::new(request.attempt, log));
            Arc::new(ActiveRun { recording, orders })
        };
        let mut state = self.state();
        if state.is_stopping {
            return Err(RunRefusal::Stopping);
        }
        let candidate = Candidate {
            accepted: accepted.clone(),
            project: &request.project,
            depth: request.depth,
            project_most: limits.runs,
        };
        let admitted = state.registry.admit(candidate, make)?;
        let Admitted::New { handle, replaces } = admitted else { return Ok(accepted) };
        while state.tasks.try_join_next().is_some() {}
        let owner = self.clone();
        let (project, answer) = (request.project, accepted.clone());
        let traceparent = request.traceparent;
        state.tasks.spawn(async move {
            if let Some(replaced) = replaces {
                owner.remove_file(answer.run, replaced).await;
            }
            let tracing = owner.0.settings.tracing.as_ref();
            let span =
                tracing.map(|tracing| AttemptSpan::begin(tracing, &project, &answer, traceparent.as_deref()));
            if let Some(span) = &span {
                span.pass_on(&mut work.code);
            }
            let outcome = owner.execute(&project, &answer, work, handle.recording.clone(), received).await;
            if let Some(span) = span {
                span.end(&outcome);
            }
            owner.ended(project, answer, &handle, outcome).await;
        });
        Ok(accepted)
    }

    /// Has the control flow find the version.
    async fn find(&self, request: &RunRequest) -> Result<RunnableVersion, RunRefusal> {
        let (answer, answered) = oneshot::channel();
        let (project, digest) = (request.project.clone(), request.version);
        // A command that is not taken drops its sender, which the receiver notices.
        let _ = self.0.commands.send(Command::FindVersion { project, digest, answer }).await;
        match answered.await.map_err(|_| RunRefusal::Stopping)? {
            Ok(found) => Ok(*found),
            Err(NotRunnable::UnknownProject) => Err(RunRefusal::UnknownProject(request.project.clone())),
            Err(error) => Err(RunRefusal::NotRunnable(request.project.clone(), error)),
        }
    }

    async fn execute(
        &self,
        project: &ProjectName,
        accepted: &RunAccepted,
        work: Work,
        recording: Arc<Recording>,
        orders: mpsc::Receiver<ToRun>,
    ) -> Outcome {
        tracing::info!(
            run = %accepted.run,
            attempt = accepted.attempt,
            project.name = %project,
            project.version = accepted.version.name,
            "a run begins"
        );
        match work.code {
            Code::Cell(mut launch) => {
                launch.output = Some(recording.clone());
                let execution = Execution {
                    cells: self.0.cells.clone(),
                    launch: Arc::new(*launch),
                    load_time: self.0.settings.load_time,
                    time: work.time,
                    max_result: work.limits.result,
                    recording,
                };
                execution.run(orders).await
            }
            Code::Cron(name) => {
                let mut orders = Orders::new(orders, work.time);
                self.run_cron(project, accepted.run, &name, recording, &mut orders).await
            }
        }
    }

    /// Runs a handler of `Deno.cron` in a cell that serves. A stop ends the run; the handler goes on.
    async fn run_cron(
        &self,
        project: &ProjectName,
        run: RunId,
        name: &str,
        recording: Arc<Recording>,
        orders: &mut Orders,
    ) -> Outcome {
        let Some(crons) = self.0.crons.get() else { return outcome::of_cron(Ok(false)) };
        let marked = self.0.marked.record(project, run, recording.clone());
        let ended = crons.start(project, name, run);
        recording.start();
        let ended = tokio::select! {
            ended = ended => ended,
            stopped = orders.stop() => return outcome::of_stop(stopped),
        };
        // The end of a process comes after all that it has printed.
        if ended.is_ok() {
            marked.complete(OUTPUT_PATIENCE).await;
        }
        outcome::of_cron(ended)
    }

    /// Keeps the end of a run, then tells of it.
    async fn ended(&self, project: ProjectName, accepted: RunAccepted, active: &ActiveRun, outcome: Outcome) {
        let (state, result, error) = outcome;
        let (run, at) = (accepted.run, Timestamp::now());
        let (attempt, reason) = (accepted.attempt, error.as_ref().map(|error| error.reason.clone()));
        let events = active.recording.end(RunEnd { at, state, result, error, lines: 0 });
        let (ends, header) = (self.0.ends.clone(), EndHeader { accepted, project: project.clone(), at });
        let written = spawn_blocking(move || ends.write(&header, &events)).await;
        let written = written.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        if let Err(error) = &written {
            tracing::error!(run = %run, "the end of a run is kept in memory alone: {error}");
        }
        let pruned = {
            let mut state = self.state();
            state.registry.end(run, at, *written.as_ref().unwrap_or(&0), written.is_ok());
            state.registry.prune(at)
        };
        // Everything is in place before the log has it, and before the bridge can acknowledge it.
        tracing::info!(
            run = %run,
            attempt,
            project.name = %project,
            state = state.as_str(),
            reason,
            "a run has ended"
        );
        active.recording.announce_end();
        for (run, attempt) in pruned {
            tracing::warn!(run = %run, attempt, "the end of a run is dropped: nobody has acknowledged it");
            self.remove_file(run, attempt).await;
        }
    }

    async fn remove_file(&self, run: RunId, attempt: u32) {
        let ends = self.0.ends.clone();
        // A panic is logged.
        let _ = spawn_blocking(move || ends.remove(run, attempt)).await;
    }

    /// Admits no more runs, cancels all that are under way and waits for their ends, which are then
    /// on the disk. Each has `grace` to end by itself.
    pub(crate) async fn stop(&self, grace: Duration) {
        let mut tasks = {
            let mut state = self.state();
            state.is_stopping = true;
            for active in state.registry.active() {
                let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
                active.recording.note("the router is stopping: the run is ended, and lost");
                // A full queue is followed in a moment; the cell ends with the router in any case.
                let _ = order(&active, ToRun::Cancel(CancelRequest { reason: ROUTER.to_owned(), grace_ms }));
            }
            std::mem::take(&mut state.tasks)
        };
        let ended = async { while tasks.join_next().await.is_some() {} };
        if timeout(grace.saturating_add(LAST_ENDS), ended).await.is_err() {
            tracing::warn!("runs did not end within the grace: they are lost");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
