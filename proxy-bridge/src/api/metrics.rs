//! `GET /metrics`: all counters and gauges, as OpenMetrics.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::Shared;
use crate::metrics::MetricSource as _;
use crate::routers::Routers;
use crate::tokens::Caller;
use crate::traces::Traces;
use switchyard_contract::deploy::Action;
use switchyard_edge::api::answer::{OPEN_METRICS, whole};
use switchyard_edge::api::process::ProcessMetrics;
use switchyard_edge::problem::Problem;

/// Metrics, for Prometheus
///
/// They are of all projects, so a token must allow `read` of `*`.
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, description = "OpenMetrics", body = str, content_type = "application/openmetrics-text"),
))]
pub(super) async fn metrics(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    caller.check_all(Action::Read)?;
    let mut registry = Registry::default();
    let build = [("version", env!("CARGO_PKG_VERSION"))].to_vec();
    registry.register("switchyard_bridge_build", "The release of the bridge", Info::new(build));
    api.metrics.register(&mut registry);
    register_routers(&api.routers, &mut registry);
    register_spans(&api.traces, &mut registry);
    if let Some(forward) = &api.forward {
        forward.register(&mut registry);
    }
    api.runs.register(&mut registry);
    if let Some(sources) = &api.sources {
        sources.metrics().register(&mut registry);
    }
    registry.register_collector(Box::new(ProcessMetrics));
    let mut page = String::new();
    text::encode(&mut page, &registry)
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "metrics", error.to_string()))?;
    Ok(whole(StatusCode::OK, OPEN_METRICS, page))
}

/// Registers the metrics that are read at each scrape instead of being counted.
fn register_routers(routers: &Routers, registry: &mut Registry) {
    let ready = Family::<[(&str, String); 1], Gauge>::default();
    let behind = Family::<[(&str, String); 1], Gauge>::default();
    let statuses = Family::<[(&str, String); 1], Counter>::default();
    for router in routers.all() {
        let label = [("router", router.name().to_owned())];
        ready.get_or_create(&label).set(router.is_ready().into());
        behind.get_or_create(&label).set(i64::try_from(router.behind().len()).unwrap_or(i64::MAX));
        statuses.get_or_create(&label).inc_by(router.statuses_received());
    }
    registry.register("switchyard_bridge_router_ready", "1 while the router takes requests", ready);
    registry.register(
        "switchyard_bridge_router_behind_projects",
        "Projects of which the router serves an older version than the deployed one",
        behind,
    );
    registry.register(
        "switchyard_bridge_router_statuses",
        "Statuses of projects in the router's answers",
        statuses,
    );
    registry.register(
        "switchyard_bridge_routes_made",
        "Computations of the routes of a project",
        ConstCounter::new(routers.routes_made()),
    );
}

fn register_spans(traces: &Traces, registry: &mut Registry) {
    let Some(counts) = traces.counts() else { return };
    let exported = ConstCounter::new(counts.exported);
    registry.register("switchyard_bridge_spans_exported", "Spans that the collector accepted", exported);
    let dropped = Family::<[(&str, &str); 1], Counter>::default();
    for (reason, count) in counts.dropped() {
        dropped.get_or_create(&[("reason", reason)]).inc_by(count);
    }
    registry.register("switchyard_bridge_spans_dropped", "Spans that were dropped, by reason", dropped);
}
