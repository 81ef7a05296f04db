//! The deploys under way: the projects that each holds, its lease, and the callers that wait for
//! it.

use std::collections::BTreeMap;
use std::time::Duration;

use switchyard_contract::admin::{Hold, Report};
use switchyard_contract::commit::CommitInfo;
use switchyard_contract::project::ProjectName;
use tokio::time::Instant;

use crate::live::{DeployId, DeployRefusal, DeployReply};

/// Maximum number of deploys at once. Each is a deployer that waits, so more than this means one
/// that never lets go.
const MAX_DEPLOYS: usize = 100;

/// The deploys by id.
#[derive(Debug, Default)]
pub(super) struct Deploys(BTreeMap<DeployId, Deploy>);

#[derive(Debug)]
pub(super) struct Deploy {
    pub(super) projects: Vec<ProjectName>,
    /// The commits that the deployed files came from.
    pub(super) commits: BTreeMap<ProjectName, CommitInfo>,
    lease: Duration,
    ends: Instant,
    /// `true`: nothing is under way in its projects except at its request.
    pub(super) is_held: bool,
    /// The callers that wait for the hold.
    pub(super) holders: Vec<DeployReply<()>>,
    /// The callers that wait for the builds.
    pub(super) builders: Vec<DeployReply<Vec<Report>>>,
    /// The reports of the builds that have ended.
    reports: BTreeMap<ProjectName, Report>,
}

impl Deploys {
    /// Finds the deploy `id`, or begins it. `holder` names the deploy that holds a project. Returns
    /// the deploy, and true if it is new.
    ///
    /// # Errors
    /// One of the projects is held by another, or there are too many deploys.
    pub(super) fn hold(
        &mut self,
        id: &DeployId,
        hold: &Hold,
        holder: impl Fn(&ProjectName) -> Option<DeployId>,
    ) -> Result<(&mut Deploy, bool), DeployRefusal> {
        let lease = Duration::from_millis(hold.lease_ms);
        let is_new = !self.0.contains_key(id);
        if is_new {
            for project in &hold.projects {
                if let Some(by) = holder(project) {
                    return Err(DeployRefusal::Held { project: project.clone(), by });
                }
            }
            if self.0.len() >= MAX_DEPLOYS {
                return Err(DeployRefusal::Busy(MAX_DEPLOYS));
            }
        }
        let deploy = self.0.entry(id.clone()).or_insert_with(|| Deploy::new(hold.projects.clone(), lease));
        if deploy.projects != hold.projects {
            return Err(DeployRefusal::OtherProjects(id.clone()));
        }
        deploy.commits.clone_from(&hold.commits);
        deploy.lease = lease;
        deploy.renew();
        Ok((deploy, is_new))
    }

    /// The deploy `id`, with its lease renewed.
    ///
    /// # Errors
    /// There is no such deploy, or its lease is over.
    pub(super) fn call(&mut self, id: &DeployId) -> Result<&mut Deploy, DeployRefusal> {
        let deploy = self.0.get_mut(id).ok_or_else(|| DeployRefusal::Unknown(id.clone()))?;
        deploy.renew();
        Ok(deploy)
    }

    /// The deploy `id` with its id, if there is one.
    pub(super) fn of(&mut self, id: Option<&DeployId>) -> Option<(DeployId, &mut Deploy)> {
        let id = id?;
        Some((id.clone(), self.0.get_mut(id)?))
    }

    pub(super) fn remove(&mut self, id: &DeployId) -> Option<Deploy> {
        self.0.remove(id)
    }

    /// The instant at which the next lease ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.0.values().map(|deploy| deploy.ends).min()
    }

    /// The deploys whose lease is over.
    pub(super) fn expired(&self, now: Instant) -> Vec<DeployId> {
        self.0.iter().filter(|(_, deploy)| deploy.ends <= now).map(|(id, _)| id.clone()).collect()
    }
}

impl Deploy {
    fn new(projects: Vec<ProjectName>, lease: Duration) -> Self {
        Self {
            projects,
            commits: BTreeMap::new(),
            lease,
            ends: Instant::now(),
            is_held: false,
            holders: Vec::new(),
            builders: Vec::new(),
            reports: BTreeMap::new(),
        }
    }

    fn renew(&mut self) {
        self.ends = Instant::now() + self.lease;
    }

    /// Answers the callers that wait for the hold.
    pub(super) fn hold_began(&mut self) {
        self.is_held = true;
        for holder in self.holders.drain(..) {
            // A caller may be gone.
            let _ = holder.send(Ok(()));
        }
    }

    /// Forgets the reports of earlier builds.
    pub(super) fn forget_reports(&mut self) {
        self.reports.clear();
    }

