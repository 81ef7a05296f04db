//! Files that start tasks: the offers of all routers become runs, and each router learns how they
//! ended. What a router offers is the whole state: after a restart of either side everything is offered
//! again, and the id of a run, which its router has made, is accepted once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures_util::StreamExt as _;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use super::active::{Phase, StartReply};
use super::command::{Command, FileStart};
use super::control::Control;
use super::handle::stopping;
use super::{Runs, StartRun, Started};
use crate::routers::{CallError, Router};
use switchyard_contract::admin::{CURRENT_FILES, FileOffer, FileOutcome};
use switchyard_contract::bounds::FILE_OFFERS;
use switchyard_contract::run::{Run, RunId, RunState, RunTrigger};
use switchyard_contract::task::TaskId;
use switchyard_edge::problem::Problem;

/// The pauses before something is tried again that did not work: doubled each time.
const PAUSES: ExponentialBuilder = ExponentialBuilder::new()
    .with_factor(2.0)
    .with_min_delay(Duration::from_millis(250))
    .with_max_delay(Duration::from_secs(15))
    .without_max_times();

/// The pause before the stream of a router is read again that broke off.
const RECONNECT: Duration = Duration::from_millis(500);

/// The pause before a router is asked again that does not know files, as it is of an earlier release.
const ASK_OLD: Duration = Duration::from_secs(60);

/// Files of one router whose contents are in memory at once, before their runs are accepted.
const READS: usize = 4;

/// The time after which the end of a run is asked for again.
const WAIT: Duration = Duration::from_secs(600);

impl Runs {
    /// Follows the offers of all routers. Ends when it is dropped.
    pub async fn follow_files(self) {
        let mut changed = self.0.routers.changed();
        let mut tasks = JoinSet::new();
        let mut followed: BTreeMap<String, (Arc<Router>, AbortHandle)> = BTreeMap::new();
        loop {
            let list = self.0.routers.list();
            followed.retain(|_, (router, task)| {
                let is_there = list.iter().any(|other| Arc::ptr_eq(other, router));
                if !is_there {
                    task.abort();
                }
                is_there
            });
            for router in list.iter() {
                if !followed.contains_key(router.name()) {
                    let follower = Follower::new(self.clone(), router.clone());
                    let task = tasks.spawn(follower.run());
                    followed.insert(router.name().to_owned(), (router.clone(), task));
                }
            }
            tokio::select! {
                changed = changed.changed() => if changed.is_err() { return },
                Some(_) = tasks.join_next() => {}
            }
        }
    }

    async fn start_file(&self, start: FileStart) -> Result<Started, Problem> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::StartFile { start: Box::new(start), reply }).await?;
        answer.await.map_err(|_| stopping())?
    }
}

impl Control {
    /// Accepts the run that a file starts, once.
    pub(super) fn start_file(&mut self, start: FileStart, reply: StartReply) {
        let FileStart { run: id, task, router, input } = start;
        if let Some(active) = self.active.get(id) {
            let answer = match active.phase() {
                // Its file is moved on when the end is recorded, and not before.
                Phase::Accepting(Some(_)) | Phase::Ending => Err(being_recorded(id)),
                _ => Ok(Started { run: active.run().clone(), is_new: false }),
            };
            let _ = reply.send(answer);
            return;
        }
        let start = StartRun {
            task,
            trigger: RunTrigger::File,
            by: None,
            key: Some(format!("file:{id}")),
            params: Value::Null,
            input,
            version: None,
            consistency: None,
            parent: None,
            force: false,
        };
        match self.plan(start, None) {
            Ok((mut stored, mut launch, _)) => {
                stored.run.id = id;
                launch.router = Some(router);
                stored.input = launch.to_value();
                self.accept(stored, launch, Some(reply));
            }
            Err(problem) => _ = reply.send(Err(problem)),
        }
    }
}

/// The task that follows one router. The tasks of its files end with it.
struct Follower {
    runs: Runs,
    router: Arc<Router>,
    reads: Arc<Semaphore>,
    in_hand: BTreeSet<RunId>,
    files: JoinSet<RunId>,
}

