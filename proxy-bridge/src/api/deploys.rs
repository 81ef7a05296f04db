//! `GET /deploys` and `GET /deploys/{id}`: the records of deploys.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::{Shared, check_read};
use crate::tokens::Caller;
use switchyard_contract::deploy::{Action, DeployRecord, DeployRecords};
use switchyard_edge::api::answer::json;
use switchyard_edge::api::path::Path;
use switchyard_edge::problem::Problem;

/// The deploys that the bridge remembers, the newest first
#[utoipa::path(get, path = "/deploys", tag = "deploys", responses(
    (status = 200, description = "The deploys whose projects the caller may read", body = DeployRecords),
))]
pub(super) async fn deploys(State(api): Shared, Extension(caller): Extension<Caller>) -> Response {
    let records = api.deploys.records().into_iter().filter(|record| may_read(&caller, record));
    let deploys = records.map(DeployRecord::without_key).collect();
    json(StatusCode::OK, &DeployRecords { deploys })
}

/// One deploy
#[utoipa::path(get, path = "/deploys/{id}", tag = "deploys",
    params(("id" = String, Path, description = "The deploy")),
    responses(
        (status = 200, description = "The deploy", body = DeployRecord),
        (status = 404, description = "unknown-deploy"),
    ),
)]
pub(super) async fn record(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let record = api.deploys.job(&id).map(|job| job.record());
    let record = record.filter(|record| record.names().all(|project| caller.knows(project.as_str())));
    let unknown = || {
        let detail = format!(
            "unknown deploy {id:?}: its record does not exist, is no longer kept, or is not for this token"
        );
        Problem::new(StatusCode::NOT_FOUND, "unknown-deploy", detail)
    };
    let record = record.ok_or_else(unknown)?;
    for project in record.names() {
        check_read(&caller, project)?;
    }
    if !may_read(&caller, &record) {
        return Err(unknown());
    }
    Ok(json(StatusCode::OK, &record.without_key()))
}

/// Returns true if the caller may read all projects of a deploy. While they are not known, the deploy is
/// for its own caller, and for those that may read all projects.
pub(super) fn may_read(caller: &Caller, record: &DeployRecord) -> bool {
    if record.projects.is_empty() {
        return caller.may_all(Action::Read) || record.by.as_deref() == caller.name();
    }
    record.names().all(|project| caller.may(Action::Read, project.as_str()))
}
