//! Cells between their publish and their end: woken, evicted, drained, died.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{OptionFuture, join, join_all};
use switchyard_contract::event::{Death, DeathReason, EventType, Trigger};

use super::{Control, What};
use crate::cells::{Cell, Exit};
use crate::live::{Counters, Happened, LiveSite, Running};
use crate::metrics::DeathLabels;
use crate::policy::Grant;
use crate::reload::restarts::{Rest, Restarts};
use crate::reload::work::{self, BuildError, Plan};
use crate::version::Version;

/// A machine that had no process to give is asked again after this pause: nothing else of the project
/// waits, and nobody is to blame.
const NO_PROCESS_PAUSE: Duration = Duration::from_secs(1);

/// How long handlers of SIGTERM may take in a cell that ends while its version stays live: it was idle,
/// or others need its room, which they should not wait for as long as for a replaced version. What
/// `docker stop` gives.
const MAKING_ROOM: Duration = Duration::from_secs(10);

/// While so many versions of a project are ending, the next one has no time for its handlers but what
/// any has: as many processes as a project may have at once by default.
const MOST_ENDING: usize = 4;

/// The cells and the files that answered a version's requests, which get no more.
#[derive(Debug, Default)]
pub(super) struct Replaced {
    pub(super) running: Vec<Arc<Running>>,
    pub(super) site: Option<Arc<LiveSite>>,
}

impl Replaced {
    fn counters(&self) -> Counters {
        let cells = self.running.iter().map(|running| &running.in_flight);
        cells.chain(self.site.as_ref().map(|site| &site.in_flight)).cloned().collect()
    }

    /// From now on no request enters.
    pub(super) fn close(&self) {
        self.counters().iter().for_each(|counter| counter.close());
    }

    /// Waits for their requests, at most `grace`, and ends the cells, whose handlers of SIGTERM have the rest
    /// of `goodbye`. Returns how many requests were cut off.
    async fn drain(self, grace: Duration, goodbye: Duration) -> usize {
        let cells = join_all(self.running.into_iter().map(|running| work::drain(running, grace, goodbye)));
        let site = OptionFuture::from(self.site.map(|site| work::drain_site(site, grace)));
        let (cut_off, _) = join(cells, site).await;
        cut_off.into_iter().sum()
    }
}

impl Control {
    /// Starts a live version that is idle.
    pub(super) fn wake(&mut self, version: &Version) {
        self.start(version, Rest::Idle);
    }

    /// Starts what a live version lacks because cells of it have died.
    pub(super) fn restart(&mut self, version: &Version) {
        self.start(version, Rest::Restarting);
    }

    /// Starts the cells that a live version lacks for this reason.
    fn start(&mut self, version: &Version, rest: Rest) {
        let name = version.project.as_str();
        let Some(project) = self.projects.get_mut(name) else { return };
        let missing = project.lacks(version);
        let wanted = missing > 0 && project.restarts.rest == rest && !project.waking;
        let Some(plan) = project.live_plan.as_mut().filter(|_| wanted) else { return };
        project.waking = true;
        plan.renew(&self.parts.policy);
        let plan = plan.clone();
        let builder = self.builder.clone();
        let version = version.clone();
        self.spawn(version.project.clone().as_str(), async move {
            let result = builder.restart(&plan, missing, &Default::default()).await;
            What::Woken { version, result: result.map(|cells| (cells, plan.order.grant)) }
        });
    }

    /// Has a stopped version started anew, when somebody wants that or it may do better now.
    pub(super) fn revive(&mut self, name: &str) {
        let Some(project) = self.projects.get_mut(name) else { return };
        let asked = matches!(project.attempt.trigger, Trigger::Request | Trigger::Policy);
        let Some(version) =
            project.machine.live.clone().filter(|_| asked && project.restarts.rest == Rest::Stopped)
        else {
            return;
        };
        project.restarts = Restarts::anew();
        self.parts.live.put(project.entry());
        self.restart(&version);
    }

