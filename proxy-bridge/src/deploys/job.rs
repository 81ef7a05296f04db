//! A deploy under way: its growing record, and its followers.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use crate::changes::{Change, Changes};
use switchyard_contract::admin::Report;
use switchyard_contract::commit::CommitInfo;
use switchyard_contract::deploy::{
    DeployOutcome, DeployPhase, DeployRecord, DeployStep, DeployedProject, RouterReport,
};
use switchyard_edge::problem::Problem;

/// One deploy, under way or done.
#[derive(Debug)]
pub struct Job {
    began: Instant,
    state: watch::Sender<State>,
    id: Arc<str>,
    changes: Changes,
}

#[derive(Debug)]
struct State {
    record: DeployRecord,
    /// A few for each phase and router: bounded by their number.
    steps: Vec<DeployStep>,
    phase_began: Instant,
}

impl Job {
    pub(super) fn new(record: DeployRecord, changes: Changes) -> Self {
        let now = Instant::now();
        let id = record.deploy.as_str().into();
        let state = watch::Sender::new(State { record, steps: Vec::new(), phase_began: now });
        let job = Self { began: now, state, id, changes };
        job.changes.send(Change::Deploy(job.id.clone()));
        job
    }

    /// Changes the state, and reports it.
    fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(change);
        self.changes.send(Change::Deploy(self.id.clone()));
    }

    /// Returns a copy of the current record.
    pub fn record(&self) -> DeployRecord {
        self.state.borrow().record.clone()
    }

    /// Returns true if the deploy is over.
    pub fn is_done(&self) -> bool {
        self.state.borrow().record.outcome.is_some()
    }

    /// Ends the phase that is under way and begins `phase`.
    pub(super) fn begin(&self, phase: DeployPhase) {
        self.change(|state| {
            state.end_phase();
            state.record.phase = phase;
            let deploy = state.record.deploy.clone();
            state.steps.push(DeployStep {
                deploy,
                phase,
                router: None,
                outcome: None,
                ms: millis(self.began),
            });
        });
    }

    pub(super) fn set_projects(&self, projects: Vec<DeployedProject>) {
        self.change(|state| state.record.projects = projects);
    }

    /// Records the message and the commit that came with the files.
    pub(super) fn set_notes(&self, message: Option<String>, commit: Option<CommitInfo>) {
        self.change(|state| {
            state.record.message = message;
            state.record.commit = commit;
        });
    }

    /// Records the versions that routers make of the deployed files. Those of projects that include
    /// others cover more files, and of those that are kept only the routers know them.
    pub(super) fn record_versions(&self, reports: &[Report]) {
        self.change(|state| {
            for report in reports {
                let projects = &mut state.record.projects;
                let deployed = projects.iter_mut().find(|one| one.project.as_str() == report.project);
                let own = report.own_digest.as_ref().and_then(|own| own.parse().ok());
                if let Some(deployed) = deployed.filter(|one| own.is_some() || one.digest.is_none()) {
                    deployed.own_digest = own;
                    deployed.digest = report.digest.as_ref().and_then(|digest| digest.parse().ok());
                    deployed.version.clone_from(&report.version);
                }
            }
        });
    }

    /// Records the routers that are about to be called, in this order.
    pub(super) fn set_routers(&self, routers: impl Iterator<Item = String>) {
        let unanswered = routers.map(|router| RouterReport {
            router,
            public: String::new(),
            reports: Vec::new(),
            error: None,
        });
        self.change(|state| state.record.routers = unanswered.collect());
    }

    /// Records the routers that do not serve yet what the others have published.
    pub(super) fn set_behind(&self, routers: Vec<String>) {
        self.change(|state| state.record.behind = routers);
    }

    /// Records the report of a router in the phase under way, in place of its earlier one.
    pub(super) fn report(&self, report: RouterReport, outcome: &str) {
        self.change(|state| {
            let step = DeployStep {
                deploy: state.record.deploy.clone(),
                phase: state.record.phase,
                router: Some(report.router.clone()),
                outcome: Some(outcome.to_owned()),
                ms: millis(self.began),
            };
            state.steps.push(step);
            match state.record.routers.iter_mut().find(|other| other.router == report.router) {
                Some(other) => *other = report,
                None => state.record.routers.push(report),
            }
        });
    }

    /// Ends the deploy. The deploy's id and the routers' reports are added to a problem.
    pub(super) fn end(&self, end: Result<DeployOutcome, (DeployOutcome, Problem)>) -> DeployRecord {
        self.change(|state| {
            state.end_phase();
            let record = &mut state.record;
            record.phase = DeployPhase::Done;
            record.timings_ms.insert("total".to_owned(), millis(self.began));
            match end {
                Ok(outcome) => {
                    record.status = Some(200);
                    record.outcome = Some(outcome);
                }
                Err((outcome, problem)) => {
                    record.status = Some(problem.status.as_u16());
                    record.outcome = Some(outcome);
                    let routers = serde_json::to_value(&record.routers).unwrap_or_default();
                    let problem = problem.with("deploy", record.deploy.clone()).with("routers", routers);
                    record.problem = Some(problem.document());
                }
            }
        });
        self.record()
    }

    /// Waits for the end. Bounded by the deploy's own time limit.
    pub async fn done(&self) -> DeployRecord {
        let mut state = self.state.subscribe();
        // The sender belongs to this job, so it cannot be gone.
        let _ = state.wait_for(|state| state.record.outcome.is_some()).await;
        self.record()
    }

    /// Waits for a step after the first `seen` ones, or for the end. Returns the new steps, and the
    /// record when the deploy is over.
    pub async fn next(&self, seen: usize) -> (Vec<DeployStep>, Option<DeployRecord>) {
        let mut state = self.state.subscribe();
        let news = state.wait_for(|state| state.steps.len() > seen || state.record.outcome.is_some()).await;
        match news {
            Ok(state) => {
                let steps = state.steps.get(seen..).unwrap_or_default().to_vec();
                (steps, state.record.outcome.map(|_| state.record.clone()))
            }
            Err(_) => (Vec::new(), Some(self.record())),
        }
    }
}

