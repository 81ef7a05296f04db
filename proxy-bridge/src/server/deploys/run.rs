//! One deploy, from its stored files to its end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::rounds::{Refusal, Round, ask, insist};
use super::{Job, Shared};
use crate::admin::{self, Hold, Report};
use crate::event::Timings;
use crate::server::problem::Problem;
use crate::server::records::{Outcome, Phase, Told};
use crate::server::routers::Router;
use crate::server::volume::{Change, Staging, VolumeError};

/// Routers hold a project this much longer than the deploy may take: they let go by themselves only when
/// the bridge is gone.
const LEASE_MARGIN: Duration = Duration::from_secs(10);

/// How long a router may take to be let go. It lets go by itself when its lease is over.
const RELEASE_WITHIN: Duration = Duration::from_secs(2);

/// How long the event of a publish that was answered is waited for: it goes out before the answer.
const EVENT_WITHIN: Duration = Duration::from_millis(250);

/// A router that shows other files than the volume has (a network file system's cache) is asked again after this.
const STALE_PAUSE: Duration = Duration::from_millis(100);

/// A deploy that goes through its phases.
pub(super) struct Run {
    shared: Arc<Shared>,
    job: Arc<Job>,
    /// Away while a blocking step has it.
    staging: Option<Staging>,
    changes: Arc<[Change]>,
    /// A version that does not build stays on the volume.
    keep: bool,
    until: Instant,
    /// How many routers must answer; by those that were known when they were asked to hold.
    quorum: usize,
    /// The routers that hold the projects.
    held: Vec<Arc<Router>>,
    /// Those of them that have built what was deployed.
    built: Vec<Arc<Router>>,
}

/// Why a deploy ends without success.
type End = (Outcome, Problem);

/// What a router's answer to `build` says of the deploy.
enum Verdict {
    Good(Vec<Report>),
    /// It saw other files than were deployed.
    Stale(Vec<Report>),
    Bad(Vec<Report>),
}

impl Run {
    pub(super) fn new(
        shared: Arc<Shared>,
        job: Arc<Job>,
        staging: Staging,
        changes: Vec<Change>,
        keep: bool,
    ) -> Self {
        let until = Instant::now() + shared.settings.timeout;
        let (held, built) = Default::default();
        Self {
            shared,
            job,
            staging: Some(staging),
            changes: changes.into(),
            keep,
            until,
            quorum: 1,
            held,
            built,
        }
    }

    pub(super) async fn run(mut self) {
        let end = self.phases().await;
        self.end(end).await;
    }

    /// Goes on with a deploy of which all trees, or some, are on the volume; what cannot be gone on with is put back.
    pub(super) async fn resume(mut self) {
        if let Some(outcome) = self.job.record().outcome {
            return self.settle_answered(outcome).await;
        }
        self.some_router().await;
        let completed = async {
            self.hold().await?;
            self.blocking(|staging, _| staging.complete()).await
        };
        let end = match completed.await {
            Ok(()) => self.build_and_publish().await,
            Err(end) => Err(self.undo(end).await),
        };
        self.end(end).await;
    }

    /// Whoever asked for it was answered already, and what they were told is to be so.
    async fn settle_answered(mut self, outcome: Outcome) {
        let id = self.staging_id();
        if !matches!(outcome, Outcome::Live | Outcome::Removed)
            && let Err((_, problem)) = self.blocking(|staging, _| staging.put_back()).await
        {
            tracing::error!(deploy = id, "the old files are still not back: {}", problem.detail());
        }
        self.shared.free(&id);
        self.clean().await;
    }

    /// Waits until a router is known: those that have a name in common are looked up first.
    async fn some_router(&self) {
        let mut changed = self.shared.routers.changed();
        let known =
            async { while self.shared.routers.all().is_empty() && changed.changed().await.is_ok() {} };
        // Without any, asking them to hold says so.
        let _ = timeout_at(self.until, known).await;
    }

    async fn phases(&mut self) -> Result<Outcome, End> {
        self.job.begin(Phase::Store);
        self.note_previous();
        let record = self.job.record();
        let records = self.shared.records.clone();
        self.blocking(move |staging, changes| {
            staging.store(changes)?;
            // Whoever takes the deploy up after a crash finds who asked for it.
            records.put(&record).map_err(|source| VolumeError::io("write the deploy's record", source))
        })
        .await?;
        self.hold().await?;
        let swapped = self.blocking(|staging, changes| staging.swap(changes)).await;
        if swapped.is_err() {
            self.release().await;
        }
        swapped?;
        self.build_and_publish().await
    }

