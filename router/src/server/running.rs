//! A running router: its tasks and threads, and the order in which they stop.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use switchyard_contract::publisher::Publisher;
use switchyard_edge::listener::Server;
use switchyard_edge::tls;
use switchyard_program::signal::Reloads;
use switchyard_telemetry::Tracing;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};

use super::parts::RouterParts;
use crate::access_log::AccessLog;
use crate::http;
use crate::live::{LogBuffer, StatusBoard};
use crate::metrics::Metrics;
use crate::pickup::PickupWatch;
use crate::runs::Runs;
use crate::watch::{self, Measurement, Watch};

/// Time for undelivered events when the router stops.
const LAST_EVENTS: Duration = Duration::from_secs(2);

/// A step of stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopStep {
    /// Requests are still accepted for `--drain-delay`, while /readyz answers 503.
    Delay,
    /// No change of the volume is seen any more.
    Watch,
    /// No connection is accepted, and open requests finish within the grace. Runs are cancelled, and
    /// have the same time.
    PublicListener,
    /// No cron is started, and no file is picked up. Handlers that work count as requests.
    Crons,
    /// No spare is started, and limits are no longer enforced.
    CellTasks,
    /// Every cell runs its SIGTERM handlers within the rest of the grace, and ends.
    Control,
    /// The last lines of projects are on the disk.
    Logs,
    /// Health, projects and events are no longer shown.
    AdminListener,
    /// SIGHUP has no effect.
    Reloads,
    /// The last requests are written.
    AccessLog,
    /// Events that are not yet delivered get [`LAST_EVENTS`].
    Events,
    /// Spans that are not yet exported get a moment.
    Spans,
}

/// The order of stopping: a part stops after all parts that need it.
const STOP_ORDER: [StopStep; 12] = [
    StopStep::Delay,
    // Before the control task, which takes the changes that the watch waits to hand over.
    StopStep::Watch,
    StopStep::Crons,
    StopStep::PublicListener,
    StopStep::CellTasks,
    StopStep::Control,
    StopStep::Logs,
    StopStep::AdminListener,
    StopStep::Reloads,
    StopStep::AccessLog,
    StopStep::Events,
    StopStep::Spans,
];

/// All tasks and threads of a router that serves.
pub(super) struct RunningRouter {
    board: Arc<StatusBoard>,
    logs: Arc<LogBuffer>,
    grace: Duration,
    drain_delay: Duration,
    watch: Option<Watch>,
    server: Option<Server>,
    runs: Runs,
    pickup: Option<PickupWatch>,
    cell_tasks: [JoinHandle<()>; 2],
    end_control: Option<oneshot::Sender<Duration>>,
    control: JoinHandle<()>,
    crons: JoinHandle<()>,
    admin: Vec<JoinHandle<()>>,
    reloads: JoinHandle<()>,
    certificates: JoinHandle<()>,
    publisher: Option<(Publisher, JoinHandle<()>)>,
    access_log: Option<Arc<AccessLog>>,
    tracing: Option<Tracing>,
    _lock: File,
}

impl RunningRouter {
    /// Starts all parts. Returns once requests are accepted, with every project of the volume known.
    ///
    /// # Errors
    /// A thread or a listener cannot be started.
    pub(super) async fn start(parts: RouterParts, reloads: Reloads) -> Result<Self> {
        let (changed, changes) = mpsc::channel(watch::QUEUE);
        let metrics = parts.metrics.clone();
        let observer: watch::MeasurementSink = Arc::new(move |measurement| record(&metrics, measurement));
        let mut watch = Watch::start(parts.watch_settings(), observer, changed)?;
        let cell_tasks = [
            tokio::spawn(parts.cells.clone().keep_filled()),
            tokio::spawn(parts.cells.clone().keep_within_limits()),
        ];
        let http_settings = parts.http_settings();
        let crons = tokio::spawn(parts.cron_clock.run());
        let pickup = parts.pickups.start(parts.live.clone()).context("watch for files that start tasks")?;
        let RouterParts { config, listener, admin_listeners, live, board, mut control, commands, .. } = parts;
        let (end_control, control_ended) = oneshot::channel::<Duration>();
        // Before the first request: every project on the volume is then known, and has its routes.
        let (start, ()) = tokio::join!(control.take_inventory(), watch.begun());
        control.begin_scan(start);
        let end = async { control_ended.await.unwrap_or_default() };
        let control = tokio::spawn(control.run(changes, parts.command_queue, end));

        let admin_address = admin_listeners[0].address().context("read the admin address")?;
        let certificates = tokio::spawn(tls::follow_files(parts.files.certificates.clone()));
        let reloads = tokio::spawn(parts.files.read_again(reloads));
        let admin =
            admin_listeners.into_iter().map(|listener| tokio::spawn(parts.admin.clone().serve(listener)));
        let address = listener.address().context("read the public address")?;
        let server = http::start(listener, &http_settings, &live, &commands, &parts.metrics)?;
        tracing::info!(
            listen = %address,
            admin = %admin_address,
            projects = %parts.projects.path().display(),
            state = %config.state.display(),
            "listening"
        );
        Ok(Self {
            board,
            logs: parts.logs,
            grace: config.grace,
            drain_delay: config.reload.drain_delay,
            watch: Some(watch),
            server: Some(server),
            runs: parts.runs,
            pickup: Some(pickup),
            cell_tasks,
            end_control: Some(end_control),
            control,
            crons,
            admin: admin.collect(),
            reloads,
            certificates,
            publisher: parts.publisher,
            access_log: parts.access_log,
            tracing: parts.tracing,
            _lock: parts.lock,
        })
    }

