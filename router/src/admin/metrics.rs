//! `GET /metrics`: everything that is counted, in Prometheus' text format.

use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use switchyard_contract::project::ProjectName;
use switchyard_program::log;

use super::Admin;
use super::answer::{Answer, problem, whole};

/// OpenMetrics, which Prometheus reads.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn answer(admin: &Admin) -> Answer {
    let mut registry = Registry::default();
    admin.metrics.register(&mut registry);
    registry.register_collector(Box::new(Now(admin.clone())));
    let mut page = String::new();
    match text::encode(&mut page, &registry) {
        Ok(()) => whole(StatusCode::OK, CONTENT_TYPE, page),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, "metrics", &error.to_string()),
    }
}

/// What is read off the moment it is asked for.
struct Now(Admin);

impl std::fmt::Debug for Now {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Now")
    }
}

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Self(admin) = self;
        let table = admin.live.load();
        let kind = prometheus_client::metrics::MetricType::Counter;
        let mut requests = encoder.encode_descriptor(
            "switchyard_requests",
            "Answers by project and class of status",
            None,
            kind,
        )?;
        for entry in table.values() {
            for (class, count) in
                entry.requests.counts().into_iter().enumerate().filter(|(_, count)| *count > 0)
            {
                let labels = [("project", entry.project.to_string()), ("class", format!("{}xx", class + 1))];
                ConstCounter::new(count).encode(requests.encode_family(&labels)?)?;
            }
        }
        per_project(
            &mut encoder,
            "switchyard_bad_answers",
            "Responses of a project's process that were no HTTP response, too large, or cut off",
            table
                .values()
                .map(|entry| (&entry.project, entry.requests.bad_answers()))
                .filter(|(_, n)| *n > 0),
        )?;
        let dropped = admin.cells.dropped_lines();
        per_project(
            &mut encoder,
            "switchyard_log_dropped_lines",
            "Lines of a project that are not in the log: more than --project-log",
            dropped.iter().map(|(project, volume)| (project, volume.lines)),
        )?;
        per_project(
            &mut encoder,
            "switchyard_log_dropped_bytes",
            "The bytes of those lines",
            dropped.iter().map(|(project, volume)| (project, volume.bytes)),
        )?;
        counter(
            &mut encoder,
            "switchyard_log_lost_records",
            "Records of the log that were dropped because it was not read fast enough",
            log::lost().records,
        )?;
        let serving = table.values().filter_map(|entry| entry.serving());
        let running = serving.map(|serving| serving.cells().len()).sum();
        gauge(&mut encoder, "switchyard_live_projects", "Projects that are known to requests", table.len())?;
        gauge(&mut encoder, "switchyard_running_cells", "Cells of live versions", running)?;
        gauge(
            &mut encoder,
            "switchyard_spare_cells",
            "Warmed cells without a version",
            admin.cells.spare_count(),
        )?;
        if let Some(publisher) = admin.events.publisher() {
            let counters = publisher.counters();
            counter(
                &mut encoder,
                "switchyard_events_delivered",
                "Events the ingress took",
                counters.delivered,
            )?;
            counter(
                &mut encoder,
                "switchyard_events_retried",
                "Deliveries that were tried again",
                counters.retried,
            )?;
            counter(
                &mut encoder,
                "switchyard_events_given_up",
                "Events the ingress did not take",
                counters.given_up,
            )?;
            counter(
                &mut encoder,
                "switchyard_events_dropped",
                "Events dropped from a full queue",
                counters.dropped,
            )?;
        }
        Ok(())
    }
}

fn per_project<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (&'a ProjectName, u64)>,
) -> Result<(), std::fmt::Error> {
    let kind = prometheus_client::metrics::MetricType::Counter;
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for (project, value) in values {
        ConstCounter::new(value).encode(family.encode_family(&[("project", project.to_string())])?)?;
    }
    Ok(())
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: usize,
) -> Result<(), std::fmt::Error> {
    let kind = prometheus_client::metrics::MetricType::Gauge;
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, kind)?)
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), std::fmt::Error> {
    let kind = prometheus_client::metrics::MetricType::Counter;
    ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, None, kind)?)
}