    pub(super) fn woken(
        &mut self,
        name: &str,
        version: &Version,
        result: Result<(Vec<Arc<Cell>>, Arc<Grant>), BuildError>,
    ) {
        let Some(project) = self.projects.get_mut(name) else { return };
        project.waking = false;
        let wanted = project.lacks(version) > 0;
        match result {
            Ok((cells, grant)) if wanted && project.outgrows(&grant, &self.parts.policy) => {
                let rest = project.restarts.rest;
                self.retire(name, cells);
                self.start(version, rest);
            }
            Ok((cells, _)) if wanted => {
                let died_meanwhile = project.lacks(version) > cells.len();
                project.restarts.started(died_meanwhile);
                project.running.extend(cells.iter().map(|cell| Arc::new(Running::new(cell.clone()))));
                self.parts.live.put(project.entry());
                for cell in cells {
                    self.watch_over(name, cell);
                }
                if died_meanwhile {
                    self.restart(version);
                }
                self.count_cells(name);
                self.evict(name);
                self.prune(&version.project);
            }
            Ok((cells, _)) => self.retire(name, cells),
            Err(BuildError::Failed(error)) if wanted => self.lost(name, Duration::ZERO, |restart_ms| Death {
                reason: DeathReason::Load,
                message: error.message,
                code: None,
                signal: None,
                in_flight: 0,
                restart_ms,
            }),
            Err(BuildError::NoProcess(error)) if wanted => {
                tracing::error!(project.name = name, project.version = %version, "not started yet: {}", error.message);
                project.restarts.rest = Rest::Restarting;
                self.parts.live.put(project.entry());
                self.restart_after(NO_PROCESS_PAUSE, version.clone());
            }
            Err(_) => {}
        }
        // Cells of a newer one may have died meanwhile.
        let live = self.projects.get(name).and_then(|project| project.machine.live.clone());
        if let Some(live) = live.filter(|live| live != version) {
            self.restart(&live);
        }
        self.show(name);
    }

    /// Has the end of a cell told.
    pub(super) fn watch_over(&mut self, name: &str, cell: Arc<Cell>) {
        let id = cell.id();
        // The cell ends with its last handle, which this task must not be.
        let exited = cell.exited();
        drop(cell);
        self.spawn(name, async move { What::Died { cell: id, exit: exited.await } });
    }

    /// Stops the least recently used idle cells while there are more than `--max-cells`; `but` was
    /// just wanted.
    pub(super) fn evict(&mut self, but: &str) {
        let mut excess = self.population.total().running.saturating_sub(self.settings.max_cells);
        if excess == 0 {
            return;
        }
        let idle = self.population.running().filter(|name| *name != but).filter_map(|name| {
            let project = self.projects.get(name)?;
            Some((project.idle_since()?, project.running.len(), name.to_owned()))
        });
        let mut idle: Vec<_> = idle.collect();
        idle.sort();
        for (_, cells, name) in idle {
            if excess == 0 {
                break;
            }
            self.stop(&name);
            excess = excess.saturating_sub(cells);
        }
    }

    /// Stops the cells of projects that want so when nobody has asked them anything for long (`switchyard.idle`).
    pub(super) fn stop_unused(&mut self) {
        let projects = || self.population.running().filter_map(|name| self.projects.get(name));
        let all = projects().flat_map(|project| &project.running);
        // What is long under way is use, too.
        for running in all.filter(|running| running.in_flight.count() > 0) {
            running.touch();
        }
        let unused = projects().filter(|project| project.is_unused());
        let unused: Vec<_> = unused.map(|project| project.name.to_string()).collect();
        for name in unused {
            tracing::info!(
                project.name = name,
                "the process of {name} ends until it is asked for: it was idle"
            );
            self.stop(&name);
        }
    }

    /// Ends the cells of the live version; the next request starts others.
    fn stop(&mut self, name: &str) {
        let Some(project) = self.projects.get_mut(name) else { return };
        let Some(version) = project.machine.live.clone() else { return };
        let running = std::mem::take(&mut project.running);
        project.restarts.rest = Rest::Idle;
        self.parts.live.put(project.entry());
        self.parts.metrics.cells_evicted.inc_by(running.len() as u64);
        self.drain(name, version, Replaced { running, site: None }, false);
        self.show(name);
    }

