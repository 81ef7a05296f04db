//! The calls of a deploy to its routers: hold, build, publish, release.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::holds::{self, HoldAnswer};
use super::verdict::{BuildVerdict, build_failed};
use super::{DeployFailure, Run, labels};
use crate::deploys::rounds::{
    CallFailure, NoAnswer, Quorum, RoundResult, RoundTerms, UnreachableRouter, any_reachable, call_all,
    retry_until, while_away,
};
use crate::routers::{CallError, Presence, Router};
use crate::volume::Change;
use switchyard_contract::admin::{self, Hold, Report};
use switchyard_contract::deploy::{DeployOutcome, DeployPhase, RouterReport};
use switchyard_contract::digest::Digest;
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::project::ProjectName;
use switchyard_edge::problem::Problem;

/// Time that routers hold a project beyond the time limit of the deploy: their leases end only when
/// the bridge is gone.
const LEASE_MARGIN: Duration = Duration::from_secs(10);

/// Time within which a router is expected to release the projects. Otherwise its lease ends.
const RELEASE_WITHIN: Duration = Duration::from_secs(2);

/// Time to wait for the event of a publish that was answered. The event is sent before the answer.
const EVENT_WITHIN: Duration = Duration::from_millis(250);

/// Time to wait for a reachable router before the first call: one that restarts is back by then,
/// and one that hangs has been detected.
const REACHABLE_WITHIN: Duration = Duration::from_millis(2500);

/// Pause before a router is called again that read other files than the volume has, because of a
/// network file system's cache.
const STALE_PAUSE: Duration = Duration::from_millis(100);

