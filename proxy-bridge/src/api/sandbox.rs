//! `GET /routers/sandbox`: the layers of the sandbox at each router.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::Shared;
use super::requests::ask;
use switchyard_contract::admin::Sandbox;
use switchyard_contract::overview::{RouterSandbox, SandboxOverview};
use switchyard_edge::api::answer::json;

/// The sandbox around projects at each router
#[utoipa::path(get, path = "/routers/sandbox", tag = "projects", responses(
    (status = 200, description = "The layers at each router", body = SandboxOverview),
))]
pub(super) async fn sandbox(State(api): Shared) -> Response {
    let (answers, errors) = ask::<Sandbox>(&api, &["sandbox"], &[]).await;
    let at_router = |(router, sandbox)| RouterSandbox { router, sandbox };
    let routers = answers.into_iter().map(at_router).collect();
    json(StatusCode::OK, &SandboxOverview { routers, errors })
}
