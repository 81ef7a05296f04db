//! The deploys under way: which projects each holds, until when, and who waits for what.

use std::collections::BTreeMap;
use std::time::Duration;

use switchyard_contract::admin::{Hold, Report};
use switchyard_contract::project::ProjectName;
use tokio::time::Instant;

use crate::live::{Answer, Refusal};

/// Each is a deployer that waits; more at once is one that never lets go.
const MAX_DEPLOYS: usize = 100;

/// By id.
#[derive(Debug, Default)]
pub(super) struct Deploys(BTreeMap<String, Deploy>);

#[derive(Debug)]
pub(super) struct Deploy {
    pub(super) projects: Vec<ProjectName>,
    lease: Duration,
    ends: Instant,
    /// Nothing is under way in its projects but what it asks for.
    pub(super) is_held: bool,
    /// Who waits for that.
    pub(super) holders: Vec<Answer<()>>,
    /// Who waits for the builds.
    pub(super) builders: Vec<Answer<Vec<Report>>>,
    /// Of the builds that have ended.
    reports: BTreeMap<ProjectName, Report>,
}

impl Deploys {
    /// Finds the deploy of this id, or begins it. `holder` tells the deploy that holds a project.
    /// Returns whether it is new.
    ///
    /// # Errors
    /// One of the projects is held by another, or there are too many deploys.
    pub(super) fn hold(
        &mut self,
        hold: &Hold,
        holder: impl Fn(&ProjectName) -> Option<String>,
    ) -> Result<(&mut Deploy, bool), Refusal> {
        let lease = Duration::from_millis(hold.lease_ms);
        let is_new = !self.0.contains_key(&hold.id);
        if is_new {
            for project in &hold.projects {
                if let Some(by) = holder(project) {
                    return Err(Refusal::Held { project: project.clone(), by });
                }
            }
            if self.0.len() >= MAX_DEPLOYS {
                return Err(Refusal::Busy(MAX_DEPLOYS));
            }
        }
        let deploy =
            self.0.entry(hold.id.clone()).or_insert_with(|| Deploy::new(hold.projects.clone(), lease));
        if deploy.projects != hold.projects {
            return Err(Refusal::OtherProjects(hold.id.clone()));
        }
        deploy.lease = lease;
        deploy.renew();
        Ok((deploy, is_new))
    }

    /// The deploy of this id, whose lease begins anew.
    ///
    /// # Errors
    /// There is none, or its lease is over.
    pub(super) fn call(&mut self, id: &str) -> Result<&mut Deploy, Refusal> {
        let deploy = self.0.get_mut(id).ok_or_else(|| Refusal::Unknown(id.to_owned()))?;
        deploy.renew();
        Ok(deploy)
    }

    pub(super) fn get(&mut self, id: &str) -> Option<&mut Deploy> {
        self.0.get_mut(id)
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Deploy> {
        self.0.remove(id)
    }

    /// When the next lease ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.0.values().map(|deploy| deploy.ends).min()
    }

    /// The deploys whose lease is over.
    pub(super) fn over(&self, now: Instant) -> Vec<String> {
        self.0.iter().filter(|(_, deploy)| deploy.ends <= now).map(|(id, _)| id.clone()).collect()
    }
}

impl Deploy {
    fn new(projects: Vec<ProjectName>, lease: Duration) -> Self {
        Self {
            projects,
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

    /// Answers who waits for the hold.
    pub(super) fn held(&mut self) {
        self.is_held = true;
        for holder in self.holders.drain(..) {
            // Whoever asked may have gone.
            let _ = holder.send(Ok(()));
        }
    }

    /// Forgets what earlier builds gave.
    pub(super) fn build(&mut self) {
        self.reports.clear();
    }

    /// Takes what a build came to; answers who waits for the builds when this was the last.
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

    /// Tells who still waits that the deploy `id` is over.
    pub(super) fn end(self, id: &str) {
        for holder in self.holders {
            let _ = holder.send(Err(Refusal::Unknown(id.to_owned())));
        }
        for builder in self.builders {
            let _ = builder.send(Err(Refusal::Unknown(id.to_owned())));
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
        Hold { id: id.to_owned(), projects, lease_ms: 1_000 }
    }

    fn nobody(_: &ProjectName) -> Option<String> {
        None
    }

    #[test]
    fn a_project_has_one_deploy_at_a_time() {
        let mut deploys = Deploys::default();
        assert!(deploys.hold(&hold("d1", &["a"]), nobody).unwrap().1);
        assert!(!deploys.hold(&hold("d1", &["a"]), nobody).unwrap().1, "again");
        let holder = |project: &ProjectName| (project.as_str() == "a").then(|| "d1".to_owned());
        let refused = deploys.hold(&hold("d2", &["b", "a"]), holder).unwrap_err();
        assert_eq!(refused, Refusal::Held { project: name("a"), by: "d1".to_owned() });
        let refused = deploys.hold(&hold("d1", &["a", "b"]), nobody).unwrap_err();
        assert_eq!(refused, Refusal::OtherProjects("d1".to_owned()));
    }

    #[test]
    fn there_is_a_limit_to_deploys_at_once() {
        let mut deploys = Deploys::default();
        for n in 0..MAX_DEPLOYS {
            deploys.hold(&hold(&n.to_string(), &["a"]), nobody).unwrap();
        }
        assert_eq!(deploys.hold(&hold("one-more", &["a"]), nobody).unwrap_err(), Refusal::Busy(MAX_DEPLOYS));
        deploys.hold(&hold("0", &["a"]), nobody).unwrap();
    }

    #[test]
    fn each_call_begins_the_lease_anew() {
        let mut deploys = Deploys::default();
        let (deploy, _) = deploys.hold(&hold("d", &["a"]), nobody).unwrap();
        let over = Instant::now();
        deploy.ends = over;
        assert_eq!(deploys.over(over), ["d"]);
        deploys.call("d").unwrap();
        assert!(deploys.over(over).is_empty());
        assert_eq!(deploys.over(deploys.next_end().unwrap()), ["d"]);
        assert!(deploys.call("e").is_err());
    }

    #[test]
    fn builds_are_answered_when_the_last_has_ended_in_the_order_of_the_projects() {
        let mut deploys = Deploys::default();
        let (deploy, _) = deploys.hold(&hold("d", &["b", "a"]), nobody).unwrap();
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
    fn who_waits_for_a_deploy_that_ends_is_told() {
        let mut deploys = Deploys::default();
        let (deploy, _) = deploys.hold(&hold("d", &["a"]), nobody).unwrap();
        let (answer, mut answered) = oneshot::channel();
        deploy.holders.push(answer);
        deploys.remove("d").unwrap().end("d");
        assert_eq!(answered.try_recv().unwrap(), Err(Refusal::Unknown("d".to_owned())));
    }
}