    /// Stops all parts in order. `signal` is the cause, for the log.
    ///
    /// # Errors
    /// A part has panicked.
    pub(super) async fn stop(mut self, signal: &'static str) -> Result<()> {
        self.board.set_stopping();
        let mut drain_began = Instant::now();
        for step in STOP_ORDER {
            match step {
                StopStep::Delay => self.delay(signal).await,
                StopStep::Watch => {
                    let watch = self.watch.take();
                    spawn_blocking(move || drop(watch)).await.context("stop the watch")?;
                }
                StopStep::PublicListener => {
                    drain_began = Instant::now();
                    let server = self.server.take();
                    let requests = async {
                        if let Some(server) = server {
                            server.stop(self.grace).await;
                        }
                    };
                    tokio::join!(requests, self.runs.stop(self.grace));
                }
                StopStep::Crons => {
                    self.crons.abort();
                    let pickup = self.pickup.take();
                    spawn_blocking(move || drop(pickup)).await.context("stop the watch for files")?;
                }
                StopStep::CellTasks => self.cell_tasks.iter().for_each(JoinHandle::abort),
                StopStep::Control => {
                    let rest = self.grace.saturating_sub(drain_began.elapsed());
                    if let Some(end) = self.end_control.take() {
                        let _ = end.send(rest);
                    }
                    (&mut self.control).await.context("stop the control task")?;
                }
                StopStep::Logs => {
                    let logs = self.logs.clone();
                    spawn_blocking(move || logs.stop()).await.context("keep the logs of projects")?;
                }
                StopStep::AdminListener => self.admin.iter().for_each(JoinHandle::abort),
                StopStep::Reloads => {
                    self.reloads.abort();
                    self.certificates.abort();
                }
                StopStep::AccessLog => {
                    if let Some(log) = self.access_log.take() {
                        spawn_blocking(move || log.finish()).await.context("stop the access log")?;
                    }
                }
                StopStep::Events => {
                    if let Some((publisher, publishing)) = self.publisher.take() {
                        publisher.shutdown(LAST_EVENTS).await;
                        let _ = publishing.await;
                    }
                }
                StopStep::Spans => {
                    if let Some(tracing) = self.tracing.take() {
                        let exported = spawn_blocking(move || tracing.shut_down());
                        exported.await.context("export the last spans")?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn delay(&self, signal: &'static str) {
        if !self.drain_delay.is_zero() {
            tracing::info!(signal, "stopping: accepting requests for another {:?}", self.drain_delay);
            tokio::time::sleep(self.drain_delay).await;
        }
        tracing::info!(signal, "stopping: no new connections; open requests may finish");
    }
}

/// Records a measurement of the watch in the router's metrics.
fn record(metrics: &Metrics, measurement: Measurement) {
    match measurement {
        Measurement::PollingStarted => _ = metrics.polling.set(1),
        Measurement::EventsLost => _ = metrics.lost_events.inc(),
        Measurement::UnreportedChange => _ = metrics.unseen_changes.inc(),
        Measurement::RootReplaced => _ = metrics.root_changes.inc(),
        Measurement::WatchedDirectories(count) => {
            _ = metrics.watches.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(step: StopStep) -> usize {
        let at = STOP_ORDER.iter().position(|other| *other == step);
        at.unwrap_or_else(|| panic!("{step:?} is never taken"))
    }

    #[test]
    fn every_part_stops_after_those_that_need_it() {
        for (first, second) in [
            (StopStep::Delay, StopStep::PublicListener),
            // The watch waits for the control task to take its changes.
            (StopStep::Watch, StopStep::Control),
            // Open requests and runs need their cells.
            (StopStep::PublicListener, StopStep::Control),
            // A limit that is reached while cells end would report a crash.
            (StopStep::CellTasks, StopStep::Control),
            // Cells print until their end.
            (StopStep::Control, StopStep::Logs),
            // The end of every cell is shown and sent as an event.
            (StopStep::Control, StopStep::AdminListener),
            (StopStep::Control, StopStep::Events),
            (StopStep::Reloads, StopStep::Events),
            // Open requests are logged when they end.
            (StopStep::PublicListener, StopStep::AccessLog),
            // Requests, runs and cells end with spans.
            (StopStep::Control, StopStep::Spans),
        ] {
            assert!(at(first) < at(second), "{first:?} must come before {second:?}");
        }
    }
}
