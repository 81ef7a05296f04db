//! The start of queued runs at routers: which router, and what its answer means.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::active::{Active, Phase};
use super::command::Done;
use super::control::Control;
use super::follow::{FollowEvent, FollowMessage, Follower};
use super::launch::Launch;
use super::log::log_started;
use super::room::choose;
use super::start_call::{DispatchError, start};
use super::steps::steps_so_far;
use super::versions;
use crate::ledger::{Ledger, StoredRun};
use crate::routers::Router;
use switchyard_contract::admin::{JournalEntry, RunAccepted, RunRequest, RunWork};
use switchyard_contract::digest::Digest;
use switchyard_contract::run::{RunError, RunId, RunState, Step};

/// The pause before a router is asked again that was busy, unless one of its runs ends before.
const BUSY: Duration = Duration::from_millis(500);

impl Control {
    /// Starts the runs whose turn it is.
    pub(super) fn dispatch(&mut self) {
        self.active.ready_until(Instant::now());
        for id in self.active.ready_pipelines() {
            if self.active.get(id).is_some_and(|active| self.is_its_turn(active)) {
                self.begin_pipeline(id);
            }
        }
        self.begin_reads();
        for id in self.turns() {
            // Those before it may have taken the room.
            let Some(active) = self.active.get(id).filter(|active| self.is_its_turn(active)) else {
                continue;
            };
            let Some(router) = choose(active, &self.openings(&active.run().task.project)) else { continue };
            match active.lacking.contains(router.name()) {
                true => self.make_version(id, router),
                false => self.dispatch_to(id, router),
            }
        }
    }

    /// The runs that can be started now, steps first and then the oldest: of each project as many as its
    /// routers have room for.
    fn turns(&self) -> Vec<RunId> {
        let mut turns = Vec::new();
        for (project, are_steps, ready) in self.active.ready() {
            let openings = self.openings(project);
            let room: usize = openings.iter().map(|opening| opening.room_for(are_steps)).sum();
            if room > 0 {
                let can_start =
                    |active: &&Active| self.is_its_turn(active) && choose(active, &openings).is_some();
                turns.extend(ready.filter(can_start).take(room).map(|active| (!are_steps, active.run().id)));
            }
        }
        turns.sort_unstable();
        turns.into_iter().map(|(_, id)| id).collect()
    }

    fn is_its_turn(&self, active: &Active) -> bool {
        !(active.launch.alone && self.active.has_other(active.run()))
    }

    /// Has the version of a run made again at a router.
    fn make_version(&mut self, id: RunId, router: Arc<Router>) {
        let Some(active) = self.active.get_mut(id) else { return };
        let Some(digest) = active.version() else {
            return self.dispatch_to(id, router);
        };
        let (maker, project) = (self.shared.maker.clone(), active.run().task.project.clone());
        let at = router.clone();
        let task = self.work.spawn(async move {
            let made = versions::make(&*maker, &project, digest, &at).await;
            Done::Made(id, made)
        });
        self.active.set_phase(id, Phase::Making { router, task });
    }

    /// Starts a run whose version was made again.
    pub(super) fn made(&mut self, id: RunId, result: Result<(), RunError>) {
        let Some(active) = self.active.get_mut(id) else { return };
        let Phase::Making { router, .. } = active.phase() else { return };
        let router = router.clone();
        match result {
            Ok(()) => {
                active.lacking.remove(router.name());
                active.made_at.insert(router.name().to_owned());
                self.dispatch_to(id, router);
            }
            Err(error) => self.end(id, RunState::Failed, None, Some(error)),
        }
    }

