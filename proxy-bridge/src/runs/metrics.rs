//! The metrics of runs.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::ledger::Ledger;
use crate::metrics::MetricSource;
use switchyard_contract::run::{OccurrenceOutcome, Run, RunState};

/// Bounds in seconds: from a start with a spare to a queue that is full.
const WAIT_BUCKETS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0, 60.0, 600.0];

/// Bounds in seconds: from a hello to the longest run of most policies.
const RUN_BUCKETS: [f64; 10] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 600.0, 3600.0];

/// The counters of all runs.
#[derive(Debug)]
pub(super) struct RunMetrics {
    ledger: Ledger,
    ended: Family<Ended, Counter>,
    wait: Histogram,
    duration: Histogram,
    occurrences: Family<Due, Counter>,
    unrecorded: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    task: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Due {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

impl RunMetrics {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            ended: Family::default(),
            wait: Histogram::new(WAIT_BUCKETS),
            duration: Histogram::new(RUN_BUCKETS),
            occurrences: Family::default(),
            unrecorded: Gauge::default(),
        }
    }

    /// Observes the wait of a run whose code has begun. Further attempts have waited on purpose.
    pub(super) fn started(&self, run: &Run) {
        if let Some(at) = run.started_at.filter(|_| run.attempt == 1) {
            self.wait.observe(at.duration_since(run.queued_at).as_secs_f64().max(0.0));
        }
    }

    /// Counts a run that has ended.
    pub(super) fn ended(&self, run: &Run) {
        let label = Ended { task: run.task.to_string(), state: run.state.as_str() };
        self.ended.get_or_create(&label).inc();
        // Nobody knows when a lost run ended.
        let began = run.started_at.filter(|_| run.state != RunState::Lost);
        if let (Some(began), Some(ended)) = (began, run.ended_at) {
            self.duration.observe(ended.duration_since(began).as_secs_f64().max(0.0));
        }
    }

    /// Counts a due time.
    pub(super) fn occurrence(&self, outcome: OccurrenceOutcome) {
        self.occurrences.get_or_create(&Due { outcome: outcome.as_str() }).inc();
    }

    /// Sets the number of tasks with due times that could not be recorded.
    pub(super) fn unrecorded(&self, tasks: usize) {
        self.unrecorded.set(tasks.try_into().unwrap_or(i64::MAX));
    }
}

impl MetricSource for RunMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("switchyard_runs", "Runs that came to an end", self.ended.clone());
        registry.register(
            "switchyard_run_wait_seconds",
            "Time from acceptance to the first line of code",
            self.wait.clone(),
        );
        registry.register("switchyard_run_seconds", "Time that the code of runs took", self.duration.clone());
        registry.register(
            "switchyard_occurrences",
            "Due times, by what became of them",
            self.occurrences.clone(),
        );
        registry.register(
            "switchyard_tasks_unrecorded",
            "Tasks with due times that cannot be recorded yet: the history cannot be written",
            self.unrecorded.clone(),
        );
        let in_flight = Family::<State, Gauge>::default();
        let stats = self.ledger.stats();
        for state in [RunState::Queued, RunState::Starting, RunState::Running] {
            let count = stats.runs.get(&state).copied().unwrap_or_default();
            in_flight
                .get_or_create(&State { state: state.as_str() })
                .set(count.try_into().unwrap_or(i64::MAX));
        }
        registry.register("switchyard_runs_in_flight", "Runs that have not ended, by state", in_flight);
        let bytes = Gauge::<i64>::default();
        bytes.set((stats.database_bytes + stats.log_bytes).try_into().unwrap_or(i64::MAX));
        registry.register("switchyard_history_bytes", "Bytes of the history of runs and their logs", bytes);
    }
}

impl MetricSource for super::Runs {
    fn register(&self, registry: &mut Registry) {
        self.0.metrics.register(registry);
    }
}