    /// Takes the report of a build. Answers the callers that wait for the builds if it was the last
    /// one.
    pub(super) fn built(&mut self, project: &ProjectName, report: Report) {
        self.reports.insert(project.clone(), report);
        let reports: Option<Vec<_>> =
            self.projects.iter().map(|project| self.reports.get(project).cloned()).collect();
        let Some(reports) = reports else { return };
        self.renew();
        for builder in self.builders.drain(..) {
            let _ = builder.send(Ok(reports.clone()));
        }
    }

    /// Answers the callers that still wait: the deploy `id` is over.
    pub(super) fn end(self, id: &DeployId) {
        for holder in self.holders {
            let _ = holder.send(Err(DeployRefusal::Unknown(id.clone())));
        }
        for builder in self.builders {
            let _ = builder.send(Err(DeployRefusal::Unknown(id.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use switchyard_contract::admin::ReloadOutcome;
    use tokio::sync::oneshot;

    use super::*;

    fn name(name: &str) -> ProjectName {
        ProjectName::parse(name).unwrap()
    }

    fn hold(id: &str, projects: &[&str]) -> Hold {
        let projects = projects.iter().map(|project| name(project)).collect();
        Hold { id: id.to_owned(), projects, lease_ms: 1_000, commits: BTreeMap::new() }
    }

    fn begin<'a>(
        deploys: &'a mut Deploys,
        hold: &Hold,
        holder: impl Fn(&ProjectName) -> Option<DeployId>,
    ) -> Result<(&'a mut Deploy, bool), DeployRefusal> {
        deploys.hold(&hold.id.as_str().into(), hold, holder)
    }

    fn nobody(_: &ProjectName) -> Option<DeployId> {
        None
    }

    #[test]
    fn a_project_has_one_deploy_at_a_time() {
        let mut deploys = Deploys::default();
        assert!(begin(&mut deploys, &hold("d1", &["a"]), nobody).unwrap().1);
        assert!(!begin(&mut deploys, &hold("d1", &["a"]), nobody).unwrap().1, "again");
        let holder = |project: &ProjectName| (project.as_str() == "a").then(|| "d1".into());
        let refused = begin(&mut deploys, &hold("d2", &["b", "a"]), holder).unwrap_err();
        assert_eq!(refused, DeployRefusal::Held { project: name("a"), by: "d1".into() });
        let refused = begin(&mut deploys, &hold("d1", &["a", "b"]), nobody).unwrap_err();
        assert_eq!(refused, DeployRefusal::OtherProjects("d1".into()));
    }

    #[test]
    fn there_is_a_limit_to_deploys_at_once() {
        let mut deploys = Deploys::default();
        for n in 0..MAX_DEPLOYS {
            begin(&mut deploys, &hold(&n.to_string(), &["a"]), nobody).unwrap();
        }
        assert_eq!(
            begin(&mut deploys, &hold("one-more", &["a"]), nobody).unwrap_err(),
            DeployRefusal::Busy(MAX_DEPLOYS)
        );
        begin(&mut deploys, &hold("0", &["a"]), nobody).unwrap();
    }

    #[test]
    fn each_call_begins_the_lease_anew() {
        let mut deploys = Deploys::default();
        let (deploy, _) = begin(&mut deploys, &hold("d", &["a"]), nobody).unwrap();
        let over = Instant::now();
        deploy.ends = over;
        assert_eq!(deploys.expired(over), ["d".into()]);
        deploys.call(&"d".into()).unwrap();
        assert!(deploys.expired(over).is_empty());
        assert_eq!(deploys.expired(deploys.next_end().unwrap()), ["d".into()]);
        assert!(deploys.call(&"e".into()).is_err());
    }

    #[test]
    fn builds_are_answered_when_the_last_has_ended_in_the_order_of_the_projects() {
        let mut deploys = Deploys::default();
        let (deploy, _) = begin(&mut deploys, &hold("d", &["b", "a"]), nobody).unwrap();
        let (answer, mut answered) = oneshot::channel();
        deploy.builders.push(answer);
        deploy.built(&name("a"), Report::of("a", ReloadOutcome::Built));
        assert!(answered.try_recv().is_err());
        deploy.built(&name("b"), Report::of("b", ReloadOutcome::Unchanged));
        let reports = answered.try_recv().unwrap().unwrap();
        let projects: Vec<_> = reports.iter().map(|report| report.project.as_str()).collect();
        assert_eq!(projects, ["b", "a"]);
    }

    #[test]
    fn a_caller_that_waits_for_a_deploy_that_ends_gets_an_answer() {
        let mut deploys = Deploys::default();
        let (deploy, _) = begin(&mut deploys, &hold("d", &["a"]), nobody).unwrap();
        let (answer, mut answered) = oneshot::channel();
        deploy.holders.push(answer);
        deploys.remove(&"d".into()).unwrap().end(&"d".into());
        assert_eq!(answered.try_recv().unwrap(), Err(DeployRefusal::Unknown("d".into())));
    }
}