    fn dispatch_to(&mut self, id: RunId, router: Arc<Router>) {
        self.active.set_phase(id, Phase::Dispatching(router.clone()));
        let traceparent = self.trace(id);
        let Some(active) = self.active.get_mut(id) else { return };
        active.stored.boot = router.process_id();
        if active.launch.incarnation.is_none() {
            active.launch.incarnation = router.incarnation(&active.stored.run.task.project);
            active.stored.input = active.launch.to_value();
        }
        let run = active.run_mut();
        run.state = RunState::Starting;
        run.router = Some(router.name().to_owned());
        run.next_attempt_at = None;
        active.is_taken_over = false;
        let (stored, launch, version) = (active.stored.clone(), active.launch.clone(), active.version());
        let saved = self.save_noted(stored.clone());
        let ledger = self.shared.ledger.clone();
        let maker = self.shared.maker.clone();
        self.work.spawn(async move {
            // Another process of the bridge has to know which router may have it.
            let result = match saved.await {
                Ok(true) => request(&ledger, &stored, &launch, version).await,
                Ok(false) | Err(_) => Err("its state cannot be recorded".to_owned()),
            };
            let result = match result {
                Ok(mut request) => {
                    request.traceparent = traceparent;
                    start(&router, &request, stored.boot).await.map(|mut accepted| {
                        let digest = request.version.filter(|_| accepted.version.commit.is_none());
                        // A router does not know the commit of a version that is not live.
                        let commit = digest.and_then(|digest| maker.commit(&request.project, digest));
                        accepted.version.commit = accepted.version.commit.take().or(commit);
                        accepted
                    })
                }
                Err(error) => Err(DispatchError::NotStarted(error)),
            };
            Done::Dispatched(id, result)
        });
    }

    /// Begins the trace of a run, unless it has begun. Returns the `traceparent` of its attempts.
    pub(super) fn trace(&mut self, id: RunId) -> Option<String> {
        let active = self.active.get(id)?;
        if active.trace.is_none() {
            let parent = active.run().parent.and_then(|parent| self.active.get(parent)?.trace.as_ref());
            let trace = self.shared.traces.run_begins(active.run(), parent);
            self.active.get_mut(id)?.trace = trace;
        }
        Some(self.active.get(id)?.trace.as_ref()?.traceparent())
    }

    /// Takes the answer of a router.
    pub(super) fn dispatched(&mut self, id: RunId, result: Result<RunAccepted, DispatchError>) {
        let Some(active) = self.active.get_mut(id) else { return };
        let Phase::Dispatching(router) = active.phase() else { return };
        let router = router.clone();
        match result {
            Ok(accepted) => {
                active.made_at.clear();
                active.refusal = None;
                active.stored.boot = Some(accepted.router);
                active.run_mut().version = Some(accepted.version);
                let stored = active.stored.clone();
                self.save(stored);
                self.follow(id, router, 0);
            }
            Err(DispatchError::Busy(why) | DispatchError::NotStarted(why)) => {
                active.refusal = Some(format!("the router {}: {why}", router.name()));
                tracing::debug!(run = %id, router = router.name(), "a run is not started yet: {why}");
                self.queue_again(id, Some(BUSY));
            }
            Err(DispatchError::Lost(why)) => {
                self.attempt_ended(id, RunState::Lost, None, Some(RunError::new("lost", why)))
            }
            // The version was made again there, and is gone nevertheless.
            Err(DispatchError::NoVersion(error)) if active.made_at.contains(router.name()) => {
                self.end(id, RunState::Failed, None, Some(error));
            }
            Err(DispatchError::NoVersion(_)) => {
                active.lacking.insert(router.name().to_owned());
                self.queue_again(id, None);
            }
            Err(DispatchError::Refused(error)) => {
                self.end(id, RunState::Failed, None, Some(error));
            }
        }
        self.apply_cancellation(id);
    }

    /// Follows a run that a router has.
    pub(super) fn follow(&mut self, id: RunId, router: Arc<Router>, next_line: u64) {
        let Some(project) = self.active.get(id).map(|active| active.run().task.project.clone()) else {
            return;
        };
        let max_log = self.limits(&project).log;
        let Some(active) = self.active.get(id) else { return };
        let follower = Follower {
            run: id,
            attempt: active.run().attempt,
            router: router.clone(),
            ledger: self.shared.ledger.clone(),
            progress: self.shared.progress.clone(),
            messages: self.messages.clone(),
            next_line,
            max_log,
        };
        let task = self.followers.spawn(follower.run());
        self.active.set_phase(id, Phase::Following { router, task });
    }

