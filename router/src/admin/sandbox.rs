//! `GET /sandbox`: the layers of the sandbox around the processes of projects.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use switchyard_contract::admin::Sandbox;
use switchyard_edge::api::answer::json;

use super::AdminState;

/// The layers of the sandbox around projects
#[utoipa::path(get, path = "/sandbox", tag = "health", responses(
    (status = 200, description = "Each layer, and whether it is there", body = Sandbox),
))]
pub(super) async fn sandbox(State(admin): AdminState) -> Response {
    json(StatusCode::OK, &admin.board.sandbox())
}
