//! What the machine wants done, done: reading and building begun, failures told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use switchyard_contract::admin::ReloadOutcome;
use switchyard_contract::event::{EventType, Trigger};
use switchyard_contract::project::ProjectName;

use super::{Control, What};
use crate::live::{Failure, Happened};
use crate::metrics::{OutcomeLabel, ReloadLabels};
use crate::reload::attempt::Attempt;
use crate::reload::machine::{Effect, Event, Failed, Work};
use crate::reload::work::{self, BuildError, Job, Place, Restored};
use crate::version::Version;

impl Control {
    /// Lets `event` happen to a project and carries out what follows. `since` is the first sign of it.
    pub(super) fn step(&mut self, name: &str, event: Event, since: Instant) {
        let Ok(parsed) = ProjectName::parse(name) else { return };
        let project = self.project(&parsed);
        let changed = matches!(event, Event::Changed(_));
        if changed && project.machine.is_busy() {
            project.next.get_or_insert((since, Instant::now()));
        }
        let effects = project.machine.on(event);
        self.count_cells(name);
        for effect in effects {
            self.perform(name, effect, since);
        }
        self.show(name);
    }

    /// Shows the project on the board, and lets go of one that is over.
    pub(super) fn show(&mut self, name: &str) {
        self.count_cells(name);
        let Some(project) = self.projects.get(name) else { return };
        if project.machine.work == Work::Idle {
            self.scanned(Some(name));
        }
        let Some(project) = self.projects.get(name) else { return };
        if project.is_over() {
            self.parts.lines.close(&project.name);
            self.parts.cells.forget(&project.name);
            // A folder that was listed may hold nothing that could be read.
            if self.parts.live.load().get(name).is_some() {
                self.change_table(vec![(project.name.clone(), None)]);
            }
            self.projects.remove(name);
        } else if !project.machine.is_absent() {
            self.parts.board.put(project.shown());
        }
    }

    pub(super) fn perform(&mut self, name: &str, effect: Effect, since: Instant) {
        match effect {
            Effect::Read(trigger) => self.read(name, trigger, since),
            Effect::Build(version) => self.build(name, version),
            Effect::Hurry => {
                if let Some(project) = self.projects.get(name) {
                    project.newer.notify_one();
                }
            }
            Effect::Publish { .. } | Effect::Settle | Effect::Remove { .. } | Effect::Unchanged => {
                self.publish(vec![(name.to_owned(), effect)]);
            }
            Effect::Fail(failed) => self.fail(name, failed),
            Effect::Superseded => {
                if let Some(project) = self.projects.get_mut(name) {
                    project.plan = None;
                    let waiting = std::mem::take(&mut project.waiting);
                    project.waiting_next.extend(waiting);
                }
            }
            Effect::Held => self.held(name),
            Effect::Prepared(end) => self.prepared(name, end),
            Effect::Drop => self.drop_built(name),
        }
    }

    fn read(&mut self, name: &str, trigger: Trigger, since: Instant) {
        let is_granted_now = self.projects.get(name).is_some_and(|project| self.is_granted_now(project));
        let Some(project) = self.projects.get_mut(name) else { return };
        if project.machine.hold.is_some() {
            // Who asked for a look waits until the hold ends, and the change that was seen does too.
            project.attempt = Attempt::begin(trigger, Instant::now(), Instant::now());
        } else {
            let (since, quiet) = project.next.take().unwrap_or((since, Instant::now()));
            project.attempt = Attempt::begin(trigger, since, quiet);
            let next = std::mem::take(&mut project.waiting_next);
            project.waiting.extend(next);
        }
        let failed = project.machine.failed.as_ref().and_then(|failed| failed.version.clone());
        let is_retry = project.retries.begin();
        let otherwise = project.failed_otherwise(&self.parts.policy) || is_granted_now;
        let wanted = is_retry || trigger == Trigger::Request || otherwise;
        let place = Place {
            project: project.name.clone(),
            root: self.settings.root.clone(),
            live: project.machine.live.clone(),
            incarnation: project.incarnation,
            live_with: project.live_plan.as_ref().and_then(|plan| plan.installed),
            live_function: match &project.live_plan {
                Some(plan) => plan.function.clone(),
                None => project.recorded_function.clone(),
            },
            outdated: project.live_plan.as_ref().is_some_and(|plan| plan.is_outdated(&self.parts.policy)),
            policy: self.parts.policy.clone(),
            failed: failed.filter(|_| !wanted).map(|failed| (failed, project.packages)),
            trigger,
            is_deployed: project.machine.hold.is_some(),
        };
        let (cache, reading) = (std::mem::take(&mut project.cache), project.reading.clone());
        let job = Job { store: self.parts.store.clone(), place, cache };
        let read = work::read(self.readers.clone(), job, reading, self.builder.unawaited.clone());
        self.spawn(name, async move { What::Read(read.await) });
    }

