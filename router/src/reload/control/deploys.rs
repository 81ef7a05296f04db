//! The calls of deploys: projects held, built, published together, let go.

use switchyard_contract::admin::{Hold, ReloadOutcome, Report};
use switchyard_contract::project::ProjectName;

use super::Control;
use super::public_effect::PublicEffect;
use crate::build::Built;
use crate::live::{DeployId, DeployRefusal, DeployReply};
use crate::reload::attempt::AttemptData;
use crate::reload::machine::{AttemptFailure, Event, StagedKind};

impl Control {
    pub(super) fn hold(&mut self, hold: &Hold, reply: DeployReply<()>) {
        let id = DeployId::from(hold.id.as_str());
        if let Some(refusal) = self.overridden(&hold.projects) {
            return send(reply, Err(refusal));
        }
        let holder = |project: &ProjectName| self.projects.get(project.as_str())?.deploy.clone();
        let (deploy, is_new) = match self.deploys.hold(&id, hold, holder) {
            Ok(held) => held,
            Err(refusal) => return send(reply, Err(refusal)),
        };
        if deploy.is_held {
            return send(reply, Ok(()));
        }
        deploy.holders.push(reply);
        if !is_new {
            return;
        }
        tracing::info!(deploy = id.as_str(), projects = ?hold.projects, "held for a deploy");
        for project in &hold.projects {
            self.projects.of(project).deploy = Some(id.clone());
            self.step(project, Event::Hold);
        }
    }

    /// Notes that nothing is under way in a held project any more.
    pub(super) fn hold_began(&mut self, name: &ProjectName) {
        let Some((id, deploy)) = self.deploys.of(self.projects.of(name).deploy.as_ref()) else { return };
        let rests = |project: &ProjectName| {
            self.projects.get(project.as_str()).is_some_and(|project| project.machine.is_quiescent())
        };
        if !deploy.projects.iter().all(rests) {
            return;
        }
        deploy.hold_began();
        if !deploy.builders.is_empty() {
            self.begin_builds(&id);
        }
    }

    pub(super) fn build_deploy(&mut self, id: &DeployId, reply: DeployReply<Vec<Report>>) {
        let deploy = match self.deploys.call(id) {
            Ok(deploy) => deploy,
            Err(refusal) => return send(reply, Err(refusal)),
        };
        deploy.builders.push(reply);
        if deploy.is_held {
            self.begin_builds(id);
        }
    }

    fn begin_builds(&mut self, id: &DeployId) {
        let Some((_, deploy)) = self.deploys.of(Some(id)) else { return };
        deploy.forget_reports();
        for project in deploy.projects.clone() {
            self.step(&project, Event::Build);
        }
    }

    /// Reports the result of a deploy's build of a project.
    pub(super) fn staged(&mut self, name: &ProjectName, prepared: StagedKind) {
        let project = self.projects.of(name);
        let Some((_, deploy)) = self.deploys.of(project.deploy.as_ref()) else { return };
        let Some(attempt) = project.machine.staged_attempt() else { return };
        let (outcome, version) = match prepared {
            StagedKind::Version(version) => (ReloadOutcome::Built, Some(version)),
            StagedKind::Unchanged => (ReloadOutcome::Unchanged, project.machine.live_version().cloned()),
            StagedKind::Gone => (ReloadOutcome::Removed, None),
        };
        deploy.built(name, attempt.report(name, outcome, version.as_ref(), None));
    }

    /// Reports the failure of a deploy's build of a project.
    pub(super) fn stage_failed(&mut self, name: &ProjectName, failed: AttemptFailure, attempt: &AttemptData) {
        let AttemptFailure { version, error } = failed;
        let report = attempt.report(name, ReloadOutcome::Failed, version.as_ref(), Some(error.clone()));
        let Some((id, deploy)) = self.deploys.of(self.projects.of(name).deploy.as_ref()) else { return };
        tracing::warn!(
            deploy = id.as_str(),
            project.name = name.as_str(),
            project.version = report.version,
            commit = deploy.commits.get(name).map(|commit| commit.commit.as_str()),
            file = error.file,
            line = error.line,
            column = error.column,
            "{name} failed for a deploy, nothing of it is published: {}",
            error.message
        );
        deploy.built(name, report);
        self.discard(name, None);
    }

    pub(super) fn publish_deploy(&mut self, id: &DeployId, reply: DeployReply<Vec<Report>>) {
        let projects = match self.deploys.call(id) {
            Ok(deploy) => deploy.projects.clone(),
            Err(refusal) => return send(reply, Err(refusal)),
        };
        let is_staged = |project: &&ProjectName| {
            let project = self.projects.get(project.as_str());
            project.is_some_and(|project| project.machine.is_staged())
        };
        if let Some(missing) = projects.iter().find(|project| !is_staged(project)) {
            return send(reply, Err(DeployRefusal::NotBuilt(missing.clone())));
        }
        let commits = self.deploys.remove(id).map(|deploy| deploy.commits).unwrap_or_default();
        let (mut changes, mut later) = (Vec::new(), Vec::new());
        for name in &projects {
            let project = self.projects.of(name);
            project.deploy = None;
            let effects = project.machine.on(Event::Publish);
            let is_relabelled = commits.get(name).is_some_and(|commit| project.set_commit(commit));
            for effect in effects {
                match PublicEffect::try_from(effect) {
                    Ok(PublicEffect::Unchanged(attempt)) if is_relabelled => {
                        changes.push((name.clone(), PublicEffect::Relabel(attempt)));
                    }
                    Ok(change) => changes.push((name.clone(), change)),
                    Err(effect) => later.push((name, effect)),
                }
            }
        }
        let mut reports = self.publish(changes);
        for report in reports.iter_mut().filter(|report| report.outcome == ReloadOutcome::Unknown) {
            // The project was not there before either, so the requested state is reached.
            report.outcome = ReloadOutcome::Removed;
        }
        for (name, effect) in later {
            self.apply(name, *effect);
        }
        for project in &projects {
            self.show(project);
        }
        tracing::info!(deploy = id.as_str(), "published");
        send(reply, Ok(reports));
    }

    pub(super) fn release_deploy(&mut self, id: &DeployId, reply: DeployReply<()>) {
        let known = self.deploys.call(id).map(|_| ());
        if known.is_ok() {
            tracing::info!(deploy = id.as_str(), "let go");
            self.let_go(id);
        }
        send(reply, known);
    }

    /// Lets go of the deploys whose lease is over.
    pub(super) fn end_leases(&mut self) {
        for id in self.deploys.expired(tokio::time::Instant::now()) {
            tracing::warn!(deploy = id.as_str(), "let go: its lease has expired");
            self.let_go(&id);
        }
    }

    fn let_go(&mut self, id: &DeployId) {
        let Some(deploy) = self.deploys.remove(id) else { return };
        for project in &deploy.projects {
            self.projects.of(project).deploy = None;
            self.step(project, Event::Release);
        }
        deploy.end(id);
    }

    /// Ends the cells of a version that is not needed, if one was built.
    pub(super) fn discard(&mut self, name: &ProjectName, built: Option<Built>) {
        let cells = built.map(|built| built.cells).unwrap_or_default();
        if !cells.is_empty() {
            self.retire(name, cells);
        }
        self.prune(name);
    }
}

fn send<T>(reply: DeployReply<T>, result: Result<T, DeployRefusal>) {
    // The caller may be gone.
    let _ = reply.send(result);
}
