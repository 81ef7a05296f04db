//! The requests of a project at all routers: the last ones, and minutes of the last hour.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use futures_util::future::join_all;
use http::StatusCode;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::logs::{check_known, follow_all};
use super::{Api, Shared, check_read};
use crate::routers::{CallError, Presence};
use crate::tokens::Caller;
use switchyard_contract::admin::{RequestSample, RequestSamples, Requests};
use switchyard_contract::overview::{LogError, ProjectMetrics, RouterRequest, RouterRequests};
use switchyard_contract::project::ProjectName;
use switchyard_edge::api::answer::json;
use switchyard_edge::api::path::ProjectPath;
use switchyard_edge::api::query::{Query, RequestsQuery};
use switchyard_edge::problem::Problem;

/// The last requests of a project at all routers
///
/// With `follow`, server-sent events, each with its router: `request` with a request that has ended,
/// `gap` with the number of `lost` requests, and `error` for a router whose requests cannot be read.
#[utoipa::path(get, path = "/projects/{project}/requests", tag = "projects",
    params(("project" = String, Path, description = "The project"), RequestsQuery),
    responses(
        (status = 200, description = "The requests, the newest first", body = RouterRequests),
        (status = 404, description = "unknown-project"),
    ),
)]
pub(super) async fn requests(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    ProjectPath(project): ProjectPath,
    Query(query): Query<RequestsQuery>,
) -> Result<Response, Problem> {
    check_read(&caller, &project)?;
    if query.follow {
        return follow_all(&api, &project, "requests", &query.to_pairs()).await;
    }
    let (answers, errors) = ask_about::<Requests>(&api, &project, "requests", &query.to_pairs()).await?;
    let requests = answers.into_iter().flat_map(|(router, answer)| {
        answer
            .requests
            .into_iter()
            .map(move |request| RouterRequest { router: Some(router.clone()), request })
    });
    let mut requests: Vec<_> = requests.collect();
    requests.sort_by_key(|request| Reverse(request.request.timestamp));
    requests.truncate(query.limit);
    Ok(json(StatusCode::OK, &RouterRequests { requests, errors }))
}

/// Samples of the requests of the last hour, over all routers
#[utoipa::path(get, path = "/projects/{project}/metrics", tag = "projects",
    params(("project" = String, Path, description = "The project")),
    responses(
        (status = 200, description = "The minutes that had requests", body = ProjectMetrics),
        (status = 404, description = "unknown-project"),
    ),
)]
pub(super) async fn samples(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    ProjectPath(project): ProjectPath,
) -> Result<Response, Problem> {
    check_read(&caller, &project)?;
    let (answers, errors) = ask_about::<RequestSamples>(&api, &project, "metrics", &[]).await?;
    let mut minutes: BTreeMap<Timestamp, RequestSample> = BTreeMap::new();
    for sample in answers.into_iter().flat_map(|(_, answer)| answer.minutes) {
        add(&mut minutes, sample.minute, sample, RequestSample::merged);
    }
    Ok(json(StatusCode::OK, &ProjectMetrics { minutes: minutes.into_values().collect(), errors }))
}

/// Adds a value to the one with the same key.
pub(super) fn add<K: Ord, T>(all: &mut BTreeMap<K, T>, key: K, value: T, merge: impl Fn(T, &T) -> T) {
    let value = match all.remove(&key) {
        Some(earlier) => merge(earlier, &value),
        None => value,
    };
    all.insert(key, value);
}

/// Asks all routers about `what` of a project: see [`ask`].
pub(super) async fn ask_about<T: DeserializeOwned>(
    api: &Api,
    project: &ProjectName,
    what: &str,
    query: &[(&'static str, String)],
) -> Result<(Vec<(String, T)>, Vec<LogError>), Problem> {
    check_known(api, project)?;
    Ok(ask(api, &["projects", project.as_str(), what], query).await)
}

/// Asks all routers. Returns their names with their answers, and why others gave none. A router that
/// does not have the project is left out.
pub(super) async fn ask<T: DeserializeOwned>(
    api: &Api,
    path: &[&str],
    query: &[(&'static str, String)],
) -> (Vec<(String, T)>, Vec<LogError>) {
    let routers = api.routers.all();
    let asked = routers.iter().map(|router| async {
        // A router that hangs does not hold up the answers of the others.
        let answer = match router.presence() {
            Presence::Away => Err(router.why_away()),
            _ => match router.get(path, query).await {
                Err(CallError::Answered { status: StatusCode::NOT_FOUND, .. }) => return None,
                answer => answer.map_err(|error| error.to_string()),
            },
        };
        Some((router.name().to_owned(), answer))
    });
    let (mut answers, mut errors) = (Vec::new(), Vec::new());
    for (router, answer) in join_all(asked).await.into_iter().flatten() {
        match answer {
            Ok(answer) => answers.push((router, answer)),
            Err(error) => errors.push(LogError { router: Some(router), error }),
        }
    }
    (answers, errors)
}