    /// Lets the requests in what is `replaced` finish and ends its cells. `retired`: the version is not
    /// live any more.
    pub(super) fn drain(&mut self, name: &str, version: Version, replaced: Replaced, retired: bool) {
        let counters = replaced.counters();
        if counters.is_empty() {
            return;
        }
        let grace = self.settings.grace;
        let mut goodbye = if retired { grace } else { grace.min(MAKING_ROOM) };
        if let Some(project) = self.projects.get_mut(name) {
            if project.draining.len() >= MOST_ENDING {
                goodbye = Duration::ZERO;
            }
            project.draining.push((version.clone(), counters));
        }
        self.spawn_ending(name, async move {
            let cut_off = replaced.drain(grace, goodbye).await;
            What::Drained { version, cut_off, retired }
        });
    }

    pub(super) fn drained(&mut self, name: &str, version: &Version, cut_off: usize, retired: bool) {
        let Some(project) = self.projects.get_mut(name) else { return };
        if let Some(index) = project.draining.iter().position(|(draining, _)| draining == version) {
            project.draining.remove(index);
        }
        if retired {
            match cut_off {
                0 => tracing::info!(project.name = name, project.version = %version, "{version} is retired"),
                _ => tracing::warn!(
                    project.name = name,
                    project.version = %version,
                    cut_off,
                    "{version} is retired; its grace was over before {cut_off} of its requests were"
                ),
            }
            let happened = Happened { version: Some(version.clone()), ..Happened::default() };
            project.sequence = self.parts.events.tell(EventType::VersionRetired, &project.name, happened);
            let project = project.name.clone();
            self.prune(&project);
        }
        self.show(name);
    }

    pub(super) fn died(&mut self, name: &str, cell: u64, exit: &Exit) {
        let Some(project) = self.projects.get_mut(name) else { return };
        // One that was to end is none of this.
        let Some(at) = project.running.iter().position(|running| running.cell.id() == cell) else { return };
        let running = project.running.remove(at);
        let in_flight = running.in_flight.at_crash(Instant::now());
        let lived = running.began().elapsed();
        self.lost(name, lived, |restart_ms| exit.death(in_flight, restart_ms));
        running.in_flight.close();
        self.show(name);
    }

    /// Tells that a cell of the live version ended by itself, and has another one follow unless that has happened
    /// too often.
    fn lost(&mut self, name: &str, lived: Duration, death: impl FnOnce(Option<u64>) -> Death) {
        let Some(project) = self.projects.get_mut(name) else { return };
        let Some(version) = project.machine.live.clone() else { return };
        let pause = project.restarts.died(lived, project.live_plan.as_ref().map_or(1, Plan::cells));
        let restart_ms = pause.and_then(|pause| u64::try_from(pause.as_millis()).ok());
        self.parts.live.put(project.entry());
        let death = death(restart_ms);
        let deaths = project.restarts.deaths();
        let follows = match restart_ms {
            Some(0) => "another one is started".to_owned(),
            Some(pause) => format!("another one is started in {pause} ms"),
            None => format!("it was death {deaths} in a row: {name} is stopped"),
        };
        tracing::error!(
            project.name = name,
            project.version = %version,
            reason = death.reason.as_str(),
            code = death.code,
            signal = death.signal,
            in_flight = death.in_flight,
            deaths,
            restart_ms,
            "a cell of {version} ended by itself: {}; {follows}",
            death.message
        );
        self.parts.metrics.cells_died.get_or_create(&DeathLabels { reason: death.reason.as_str() }).inc();
        project.died(&version, death.clone());
        let happened = Happened { version: Some(version.clone()), death: Some(death), ..Happened::default() };
        project.sequence = self.parts.events.tell(EventType::CellDied, &project.name, happened);
        if let Some(pause) = pause {
            self.restart_after(pause, version);
        }
    }

    fn restart_after(&mut self, pause: Duration, version: Version) {
        if pause.is_zero() {
            return self.restart(&version);
        }
        self.spawn(version.project.clone().as_str(), async move {
            tokio::time::sleep(pause).await;
            What::RestartDue(version)
        });
    }
}
