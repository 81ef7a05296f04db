//! `GET /openapi.json`: the OpenAPI document of the admin listener.

use std::sync::LazyLock;

use axum::response::Response;
use http::StatusCode;
use switchyard_edge::api::answer::json;
use switchyard_edge::api::openapi::complete;
use utoipa::OpenApi;

use super::{
    checkouts, deploys, events, files, health, hooks, inspect, logs, metrics, overrides, projects, reloads,
    requests, runs, sandbox, settings, tasks,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Switchyard router: admin listener",
        description = "Projects, reloads, overrides, deploys, webhooks, events, logs, checkouts, debuggers, health.",
    ),
    paths(
        health::healthz,
        health::readyz,
        metrics::metrics,
        openapi,
        events::events,
        sandbox::sandbox,
        projects::projects,
        projects::project,
        settings::settings,
        tasks::tasks,
        checkouts::checkouts,
        checkouts::checkout,
        checkouts::keep,
        logs::logs,
        requests::requests,
        requests::samples,
        requests::loads,
        overrides::set,
        overrides::end,
        reloads::reload_all,
        reloads::reload,
        deploys::hold,
        deploys::release,
        runs::start_run,
        runs::known_runs,
        runs::run_events,
        runs::cancel_run,
        runs::answer_step,
        runs::acknowledge_run,
        files::offers,
        files::input,
        files::settle,
        deploys::build,
        deploys::publish,
        hooks::verify,
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

/// Returns the OpenAPI document of the listener, as `GET /openapi.json` has it.
pub fn document() -> String {
    serde_json::to_string_pretty(&*DOCUMENT).expect("a document is plain data")
}

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
