//! The counters of `GET /metrics`.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use switchyard_contract::deploy::{DeployOutcome, DeployRecord};

/// Bounds in seconds, from a small project (tens of milliseconds) to the default time limit.
const DEPLOY_BUCKETS: [f64; 10] = [0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// A part of the bridge that counts, read when `GET /metrics` is answered.
pub trait MetricSource: std::fmt::Debug + Send + Sync {
    /// Adds the current values to `registry`.
    fn register(&self, registry: &mut Registry);
}

/// The counters of deploys and events. Cheap to clone; all clones count the same.
#[derive(Debug, Clone)]
pub struct Metrics {
    deploys: Family<Deploy, Counter>,
    seconds: Histogram,
    events: Family<Event, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Deploy {
    action: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Event {
    outcome: EventOutcome,
}

/// The result of an event that was posted to the bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the label's values")]
pub enum EventOutcome {
    applied,
    duplicate,
    unknown_router,
    refused,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            deploys: Family::default(),
            seconds: Histogram::new(DEPLOY_BUCKETS),
            events: Family::default(),
        }
    }
}

impl Metrics {
    /// Counts a deploy that is over, and its time.
    pub fn ended(&self, record: &DeployRecord) {
        let outcome = record.outcome.map_or("", DeployOutcome::as_str);
        self.deploys.get_or_create(&Deploy { action: record.action.as_str(), outcome }).inc();
        if let Some(total) = record.timings_ms.get("total") {
            self.seconds.observe(total / 1e3);
        }
    }

    /// Counts an event that was posted.
    pub fn event(&self, outcome: EventOutcome) {
        self.events.get_or_create(&Event { outcome }).inc();
    }

    /// Adds all counters to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("switchyard_bridge_deploys", "Deploys that came to an end", self.deploys.clone());
        registry.register(
            "switchyard_bridge_deploy_seconds",
            "Time from the request to the end of a deploy",
            self.seconds.clone(),
        );
        registry.register("switchyard_bridge_events", "Events posted to the bridge", self.events.clone());
    }
}
