//! `GET /metrics`: all counters and gauges, as OpenMetrics.

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use switchyard_contract::project::ProjectName;
use switchyard_edge::api::answer::{OPEN_METRICS, whole};
use switchyard_edge::problem::Problem;
use switchyard_program::log;

use super::{Admin, AdminState};

/// Metrics, for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, description = "OpenMetrics", body = str, content_type = "application/openmetrics-text"),
))]
pub(super) async fn metrics(State(admin): AdminState) -> Result<Response, Problem> {
    let scraped = admin.clone();
    admin.blocking(move |_| answer(scraped)).await?
}

fn answer(admin: Arc<Admin>) -> Result<Response, Problem> {
    let mut registry = Registry::default();
    admin.metrics.register(&mut registry);
    registry.register_collector(Box::new(Gauges(admin)));
    let mut page = String::new();
    text::encode(&mut page, &registry)
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "metrics", error.to_string()))?;
    Ok(whole(StatusCode::OK, OPEN_METRICS, page))
}

/// The metrics that are read on demand instead of being counted.
struct Gauges(Arc<Admin>);

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gauges")
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_requests(&mut encoder)?;
        self.encode_logs(&mut encoder)?;
        self.encode_cells(&mut encoder)?;
        self.encode_events(&mut encoder)
    }
}

impl Gauges {
    fn encode_requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let table = self.0.live.load();
        let mut requests = encoder.encode_descriptor(
            "switchyard_requests",
            "Responses by project and status class",
            None,
            MetricType::Counter,
        )?;
        for entry in table.values() {
            let counts = entry.requests.counts().into_iter().enumerate();
            for (class, count) in counts.filter(|(_, count)| *count > 0) {
                let labels = [("project", entry.project.to_string()), ("class", format!("{}xx", class + 1))];
                ConstCounter::new(count).encode(requests.encode_family(&labels)?)?;
            }
        }
        let bad = table.values().map(|entry| (&entry.project, entry.requests.bad_answers()));
        per_project(
            encoder,
            "switchyard_bad_answers",
            "Responses of a project's process that were not valid HTTP, too large, or cut off",
            bad.filter(|(_, count)| *count > 0),
        )
    }

    fn encode_logs(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let dropped = self.0.cells.dropped_lines();
        per_project(
            encoder,
            "switchyard_log_dropped_lines",
            "Lines of a project that were not logged, as it printed more than --project-log",
            dropped.iter().map(|(project, volume)| (project, volume.lines)),
        )?;
        per_project(
            encoder,
            "switchyard_log_dropped_bytes",
            "The bytes of those lines",
            dropped.iter().map(|(project, volume)| (project, volume.bytes)),
        )?;
        let lost = "Records of the log that were dropped because it was not read fast enough";
        counter(encoder, "switchyard_log_lost_records", lost, log::lost().records)
    }

    fn encode_cells(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let table = self.0.live.load();
        let serving = table.values().filter_map(|entry| entry.serving());
        let running = serving.map(|serving| serving.cells().len()).sum();
        let spare = self.0.cells.spare_count();
        gauge(encoder, "switchyard_live_projects", "Projects in the live table", table.len())?;
        gauge(encoder, "switchyard_running_cells", "Cells of live versions", running)?;
        gauge(encoder, "switchyard_spare_cells", "Warmed cells without a version", spare)
    }

    fn encode_events(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(publisher) = self.0.events.publisher() else { return Ok(()) };
        let counts = publisher.counters();
        for (name, help, count) in [
            ("switchyard_events_delivered", "Events that the ingress accepted", counts.delivered),
            ("switchyard_events_retried", "Deliveries of events that were retried", counts.retried),
            ("switchyard_events_given_up", "Events that the ingress did not accept", counts.given_up),
            ("switchyard_events_dropped", "Events dropped from a full queue", counts.dropped),
        ] {
            counter(encoder, name, help, count)?;
        }
        Ok(())
    }
}

fn per_project<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (&'a ProjectName, u64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (project, value) in values {
        ConstCounter::new(value).encode(family.encode_family(&[("project", project.to_string())])?)?;
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: usize) -> fmt::Result {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
}
