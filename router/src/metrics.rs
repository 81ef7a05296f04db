//! The metrics of the router, for `GET /metrics`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use switchyard_contract::event::DeathReason;
use switchyard_contract::project::ProjectName;

/// From a hello world (milliseconds) to the default build timeout, in seconds.
const BUILD_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Minimum interval between two log lines about invalid answers of one project.
const BAD_ANSWERS_LOGGED: Duration = Duration::from_secs(1);

/// The answers of one project by status class. Counted for every request, with one relaxed add.
#[derive(Debug, Default)]
pub(crate) struct ResponseCounters {
    classes: [AtomicU64; 5],
    bad_answers: AtomicU64,
    /// The number of invalid answers that are not logged yet, and the time of the last log line.
    unlogged: Mutex<(u64, Option<Instant>)>,
}

impl ResponseCounters {
    pub(crate) fn count(&self, status: http::StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.classes[class].fetch_add(1, Relaxed);
    }

    /// Counts by class, from 1xx to 5xx.
    pub(crate) fn counts(&self) -> [u64; 5] {
        std::array::from_fn(|class| self.classes[class].load(Relaxed))
    }

    /// Counts one invalid answer of a cell. Returns the number of them to log now, if a log line is due.
    pub(crate) fn bad_answer(&self) -> Option<u64> {
        self.bad_answers.fetch_add(1, Relaxed);
        let mut unlogged = self.unlogged.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, logged) = &mut *unlogged;
        *count += 1;
        if logged.is_some_and(|at| at.elapsed() < BAD_ANSWERS_LOGGED) {
            return None;
        }
        *logged = Some(Instant::now());
        Some(std::mem::take(count))
    }

    pub(crate) fn bad_answers(&self) -> u64 {
        self.bad_answers.load(Relaxed)
    }
}

/// The counters of the control flow.
#[derive(Debug, Default, Clone)]
pub(crate) struct Metrics {
    reloads: Family<ReloadLabels, Counter>,
    pub(crate) build_seconds: Builds,
    cells_died: Family<DeathLabels, Counter>,
    pub(crate) cells_evicted: Counter,
    /// 1 while projects are polled because file events are missing, or by `--poll`.
    pub(crate) polling: Gauge,
    pub(crate) lost_events: Counter,
    /// Changes that a comparison found and no file event reported.
    pub(crate) unseen_changes: Counter,
    /// The number of times that the projects root became another folder.
    pub(crate) root_changes: Counter,
    pub(crate) watches: Gauge,
    /// Connections of clients at the public listener.
    pub(crate) connections: Gauge,
    pub(crate) connections_refused: Family<RefusedLabels, Counter>,
    /// Refused requests: ambiguous, or with a head that is too large or too slow.
    pub(crate) requests_refused: Counter,
    /// Requests that are missing from the access log.
    pub(crate) access_log_dropped: Counter,
}

#[derive(Debug, Clone)]
pub(crate) struct Builds(pub(crate) Histogram);

impl Default for Builds {
    fn default() -> Self {
        Self(Histogram::new(BUILD_BUCKETS))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    project: String,
    outcome: OutcomeLabel,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeathLabels {
    project: String,
    /// The value is the one in events.
    reason: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the label's values")]
pub(crate) enum OutcomeLabel {
    live,
    failed,
    unchanged,
}

impl OutcomeLabel {
    const ALL: [Self; 3] = [Self::live, Self::failed, Self::unchanged];
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RefusedLabels {
    pub(crate) bound: BoundLabel,
}

/// The limit of connections that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the label's values")]
pub(crate) enum BoundLabel {
    all,
    client,
}

impl From<BoundLabel> for RefusedLabels {
    fn from(bound: BoundLabel) -> Self {
        Self { bound }
    }
}

impl Metrics {
    /// Counts a reload that came to an end.
    pub(crate) fn reload_ended(&self, project: &ProjectName, outcome: OutcomeLabel) {
        self.reloads.get_or_create(&ReloadLabels { project: project.to_string(), outcome }).inc();
    }

    /// Counts a cell that crashed.
    pub(crate) fn cell_died(&self, project: &ProjectName, reason: DeathReason) {
        let labels = DeathLabels { project: project.to_string(), reason: reason.as_str() };
        self.cells_died.get_or_create(&labels).inc();
    }

    /// Lets go of what was counted for a project of which nothing is left.
    pub(crate) fn forget(&self, project: &ProjectName) {
        for outcome in OutcomeLabel::ALL {
            self.reloads.remove(&ReloadLabels { project: project.to_string(), outcome });
        }
        for reason in DeathReason::ALL {
            self.cells_died.remove(&DeathLabels { project: project.to_string(), reason: reason.as_str() });
        }
    }

    /// Registers all metrics under their names.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let Self { reloads, build_seconds, cells_died, cells_evicted, polling, lost_events, watches, .. } =
            self;
        registry.register("switchyard_reloads", "Reloads by project and outcome", reloads.clone());
        registry.register(
            "switchyard_build_seconds",
            "From the checkout to a handler that serves",
            build_seconds.0.clone(),
        );
        registry.register(
            "switchyard_cells_died",
            "Cells that crashed, by project and reason",
            cells_died.clone(),
        );
        registry.register(
            "switchyard_cells_evicted",
            "Cells stopped until their next request: beyond --max-cells, or idle",
            cells_evicted.clone(),
        );
        registry.register("switchyard_polling", "1 while projects are polled", polling.clone());
        registry.register(
            "switchyard_lost_events",
            "Times that file events were lost and all projects were read again",
            lost_events.clone(),
        );
        registry.register(
            "switchyard_unseen_changes",
            "Changes of projects without a file event, found by comparison",
            self.unseen_changes.clone(),
        );
        registry.register(
            "switchyard_root_changes",
            "Times that the projects root became another folder",
            self.root_changes.clone(),
        );
        registry.register("switchyard_watched_directories", "Directories that are watched", watches.clone());
        let Self { connections, connections_refused, requests_refused, .. } = self;
        registry.register(
            "switchyard_connections",
            "Open connections at the public listener",
            connections.clone(),
        );
        registry.register(
            "switchyard_connections_refused",
            "Connections closed at once, by the bound that was reached",
            connections_refused.clone(),
        );
        registry.register(
            "switchyard_requests_refused",
            "Requests that are ambiguous, or have a head that is too large or too slow",
            requests_refused.clone(),
        );
        registry.register(
            "switchyard_access_log_dropped",
            "Requests that are missing from the access log: it could not be written, or not fast enough",
            self.access_log_dropped.clone(),
        );
    }
}
