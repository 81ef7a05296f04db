//! Overrides of git sources: their projects are read from a local folder, for development.

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::Shared;
use crate::tokens::Caller;
use switchyard_contract::deploy::Action;
use switchyard_contract::source::{OverrideRequest, Overrides};
use switchyard_edge::api::answer::json;
use switchyard_edge::api::body::BodyLimits;
use switchyard_edge::api::path::Path;
use switchyard_edge::problem::Problem;

/// The body of a request, as in messages.
pub(super) const OVERRIDE: &str = r#"{"local_path": "/home/me/shop"}"#;

/// The limits on a body. A path has at most 4 KiB, escaped six times as much.
const LIMITS: BodyLimits = BodyLimits { bytes: 32 * 1024, time: Duration::from_secs(10) };

/// Has the router read all projects of a source from a local folder, or none
///
/// The bridge must have one router, which is on the machine of the folder.
#[utoipa::path(put, path = "/sources/{source}/override", tag = "sources", request_body = OverrideRequest,
    params(("source" = String, Path, description = "The source")),
    responses(
        (status = 200, description = "The folders of the projects", body = Overrides),
        (status = 403, description = "override-not-allowed: the folder is not below one of the router's \
            --allow-override"),
        (status = 404, description = "unknown-source"),
        (status = 409, description = "several-routers, nothing-to-do: the source has no live project; held: a \
            deploy is under way"),
        (status = 422, description = "no-folder: the path is not absolute, or a project has no folder there"),
        (status = 502, description = "router-unreachable or router-refused"),
    ),
)]
pub(super) async fn set(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let sources = api.checked(&caller, Action::Publish, &name)?;
    let OverrideRequest { local_path } = read(body).await?;
    Ok(json(StatusCode::OK, &sources.set_override(&name, &local_path).await?))
}

/// Has the routers read all projects of a source from the volume again
///
/// A commit that an override was in the way of is deployed then.
#[utoipa::path(delete, path = "/sources/{source}/override", tag = "sources",
    params(("source" = String, Path, description = "The source")),
    responses(
        (status = 200, description = "No project is read from elsewhere", body = Overrides),
        (status = 404, description = "unknown-source"),
        (status = 409, description = "held: a deploy is under way"),
        (status = 502, description = "router-unreachable or router-refused"),
    ),
)]
pub(super) async fn end(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let sources = api.checked(&caller, Action::Publish, &name)?;
    Ok(json(StatusCode::OK, &sources.end_override(&name).await?))
}

async fn read(body: Body) -> Result<OverrideRequest, Problem> {
    let body = LIMITS.read(body).await?;
    serde_json::from_slice(&body).map_err(|error| {
        Problem::bad_request(format!("the body does not describe an override: {error}; send {OVERRIDE}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_that_is_none_is_answered_with_one_that_is() {
        let request = read(Body::from(OVERRIDE)).await.unwrap();
        assert_eq!(request.local_path, "/home/me/shop");
        for wrong in ["", "[]", "{}", r#"{"local_path": 1}"#, r#"{"local_path": "/x", "path": "/x"}"#] {
            let problem = read(Body::from(wrong)).await.unwrap_err();
            assert_eq!(problem.status, StatusCode::BAD_REQUEST, "{wrong}");
            assert!(problem.detail().contains(OVERRIDE), "{}", problem.detail());
        }
        let large = format!(r#"{{"local_path": "{}"}}"#, "x".repeat(LIMITS.bytes));
        assert_eq!(read(Body::from(large)).await.unwrap_err().status, StatusCode::PAYLOAD_TOO_LARGE);
    }
}
