//! `GET /healthz` and `GET /readyz`: the probes of an orchestrator.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::Shared;
use crate::sources::control::Sources;
use switchyard_edge::api::answer::text;

/// Liveness probe
#[utoipa::path(get, path = "/healthz", tag = "health", responses(
    (status = 200, description = "The bridge runs", body = str, content_type = "text/plain"),
))]
pub(super) async fn healthz() -> Response {
    text(StatusCode::OK, "ok\n")
}

/// Readiness probe
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, description = "A router takes requests; a line for each notice, such as a git source with a problem", body = str, content_type = "text/plain"),
    (status = 503, description = "No router takes requests", body = str, content_type = "text/plain"),
))]
pub(super) async fn readyz(State(api): Shared) -> Response {
    if !api.routers.all().iter().any(|router| router.is_ready()) {
        return text(StatusCode::SERVICE_UNAVAILABLE, "no router is ready\n");
    }
    let mut page = "ready\n".to_owned();
    for notice in api.notices.iter() {
        page.push_str(&format!("{notice}\n"));
    }
    // A source that cannot be followed keeps nothing from being served.
    for status in api.sources.iter().flat_map(Sources::statuses) {
        if let Some(problem) = status.problem {
            page.push_str(&format!("source {}: {}\n", status.source, problem.kind));
        }
    }
    text(StatusCode::OK, page)
}
