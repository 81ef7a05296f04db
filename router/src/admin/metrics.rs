//! `GET /metrics`: all counters and gauges, as OpenMetrics.

mod projects;

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use switchyard_edge::api::answer::{OPEN_METRICS, whole};
use switchyard_edge::api::process::ProcessMetrics;
use switchyard_edge::problem::Problem;
use switchyard_program::log;
use switchyard_protocol::{DENO_VERSION, V8_VERSION};

use self::projects::ProjectMetrics;
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
    let build = [("version", env!("CARGO_PKG_VERSION")), ("deno", DENO_VERSION), ("v8", V8_VERSION)].to_vec();
    registry.register("switchyard_build", "The releases of the router and of its runtime", Info::new(build));
    admin.metrics.register(&mut registry);
    registry.register_collector(Box::new(ProjectMetrics(admin.clone())));
    registry.register_collector(Box::new(Gauges(admin)));
    registry.register_collector(Box::new(ProcessMetrics));
    let mut page = String::new();
    text::encode(&mut page, &registry)
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "metrics", error.to_string()))?;
    Ok(whole(StatusCode::OK, OPEN_METRICS, page))
}

/// The metrics of the router that are read on demand instead of being counted.
struct Gauges(Arc<Admin>);

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gauges")
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let ready = ConstGauge::new(i64::from(self.0.board.ready().is_ok()));
        put(&mut encoder, "switchyard_ready", "1 while the router takes requests", ready)?;
        let lost = "Records of the log that were dropped because it was not read fast enough";
        put(&mut encoder, "switchyard_log_lost_records", lost, ConstCounter::new(log::lost().records))?;
        self.encode_cells(&mut encoder)?;
        self.encode_events(&mut encoder)?;
        self.encode_spans(&mut encoder)
    }
}

impl Gauges {
    fn encode_cells(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let table = self.0.live.load();
        let live = table.values().filter(|entry| entry.live.is_some()).count();
        let serving = table.values().filter_map(|entry| entry.serving());
        let running = serving.map(|serving| serving.cells().len()).sum();
        let spare = self.0.cells.spare_count();
        put(encoder, "switchyard_live_projects", "Projects with a version that gets requests", gauge(live))?;
        put(encoder, "switchyard_running_cells", "Cells of live versions", gauge(running))?;
        put(encoder, "switchyard_spare_cells", "Warmed cells without a version", gauge(spare))
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
            put(encoder, name, help, ConstCounter::new(count))?;
        }
        Ok(())
    }
}

impl Gauges {
    fn encode_spans(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(counts) = self.0.cells.span_counts() else { return Ok(()) };
        let help = "Spans that the collector accepted";
        put(encoder, "switchyard_spans_exported", help, ConstCounter::new(counts.exported))?;
        let help = "Spans that were dropped, by reason";
        let mut dropped =
            encoder.encode_descriptor("switchyard_spans_dropped", help, None, MetricType::Counter)?;
        for (reason, count) in counts.dropped() {
            ConstCounter::new(count).encode(dropped.encode_family(&[("reason", reason)])?)?;
        }
        Ok(())
    }
}

fn gauge(value: usize) -> ConstGauge {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

fn put(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: impl EncodeMetric,
) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}
