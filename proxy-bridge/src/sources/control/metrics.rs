//! The metrics of sources.

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Sources;
use crate::metrics::MetricSource;
use switchyard_contract::source::SyncOutcome;

/// Bounds in seconds, from a repository on this machine to the default time limit.
const FETCH_BUCKETS: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0];

/// The counters of all sources.
#[derive(Debug)]
pub(super) struct SourceMetrics {
    syncs: Family<Sync, Counter>,
    fetch: Histogram,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Sync {
    source: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    source: String,
}

impl Default for SourceMetrics {
    fn default() -> Self {
        Self { syncs: Family::default(), fetch: Histogram::new(FETCH_BUCKETS) }
    }
}

impl SourceMetrics {
    /// Counts a sync that came to an end.
    pub(super) fn ended(&self, source: &str, outcome: SyncOutcome) {
        let label = Sync { source: source.to_owned(), outcome: outcome.as_str() };
        self.syncs.get_or_create(&label).inc();
    }

    /// Lets go of what was counted for a source that is gone for ever.
    pub(super) fn forget(&self, source: &str) {
        for outcome in SyncOutcome::ALL {
            self.syncs.remove(&Sync { source: source.to_owned(), outcome: outcome.as_str() });
        }
    }

    /// Counts the seconds of a fetch.
    pub(super) fn fetched(&self, seconds: f64) {
        self.fetch.observe(seconds);
    }
}

impl MetricSource for Sources {
    fn register(&self, registry: &mut Registry) {
        let SourceMetrics { syncs, fetch } = &self.0.context.metrics;
        registry.register("switchyard_source_syncs", "Syncs that came to an end", syncs.clone());
        registry.register(
            "switchyard_source_fetch_seconds",
            "Time to ask the server and to fetch the commit",
            fetch.clone(),
        );
        let (age, problem) = (Family::<Name, Gauge<f64, _>>::default(), Family::<Name, Gauge>::default());
        let mirror = Family::<Name, Gauge>::default();
        let now = Timestamp::now();
        for status in self.statuses() {
            let name = Name { source: status.source };
            if let Some(at) = status.synced_at {
                let seconds = now.duration_since(at).as_secs_f64();
                age.get_or_create(&name).set(seconds.max(0.0));
            }
            problem.get_or_create(&name).set(i64::from(status.problem.is_some()));
            let bytes = i64::try_from(status.mirror_bytes).unwrap_or(i64::MAX);
            mirror.get_or_create(&name).set(bytes);
        }
        let age: Family<Name, Gauge<f64, std::sync::atomic::AtomicU64>> = age;
        registry.register(
            "switchyard_source_sync_age_seconds",
            "Time since the newest commit was last found to be live",
            age,
        );
        registry.register("switchyard_source_problem", "1 while the source cannot follow its ref", problem);
        registry.register("switchyard_source_mirror_bytes", "Bytes of the source's mirror", mirror);
    }
}