impl Follower {
    fn new(runs: Runs, router: Arc<Router>) -> Self {
        let reads = Arc::new(Semaphore::new(READS));
        Self { runs, router, reads, in_hand: BTreeSet::new(), files: JoinSet::new() }
    }

    async fn run(mut self) {
        loop {
            let error = self.read().await;
            tracing::debug!(router = self.router.name(), "the files of a router are not followed: {error}");
            let is_old =
                matches!(&error, CallError::Answered { status, .. } if *status == StatusCode::NOT_FOUND);
            let pause = sleep(if is_old { ASK_OLD } else { RECONNECT });
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    Some(ended) = self.files.join_next() => self.ended(ended.ok()),
                }
            }
        }
    }

    /// Takes offers until the stream breaks off.
    async fn read(&mut self) -> CallError {
        let mut offers = match self.router.file_offers().await {
            Ok(offers) => offers,
            Err(error) => return error,
        };
        loop {
            // A router does not offer more at once.
            let has_room = self.in_hand.len() < FILE_OFFERS;
            tokio::select! {
                offer = offers.next(), if has_room => match offer {
                    Some(Ok(offer)) => self.take(offer),
                    Some(Err(error)) => return error,
                    None => return CallError::Unreachable("the stream of files ended".to_owned()),
                },
                Some(ended) = self.files.join_next() => self.ended(ended.ok()),
            }
        }
    }

    /// Begins with a file, unless it is in hand: all are offered again on each stream.
    fn take(&mut self, offer: FileOffer) {
        if self.in_hand.insert(offer.run) {
            let file = OfferedFile {
                runs: self.runs.clone(),
                router: self.router.clone(),
                reads: self.reads.clone(),
                offer,
            };
            self.files.spawn(file.run());
        }
    }

    fn ended(&mut self, run: Option<RunId>) {
        if let Some(run) = run {
            self.in_hand.remove(&run);
        }
    }
}

/// A file that a router offers.
struct OfferedFile {
    runs: Runs,
    router: Arc<Router>,
    reads: Arc<Semaphore>,
    offer: FileOffer,
}

impl OfferedFile {
    /// Starts the run of the file, waits for its end, and has the router move the file on.
    async fn run(self) -> RunId {
        let id = self.offer.run;
        if let Some(outcome) = self.outcome().await {
            let mut pauses = PAUSES.build();
            while let Err(error) = self.router.settle_file(id, outcome).await {
                if is_unknown(&error) {
                    break;
                }
                tracing::debug!(run = %id, router = self.router.name(), "a file is not moved on yet: {error}");
                sleep(pauses.next().unwrap_or_default()).await;
            }
        }
        id
    }

    /// Returns the outcome of the run. `None`: the router does not have the file any more.
    async fn outcome(&self) -> Option<FileOutcome> {
        let mut pauses = PAUSES.build();
        let mut is_reported = false;
        let mut run = loop {
            match self.start().await {
                Ok(run) => break run,
                Err(NotStarted::Gone) => return None,
                Err(NotStarted::Refused(why)) => {
                    let FileOffer { task, project, file, .. } = &self.offer;
                    tracing::warn!(
                        project.name = %project,
                        "the file {file:?} is rejected, as it does not start {task}: {why}"
                    );
                    return Some(FileOutcome::Failed);
                }
                Err(NotStarted::Later(why)) => {
                    if !std::mem::replace(&mut is_reported, true) {
                        tracing::info!(run = %self.offer.run, "the file {:?} waits: {why}", self.offer.file);
                    }
                }
            }
            sleep(pauses.next().unwrap_or_default()).await;
        };
        while !run.state.is_end() {
            match self.runs.wait(run.id, WAIT).await {
                Ok(now) => run = now,
                // The run was deleted as soon as it had ended, or the history cannot be read.
                Err(problem) if problem.slug() == "unknown-run" => return Some(FileOutcome::Failed),
                Err(_) => sleep(pauses.next().unwrap_or_default()).await,
            }
        }
        Some(outcome_of(run.state))
    }