    async fn build_and_publish(&mut self) -> Result<Outcome, End> {
        if let Err(end) = self.build().await {
            return Err(self.undo(end).await);
        }
        self.publish().await?;
        let removed = self.changes.iter().all(|change| matches!(change, Change::Remove(_)));
        Ok(if removed { Outcome::Removed } else { Outcome::Live })
    }

    /// Puts the old trees back, lets the routers go, and adds what came of it to the problem.
    async fn undo(&mut self, end: End) -> End {
        let left = self.put_back(&end).await;
        self.release().await;
        let (outcome, problem) = end;
        (outcome, problem.with("restored", left.is_empty()).with("left", left))
    }

    async fn hold(&mut self) -> Result<(), End> {
        self.job.begin(Phase::Hold);
        let who = self.shared.routers.all();
        if who.is_empty() {
            let problem = Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no-routers",
                "no router is known: look at --router and --routers, and try again",
            );
            return Err((Outcome::Silent, problem));
        }
        self.job.asks(who.iter().map(|router| router.name().to_owned()));
        self.quorum = self.shared.settings.quorum.map_or(who.len(), |quorum| quorum.min(who.len())).max(1);
        let order = self.order();
        let question = |router: Arc<Router>| {
            let (order, until) = (&order, self.until);
            async move { insist(until, || router.hold(order)).await.map_err(Refusal::into_text) }
        };
        let round = ask(&self.shared.routers, who, self.quorum, self.until, question, |()| false).await;
        for (router, ()) in &round.answers {
            self.tell(router, Vec::new(), None, "held");
        }
        self.held = round.answers.iter().map(|(router, ())| router.clone()).collect();
        let enough = self.enough(&round, "the volume is as it was");
        if enough.is_err() {
            self.release().await;
        }
        enough
    }

    /// Has every router build what is on the volume.
    async fn build(&mut self) -> Result<(), End> {
        self.job.begin(Phase::Build);
        let mut who = self.held.clone();
        let mut silent = Vec::new();
        loop {
            let missing = self.quorum.saturating_sub(self.built.len());
            let question = |router: Arc<Router>| self.build_on(router);
            let stop = |verdict: &Verdict| matches!(verdict, Verdict::Bad(_));
            let mut round = ask(&self.shared.routers, who, missing, self.until, question, stop).await;
            let mut stale = Vec::new();
            let mut bad = None;
            for (router, verdict) in round.answers.drain(..) {
                match verdict {
                    Verdict::Good(reports) => {
                        self.tell(&router, reports, None, "built");
                        self.built.push(router);
                    }
                    Verdict::Stale(reports) => stale.push((router, reports)),
                    Verdict::Bad(reports) => {
                        self.tell(&router, reports.clone(), None, "failed");
                        bad = Some(reports);
                    }
                }
            }
            if let Some(reports) = bad {
                return Err((Outcome::Failed, build_failed(&reports)));
            }
            silent.append(&mut round.silent);
            self.still_ours().await?;
            if !stale.is_empty() && Instant::now() + STALE_PAUSE < self.until {
                who = stale.into_iter().map(|(router, _)| router).collect();
                sleep(STALE_PAUSE).await;
                continue;
            }
            let seen = |(router, _)| {
                (router, "reads other files than were deployed: is its volume the same?".to_owned())
            };
            silent.extend(stale.into_iter().map(seen));
            let answers = self.built.iter().map(|router| (router.clone(), ())).collect();
            return self.enough(&Round { answers, silent }, "the volume is as it was");
        }
    }

    async fn build_on(&self, router: Arc<Router>) -> Result<Verdict, String> {
        let (id, until) = (self.staging_id(), self.until);
        loop {
            match insist(until, || router.build(&id, until - Instant::now())).await {
                Ok(reports) => return Ok(self.verdict(reports.projects)),
                // It was started again since, or its lease was over.
                Err(refusal) if refusal.is_unknown_deploy() => {
                    let order = self.order();
                    insist(until, || router.hold(&order)).await.map_err(Refusal::into_text)?;
                    sleep(STALE_PAUSE).await;
                }
                Err(refusal) => return Err(refusal.into_text()),
            }
        }
    }

    fn verdict(&self, reports: Vec<Report>) -> Verdict {
        let mut stale = false;
        for change in self.changes.iter() {
            let Some(report) = reports.iter().find(|report| report.project == change.project().as_str())
            else {
                return Verdict::Stale(reports);
            };
            let as_deployed = match change {
                Change::Put(tree) => {
                    report.digest.as_ref().is_none_or(|digest| *digest == tree.digest.to_string())
                }
                Change::Remove(_) => report.outcome == admin::Outcome::Removed,
            };
            match report.outcome {
                _ if !as_deployed => stale = true,
                admin::Outcome::Failed => return Verdict::Bad(reports),
                admin::Outcome::Removed if matches!(change, Change::Put(_)) => stale = true,
                _ => {}
            }
        }
        if stale { Verdict::Stale(reports) } else { Verdict::Good(reports) }
    }

    /// # Errors
    /// Somebody else has changed what was put on the volume.
    async fn still_ours(&mut self) -> Result<(), End> {
        let theirs = self
            .blocking(|staging, changes| {
                let theirs = changes.iter().map(Change::project).find(|project| !staging.is_ours(project));
                Ok(theirs.cloned())
            })
            .await?;
        let Some(project) = theirs else { return Ok(()) };
        let detail = format!(
            "{project} was changed on the volume by somebody else during the deploy, and is served as it is there: look at it, and deploy again"
        );
        let problem = Problem::new(StatusCode::CONFLICT, "superseded", detail);
        Err((Outcome::Superseded, problem.with("project", project.as_str())))
    }

    async fn publish(&mut self) -> Result<(), End> {
        self.job.begin(Phase::Publish);
        let question = |router: Arc<Router>| self.publish_on(router);
        let round =
            ask(&self.shared.routers, self.built.clone(), self.quorum, self.until, question, |_| false).await;
        let mut published = Vec::new();
        for (router, reports) in round.answers {
            self.tell(&router, reports, None, "live");
            published.push((router, ()));
        }
        // Those get their project back when they look at the volume again.
        self.held.retain(|router| !published.iter().any(|(other, ())| Arc::ptr_eq(other, router)));
        let round = Round { answers: published, silent: round.silent };
        let on_volume =
            "the files are on the volume, and the silent routers will serve them when they are back";
        self.enough(&round, on_volume)?;
        // Before the answer, so that whoever has read it is never shown an older version.
        for router in self.shared.routers.all() {
            if !round.answers.iter().any(|(other, ())| Arc::ptr_eq(other, &router)) {
                for change in self.changes.iter() {
                    self.shared.routers.lag(&router, change.project(), change.digest());
                }
            }
        }
        Ok(())
    }

    async fn publish_on(&self, router: Arc<Router>) -> Result<Vec<Report>, String> {
        let (id, until) = (self.staging_id(), self.until);
        match insist(until, || router.publish(&id, until - Instant::now())).await {
            Ok(reports) => {
                // Its event is on the way: whoever reads the answer and asks for the projects finds it there.
                let _ = timeout(EVENT_WITHIN, self.told(&router)).await;
                Ok(reports.projects)
            }
            // The answer was lost, or the router was started again: then it reads the volume by itself.
            Err(Refusal::Answered { .. }) => timeout_at(until, self.told(&router))
                .await
                .map_err(|_| "has not told of the new version in time".to_owned()),
            Err(refusal) => Err(refusal.into_text()),
        }
    }

    /// Waits until the router's own events say that all of it is served.
    async fn told(&self, router: &Router) -> Vec<Report> {
        let mut changed = self.shared.routers.changed();
        loop {
            if let Some(reports) = self.serving(router) {
                return reports;
            }
            // The registry outlives every deploy.
            let _ = changed.changed().await;
        }
    }

    /// What the router's own events say, when they say that all of it is served.
    fn serving(&self, router: &Router) -> Option<Vec<Report>> {
        let one = |change: &Change| {
            let status = router.status(change.project().as_str());
            let (digest, version, outcome) = match change {
                Change::Put(tree) => {
                    let live = status?.live.filter(|live| live.digest == tree.digest.to_string())?;
                    (Some(live.digest), Some(live.version), admin::Outcome::Live)
                }
                Change::Remove(_) if router.is_ready() && status.is_none() => {
                    (None, None, admin::Outcome::Removed)
                }
                Change::Remove(_) => return None,
            };
            let project = change.project().to_string();
            Some(Report { project, outcome, digest, version, error: None, timings_ms: Timings::default() })
        };
        self.changes.iter().map(one).collect()
    }

    /// # Errors
    /// Fewer than the quorum have answered.
    fn enough(&self, round: &Round<()>, volume: &str) -> Result<(), End> {
        for (router, why) in &round.silent {
            self.tell(router, Vec::new(), Some(why.clone()), "silent");
        }
        let quorum = self.quorum;
        if round.answers.len() >= quorum {
            return Ok(());
        }
        let who: Vec<_> =
            round.silent.iter().map(|(router, why)| format!("{} {why}", router.name())).collect();
        let detail =
            format!("{} of {quorum} routers answered: {}; {volume}", round.answers.len(), who.join("; "));
        Err((Outcome::Silent, Problem::new(StatusCode::GATEWAY_TIMEOUT, "routers-silent", detail)))
    }

    /// Puts the old trees back, unless they are to stay. Returns the projects that were left as they are.
    async fn put_back(&mut self, (outcome, _): &End) -> Vec<String> {
        if self.keep && *outcome == Outcome::Failed {
            return self.changes.iter().map(|change| change.project().to_string()).collect();
        }
        let id = self.staging_id();
        match self.blocking(|staging, _| staging.put_back()).await {
            Ok(put_back) => put_back.left.iter().map(ToString::to_string).collect(),
            Err((_, problem)) => {
                tracing::error!(
                    deploy = id,
                    "the old files are not back on the volume: {}",
                    problem.detail()
                );
                self.changes.iter().map(|change| change.project().to_string()).collect()
            }
        }
    }

    async fn release(&mut self) {
        let id = self.staging_id();
        let release = |router: Arc<Router>| {
            let id = id.clone();
            async move {
                if !matches!(timeout(RELEASE_WITHIN, router.release(&id)).await, Ok(Ok(()))) {
                    tracing::warn!(deploy = id, router = router.name(), "it lets go when its lease is over");
                }
            }
        };
        join_all(std::mem::take(&mut self.held).into_iter().map(release)).await;
    }

    async fn end(mut self, end: Result<Outcome, End>) {
        // Before the answer: what was answered is never undone by a start that finds the journal.
        if let Err((_, problem)) = self.blocking(|staging, _| staging.settle()).await {
            tracing::error!(
                deploy = self.staging_id(),
                "the next start looks at it again: {}",
                problem.detail()
            );
        }
        self.shared.end(&self.job, end);
        // Behind the answer: those who were too slow for it, and old trees, which can be large.
        self.release().await;
        self.clean().await;
    }

    async fn clean(&mut self) {
        let id = self.staging_id();
        let Some(staging) = self.staging.take() else { return };
        match spawn_blocking(move || staging.finish()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(deploy = id, "old files stay until the next start: {error}"),
            Err(panic) => tracing::error!(deploy = id, "old files stay until the next start: {panic}"),
        }
    }

    /// Runs a step on the volume, off the threads that serve.
    async fn blocking<T: Send + 'static>(
        &mut self,
        step: impl FnOnce(&mut Staging, &[Change]) -> Result<T, VolumeError> + Send + 'static,
    ) -> Result<T, End> {
        let lost = || {
            let problem = Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "volume-failed",
                "a step on the volume broke off: the log says more; the next start takes the deploy up",
            );
            (Outcome::Refused, problem)
        };
        let mut staging = self.staging.take().ok_or_else(lost)?;
        let changes = self.changes.clone();
        let done = spawn_blocking(move || {
            let result = step(&mut staging, &changes);
            (staging, result)
        });
        let (staging, result) = done.await.map_err(|panic| {
            tracing::error!("a step on the volume failed: {panic}");
            lost()
        })?;
        self.staging = Some(staging);
        result.map_err(|error| (Outcome::Refused, error.into()))
    }

    fn note_previous(&self) {
        let routers = self.shared.routers.all();
        let mut projects = self.job.record().projects;
        for deployed in &mut projects {
            let live = routers.iter().find_map(|router| router.status(deployed.project.as_str())?.live);
            deployed.previous = live.map(|live| live.version);
        }
        let message = self.job.record().message;
        self.job.received(projects, message);
    }

    fn tell(&self, router: &Router, reports: Vec<Report>, error: Option<String>, outcome: &str) {
        self.job.told(Told { router: router.name().to_owned(), reports, error }, outcome);
    }

    fn order(&self) -> Hold {
        let lease = self.until.saturating_duration_since(Instant::now()) + LEASE_MARGIN;
        Hold {
            id: self.staging_id(),
            projects: self.changes.iter().map(|change| change.project().clone()).collect(),
            lease_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn staging_id(&self) -> String {
        self.job.record().deploy
    }
}

/// What a deployer needs to mend it: the first project that failed, and its error.
fn build_failed(reports: &[Report]) -> Problem {
    let failed = reports.iter().find(|report| report.outcome == admin::Outcome::Failed);
    let project = failed.map(|report| report.project.as_str()).unwrap_or_default();
    let error = failed.and_then(|report| report.error.clone()).unwrap_or_default();
    let first = error.message.lines().next().unwrap_or("it does not build").to_owned();
    let place = match (&error.file, error.line, error.column) {
        (Some(file), Some(line), Some(column)) => format!(" ({file}:{line}:{column})"),
        (Some(file), ..) => format!(" ({file})"),
        _ => String::new(),
    };
    let detail = format!("{project} does not build: {first}{place}");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "build-failed", detail)
        .with("project", project)
        .with("version", failed.and_then(|report| report.version.clone()))
        .with("error", serde_json::to_value(error).unwrap_or_default())
}
