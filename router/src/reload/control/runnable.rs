//! Versions for runs: the live one, or one whose checkout is kept.

use std::sync::Arc;

use switchyard_contract::digest::Digest;
use switchyard_contract::project::ProjectName;
use tokio::sync::oneshot;

use super::Control;
use crate::build::RecordedVersion;
use crate::checkout::{ReceiveError, ReceivedFiles};
use crate::live::{NotRunnable, RunnableVersion};
use crate::reload::tasks::RouterTask;
use crate::version::{Tenant, Version};

/// The channel for the version of a run.
type Answer = oneshot::Sender<Result<Box<RunnableVersion>, NotRunnable>>;

impl Control {
    /// Answers with a version of `project`: the live one, or the one with this digest.
    pub(super) fn find_version(&mut self, project: &ProjectName, digest: Option<Digest>, answer: Answer) {
        // A run is never evicted: others make room for it.
        if self.projects.contains(project.as_str()) {
            self.evict(project);
        }
        match self.known_version(project, digest) {
            // The caller may be gone.
            Ok(Known::Live(found)) => _ = answer.send(Ok(found)),
            Ok(Known::Kept(recorded)) => self.find_kept(recorded, answer),
            Err(error) => _ = answer.send(Err(error)),
        }
    }

    fn known_version(&self, project: &ProjectName, digest: Option<Digest>) -> Result<Known, NotRunnable> {
        let known = self.projects.get(project.as_str()).ok_or(NotRunnable::UnknownProject)?;
        let live =
            known.machine.live().filter(|live| digest.is_none_or(|digest| live.version.digest == digest));
        if let Some(live) = live {
            let mut plan = live.data.plan.clone();
            plan.renew(&self.parts.policy);
            let commit = live.data.commit.clone();
            return Ok(Known::Live(Box::new(RunnableVersion {
                launch: plan.launch,
                tasks: plan.tasks,
                commit,
            })));
        }
        let digest = digest.ok_or(NotRunnable::NoLiveVersion)?;
        let of_live = known.machine.live_version().map(|version| version.incarnation);
        let incarnation = of_live.or(known.files.incarnation).unwrap_or_default();
        let version = Version::new(&Tenant::new(project, incarnation), digest);
        let function = known.live().and_then(|live| live.plan.function.clone());
        Ok(Known::Kept(RecordedVersion { version, function }))
    }

    /// Makes the checkout of a version in a task.
    pub(super) fn keep_version(
        &mut self,
        version: Version,
        received: ReceivedFiles,
        answer: oneshot::Sender<Result<(), ReceiveError>>,
    ) {
        let (builder, policy) = (self.builder.clone(), Arc::clone(&self.parts.policy));
        let known = self.projects.get(version.project.as_str());
        let previous = known.and_then(|known| known.machine.live_version()).cloned();
        self.tasks.spawn_for_router(async move {
            // The caller may be gone.
            let _ = answer.send(builder.keep(version, received, previous, policy).await);
            RouterTask::Done
        });
    }

    /// Finds a kept checkout in a task, and the packages that it needs.
    fn find_kept(&mut self, recorded: RecordedVersion, answer: Answer) {
        let (builder, policy) = (self.builder.clone(), Arc::clone(&self.parts.policy));
        self.tasks.spawn_for_router(async move {
            let found = match builder.find(recorded, policy).await {
                Some(plan) => {
                    if let Err(error) = builder.prepare(&plan.launch).await {
                        // The run says what is missing.
                        tracing::warn!(project.version = %plan.version(), "packages for a run: {error}");
                    }
                    Ok(Box::new(RunnableVersion { launch: plan.launch, tasks: plan.tasks, commit: None }))
                }
                None => Err(NotRunnable::UnknownVersion),
            };
            let _ = answer.send(found);
            RouterTask::Done
        });
    }
}

/// A version that a run asks for.
enum Known {
    Live(Box<RunnableVersion>),
    /// The files may be kept.
    Kept(RecordedVersion),
}
