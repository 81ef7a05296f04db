//! `GET /openapi.json`: the OpenAPI document of the API.

use std::sync::LazyLock;

use axum::response::Response;
use http::StatusCode;
use utoipa::OpenApi;

use super::{
    deploy, deploys, diff, events, health, loads, locks, logs, metrics, overrides, pipelines, projects,
    reload, requests, rollback, run_logs, runs, sandbox, schemas, settings, source_commits, sources, stream,
    tasks, whoami,
};
use switchyard_contract::deploy::{DeployAnswer, DeployStep};
use switchyard_contract::overview::{DeployChanges, RequestChanges};
use switchyard_edge::api::answer::json;
use switchyard_edge::api::openapi::complete;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Switchyard bridge",
        description = "Deploys, rollbacks and removals, the projects that routers serve, and their tasks and runs.",
    ),
    paths(
        health::healthz,
        health::readyz,
        metrics::metrics,
        openapi,
        events::receive,
        events::recent,
        stream::stream,
        whoami::whoami,
        deploy::deploy,
        deploy::deploy_project,
        rollback::rollback,
        deploy::remove,
        deploys::deploys,
        deploys::record,
        projects::routers,
        sandbox::sandbox,
        projects::projects,
        projects::project,
        projects::statuses,
        settings::settings,
        projects::versions,
        diff::diff,
        reload::reload,
        locks::locks,
        locks::lock,
        locks::unlock,
        logs::logs,
        requests::requests,
        requests::samples,
        loads::loads,
        sources::sync_all,
        sources::sources,
        sources::source,
        sources::sync,
        sources::publish,
        sources::approve,
        sources::freeze,
        sources::unfreeze,
        overrides::set,
        overrides::end,
        source_commits::commits,
        source_commits::deployed_commit,
        sources::explain,
        tasks::tasks,
        tasks::task,
        tasks::explain_task,
        tasks::run_task,
        pipelines::pipeline,
        pipelines::run_pipeline,
        schemas::list,
        schemas::schema,
        runs::runs,
        runs::run,
        runs::delete,
        run_logs::run_log,
        runs::cancel,
        runs::retry,
        runs::resume,
    ),
    components(schemas(DeployStep, DeployAnswer, DeployChanges, RequestChanges))
)]
struct BridgeApi;

static DOCUMENT: LazyLock<utoipa::openapi::OpenApi> = LazyLock::new(|| {
    complete(BridgeApi::openapi(), &["/healthz", "/readyz", "/schema", "/schema/{file}", "/events"])
});

/// Returns the OpenAPI document of the API, as `GET /openapi.json` has it.
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

    use super::super::{commands, event_routes, health_routes, schema_routes};
    use super::*;

    #[test]
    fn the_document_has_every_endpoint_and_no_other() {
        let routes = health_routes().merge(schema_routes()).merge(event_routes()).merge(commands());
        assert_eq!(differences(&DOCUMENT, routes.endpoints()), [""; 0]);
    }
}
