//! Cells that end: replaced, idle, or evicted for others. Their requests finish first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{OptionFuture, join, join_all};
use switchyard_contract::event::EventType;
use switchyard_contract::project::ProjectName;

use super::Control;
use crate::cells::Cell;
use crate::live::{EventDetails, LiveSite, RunningCell};
use crate::reload::labels;
use crate::reload::live_state::{DrainingVersion, LiveState};
use crate::reload::restarts::DownReason;
use crate::reload::tasks::{DrainedVersion, ProjectTask};
use crate::version::Version;

/// Time for handlers of SIGTERM in a cell that ends while its version stays live. The cell was
/// idle, or others need its room and should not wait as long as for a replaced version. The default
/// of `docker stop`.
const MAKING_ROOM: Duration = Duration::from_secs(10);

/// Number of ending versions of a project at which the next one gets no time of its own for its
/// handlers: as many processes as a project may have at once by default.
const MAX_ENDING: usize = 4;

impl Control {
    /// Stops the least recently used idle cells while there are more than `--max-cells`. The cells
    /// of `spared`, which has just been requested, stay.
    pub(super) fn evict(&mut self, spared: &ProjectName) {
        let idle_since = |name: &ProjectName| self.projects.get(name.as_str())?.live()?.idle_since();
        let evicted = self.parts.cells.budget().to_evict(spared, idle_since);
        for name in evicted {
            self.stop(&name);
        }
    }

    /// Stops the cells of projects that have been idle for longer than their `idle` setting.
    pub(super) fn stop_unused(&mut self) {
        let names: Vec<_> = self.parts.cells.budget().running().cloned().collect();
        for name in names {
            let Some(live) = self.projects.get(name.as_str()).and_then(|project| project.live()) else {
                continue;
            };
            // A request that has been under way for long is use, too.
            for running in live.running.iter().filter(|running| running.in_flight.count() > 0) {
                running.touch(Instant::now());
            }
            if live.is_unused() {
                tracing::info!(
                    project.name = name.as_str(),
                    "the process of {name} is stopped until its next request: it was idle"
                );
                self.stop(&name);
            }
        }
    }

    /// Ends the cells of the live version. The next request starts others.
    fn stop(&mut self, name: &ProjectName) {
        let project = self.projects.of(name);
        let Some(live) = project.machine.live_mut() else { return };
        let version = live.version.clone();
        let LiveState { running, restarts, .. } = &mut live.data;
        let running = std::mem::take(running);
        restarts.rest = DownReason::Idle;
        self.parts.live.put(project.entry());
        self.parts.metrics.cells_evicted.inc_by(running.len() as u64);
        self.drain(name, version, DrainingVersion { running, ..DrainingVersion::default() }, false);
        self.show(name);
    }

    /// Ends cells that are not needed.
    pub(super) fn retire(&mut self, name: &ProjectName, cells: Vec<Arc<Cell>>) {
        let within = self.settings.grace;
        self.tasks.spawn_ending(name, async move {
            join_all(cells.iter().map(|cell| cell.retire(within))).await;
            ProjectTask::Retired
        });
    }

    /// Lets the requests in `replaced` finish and ends its cells. `retired`: the version is not
    /// live any more.
    pub(super) fn drain(
        &mut self,
        name: &ProjectName,
        version: Version,
        replaced: DrainingVersion,
        retired: bool,
    ) {
        let counters = replaced.counters();
        if counters.is_empty() {
            return;
        }
        let grace = self.settings.grace;
        let mut goodbye = if retired { grace } else { grace.min(MAKING_ROOM) };
        let project = self.projects.of(name);
        if project.draining.len() >= MAX_ENDING {
            goodbye = Duration::ZERO;
        }
        project.draining.push((version.clone(), counters));
        let commit = replaced.commit.clone();
        self.tasks.spawn_ending(name, async move {
            let cut_off = drain(replaced, grace, goodbye).await;
            ProjectTask::Drained(DrainedVersion { version, commit, cut_off, retired })
        });
    }

    pub(super) fn drained(&mut self, name: &ProjectName, drained: DrainedVersion) {
        let DrainedVersion { version, commit, cut_off, retired } = drained;
        let project = self.projects.of(name);
        if let Some(index) = project.draining.iter().position(|(draining, _)| *draining == version) {
            project.draining.remove(index);
        }
        if retired {
            match cut_off {
                0 => {
                    tracing::info!(
                        project.name = name.as_str(),
                        project.version = %version,
                        commit = labels::id(commit.as_ref()),
                        "{version} is retired"
                    )
                }
                _ => tracing::warn!(
                    project.name = name.as_str(),
                    project.version = %version,
                    commit = labels::id(commit.as_ref()),
                    cut_off,
                    "{version} is retired; its grace was over before {cut_off} of its requests were"
                ),
            }
            let details = EventDetails { version: Some(version), commit, ..EventDetails::default() };
            project.sequence = self.parts.events.emit(EventType::VersionRetired, name, details);
            self.prune(name);
        }
        self.show(name);
    }
}

/// Waits for the requests in `replaced`, at most for `grace`, and ends the cells. Their handlers of
/// SIGTERM have the rest of `goodbye`. Returns the number of requests that were cut off.
async fn drain(replaced: DrainingVersion, grace: Duration, goodbye: Duration) -> usize {
    let cells = join_all(replaced.running.into_iter().map(|running| drain_cell(running, grace, goodbye)));
    let site = OptionFuture::from(replaced.site.map(|site| drain_site(site, grace)));
    let (cut_off, _) = join(cells, site).await;
    cut_off.into_iter().sum()
}

async fn drain_cell(running: Arc<RunningCell>, grace: Duration, goodbye: Duration) -> usize {
    let began = Instant::now();
    running.in_flight.close();
    let left = running.in_flight.drained(grace).await;
    running.cell.retire(goodbye.saturating_sub(began.elapsed())).await;
    left
}

/// Waits for the answers with files of `site`, at most for `grace`. Slower ones are not cut off:
/// they need nothing of the version but its files.
async fn drain_site(site: Arc<LiveSite>, grace: Duration) {
    site.in_flight.close();
    site.in_flight.drained(grace).await;
}