    async fn start(&self) -> Result<Run, NotStarted> {
        let _read = self.reads.acquire().await;
        let FileOffer { run, project, task, .. } = &self.offer;
        let input = self.router.file_input(*run).await.map_err(|error| match error {
            error if is_unknown(&error) => NotStarted::Gone,
            error => NotStarted::Later(error.to_string()),
        })?;
        let start = FileStart {
            run: *run,
            task: TaskId::new(project, task),
            router: self.router.name().to_owned(),
            input: json!({ "file": input.file, "path": input.path, "content": input.content }),
        };
        let started = self.runs.start_file(start).await;
        started.map(|started| started.run).map_err(|problem| {
            let why = problem.detail().to_owned();
            // The task may be declared again, and other runs end.
            if problem.slug() == "invalid-params" { NotStarted::Refused(why) } else { NotStarted::Later(why) }
        })
    }
}

/// The reason why a file has not started a run.
enum NotStarted {
    /// The router does not offer it any more.
    Gone,
    /// The file may start one later.
    Later(String),
    /// The file never starts one.
    Refused(String),
}

/// The input of a run that has ended. If a file has started it, its router has moved the file.
pub(super) fn input_after_end(run: &Run, mut input: Value) -> Value {
    let moved = || {
        let file = input["file"].as_str()?;
        let below = |folder: &str| format!("/{folder}/{}/{file}", run.id);
        let base = input["path"].as_str()?.strip_suffix(&below(CURRENT_FILES))?;
        Some(format!("{base}{}", below(outcome_of(run.state).folder())))
    };
    if let Some(path) = moved().filter(|_| run.trigger == RunTrigger::File) {
        input["path"] = Value::String(path);
    }
    input
}

fn outcome_of(state: RunState) -> FileOutcome {
    if state == RunState::Succeeded { FileOutcome::Succeeded } else { FileOutcome::Failed }
}

fn is_unknown(error: &CallError) -> bool {
    matches!(error, CallError::Answered { status, .. } if *status == StatusCode::NOT_FOUND)
}

fn being_recorded(id: RunId) -> Problem {
    let detail = format!("the run {id} is being recorded");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry_after(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::accept::queued;

    #[test]
    fn only_success_completes_a_file() {
        assert_eq!(outcome_of(RunState::Succeeded), FileOutcome::Succeeded);
        for state in [RunState::Failed, RunState::TimedOut, RunState::Cancelled, RunState::Lost] {
            assert_eq!(outcome_of(state), FileOutcome::Failed);
        }
    }

    #[test]
    fn the_file_of_a_run_that_has_ended_is_where_its_router_has_moved_it() {
        let launch = crate::runs::launch::Launch::default();
        let task = "work:import".parse().unwrap();
        let run = queued(task, RunTrigger::File, &launch, Default::default());
        let id = run.id;
        let input = |folder: &str| json!({ "file": "a.json", "path": format!("/data/{folder}/{id}/a.json") });
        for (state, folder) in [(RunState::Succeeded, "complete"), (RunState::Lost, "rejected")] {
            let ended = Run { state, ..run.clone() };
            assert_eq!(input_after_end(&ended, input("current")), input(folder));
            // A retry of a retry: the file has not moved since.
            assert_eq!(input_after_end(&ended, input(folder)), input(folder));
            let by_hand = Run { trigger: RunTrigger::Manual, ..ended };
            assert_eq!(input_after_end(&by_hand, input("current")), input("current"));
        }
        assert_eq!(input_after_end(&run, Value::Null), Value::Null);
    }

    #[test]
    fn an_answer_that_a_file_is_unknown_differs_from_no_answer() {
        let answered = |status| CallError::Answered { status, problem: Value::Null };
        assert!(is_unknown(&answered(StatusCode::NOT_FOUND)));
        assert!(!is_unknown(&answered(StatusCode::SERVICE_UNAVAILABLE)) && !is_unknown(&CallError::TimedOut));
    }
}
