//! Runs by hand that repeat an earlier run, or go on with one.

use http::StatusCode;

use super::command::{Earlier, Resumption};
use super::files;
use super::handle::history;
use super::launch::Launch;
use super::{ResumeOptions, RetryOptions, Runs, StartRun, Started};
use crate::ledger::StoredRun;
use crate::tasks::Declared;
use switchyard_contract::digest::Digest;
use switchyard_contract::run::{RunId, RunState, RunTrigger, RunVersionChoice};
use switchyard_contract::task::Consistency;
use switchyard_edge::problem::Problem;

impl Runs {
    /// Runs the task of a run again, with the same parameters and input. With code of its own version,
    /// it is started as that version declared it.
    ///
    /// # Errors
    /// Those of [`Runs::start`]; the run is unknown, or has not ended; its input is not kept, or is at a
    /// router that is gone.
    pub async fn retry(&self, id: RunId, options: RetryOptions) -> Result<Started, Problem> {
        let stored = self.ended(id).await?;
        let launch = self.repeatable(&stored)?;
        let used = used_version(&stored);
        let version = match options.version {
            Some(RunVersionChoice::Same) => used,
            Some(RunVersionChoice::Latest) => None,
            Some(RunVersionChoice::Digest(digest)) => Some(digest),
            None if stored.run.consistency == Consistency::Step => None,
            None => used,
        };
        let start = again(&stored, &launch, options.by, version);
        self.start_with(start, Some(Earlier { launch, resumption: None })).await
    }

    /// Goes on with a run that did not succeed: the steps that it has finished are not run again.
    ///
    /// # Errors
    /// Those of [`Runs::retry`]; the run succeeded; the step is unknown; the newest version does not have
    /// steps that were finished.
    pub async fn resume(&self, id: RunId, options: ResumeOptions) -> Result<Started, Problem> {
        let stored = self.ended(id).await?;
        if stored.run.state == RunState::Succeeded && options.from_step.is_none() {
            let detail = format!(
                "the run {id} succeeded: name a step to go on from (--from-step; from_step of the API), or retry it"
            );
            return Err(Problem::new(StatusCode::CONFLICT, "succeeded", detail));
        }
        let steps = self.0.ledger.steps(id).await.map_err(|error| history(&error))?;
        if let Some(from) = &options.from_step
            && !steps.iter().any(|step| step.name == *from)
        {
            let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
            let detail = format!("the run {id} has no step {from:?}: it has {}", names.join(", "));
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown-step", detail));
        }
        let launch = self.repeatable(&stored)?;
        let is_latest = options.latest || stored.run.consistency == Consistency::Step;
        if is_latest && stored.run.is_pipeline {
            let from = options.from_step.as_deref();
            let kept = steps.iter().take_while(|step| from.is_none_or(|from| step.name != from));
            let kept = kept.filter(|step| step.state == RunState::Succeeded).map(|step| &*step.name);
            self.check_steps(&stored, kept.chain(from))?;
        }
        let start = again(&stored, &launch, options.by, used_version(&stored).filter(|_| !is_latest));
        let resumption = Some(Resumption { run: id, from_step: options.from_step });
        self.start_with(start, Some(Earlier { launch, resumption })).await
    }

    /// # Errors
    /// The pipeline does not have these steps any more.
    fn check_steps<'s>(
        &self,
        stored: &StoredRun,
        needed: impl Iterator<Item = &'s str>,
    ) -> Result<(), Problem> {
        let Declared::Pipeline(_, spec) = self.declared(&stored.run.task)? else { return Ok(()) };
        let gone: Vec<_> = needed.filter(|name| !spec.steps.iter().any(|step| step.name == *name)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let detail = format!(
            "the newest version of {} does not have these steps, which are finished or to be gone on from: {}; \
             resume with the version of the run (latest = false), or start the pipeline anew",
            stored.run.task,
            gone.join(", ")
        );
        Err(Problem::new(StatusCode::CONFLICT, "steps-without-match", detail))
    }

    /// The record of how a run was started, from which it can be started again.
    ///
    /// # Errors
    /// The record cannot be read; the input is not kept, or is at a router that is gone.
    fn repeatable(&self, stored: &StoredRun) -> Result<Launch, Problem> {
        let (id, task) = (stored.run.id, &stored.run.task);
        let conflict = |slug, detail: String| Err(Problem::new(StatusCode::CONFLICT, slug, detail));
        let Some(launch) = Launch::read(&stored.input) else {
            let detail = format!("the record of the run {id} cannot be read: start {task} anew");
            return conflict("input-not-kept", detail);
        };
        self.check_project(stored, &launch)?;
        if launch.input_dropped {
            let detail = format!(
                "the input of the run {id} is not kept, so it cannot be run again: start {task} with its input, \
                 or set \"keepInputs\": true in the task for later runs"
            );
            return conflict("input-not-kept", detail);
        }
        let routers = self.0.routers.list();
        if let Some(gone) = launch.router.as_deref()
            && !routers.iter().any(|router| router.name() == gone)
        {
            let detail = format!(
                "the file of the run {id} is at the router {gone}, which is not one of the routers any more: add \
                 the router again, or put the file into the folder of a router that is there"
            );
            return conflict("router-gone", detail);
        }
        Ok(launch)
    }
}

/// The version that a run used. `None`: no router has begun it.
fn used_version(stored: &StoredRun) -> Option<Digest> {
    stored.run.version.as_ref().map(|version| version.digest)
}

/// The request for another run like `stored`.
fn again(stored: &StoredRun, launch: &Launch, by: Option<String>, version: Option<Digest>) -> StartRun {
    StartRun {
        task: stored.run.task.clone(),
        trigger: RunTrigger::Manual,
        by,
        key: None,
        params: stored.run.params.clone(),
        input: files::input_after_end(&stored.run, launch.input.clone()),
        version,
        consistency: Some(stored.run.consistency),
        parent: Some(stored.run.id),
        force: false,
    }
}
