//! The calls of deploys: projects held, built, published together, let go.

use std::time::Instant;

use switchyard_contract::admin::{Hold, ReloadOutcome, Report};
use switchyard_contract::project::ProjectName;

use super::Control;
use crate::live::{Answer, Refusal};
use crate::reload::machine::{Event, Failed, Prepared};

impl Control {
    pub(super) fn hold(&mut self, hold: &Hold, answer: Answer<()>) {
        let holder = |project: &ProjectName| self.projects.get(project.as_str())?.deploy.clone();
        let (deploy, is_new) = match self.deploys.hold(hold, holder) {
            Ok(held) => held,
            Err(refusal) => return reply(answer, Err(refusal)),
        };
        if deploy.is_held {
            return reply(answer, Ok(()));
        }
        deploy.holders.push(answer);
        if !is_new {
            return;
        }
        tracing::info!(deploy = hold.id, projects = ?hold.projects, "held for a deploy");
        for project in &hold.projects {
            self.project(project).deploy = Some(hold.id.clone());
            self.step(project.as_str(), Event::Hold, Instant::now());
        }
    }

    /// Nothing is under way in a held project any more.
    pub(super) fn held(&mut self, name: &str) {
        let Some(id) = self.deploy_of(name) else { return };
        let Some(deploy) = self.deploys.get(&id) else { return };
        let rests = |project: &ProjectName| {
            self.projects.get(project.as_str()).is_some_and(|project| project.machine.rests())
        };
        if !deploy.projects.iter().all(rests) {
            return;
        }
        deploy.held();
        if !deploy.builders.is_empty() {
            self.begin_builds(&id);
        }
    }

    pub(super) fn build_deploy(&mut self, id: &str, answer: Answer<Vec<Report>>) {
        let deploy = match self.deploys.call(id) {
            Ok(deploy) => deploy,
            Err(refusal) => return reply(answer, Err(refusal)),
        };
        deploy.builders.push(answer);
        if deploy.is_held {
            self.begin_builds(id);
        }
    }

    fn begin_builds(&mut self, id: &str) {
        let Some(deploy) = self.deploys.get(id) else { return };
        deploy.build();
        for project in deploy.projects.clone() {
            self.step(project.as_str(), Event::Build, Instant::now());
        }
    }

    /// A build of a deploy has ended.
    pub(super) fn prepared(&mut self, name: &str, end: Result<Prepared, Failed>) {
        let Some(id) = self.deploy_of(name) else { return };
        let Some(project) = self.projects.get_mut(name) else { return };
        let (outcome, version, error) = match end {
            Ok(Prepared::Version(version)) => (ReloadOutcome::Built, Some(version), None),
            Ok(Prepared::Unchanged) => (ReloadOutcome::Unchanged, project.machine.live.clone(), None),
            Ok(Prepared::Gone) => (ReloadOutcome::Removed, None, None),
            Err(failed) => (ReloadOutcome::Failed, failed.version, Some(failed.error)),
        };
        let report = project.end_of_attempt(outcome, version.as_ref(), error);
        let project = project.name.clone();
        if let Some(error) = &report.error {
            tracing::warn!(
                deploy = id,
                project.name = name,
                project.version = report.version,
                file = error.file,
                line = error.line,
                column = error.column,
                "{name} failed for a deploy, nothing of it is published: {}",
                error.message
            );
            self.drop_built(name);
        }
        if let Some(deploy) = self.deploys.get(&id) {
            deploy.built(&project, report);
        }
    }

    pub(super) fn publish_deploy(&mut self, id: &str, answer: Answer<Vec<Report>>) {
        let projects = match self.deploys.call(id) {
            Ok(deploy) => deploy.projects.clone(),
            Err(refusal) => return reply(answer, Err(refusal)),
        };
        let is_prepared = |project: &&ProjectName| {
            let project = self.projects.get(project.as_str());
            project.is_some_and(|project| project.machine.is_prepared())
        };
        if let Some(missing) = projects.iter().find(|project| !is_prepared(project)) {
            return reply(answer, Err(Refusal::NotBuilt(missing.clone())));
        }
        self.deploys.remove(id);
        let (mut changes, mut later) = (Vec::new(), Vec::new());
        for project in &projects {
            let project = self.project(project);
            project.deploy = None;
            let name = project.name.to_string();
            let mut effects = project.machine.on(Event::Publish).into_iter();
            changes.extend(effects.next().map(|change| (name.clone(), change)));
            later.extend(effects.map(|effect| (name.clone(), effect)));
        }
        let mut reports = self.publish(changes);
        for report in reports.iter_mut().filter(|report| report.outcome == ReloadOutcome::Unknown) {
            // It was not there before either: what was asked for is so.
            report.outcome = ReloadOutcome::Removed;
        }
        for (name, effect) in later {
            self.perform(&name, effect, Instant::now());
        }
        for project in &projects {
            self.show(project.as_str());
        }
        tracing::info!(deploy = id, "published");
        reply(answer, Ok(reports));
    }

    pub(super) fn release_deploy(&mut self, id: &str, answer: Answer<()>) {
        let known = self.deploys.call(id).map(|_| ());
        if known.is_ok() {
            tracing::info!(deploy = id, "let go");
            self.let_go(id);
        }
        reply(answer, known);
    }

    /// Lets go of the deploys that nothing was heard of.
    pub(super) fn end_leases(&mut self) {
        for id in self.deploys.over(tokio::time::Instant::now()) {
            tracing::warn!(deploy = id, "let go: nothing was heard of it for as long as its lease");
            self.let_go(&id);
        }
    }

    fn let_go(&mut self, id: &str) {
        let Some(deploy) = self.deploys.remove(id) else { return };
        for project in &deploy.projects {
            self.project(project).deploy = None;
            self.step(project.as_str(), Event::Release, Instant::now());
        }
        deploy.end(id);
    }

    /// Ends what was built and is not wanted.
    pub(super) fn drop_built(&mut self, name: &str) {
        let Some(project) = self.projects.get_mut(name) else { return };
        project.plan = None;
        let project_name = project.name.clone();
        let built = std::mem::take(&mut project.built);
        if !built.is_empty() {
            self.retire(name, built);
        }
        self.prune(&project_name);
    }

    fn deploy_of(&self, name: &str) -> Option<String> {
        self.projects.get(name)?.deploy.clone()
    }
}

fn reply<T>(answer: Answer<T>, result: Result<T, Refusal>) {
    // Whoever asked may have gone.
    let _ = answer.send(result);
}