    /// Takes an event of a run that is followed.
    pub(super) fn followed(&mut self, message: FollowMessage) {
        let FollowMessage { run: id, attempt, event } = message;
        let Some(active) = self.active.get_mut(id).filter(|active| active.run().attempt == attempt) else {
            return;
        };
        if !matches!(active.phase(), Phase::Following { .. }) {
            return;
        }
        match event {
            FollowEvent::Started(at) => {
                let run = active.run_mut();
                run.state = RunState::Running;
                run.started_at = Some(at);
                let stored = active.stored.clone();
                self.shared.metrics.started(&stored.run);
                log_started(&stored.run);
                self.save(stored);
            }
            FollowEvent::Step(step) => self.step(id, step),
            FollowEvent::Ended(end) => {
                active.run_mut().log_lines += end.lines;
                self.attempt_ended(id, end.state, end.result, end.error);
            }
            FollowEvent::Unknown => self.unknown_at_router(id),
            FollowEvent::Lost(why) => {
                self.attempt_ended(id, RunState::Lost, None, Some(RunError::new("lost", why)));
            }
        }
    }

    /// The router does not know a run that it was asked to start, or had.
    fn unknown_at_router(&mut self, id: RunId) {
        let Some(active) = self.active.get(id) else { return };
        let Some(router) = active.router() else { return };
        let is_same_process = active.stored.boot.is_some() && active.stored.boot == router.process_id();
        if active.is_taken_over && is_same_process && active.run().state == RunState::Starting {
            // The request of the bridge's earlier process to start it has not arrived.
            if active.cancelled.is_some() {
                self.queue_again(id, None);
                return self.apply_cancellation(id);
            }
            // The request may still arrive: for this router both are one.
            let router = router.clone();
            return self.dispatch_to(id, router);
        }
        let why = format!("the router {} does not know it any more: it was restarted", router.name());
        self.attempt_ended(id, RunState::Lost, None, Some(RunError::new("lost", why)));
    }

    /// Puts a run back into the queue.
    pub(super) fn queue_again(&mut self, id: RunId, pause: Option<Duration>) {
        self.active.set_phase(id, Phase::Queued { not_before: pause.map(|pause| Instant::now() + pause) });
        let Some(active) = self.active.get_mut(id) else { return };
        active.run_mut().state = RunState::Queued;
        active.run_mut().router = None;
        active.stored.boot = None;
        let stored = active.stored.clone();
        self.save(stored);
    }
}

/// The call that starts an attempt, with the results of the steps that earlier ones have finished.
async fn request(
    ledger: &Ledger,
    stored: &StoredRun,
    launch: &Launch,
    version: Option<Digest>,
) -> Result<RunRequest, String> {
    let run = &stored.run;
    let from_step = launch.from_step.as_deref();
    let numbers = BTreeMap::new();
    let steps = steps_so_far(ledger, run.id, launch.resumes, from_step, &numbers);
    let steps = steps.await.map_err(|error| error.to_string())?;
    let finished = |step: Step| match (step.state, step.result) {
        (RunState::Succeeded, result) => {
            Some(JournalEntry { step: step.name, result: result.unwrap_or_default() })
        }
        _ => None,
    };
    Ok(RunRequest {
        run: run.id,
        attempt: run.attempt,
        project: run.task.project.clone(),
        incarnation: launch.incarnation,
        version,
        work: launch.work.clone().unwrap_or(RunWork::Registry),
        params: run.params.clone(),
        input: launch.input.clone(),
        config: launch.config.clone(),
        parent: run.parent,
        depth: launch.depth,
        pipeline: launch.context.clone(),
        trigger: run.trigger.as_str().to_owned(),
        scheduled_at: run.scheduled_at,
        time_ms: launch.time_ms,
        journal: steps.into_iter().filter_map(finished).collect(),
        traceparent: None,
    })
}
