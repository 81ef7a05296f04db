//! `GET /whoami`: what the caller may do.

use axum::Extension;
use axum::response::Response;
use http::StatusCode;

use crate::tokens::Caller;
use switchyard_contract::overview::CallerInfo;
use switchyard_edge::api::answer::json;

/// The caller's token, and what it allows
#[utoipa::path(get, path = "/whoami", tag = "health", responses(
    (status = 200, description = "The permissions of the token", body = CallerInfo),
))]
pub(super) async fn whoami(Extension(caller): Extension<Caller>) -> Response {
    json(StatusCode::OK, &caller.info())
}
