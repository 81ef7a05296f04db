//! Failed attempts: reported, and tried again after a pause.

use std::time::{Duration, Instant};

use switchyard_contract::admin::ReloadOutcome;
use switchyard_contract::event::{EventType, Trigger};
use switchyard_contract::project::ProjectName;
use tokio::task::spawn_blocking;

use super::Control;
use crate::build::{FolderState, ReadResult};
use crate::live::EventDetails;
use crate::metrics::OutcomeLabel;
use crate::reload::attempt::{AttemptData, Look};
use crate::reload::machine::{AttemptFailure, Event};
use crate::reload::tasks::ProjectTask;

impl Control {
    pub(super) fn fail(&mut self, name: &ProjectName, failed: AttemptFailure, attempt: AttemptData) {
        let project = self.projects.of(name);
        // Files that are invalid in themselves stay invalid until they change.
        let was_started = project.machine.failed().is_some_and(|failed| failed.data.was_started());
        let is_late = project.is_late();
        let took = if is_late { attempt.snapshot } else { attempt.build };
        let took = took.unwrap_or_default();
        let may_succeed = was_started || is_late || project.is_known_failure;
        let retry = project.retries.failed(&failed, took, may_succeed);
        if let Some(retry) = &retry {
            let pause = self.retry_pace.pause(retry.pause, took, Instant::now());
            self.retry_after(name, pause, retry.number);
        }
        if retry.is_some_and(|retry| retry.is_repeated) && !attempt.is_awaited() {
            tracing::debug!(project.name = name.as_str(), "{name} failed again as before");
            return;
        }
        self.put_in_table(name);
        let project = self.projects.of(name);
        let previous = project.machine.live_version().cloned();
        let timings_ms = attempt.timings();
        let trigger = attempt.trigger;
        tracing::warn!(
            project.name = name.as_str(),
            project.version = failed.version.as_ref().map(tracing::field::display),
            file = failed.error.file,
            line = failed.error.line,
            column = failed.error.column,
            %trigger,
            total_ms = timings_ms.total,
            still_live = previous.as_ref().map(tracing::field::display),
            "{name} failed: {}",
            failed.error.message
        );
        let details = EventDetails {
            version: failed.version.clone(),
            previous,
            trigger: Some(trigger),
            changed: attempt.changed.clone(),
            error: Some(failed.error),
            timings_ms,
            ..EventDetails::default()
        };
        project.sequence = self.parts.events.emit(EventType::ReloadFailed, name, details);
        project.report(attempt, ReloadOutcome::Failed, failed.version.as_ref());
        self.revive(name, trigger);
        self.parts.metrics.reload_ended(name, OutcomeLabel::failed);
        self.prune(name);
    }

    /// Has the version that was read fail as it did in the last run, if that is known. It is tried
    /// again later.
    pub(super) fn use_known_failure(&mut self, name: &ProjectName, read: &mut ReadResult) {
        let known = match &mut read.state {
            FolderState::Candidate(version, candidate) => self
                .known_failures
                .take(version, read.installed)
                .filter(|_| candidate.is_ok())
                .map(|error| *candidate = Err(error)),
            // It stays as it is.
            FolderState::FailedBefore(_) | FolderState::Unknown => return,
            FolderState::Gone | FolderState::Invalid(_) | FolderState::Live(_) => None,
        };
        self.projects.of(name).is_known_failure = known.is_some();
    }

    /// Keeps the failures for the next start, with those of the last run that were not tried since.
    pub(super) async fn keep_failures(&mut self) {
        let mut failures = std::mem::take(&mut self.known_failures);
        for project in self.projects.iter() {
            let was_tried = project.machine.failed().filter(|failed| failed.data.was_started());
            let failed = was_tried.or(project.machine.failed().filter(|_| project.is_known_failure));
            if let Some(AttemptFailure { version: Some(version), error }) =
                failed.map(|failed| &failed.failure)
            {
                failures.add(version, project.files.packages, error);
            }
        }
        let state = self.settings.state.clone();
        // A panic in it is logged.
        let _ = spawn_blocking(move || {
            if let Err(error) = failures.write(&state) {
                tracing::warn!("failed versions are tried again at the next start: {error:#}");
            }
        })
        .await;
    }

    fn retry_after(&mut self, name: &ProjectName, pause: Duration, number: u64) {
        self.tasks.spawn(name, async move {
            tokio::time::sleep(pause).await;
            ProjectTask::RetryDue { pause, number }
        });
    }

    /// Tries a failed project again, unless another attempt was made since.
    pub(super) fn retry(&mut self, name: &ProjectName, pause: Duration, number: u64) {
        let project = self.projects.of(name);
        if project.machine.failed().is_none() {
            return;
        }
        if project.machine.is_busy() {
            return self.retry_after(name, pause, number);
        }
        if project.retries.due(number) {
            self.step(name, Event::Changed(Look::new(Trigger::Poll, Instant::now())));
        }
    }
}
