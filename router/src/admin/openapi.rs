//! `GET /openapi.json`: the OpenAPI document of the admin listener.

use std::sync::LazyLock;

use axum::response::Response;
use http::StatusCode;
use switchyard_edge::api::answer::json;
use switchyard_edge::api::openapi::complete;
use utoipa::OpenApi;

use super::{checkouts, deploys, events, health, inspect, logs, metrics, overrides, projects, reloads};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Switchyard router: admin listener",
        description = "Projects, reloads, overrides, deploys, events, logs, checkouts, debuggers, health.",
    ),
    paths(
        health::healthz,
        health::readyz,
        metrics::metrics,
        openapi,
        events::events,
        projects::projects,
        projects::project,
        checkouts::checkouts,
        checkouts::checkout,
        logs::logs,
        overrides::set,
        overrides::end,
        reloads::reload_all,
        reloads::reload,
        deploys::hold,
        deploys::release,
        deploys::build,
        deploys::publish,
        inspect::version,
        inspect::targets,
        inspect::target_list,
        inspect::inspect,
        inspect::inspect_cell,
    )
)]
struct AdminApi;

static DOCUMENT: LazyLock<utoipa::openapi::OpenApi> =
    LazyLock::new(|| complete(AdminApi::openapi(), &["/healthz", "/readyz"]));

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "health", responses(
    (status = 200, description = "The OpenAPI document", body = Object),
))]
pub(super) async fn openapi() -> Response {
    json(StatusCode::OK, &*DOCUMENT)
}

#[cfg(test)]
mod tests {
    use switchyard_edge::api::openapi::differences;

    use super::super::{commands, health_routes, inspect_routes};
    use super::*;

    #[test]
    fn the_document_has_every_endpoint_and_no_other() {
        let routes = health_routes().merge(commands()).merge(inspect_routes());
        assert_eq!(differences(&DOCUMENT, routes.endpoints()), [""; 0]);
    }
}
