//! `GET /healthz` and `GET /readyz`: the probes of an orchestrator.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use switchyard_edge::api::answer::text;

use super::AdminState;

/// Liveness probe
#[utoipa::path(get, path = "/healthz", tag = "health", responses(
    (status = 200, description = "The router runs", body = str, content_type = "text/plain"),
))]
pub(super) async fn healthz() -> Response {
    text(StatusCode::OK, "ok\n")
}

/// Readiness probe
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, description = "Every project was read. A line for each missing sandbox layer",
        body = str, content_type = "text/plain"),
    (status = 503, description = "The router is starting or stopping", body = str, content_type = "text/plain"),
))]
pub(super) async fn readyz(State(admin): AdminState) -> Response {
    match admin.board.ready() {
        Ok(()) => {
            let missing = admin.board.gaps().into_iter().map(|gap| format!("missing {gap}\n"));
            text(StatusCode::OK, format!("ready\n{}", missing.collect::<String>()))
        }
        Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}