    pub(super) fn build(&mut self, name: &str, version: Version) {
        // This version is one of those that are counted.
        let lazily = self.population.total().all > self.settings.max_cells;
        let Some(project) = self.projects.get_mut(name) else { return };
        // A notice for the build before this one is not for this one.
        project.newer = Arc::default();
        let newer = project.newer.clone();
        let builder = self.builder.clone();
        let restoring = matches!(project.machine.work, Work::Restoring(..));
        // Of what a deploy builds nobody knows until it is published.
        if !restoring && project.machine.live.is_none() && project.machine.hold.is_none() {
            let change = (project.name.clone(), Some(project.entry()));
            self.change_table(vec![change]);
        }
        let Some(project) = self.projects.get_mut(name) else { return };
        let plan = project.plan.clone();
        let function = project.recorded_function.clone();
        let policy = self.parts.policy.clone();
        self.spawn(name, async move {
            let began = Instant::now();
            if restoring {
                let plan = builder.find(Restored { version, function }, policy).await;
                let result = match &plan {
                    Some(plan) if !lazily => Some(builder.restart(plan, plan.cells(), &newer).await),
                    _ => None,
                };
                return What::Restored { plan, result, took: began.elapsed() };
            }
            let result = match plan {
                Some(Ok(plan)) => builder.build(&plan, &newer).await,
                Some(Err(error)) => Err(BuildError::Failed(error)),
                None => Err(BuildError::Superseded),
            };
            What::Built { result, took: began.elapsed() }
        });
    }

    fn fail(&mut self, name: &str, failed: Failed) {
        let Some(project) = self.projects.get_mut(name) else { return };
        let plan = project.plan.take().and_then(Result::ok);
        // What is wrong with the files alone stays wrong until they change.
        let was_started = plan.is_some();
        project.failed_with = plan.map(|plan| (plan.asked, plan.order.grant));
        let is_late = project.is_late();
        let took = if is_late { project.attempt.snapshot } else { project.attempt.build };
        let retry = project.retries.failed(&failed, took.unwrap_or_default(), was_started || is_late);
        let is_repeated = retry.as_ref().is_some_and(|retry| retry.is_repeated);
        let is_waited_for = !project.waiting.is_empty();
        if let Some(retry) = retry {
            self.retry_after(name, retry.pause, retry.number);
        }
        if is_repeated && !is_waited_for {
            tracing::debug!(project.name = name, "{name} failed again as before");
            return;
        }
        let Some(project) = self.projects.get_mut(name) else { return };
        let failure = Failure::new(&project.name, failed.version.clone(), failed.error.clone());
        project.failure = Some(failure);
        let change = (project.name.clone(), Some(project.entry()));
        self.change_table(vec![change]);
        let Some(project) = self.projects.get_mut(name) else { return };
        let previous = project.machine.live.clone();
        let timings_ms = project.attempt.timings();
        tracing::warn!(
            project.name = name,
            project.version = failed.version.as_ref().map(tracing::field::display),
            file = failed.error.file,
            line = failed.error.line,
            column = failed.error.column,
            trigger = ?project.attempt.trigger,
            total_ms = timings_ms.total,
            still_live = previous.as_ref().map(tracing::field::display),
            "{name} failed: {}",
            failed.error.message
        );
        let happened = Happened {
            version: failed.version.clone(),
            previous,
            trigger: Some(project.attempt.trigger),
            error: Some(failed.error),
            timings_ms,
            ..Happened::default()
        };
        project.sequence = self.parts.events.tell(EventType::ReloadFailed, &project.name, happened);
        project.report(ReloadOutcome::Failed, failed.version.as_ref());
        let project = project.name.clone();
        self.revive(name);
        self.count(OutcomeLabel::failed);
        self.prune(&project);
    }

    /// Has what failed tried once more after a pause.
    fn retry_after(&mut self, name: &str, pause: Duration, number: u64) {
        self.spawn(name, async move {
            tokio::time::sleep(pause).await;
            What::RetryDue { pause, number }
        });
    }

    /// Tries what failed once more, unless something else was tried since.
    pub(super) fn retry(&mut self, name: &str, pause: Duration, number: u64) {
        let Some(project) = self.projects.get_mut(name) else { return };
        if project.machine.failed.is_none() {
            return;
        }
        if project.machine.is_busy() {
            return self.retry_after(name, pause, number);
        }
        if project.retries.due(number) {
            self.look(name, Trigger::Poll, Instant::now());
        }
    }

    pub(super) fn count(&self, outcome: OutcomeLabel) {
        self.parts.metrics.reloads.get_or_create(&ReloadLabels { outcome }).inc();
    }
}