impl Run {
    pub(super) async fn hold(&mut self) -> Result<(), DeployFailure> {
        self.job.begin(DeployPhase::Hold);
        let routers = self.shared.routers.all();
        if routers.is_empty() {
            let problem = Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no-routers",
                "no router is known: check --router and --routers, and try again",
            );
            return Err((DeployOutcome::Unreachable, problem));
        }
        self.job.set_routers(routers.iter().map(|router| router.name().to_owned()));
        self.quorum = match self.shared.settings.quorum {
            Some(number) => Quorum::Number(number.min(routers.len()).max(1)),
            None => Quorum::Reachable,
        };
        let needs_any = self.quorum == Quorum::Reachable;
        if needs_any {
            let until = self.until.min(Instant::now() + REACHABLE_WITHIN);
            any_reachable(&self.shared.routers, &routers, until).await;
        }
        self.asked = routers.iter().filter(|router| router.presence() != Presence::Away).cloned().collect();
        let order = self.hold_request();
        let question = |router: Arc<Router>| {
            let (order, until, routers) = (&order, self.until, &self.shared.routers);
            async move {
                while_away(routers, &router).await;
                HoldAnswer::of(retry_until(until, || router.hold(order)).await)
            }
        };
        let terms = RoundTerms { needs_any, ..self.terms() };
        let round = call_all(&self.shared.routers, routers, terms, question, |_| false).await;
        let (round, overridden) = holds::sort(round);
        for (router, ()) in &round.answers {
            self.report(router, Vec::new(), None, "held");
        }
        self.held = round.answers.iter().map(|(router, ())| router.clone()).collect();
        let enough = self.check_quorum(&round, "the volume is as it was");
        if enough.is_err() {
            self.release().await;
        }
        match (enough, overridden) {
            (Err(_), Some(problem)) => Err((DeployOutcome::Refused, problem)),
            (enough, _) => enough,
        }
    }

    /// Has every router build the files on the volume.
    pub(super) async fn build(&mut self) -> Result<(), DeployFailure> {
        self.job.begin(DeployPhase::Build);
        let mut routers = self.held.clone();
        let mut unreachable = Vec::new();
        loop {
            let terms = RoundTerms { before: self.built.len(), ..self.terms() };
            let question = |router: Arc<Router>| self.build_on(router);
            let stop = |verdict: &BuildVerdict| matches!(verdict, BuildVerdict::Bad(_));
            let mut round = call_all(&self.shared.routers, routers, terms, question, stop).await;
            let mut stale = Vec::new();
            let mut bad = None;
            for (router, verdict) in round.answers.drain(..) {
                match verdict {
                    BuildVerdict::Good(reports) => {
                        self.job.record_versions(&reports);
                        self.report(&router, reports, None, "built");
                        self.built.push(router);
                    }
                    BuildVerdict::Stale(reports) => stale.push((router, reports)),
                    BuildVerdict::Bad(reports) => {
                        self.report(&router, reports.clone(), None, "failed");
                        bad = Some(reports);
                    }
                }
            }
            if let Some(reports) = bad {
                return Err((DeployOutcome::Failed, build_failed(&reports)));
            }
            unreachable.append(&mut round.unreachable);
            self.check_unchanged().await?;
            if !stale.is_empty() && Instant::now() + STALE_PAUSE < self.until {
                routers = stale.into_iter().map(|(router, _)| router).collect();
                sleep(STALE_PAUSE).await;
                continue;
            }
            let why = "reads other files than were deployed: is its volume the same?";
            let seen = |(router, _)| UnreachableRouter { router, why: NoAnswer::new(why), counts: true };
            unreachable.extend(stale.into_iter().map(seen));
            let answers = self.built.iter().map(|router| (router.clone(), ())).collect();
            return self.check_quorum(&RoundResult { answers, unreachable }, "the volume is as it was");
        }
    }

    async fn build_on(&self, router: Arc<Router>) -> Result<BuildVerdict, NoAnswer> {
        let (id, until) = (self.staging_id(), self.until);
        loop {
            match retry_until(until, || router.build(&id, until - Instant::now())).await {
                Ok(reports) => return Ok(BuildVerdict::of(&self.changes, reports.projects)),
                // The router was restarted since, or its lease ended.
                Err(refusal) if refusal.is_unknown_deploy() => {
                    let order = self.hold_request();
                    retry_until(until, || router.hold(&order)).await.map_err(CallFailure::into_reason)?;
                    sleep(STALE_PAUSE).await;
                }
                Err(refusal) => return Err(refusal.into_reason()),
            }
        }
    }

    /// Checks that no one else has changed the deployed files on the volume.
    ///
    /// # Errors
    /// 409 if someone has.
    async fn check_unchanged(&mut self) -> Result<(), DeployFailure> {
        let foreign = self
            .blocking(|staging, changes| {
                Ok(changes.iter().map(Change::entry).find(|entry| !staging.is_ours(entry)))
            })
            .await?;
        let Some(entry) = foreign else { return Ok(()) };
        let detail = format!(
            "{entry} was changed on the volume by someone else during the deploy, and is served as it \
             is there: look at it, and deploy again"
        );
        let problem = Problem::new(StatusCode::CONFLICT, "superseded", detail);
        let member = if entry.project().is_some() { "project" } else { "shared" };
        Err((DeployOutcome::Superseded, problem.with(member, entry.as_str())))
    }

    pub(super) async fn publish(&mut self) -> Result<(), DeployFailure> {
        self.job.begin(DeployPhase::Publish);
        let question = |router: Arc<Router>| self.publish_on(router);
        let round =
            call_all(&self.shared.routers, self.built.clone(), self.terms(), question, |_| false).await;
        let mut published = Vec::new();
        for (router, reports) in round.answers {
            self.report(&router, reports, None, "live");
            published.push((router, ()));
        }
        // They get the project back when they read the volume again.
        for routers in [&mut self.held, &mut self.asked] {
            routers.retain(|router| !published.iter().any(|(other, ())| Arc::ptr_eq(other, router)));
        }
        let round = RoundResult { answers: published, unreachable: round.unreachable };
        let on_volume = if self.is_removal() {
            "it is removed from the volume, and the unreachable routers remove it when they are back"
        } else {
            "the files are on the volume, and the unreachable routers serve them when they are back"
        };
        self.check_quorum(&round, on_volume)?;
        // This precedes the answer, so that a client that has read it never sees an older version.
        let answered = round.answers.into_iter().map(|(router, ())| router).collect::<Vec<_>>();
        self.mark_behind(&answered).await;
        Ok(())
    }

    /// Marks the routers that did not confirm the publish as behind: they get no forwarded requests
    /// of the projects until they serve the deploy. Returns when the marks are on disk.
    async fn mark_behind(&self, published: &[Arc<Router>]) {
        let routers = &self.shared.routers;
        let mut behind = Vec::new();
        for router in routers.all() {
            if published.iter().any(|other| Arc::ptr_eq(other, &router)) {
                continue;
            }
            for (change, project) in self.of_projects() {
                let published = self.published(change);
                if change.removes() || published.is_some() {
                    routers.mark_behind(&router, project, published);
                }
            }
            if self.of_projects().any(|(_, project)| router.is_behind(project.as_str())) {
                behind.push(router.name().to_owned());
            }
        }
        if let Err(error) = routers.save_behind().await {
            let deploy = self.staging_id();
            tracing::error!(
                deploy,
                "the marks of routers that are behind are lost when this process ends: {error}"
            );
        }
        self.job.set_behind(behind);
    }

    fn terms(&self) -> RoundTerms {
        RoundTerms { quorum: self.quorum, before: 0, until: self.until, needs_any: false }
    }

    async fn publish_on(&self, router: Arc<Router>) -> Result<Vec<Report>, NoAnswer> {
        let (id, until) = (self.staging_id(), self.until);
        match retry_until(until, || router.publish(&id, until - Instant::now())).await {
            Ok(reports) => {
                // The event is on its way: a client that reads the answer and asks for the projects
                // then finds it there.
                let _ = timeout(EVENT_WITHIN, self.until_served(&router)).await;
                Ok(reports.projects)
            }
            // The answer was lost, or the router was restarted, in which case it reads the volume
            // on its own.
            Err(CallFailure::Answered { .. }) => timeout_at(until, self.until_served(&router))
                .await
                .map_err(|_| NoAnswer::new("has not reported the new version in time")),
            Err(refusal) => Err(refusal.into_reason()),
        }
    }

    /// Waits until the router's own events say that it serves all of the deploy.
    async fn until_served(&self, router: &Router) -> Vec<Report> {
        let mut changed = self.shared.routers.changed();
        loop {
            if let Some(reports) = self.serving(router) {
                return reports;
            }
            // The registry outlives every deploy.
            let _ = changed.changed().await;
        }
    }

    /// Returns the router's reports, if its own events say that it serves all of the deploy.
    fn serving(&self, router: &Router) -> Option<Vec<Report>> {
        let one = |(change, project): (&Change, &ProjectName)| {
            let status = router.status(project.as_str());
            let (digest, version, outcome) = match change {
                Change::Put(_) | Change::BringBack(..) | Change::Keep(_) => {
                    let (published, incarnation) = self.published(change)?;
                    let status = status.filter(|status| status.incarnation == incarnation)?;
                    let live = status.live.filter(|live| live.digest == published.to_string())?;
                    (Some(live.digest), Some(live.version), admin::ReloadOutcome::Live)
                }
                Change::Remove(..) if router.is_ready() && status.is_none() => {
                    (None, None, admin::ReloadOutcome::Removed)
                }
                Change::Remove(..) | Change::PutShared(_) | Change::RemoveShared(_) => return None,
            };
            Some(Report { digest, version, ..Report::of(project.as_str(), outcome) })
        };
        self.of_projects().map(one).collect()
    }

    /// Returns the digest of the version that routers make of `change`, as far as they have
    /// reported it, and its incarnation.
    fn published(&self, change: &Change) -> Option<(Digest, Incarnation)> {
        let known =
            self.job.record().projects.into_iter().find(|one| change.project() == Some(&one.project))?;
        let digest = known.digest.or(change.digest().copied()).filter(|_| !change.removes())?;
        Some((digest, known.incarnation))
    }

    /// # Errors
    /// Fewer than the quorum have answered.
    fn check_quorum(&self, round: &RoundResult<()>, volume: &str) -> Result<(), DeployFailure> {
        for UnreachableRouter { router, why, .. } in &round.unreachable {
            self.report(router, Vec::new(), Some(why.to_string()), why.outcome());
        }
        let (answered, quorum) = (round.answers.len(), self.quorum.of(round));
        if answered >= quorum {
            return Ok(());
        }
        let routers: Vec<_> =
            round.unreachable.iter().map(|one| format!("{} {}", one.router.name(), one.why)).collect();
        let routers = routers.join("; ");
        let none_answered = self.held.is_empty() && !round.unreachable.iter().any(|one| one.counts);
        let problem = if none_answered && self.quorum == Quorum::Reachable {
            let detail =
                format!("no router can be reached: {routers}; {volume}; start one, and deploy again");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no-routers", detail)
        } else {
            let detail = format!("{answered} of {quorum} routers answered: {routers}; {volume}");
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "routers-unreachable", detail)
        };
        Err((DeployOutcome::Unreachable, problem))
    }

    pub(super) async fn release(&mut self) {
        let id = self.staging_id();
        let release = |router: Arc<Router>| {
            let id = id.clone();
            async move {
                let answered = timeout(RELEASE_WITHIN, router.release(&id)).await;
                // A router that does not know the deploy holds nothing for it.
                let is_free = matches!(answered, Ok(Ok(()) | Err(CallError::Answered { .. })));
                if !is_free {
                    tracing::warn!(
                        deploy = id,
                        router = router.name(),
                        "the router releases the hold when it is back"
                    );
                }
                is_free.then_some(router)
            }
        };
        let there = std::mem::take(&mut self.held).into_iter();
        let there = there.filter(|router| router.presence() != Presence::Away);
        let free = join_all(there.map(release)).await;
        let is_free = |router: &Arc<Router>| free.iter().flatten().any(|other| Arc::ptr_eq(other, router));
        self.asked.retain(|router| !is_free(router));
    }

    fn report(&self, router: &Router, reports: Vec<Report>, error: Option<String>, outcome: &str) {
        self.job.report(
            RouterReport {
                router: router.name().to_owned(),
                public: router.public().to_owned(),
                reports,
                error,
            },
            outcome,
        );
    }

    fn hold_request(&self) -> Hold {
        let lease = self.until.saturating_duration_since(Instant::now()) + LEASE_MARGIN;
        let projects: Vec<_> = self.of_projects().map(|(_, project)| project.clone()).collect();
        let built = self.of_projects().filter(|(change, _)| !change.removes()).map(|(_, project)| project);
        let commits = labels::commits(&self.job.record(), built);
        let lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        Hold { id: self.staging_id(), projects, lease_ms, commits }
    }
}