impl State {
    fn end_phase(&mut self) {
        let phase = self.record.phase.as_str().to_owned();
        self.record.timings_ms.insert(phase, millis(self.phase_began));
        self.phase_began = Instant::now();
    }
}

fn millis(since: Instant) -> f64 {
    // Three digits behind the point: microseconds.
    (since.elapsed().as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::tests::record;

    fn job() -> Job {
        let record = DeployRecord { outcome: None, phase: DeployPhase::Receive, ..record("d1", 1) };
        Job::new(record, Changes::default())
    }

    fn report(router: &str) -> RouterReport {
        RouterReport { router: router.into(), public: String::new(), reports: Vec::new(), error: None }
    }

    #[tokio::test]
    async fn a_follower_receives_each_step_once_and_then_the_end() {
        let job = job();
        job.begin(DeployPhase::Store);
        job.begin(DeployPhase::Hold);
        job.report(report("r1"), "held");
        let (steps, end) = job.next(0).await;
        assert_eq!(
            steps.iter().map(|step| step.phase).collect::<Vec<_>>(),
            [DeployPhase::Store, DeployPhase::Hold, DeployPhase::Hold]
        );
        assert!(end.is_none());
        job.end(Ok(DeployOutcome::Live));
        let (steps, end) = job.next(3).await;
        assert!(steps.is_empty());
        assert_eq!(end.unwrap().status, Some(200));
    }

    #[test]
    fn a_problem_carries_the_deploy_and_the_reports_of_the_routers() {
        let job = job();
        job.report(report("r1"), "failed");
        let problem = Problem::new(http::StatusCode::UNPROCESSABLE_ENTITY, "build-failed", "no");
        let record = job.end(Err((DeployOutcome::Failed, problem)));
        let problem = record.problem.unwrap();
        assert_eq!((&problem["deploy"], &problem["routers"][0]["router"]), (&"d1".into(), &"r1".into()));
        assert!(record.timings_ms.contains_key("total") && record.timings_ms.contains_key("receive"));
    }

    #[test]
    fn a_later_report_of_a_router_replaces_an_earlier_one() {
        let job = job();
        job.report(report("r1"), "held");
        job.report(RouterReport { error: Some("gone".into()), ..report("r1") }, "unreachable");
        assert_eq!(job.record().routers, [RouterReport { error: Some("gone".into()), ..report("r1") }]);
    }
}
