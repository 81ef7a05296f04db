//! The clock of a router that no bridge has ever called: starts the crons of live versions when they
//! are due, one run of each at a time, with further attempts as Deno makes them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use switchyard_contract::project::ProjectName;
use switchyard_contract::run::RunId;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet, spawn_blocking};
use tokio::time::sleep;

use super::mark::BridgeMark;
use super::plan::CronPlan;
use crate::live::{CronRuns, Crons, LiveCron, LiveTable, pauses};

/// Longest sleep: the system's clock may be set meanwhile.
const LONGEST: Duration = Duration::from_secs(60);

/// Pause from a change of live versions to the look at their crons: many may change at once.
const GATHER: Duration = Duration::from_secs(1);

/// The clock.
#[derive(Debug)]
pub(crate) struct CronClock {
    pub(crate) live: Arc<LiveTable>,
    pub(crate) crons: Arc<Crons>,
    pub(crate) runs: CronRuns,
    pub(crate) mark: BridgeMark,
}

/// The runs that are under way, by project and cron.
#[derive(Default)]
struct Working {
    tasks: JoinSet<()>,
    by_cron: HashMap<(ProjectName, String), AbortHandle>,
}

impl CronClock {
    /// Runs until a bridge calls; what has begun then ends by itself.
    pub(crate) async fn run(self) {
        let mut working = Working::default();
        tokio::select! {
            () = self.mark.seen() => {}
            () = self.start_due(&mut working) => {}
        }
        while working.tasks.join_next().await.is_some() {}
    }

    async fn start_due(&self, working: &mut Working) {
        let (mut registered, mut published) = (self.crons.subscribe(), self.live.subscribe());
        let mut plan = self.plan().await;
        loop {
            let Some(current) = &mut plan else { return };
            for live in current.take_due(Timestamp::now()) {
                working.start(self.runs.clone(), live);
            }
            tokio::select! {
                () = sleep(until(current.next())) => {}
                is_over = changed(&mut registered, &mut published) => {
                    if is_over {
                        return;
                    }
                    sleep(GATHER).await;
                    for live in current.take_due(Timestamp::now()) {
                        working.start(self.runs.clone(), live);
                    }
                    registered.mark_unchanged();
                    published.mark_unchanged();
                    plan = self.plan().await;
                }
                Some(_) = working.tasks.join_next() => {}
            }
        }
    }

    /// The crons that are live now. `None`: the router stops.
    async fn plan(&self) -> Option<CronPlan> {
        let crons = self.crons.clone();
        spawn_blocking(move || CronPlan::new(crons.all_live(), Timestamp::now())).await.ok()
    }
}

impl Working {
    /// Starts a run, unless the one before is still under way.
    fn start(&mut self, runs: CronRuns, live: LiveCron) {
        self.by_cron.retain(|_, task| !task.is_finished());
        let key = (live.version.project.clone(), live.cron.name.clone());
        if self.by_cron.contains_key(&key) {
            let (project, name) = key;
            tracing::info!(project.name = %project, "the cron {name:?} is skipped: its last run is under way");
            return;
        }
        let task = self.tasks.spawn(attempts(runs, live));
        self.by_cron.insert(key, task);
    }
}

/// Runs a cron until it ends well, or has no attempt left.
async fn attempts(runs: CronRuns, live: LiveCron) {
    let (project, name) = (&live.version.project, live.cron.name.as_str());
    let mut pauses = pauses(&live.cron).iter();
    loop {
        let run = RunId::new_now().to_string();
        let again = match runs.start(project, name, &run).await {
            Ok(true) => return,
            Ok(false) => true,
            Err(error) => {
                let why = &error.message;
                tracing::warn!(project.name = %project, "the cron {name:?} did not run to its end: {why}");
                // It is the next due time's turn if the code has changed, or is still at work.
                !matches!(error.reason.as_str(), "unknown-task" | "overlap" | "build")
            }
        };
        match pauses.next().filter(|_| again) {
            Some(pause) => sleep(Duration::from_millis(u64::from(*pause))).await,
            None => return,
        }
    }
}

/// Waits for a change of either. Returns true if the router stops.
async fn changed(registered: &mut watch::Receiver<()>, published: &mut watch::Receiver<()>) -> bool {
    tokio::select! {
        changed = registered.changed() => changed.is_err(),
        changed = published.changed() => changed.is_err(),
    }
}

/// The time until `due`, if that is not too long.
fn until(due: Option<Timestamp>) -> Duration {
    let left = due.map(|due| due.duration_since(Timestamp::now()));
    left.map_or(LONGEST, |left| Duration::try_from(left).unwrap_or_default().min(LONGEST))
}
